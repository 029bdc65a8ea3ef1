package check

import "fmt"

// Output is what a task of the lab's workload gives as its result, so that a
// result says who made it.
func Output(taskRun string, attempt int32, worker string) string {
	return fmt.Sprintf(`{"task_run":%q,"attempt":%d,"worker":%q}`, taskRun, attempt, worker)
}
