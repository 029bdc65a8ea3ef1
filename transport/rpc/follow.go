package rpc

import (
	"encoding/json"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/limpet-dev/limpet/api/compat"
	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport"
	"github.com/limpet-dev/limpet/transport/session"
)

const (
	// gapPatience is how long a chunk waits for one with a lower index.
	gapPatience = 5 * time.Second
	// gapLook is how often it is looked whether a gap has lasted too long.
	gapLook = 500 * time.Millisecond
	// maxFollowed bounds the runs whose state one stream by metadata keeps.
	maxFollowed = 10_000
)

type eventStream = grpc.ServerStreamingServer[compat.WorkflowEvent]

// SubscribeToWorkflowEvents tells what happens to a run, or to all runs with an
// entry of metadata: starts and ends of tasks, and the chunks that they stream,
// each task's in the order of their index. What a run has streamed before is
// told too. The stream of one run ends with it.
func (d *dispatcher) SubscribeToWorkflowEvents(r *compat.SubscribeToWorkflowEventsRequest, stream eventStream) error {
	ctx := stream.Context()
	t, err := tenant(ctx)
	if err != nil {
		return err
	}
	gate, err := d.cfg.Hub.Admit()
	if err != nil {
		return err
	}
	f := &follower{Services: d.Services, tenant: t, stream: stream, runs: map[fsm.RunID]*followed{}}
	switch {
	case r.GetWorkflowRunId() != "":
		id, err := checkID("workflow_run_id", r.GetWorkflowRunId())
		if err != nil {
			return err
		}
		if _, _, err := d.run(ctx, t, fsm.RunID(id)); err != nil {
			return err
		}
		f.only = fsm.RunID(id)
		f.watcher = d.cfg.Hub.WatchChanges()
		f.watcher.Add(f.only)
	case r.GetAdditionalMetaKey() != "" && r.AdditionalMetaValue != nil:
		f.want = pair{r.GetAdditionalMetaKey(), r.GetAdditionalMetaValue()}
		f.watcher = d.cfg.Hub.Follow()
	default:
		return invalid("workflow_run_id", "", "either workflow run id or additional meta key-value must be provided", "")
	}
	defer f.watcher.Close()
	ticker := time.NewTicker(gapLook)
	defer ticker.Stop()
	if f.only != "" {
		err = f.tell(f.only)
	} else {
		err = stream.SendHeader(nil) // from here on nothing is missed
	}
	for err == nil && !f.done {
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case <-gate.Done():
			err = gate.Err()
		case <-f.watcher.C():
			if err = f.tell(f.watcher.Changed()...); err == nil && f.watcher.Behind() {
				err = transport.Unavailable("the stream was read so slowly that changes of more runs than are kept for it were dropped: " +
					"subscribe again, read faster, or subscribe to single runs")
			}
		case <-ticker.C:
			err = f.tell(f.gaps()...)
		}
	}
	return err
}

// follower is the state of one stream; it belongs to its goroutine.
type follower struct {
	*Services
	tenant  fsm.TenantID
	stream  eventStream
	watcher *session.Watcher
	only    fsm.RunID // empty: all runs with the metadata
	want    pair
	runs    map[fsm.RunID]*followed
	done    bool
}

// followed is what has been told of a run.
type followed struct {
	wanted bool
	ended  bool
	tasks  []toldTask
}

// toldTask is what has been told of a task run.
type toldTask struct {
	started, ended int32 // attempts told of, plus one
	streams        int32 // the attempt that streams
	next           int64 // index of its next chunk
	gap            time.Time
}

// gaps gives the runs in which a chunk waits for one before it.
func (f *follower) gaps() []fsm.RunID {
	var out []fsm.RunID
	for id, r := range f.runs {
		for i := range r.tasks {
			if !r.tasks[i].gap.IsZero() {
				out = append(out, id)
				break
			}
		}
	}
	return out
}

// tell sends what has happened to the runs and was not told.
func (f *follower) tell(ids ...fsm.RunID) error {
	for _, id := range ids {
		view, run, err := f.find(id)
		if err != nil {
			return err
		}
		if run == nil {
			delete(f.runs, id)
			continue
		}
		told := f.runs[id]
		if told == nil {
			if len(f.runs) >= maxFollowed {
				f.forgetEnded()
			}
			told = &followed{wanted: f.only != "" || hasPair(run.Metadata, f.want), tasks: make([]toldTask, len(run.Tasks))}
			f.runs[id] = told
		}
		if !told.wanted || told.ended && run.Status.Final() {
			continue
		}
		if err := f.tellRun(view, run, told); err != nil {
			return err
		}
	}
	return nil
}

