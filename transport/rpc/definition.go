package rpc

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	compatv1 "github.com/limpet-dev/limpet/api/compat/v1"
	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
)

// Slot types that every SDK knows.
const (
	slotDefault = "default"
	slotDurable = "durable"
)

// Limits of the retry delay, as the SDKs document them.
const (
	maxBackoffFactor  = 1000
	maxBackoffSeconds = 86400
)

// definition converts a registration of the current form. All of it is kept,
// also features that are not served yet, so that a worker with many workflows
// starts; the state machine refuses to run those.
func definition(r *compatv1.CreateWorkflowVersionRequest) (*limpetv1.WorkflowDefinition, error) {
	if err := checkName("name", r.GetName()); err != nil {
		return nil, err
	}
	if len(r.GetTasks()) == 0 {
		return nil, invalid("tasks", "", "must have at least one task", "")
	}
	d := &limpetv1.WorkflowDefinition{
		Name: r.GetName(), Description: r.GetDescription(), Version: r.GetVersion(),
		EventTriggers: r.GetEventTriggers(), CronTriggers: r.GetCronTriggers(), CronInput: r.GetCronInput(),
		InputJsonSchema: r.GetInputJsonSchema(),
	}
	var err error
	if d.DefaultPriority, err = checkPriority("default_priority", r.DefaultPriority); err != nil {
		return nil, err
	}
	if r.Sticky != nil { // SOFT is 0: presence counts
		if d.Sticky, err = strategy(int32(r.GetSticky())); err != nil {
			return nil, err
		}
	}
	for i, t := range r.GetTasks() {
		task, err := taskDefinition(fmt.Sprintf("tasks[%d]", i), t)
		if err != nil {
			return nil, err
		}
		d.Tasks = append(d.Tasks, task)
	}
	if r.OnFailureTask != nil {
		if d.OnFailure, err = taskDefinition("on_failure_task", r.GetOnFailureTask()); err != nil {
			return nil, err
		}
	}
	d.Concurrency = workflowConcurrency(r)
	for _, f := range r.GetDefaultFilters() {
		d.DefaultFilters = append(d.DefaultFilters, &limpetv1.DefaultFilter{
			Expression: f.GetExpression(), Scope: f.GetScope(), Payload: f.GetPayload(),
		})
	}
	if c := r.GetIdempotency(); c != nil {
		d.Idempotency = &limpetv1.Idempotency{
			Expression: c.GetExpression(), Ttl: int64(time.Duration(c.GetTtlMs()) * time.Millisecond), Method: int32(c.GetMethod()),
		}
	}
	return d, nil
}

// strategy converts either generation's enum; both have the same numbers.
func strategy(v int32) (limpetv1.Strategy, error) {
	switch compatv1.StickyStrategy(v) {
	case compatv1.StickyStrategy_SOFT:
		return limpetv1.Strategy_STRATEGY_SOFT, nil
	case compatv1.StickyStrategy_HARD:
		return limpetv1.Strategy_STRATEGY_HARD, nil
	}
	return 0, invalid("sticky", itoa(v), "must be SOFT (0) or HARD (1)", "")
}

func taskDefinition(at string, t *compatv1.CreateTaskOpts) (*limpetv1.TaskDefinition, error) {
	d := &limpetv1.TaskDefinition{
		Name: t.GetReadableId(), Action: strings.ToLower(t.GetAction()), Inputs: t.GetInputs(),
		Parents: t.GetParents(), Retries: t.GetRetries(), Durable: t.GetIsDurable(),
	}
	err := checkTask(at, d)
	if err != nil {
		return nil, err
	}
	if d.ExecutionTimeout, err = nanos(at+".timeout", t.GetTimeout()); err != nil {
		return nil, err
	}
	if d.ScheduleTimeout, err = nanos(at+".schedule_timeout", t.GetScheduleTimeout()); err != nil {
		return nil, err
	}
	if err = backoff(at, d, t.BackoffFactor, t.BackoffMaxSeconds); err != nil {
		return nil, err
	}
	if d.Slots, err = taskSlots(at+".slot_requests", t); err != nil {
		return nil, err
	}
	if d.Labels, err = labelWishes(at+".worker_labels", t.GetWorkerLabels()); err != nil {
		return nil, err
	}
	for _, l := range t.GetRateLimits() {
		d.RateLimits = append(d.RateLimits, &limpetv1.RateLimit{
			Key: l.GetKey(), Units: l.GetUnits(), KeyExpression: l.GetKeyExpr(), UnitsExpression: l.GetUnitsExpr(),
			LimitExpression: l.GetLimitValuesExpr(), Window: int32(l.GetDuration()),
		})
	}
	for _, c := range t.GetConcurrency() {
		d.Concurrency = append(d.Concurrency, concurrency(c))
	}
	if d.Conditions, err = conditions(at, t.GetConditions()); err != nil {
		return nil, err
	}
	if b := t.GetBatch(); b != nil {
		d.Batch = &limpetv1.Batch{
			MaxSize: b.GetBatchMaxSize(), MaxInterval: int64(time.Duration(b.GetBatchMaxIntervalMs()) * time.Millisecond),
			GroupKey: b.GetBatchGroupKey(), GroupMaxRuns: b.GetBatchGroupMaxRuns(), BroadcastOutput: b.GetBroadcastOutput(),
		}
	}
	return d, nil
}

