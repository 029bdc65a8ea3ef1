package rpc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/limpet-dev/limpet/api/compat"
	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

// anyAttempt stands for the current attempt in a report that names none.
const anyAttempt = -1

// report is what a worker says about one attempt.
type report struct {
	kind    compat.StepActionEventType
	taskRun fsm.TaskRunID
	attempt int32
	payload string
	noRetry bool
}

// SendStepActionEvent takes a worker's report. The task run and the attempt
// name what is reported on; the worker id does not, one SDK sends a name there.
func (d *dispatcher) SendStepActionEvent(ctx context.Context, r *compat.StepActionEvent) (*compat.ActionEventResponse, error) {
	t, err := tenant(ctx)
	if err != nil {
		return nil, err
	}
	rep, err := newReport("", r.GetEventType(), r.GetTaskRunExternalId(), r.RetryCount)
	if err != nil {
		return nil, err
	}
	rep.payload, rep.noRetry = r.GetEventPayload(), r.GetShouldNotRetry()
	if err := d.take(ctx, t, rep); err != nil {
		return nil, err
	}
	d.vouch(t, r.GetWorkerId())
	return &compat.ActionEventResponse{TenantId: string(t), WorkerId: r.GetWorkerId()}, nil
}

// SendBatchActionEvent takes the reports on the members of a batch. When it
// fails part of them may have been taken; to send all again does no harm.
func (d *dispatcher) SendBatchActionEvent(ctx context.Context, r *compat.BatchActionEvent) (*compat.ActionEventResponse, error) {
	t, err := tenant(ctx)
	if err != nil {
		return nil, err
	}
	reports := make([]report, len(r.GetItems()))
	for i, item := range r.GetItems() {
		rep, err := newReport(fmt.Sprintf("items[%d].", i), r.GetEventType(), item.GetTaskRunExternalId(), item.RetryCount)
		if err != nil {
			return nil, err
		}
		rep.payload, rep.noRetry = item.GetEventPayload(), item.GetShouldNotRetry()
		reports[i] = rep
	}
	// At once, so that they share an entry, and starts wait for their ends together. Their
	// order means nothing: each is fenced by its own attempt.
	var takes sync.WaitGroup
	errs := make([]error, len(reports))
	for i, rep := range reports {
		takes.Go(func() { errs[i] = d.take(ctx, t, rep) })
	}
	takes.Wait()
	if err := cmp.Or(errs...); err != nil {
		return nil, err
	}
	d.vouch(t, r.GetWorkerId())
	return &compat.ActionEventResponse{TenantId: string(t), WorkerId: r.GetWorkerId()}, nil
}

func newReport(at string, kind compat.StepActionEventType, taskRun string, attempt *int32) (report, error) {
	id, err := checkID(at+"task_run_external_id", taskRun)
	if err != nil {
		return report{}, err
	}
	rep := report{kind: kind, taskRun: fsm.TaskRunID(id), attempt: anyAttempt}
	if attempt != nil {
		if *attempt < 0 {
			return report{}, invalid(at+"retry_count", itoa(*attempt), "must not be negative", "")
		}
		rep.attempt = *attempt
	}
	return rep, nil
}

// vouch takes a report for a sign of life, if it names its worker.
func (d *dispatcher) vouch(t fsm.TenantID, id string) {
	if w, ok := d.cfg.Backend.View().Worker(fsm.WorkerID(id)); ok && w.Tenant == t {
		d.cfg.Backend.Vouch(w.ID)
	}
}

// take proposes a report. One that comes from a fenced attempt is answered OK:
// its sender can do nothing about it, and would only repeat it.
func (d *dispatcher) take(ctx context.Context, t fsm.TenantID, rep report) error {
	cmd, err := d.command(t, rep)
	if err != nil || cmd == nil {
		return err
	}
	_, err = d.propose(ctx, "report "+rep.kind.String()+" on task run "+string(rep.taskRun), cmd)
	var refusal *fsm.Refusal
	if !errors.As(err, &refusal) {
		return err
	}
	switch refusal.Code {
	case fsm.CodeStale:
		d.cfg.Counters.Fenced.Add(1)
		d.cfg.Logger.Info("a report was fenced", "task_run", rep.taskRun, "attempt", rep.attempt, "report", rep.kind, "reason", refusal.Error())
		return nil
	case fsm.CodeNotFound:
		return invalid("task_run_external_id", string(rep.taskRun), "invalid task external run id: no such task run", "it may be too old to be kept")
	case fsm.CodeNone, fsm.CodeInvalid, fsm.CodeConflict, fsm.CodeUnsupported, fsm.CodeExhausted, fsm.CodeBusy, fsm.CodeFenced:
	}
	return err
}

