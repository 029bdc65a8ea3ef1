package limpet

import "context"

// TaskInfo says which attempt is executed.
type TaskInfo struct {
	Workflow, Task, Action     string
	RunID, TaskRunID, WorkerID string
	Attempt                    int32
}

// Interceptor wraps the execution of every task: it calls next once, with its
// context or one derived from it, and gives next's error or its own. It sees the
// error of a task that panicked.
type Interceptor func(ctx context.Context, task TaskInfo, next func(context.Context) error) error

// WithInterceptor adds an interceptor; the first is the outermost.
func WithInterceptor(i Interceptor) Option {
	return func(c *config) { c.interceptors = append(c.interceptors, i) }
}

// Propagator carries a trace from who starts a run to the tasks of the run, in
// the run's metadata. It is what OpenTelemetry's TextMapPropagator does with a
// map for a carrier.
type Propagator interface {
	// Inject writes the trace of ctx.
	Inject(ctx context.Context, carrier map[string]string)
	// Extract gives ctx with the trace that was written.
	Extract(ctx context.Context, carrier map[string]string) context.Context
}

// WithPropagator carries traces through the metadata of runs.
func WithPropagator(p Propagator) Option { return func(c *config) { c.propagator = p } }
