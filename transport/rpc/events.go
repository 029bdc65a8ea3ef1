package rpc

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/limpet-dev/limpet/api/compat"
	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport"
)

// maxLogLine is the length in bytes of the longest log line; longer ones are cut.
const maxLogLine = 16 << 10

// events is the service EventsService.
type events struct {
	compat.UnimplementedEventsServiceServer
	*Services
}

// Push records an event: it meets conditions and starts workflows.
func (e *events) Push(ctx context.Context, r *compat.PushEventRequest) (*compat.Event, error) {
	out, err := e.push(ctx, "", r)
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

// BulkPush records many events, all or none.
func (e *events) BulkPush(ctx context.Context, r *compat.BulkPushEventRequest) (*compat.Events, error) {
	if len(r.GetEvents()) == 0 {
		return &compat.Events{}, nil
	}
	out, err := e.push(ctx, "events[%d].", r.GetEvents()...)
	return &compat.Events{Events: out}, err
}

// ReplaySingleEvent pushes an event that is still kept once more.
func (e *events) ReplaySingleEvent(ctx context.Context, r *compat.ReplayEventRequest) (*compat.Event, error) {
	t, err := tenant(ctx)
	if err != nil {
		return nil, err
	}
	id, err := checkID("event_id", r.GetEventId())
	if err != nil {
		return nil, err
	}
	if err := e.current(ctx); err != nil {
		return nil, err
	}
	old, ok := e.cfg.Backend.View().Event(id)
	if !ok || old.Tenant != t {
		return nil, &fsm.Refusal{
			Code: fsm.CodeNotFound, Field: "event_id", Got: id, Want: "no such event is kept",
			Hint: "events are kept for a limited time; push it anew",
		}
	}
	out, err := e.push(ctx, "", &compat.PushEventRequest{
		Key: old.Key, Payload: string(old.Payload), AdditionalMetadata: optional(string(old.Metadata)), Scope: optional(old.Scope),
		EventTimestamp: timestamppb.Now(),
	})
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

func (e *events) push(ctx context.Context, prefix string, requests ...*compat.PushEventRequest) ([]*compat.Event, error) {
	t, err := tenant(ctx)
	if err != nil {
		return nil, err
	}
	cmd := &limpetv1.PushEvents{TenantId: string(t)}
	out := make([]*compat.Event, len(requests))
	for i, r := range requests {
		at := prefix
		if at != "" {
			at = fmt.Sprintf(prefix, i)
		}
		x, err := e.event(at, r)
		if err != nil {
			return nil, err
		}
		cmd.Events = append(cmd.Events, x)
		out[i] = &compat.Event{
			TenantId: string(t), EventId: x.GetId(), Key: x.GetKey(), Payload: string(x.GetPayload()),
			EventTimestamp: timestamppb.New(time.Unix(0, x.GetWall())), AdditionalMetadata: r.AdditionalMetadata, Scope: r.Scope,
		}
	}
	_, err = e.propose(ctx, "push event "+requests[0].GetKey(), &limpetv1.Command{Kind: &limpetv1.Command_PushEvents{PushEvents: cmd}})
	return out, err
}

func (e *events) event(at string, r *compat.PushEventRequest) (*limpetv1.Event, error) {
	x := &limpetv1.Event{Key: r.GetKey(), Scope: r.GetScope(), Wall: wall(r.GetEventTimestamp())}
	err := checkName(at+"key", r.GetKey())
	if err != nil {
		return nil, err
	}
	if err = transport.CheckSize(at+"payload", len(r.GetPayload()), e.cfg.MaxMessage); err != nil {
		return nil, err
	}
	if x.Payload, err = checkObject(at+"payload", []byte(r.GetPayload())); err != nil {
		return nil, err
	}
	if x.Payload == nil {
		x.Payload = []byte("{}")
	}
	if x.Metadata, err = checkObject(at+"additional_metadata", []byte(r.GetAdditionalMetadata())); err != nil {
		return nil, err
	}
	if x.OnLost, err = transport.OnLost(at+"additional_metadata", x.GetMetadata()); err != nil {
		return nil, err
	}
	if x.Priority, err = checkPriority(at+"priority", r.Priority); err != nil {
		return nil, err
	}
	x.Id, err = newID()
	return x, err
}

// PutLog keeps a line that a task wrote with its run.
func (e *events) PutLog(ctx context.Context, r *compat.PutLogRequest) (*compat.PutLogResponse, error) {
	t, err := tenant(ctx)
	if err != nil {
		return nil, err
	}
	id, err := checkID("task_run_external_id", r.GetTaskRunExternalId())
	if err != nil {
		return nil, err
	}
	l := &limpetv1.LogLine{
		TaskRunId: id, Attempt: anyAttempt, Wall: wall(r.GetCreatedAt()), Level: r.GetLevel(), Message: r.GetMessage(),
	}
	if r.TaskRetryCount != nil {
		l.Attempt = r.GetTaskRetryCount()
	}
	if len(l.GetMessage()) > maxLogLine {
		l.Message = l.GetMessage()[:maxLogLine]
	}
	if l.Metadata, err = checkJSON("metadata", []byte(r.GetMetadata())); err != nil {
		return nil, err
	}
	_, err = e.propose(ctx, "keep a log line of task run "+id, &limpetv1.Command{Kind: &limpetv1.Command_PutLogs{
		PutLogs: &limpetv1.PutLogs{TenantId: string(t), Lines: []*limpetv1.LogLine{l}},
	}})
	if err != nil {
		return nil, err
	}
	return &compat.PutLogResponse{}, nil
}

// PutStreamEvent hands a chunk to those who listen to the task's run, at any
// node.
func (e *events) PutStreamEvent(ctx context.Context, r *compat.PutStreamEventRequest) (*compat.PutStreamEventResponse, error) {
	t, err := tenant(ctx)
	if err != nil {
		return nil, err
	}
	id, err := checkID("task_run_external_id", r.GetTaskRunExternalId())
	if err != nil {
		return nil, err
	}
	if err := transport.CheckSize("message", len(r.GetMessage()), e.cfg.MaxMessage); err != nil {
		return nil, err
	}
	c := &limpetv1.Chunk{TaskRunId: id, Index: -1, Wall: wall(r.GetCreatedAt()), Message: r.GetMessage()}
	if r.EventIndex != nil {
		if c.Index = r.GetEventIndex(); c.GetIndex() < 0 {
			return nil, invalid("event_index", itoa(c.GetIndex()), "must not be negative", "leave it out to append")
		}
	}
	_, err = e.propose(ctx, "stream a chunk of task run "+id, &limpetv1.Command{Kind: &limpetv1.Command_PutChunks{
		PutChunks: &limpetv1.PutChunks{TenantId: string(t), Chunks: []*limpetv1.Chunk{c}},
	}})
	if err != nil {
		return nil, err
	}
	return &compat.PutStreamEventResponse{}, nil
}

// wall gives a client's clock in Unix nanoseconds, or ours if it tells none.
func wall(t *timestamppb.Timestamp) int64 {
	if t == nil {
		return time.Now().UnixNano()
	}
	return t.AsTime().UnixNano()
}

func optional(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}