// checkTask checks what both generations of registrations have.
func checkTask(at string, d *limpetv1.TaskDefinition) error {
	if err := checkName(at+".readable_id", d.GetName()); err != nil {
		return err
	}
	if err := checkName(at+".action", d.GetAction()); err != nil {
		return err
	}
	if d.GetRetries() < 0 {
		return invalid(at+".retries", itoa(d.GetRetries()), "must not be negative", "")
	}
	for i, p := range d.GetParents() {
		if err := checkName(fmt.Sprintf("%s.parents[%d]", at, i), p); err != nil {
			return err
		}
	}
	return nil
}

// backoff fills in the retry delay. Replicated data has no floats: the factor
// is kept in thousandths.
func backoff(at string, d *limpetv1.TaskDefinition, factor *float32, seconds *int32) error {
	if factor != nil {
		f := float64(*factor)
		if math.IsNaN(f) || f < 1 || f > maxBackoffFactor {
			return invalid(at+".backoff_factor", fmt.Sprint(*factor), "must be between 1 and "+itoa(maxBackoffFactor), "")
		}
		d.BackoffFactorMilli = int64(math.Round(f * 1000))
	}
	if seconds != nil {
		if *seconds < 1 || *seconds > maxBackoffSeconds {
			return invalid(at+".backoff_max_seconds", itoa(*seconds), "must be between 1 and "+itoa(maxBackoffSeconds), "")
		}
		d.BackoffMax = int64(time.Duration(*seconds) * time.Second)
	}
	return nil
}

func taskSlots(field string, t *compatv1.CreateTaskOpts) ([]*limpetv1.SlotRequest, error) {
	slots, err := slotRequests(field, t.GetSlotRequests())
	if err != nil || len(slots) > 0 {
		return slots, err
	}
	kind := slotDefault
	if t.GetIsDurable() {
		kind = slotDurable
	}
	return []*limpetv1.SlotRequest{{Type: kind, Units: 1}}, nil
}

// workflowConcurrency joins the old field for one limit with the list: SDKs
// fill in the one, the other, or both with the same.
func workflowConcurrency(r *compatv1.CreateWorkflowVersionRequest) []*limpetv1.Concurrency {
	list := slices.Clone(r.GetConcurrencyArr())
	if one := r.GetConcurrency(); one != nil {
		same := func(c *compatv1.Concurrency) bool { return proto.Equal(c, one) }
		if !slices.ContainsFunc(list, same) {
			list = append(list, one)
		}
	}
	var out []*limpetv1.Concurrency
	for _, c := range list {
		out = append(out, concurrency(c))
	}
	return out
}

func concurrency(c *compatv1.Concurrency) *limpetv1.Concurrency {
	out := &limpetv1.Concurrency{
		Expression: c.GetExpression(), MaxRuns: 1, Strategy: int32(c.GetLimitStrategy()),
		Name: c.GetName(), TenantScoped: c.GetIsTenantScoped(), MaxRunsExpression: c.GetMaxRunsExpression(),
	}
	if c.MaxRuns != nil {
		out.MaxRuns = c.GetMaxRuns()
	}
	return out
}

func nanos(field, text string) (int64, error) {
	d, err := checkDuration(field, text)
	return int64(d), err
}
