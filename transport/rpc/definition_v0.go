package rpc

import (
	"fmt"
	"strings"
	"time"

	"github.com/limpet-dev/limpet/api/compat"
	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
)

// definitionV0 converts a registration of the first form: its jobs become one
// list of tasks.
func definitionV0(o *compat.CreateWorkflowVersionOpts) (*limpetv1.WorkflowDefinition, error) {
	if err := checkName("opts.name", o.GetName()); err != nil {
		return nil, err
	}
	d := &limpetv1.WorkflowDefinition{
		Name: o.GetName(), Description: o.GetDescription(), Version: o.GetVersion(),
		EventTriggers: o.GetEventTriggers(), CronTriggers: o.GetCronTriggers(), CronInput: o.GetCronInput(),
		Kind: int32(o.GetKind()),
	}
	var err error
	if d.DefaultPriority, err = checkPriority("opts.default_priority", o.DefaultPriority); err != nil {
		return nil, err
	}
	if o.Sticky != nil {
		if d.Sticky, err = strategy(int32(o.GetSticky())); err != nil {
			return nil, err
		}
	}
	wait, err := checkDuration("opts.schedule_timeout", o.GetScheduleTimeout())
	if err != nil {
		return nil, err
	}
	for _, at := range o.GetScheduledTriggers() {
		d.ScheduledTriggers = append(d.ScheduledTriggers, at.AsTime().UnixNano())
	}
	for i, job := range o.GetJobs() {
		for k, step := range job.GetSteps() {
			task, err := taskV0(fmt.Sprintf("opts.jobs[%d].steps[%d]", i, k), step, wait)
			if err != nil {
				return nil, err
			}
			d.Tasks = append(d.Tasks, task)
		}
	}
	if len(d.GetTasks()) == 0 {
		return nil, invalid("opts.jobs", "", "must have at least one step", "")
	}
	if job := o.GetOnFailureJob(); job != nil {
		if n := len(job.GetSteps()); n != 1 {
			return nil, invalid("opts.on_failure_job.steps", itoa(n), "must have exactly one step", "")
		}
		if d.OnFailure, err = taskV0("opts.on_failure_job.steps[0]", job.GetSteps()[0], wait); err != nil {
			return nil, err
		}
	}
	if c := o.GetConcurrency(); c != nil {
		limit := &limpetv1.Concurrency{
			Expression: c.GetExpression(), MaxRuns: 1, Strategy: int32(c.GetLimitStrategy()), Name: c.GetAction(),
		}
		if c.MaxRuns != nil {
			limit.MaxRuns = c.GetMaxRuns()
		}
		d.Concurrency = append(d.Concurrency, limit)
	}
	return d, nil
}

func taskV0(at string, s *compat.CreateWorkflowStepOpts, wait time.Duration) (*limpetv1.TaskDefinition, error) {
	d := &limpetv1.TaskDefinition{
		Name: s.GetReadableId(), Action: strings.ToLower(s.GetAction()), Inputs: s.GetInputs(), Parents: s.GetParents(),
		Retries: s.GetRetries(), UserData: s.GetUserData(), ScheduleTimeout: int64(wait),
		Slots: []*limpetv1.SlotRequest{{Type: slotDefault, Units: 1}},
	}
	err := checkTask(at, d)
	if err != nil {
		return nil, err
	}
	if d.ExecutionTimeout, err = nanos(at+".timeout", s.GetTimeout()); err != nil {
		return nil, err
	}
	if err = backoff(at, d, s.BackoffFactor, s.BackoffMaxSeconds); err != nil {
		return nil, err
	}
	if d.Labels, err = labelWishes(at+".worker_labels", s.GetWorkerLabels()); err != nil {
		return nil, err
	}
	for _, l := range s.GetRateLimits() {
		d.RateLimits = append(d.RateLimits, &limpetv1.RateLimit{
			Key: l.GetKey(), Units: l.GetUnits(), KeyExpression: l.GetKeyExpr(), UnitsExpression: l.GetUnitsExpr(),
			LimitExpression: l.GetLimitValuesExpr(), Window: int32(l.GetDuration()),
		})
	}
	return d, nil
}