// command converts a report; nil when there is nothing to tell the cluster.
func (d *dispatcher) command(t fsm.TenantID, rep report) (fsm.Command, error) {
	switch rep.kind {
	case compat.StepActionEventType_STEP_EVENT_TYPE_STARTED:
		return &limpetv1.Command{Kind: &limpetv1.Command_ReportStarted{ReportStarted: &limpetv1.ReportStarted{
			TenantId: string(t), TaskRunId: string(rep.taskRun), Attempt: rep.attempt,
		}}}, nil
	case compat.StepActionEventType_STEP_EVENT_TYPE_COMPLETED:
		return d.completed(t, rep), nil
	case compat.StepActionEventType_STEP_EVENT_TYPE_FAILED:
		return failed(t, rep, rep.payload, rep.noRetry), nil
	case compat.StepActionEventType_STEP_EVENT_TYPE_CANCELLED:
		return d.cancelled(t, rep), nil
	case compat.StepActionEventType_STEP_EVENT_TYPE_ACKNOWLEDGED:
		return nil, nil
	case compat.StepActionEventType_STEP_EVENT_TYPE_UNKNOWN:
	}
	return nil, invalid("event_type", rep.kind.String(), "must be STARTED, COMPLETED, FAILED or CANCELLED", "")
}

// completed converts a completion. An output that cannot be handed on fails
// the attempt, and its error says why: to refuse the report would make the SDK
// repeat it.
func (d *dispatcher) completed(t fsm.TenantID, rep report) fsm.Command {
	output, err := checkJSON("output", []byte(rep.payload))
	if n := len(rep.payload); n > d.cfg.MaxMessage {
		d.cfg.Counters.Oversized.Add(1)
		err = fmt.Errorf("the output of the task has %d bytes, the limit is %d bytes", n, d.cfg.MaxMessage)
	}
	if err != nil {
		return failed(t, rep, "the task completed, but its output cannot be used: "+err.Error(), true)
	}
	return &limpetv1.Command{Kind: &limpetv1.Command_ReportCompleted{ReportCompleted: &limpetv1.ReportCompleted{
		TenantId: string(t), TaskRunId: string(rep.taskRun), Attempt: rep.attempt, Output: output,
	}}}
}

func failed(t fsm.TenantID, rep report, text string, noRetry bool) fsm.Command {
	if text == "" {
		text = "the task failed without an error text"
	}
	return &limpetv1.Command{Kind: &limpetv1.Command_ReportFailed{ReportFailed: &limpetv1.ReportFailed{
		TenantId: string(t), TaskRunId: string(rep.taskRun), Attempt: rep.attempt, Error: text, NoRetry: noRetry,
	}}}
}

// cancelled converts a worker's own cancellation. One of an attempt that is over
// for all this node knows is not worth an entry: most follow an order to cancel. One
// of an attempt that has not begun here is: the worker has it from a node that is
// ahead.
func (d *dispatcher) cancelled(t fsm.TenantID, rep report) fsm.Command {
	run, ok := d.cfg.Backend.View().TaskRun(rep.taskRun)
	switch {
	case !ok:
	case run.Status.Final(), rep.attempt == anyAttempt && !run.Status.Held(), rep.attempt != anyAttempt && rep.attempt < run.Attempt:
		return nil
	}
	return &limpetv1.Command{Kind: &limpetv1.Command_ReportCancelled{ReportCancelled: &limpetv1.ReportCancelled{
		TenantId: string(t), TaskRunId: string(rep.taskRun), Attempt: rep.attempt,
	}}}
}