// find gives a run and the view that it is in. The one run of a stream may have
// gone to the history while its reader was slow.
func (f *follower) find(id fsm.RunID) (fsm.View, *fsm.Run, error) {
	view := f.cfg.Backend.View()
	if run, ok := view.Run(id); ok && run.Tenant == f.tenant {
		return view, run, nil
	}
	if f.only == "" {
		return view, nil, nil
	}
	return f.run(f.stream.Context(), f.tenant, id)
}

func (f *follower) forgetEnded() {
	for id, r := range f.runs {
		if r.ended || !r.wanted {
			delete(f.runs, id)
		}
	}
}

func (f *follower) tellRun(view fsm.View, run *fsm.Run, told *followed) error {
	for i, id := range run.Tasks {
		t, ok := view.TaskRun(id)
		if !ok || i >= len(told.tasks) {
			continue
		}
		if err := f.tellTask(view, run, t, &told.tasks[i]); err != nil {
			return err
		}
	}
	told.ended = run.Status.Final()
	if !told.ended {
		return nil
	}
	f.done = f.only != ""
	return f.stream.Send(&compat.WorkflowEvent{
		WorkflowRunId: string(run.ID), ResourceType: compat.ResourceType_RESOURCE_TYPE_WORKFLOW_RUN, ResourceId: string(run.ID),
		EventType: endEvent(run.Status, ""), EventTimestamp: timestamppb.New(time.Unix(0, run.FinishedWall)), Hangup: true,
	})
}

func (f *follower) tellTask(view fsm.View, run *fsm.Run, t *fsm.TaskRun, told *toldTask) error {
	send := func(kind compat.ResourceEventType, wall int64, payload string, index *int64) error {
		return f.stream.Send(&compat.WorkflowEvent{
			WorkflowRunId: string(run.ID), ResourceType: compat.ResourceType_RESOURCE_TYPE_STEP_RUN, ResourceId: string(t.ID),
			EventType: kind, EventTimestamp: timestamppb.New(time.Unix(0, wall)), EventPayload: payload, EventIndex: index,
			TaskRetries: new(view.Task(t).Retries), RetryCount: new(t.Attempt),
		})
	}
	if t.StartedWall != 0 && told.started <= t.Attempt {
		told.started = t.Attempt + 1
		if err := send(compat.ResourceEventType_RESOURCE_EVENT_TYPE_STARTED, t.StartedWall, "", nil); err != nil {
			return err
		}
	}
	for c := range view.Chunks(t.ID, told.streams, told.next) {
		if c.Attempt > told.streams {
			told.streams, told.next = c.Attempt, 0 // a retry streams anew
		}
		if c.Index > told.next && !run.Status.Final() {
			if told.gap.IsZero() {
				told.gap = time.Now()
			}
			if time.Since(told.gap) < gapPatience {
				break
			}
		}
		told.next, told.gap = c.Index+1, time.Time{}
		if err := send(compat.ResourceEventType_RESOURCE_EVENT_TYPE_STREAM, c.Wall, string(c.Message), new(c.Index)); err != nil {
			return err
		}
	}
	if !t.Status.Final() || told.ended > t.Attempt {
		return nil
	}
	told.ended = t.Attempt + 1
	payload := errorText(t)
	if payload == "" {
		payload = string(output(t))
	}
	return send(endEvent(t.Status, t.Error), t.FinishedWall, payload, nil)
}

func endEvent(status fsm.Status, text string) compat.ResourceEventType {
	switch {
	case strings.HasPrefix(text, "TIMED_OUT"), strings.HasPrefix(text, "SCHEDULE_TIMEOUT"):
		return compat.ResourceEventType_RESOURCE_EVENT_TYPE_TIMED_OUT
	case status == fsm.Failed:
		return compat.ResourceEventType_RESOURCE_EVENT_TYPE_FAILED
	case status == fsm.Cancelled:
		return compat.ResourceEventType_RESOURCE_EVENT_TYPE_CANCELLED
	}
	return compat.ResourceEventType_RESOURCE_EVENT_TYPE_COMPLETED
}

// hasPair reports whether metadata has the entry.
func hasPair(metadata []byte, want pair) bool {
	var have map[string]json.RawMessage
	if json.Unmarshal(metadata, &have) != nil {
		return false
	}
	raw, ok := have[want.key]
	var text string
	if json.Unmarshal(raw, &text) != nil {
		text = string(raw)
	}
	return ok && text == want.value
}
