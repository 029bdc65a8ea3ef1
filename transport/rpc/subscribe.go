package rpc

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/limpet-dev/limpet/api/compat"
	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport"
	"github.com/limpet-dev/limpet/transport/session"
)

const (
	// unknownPause is how often it is looked again for runs that this node does
	// not know (yet).
	unknownPause = 500 * time.Millisecond
	// maxResolved bounds the runs that are looked up in the history at a time.
	maxResolved = 256
	// maxWatched bounds the runs that one stream waits for.
	maxWatched = 100_000
)

type runStream = grpc.BidiStreamingServer[compat.SubscribeToWorkflowRunsRequest, compat.WorkflowRunEvent]

// SubscribeToWorkflowRuns answers every run id that comes up with one event
// once the run has finished, at once if it has. An id that is asked for again
// while it waits gets one answer; after its answer it gets another.
func (d *dispatcher) SubscribeToWorkflowRuns(stream runStream) error {
	ctx := stream.Context()
	t, err := tenant(ctx)
	if err != nil {
		return err
	}
	gate, err := d.cfg.Hub.Admit()
	if err != nil {
		return err
	}
	s := &subscription{
		Services: d.Services, tenant: t, stream: stream, watcher: d.cfg.Hub.Watch(),
		waiting: map[fsm.RunID]struct{}{}, unknown: map[fsm.RunID]struct{}{},
	}
	defer s.watcher.Close()
	asked, ended := make(chan string), make(chan error, 1)
	// Ends with the stream, whose context ends when this method returns.
	go func() { ended <- receive(stream, asked) }()
	ticker := time.NewTicker(unknownPause)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-gate.Done():
			return gate.Err()
		case id := <-asked:
			err = s.add(id)
		case <-s.watcher.C():
			err = s.deliver(s.watcher.Changed()...)
		case <-ticker.C:
			err = s.resolve()
		case err = <-ended:
			if errors.Is(err, io.EOF) { // nothing more is asked: answer what was
				ended, s.last, err = nil, true, nil
			}
		}
		if err != nil {
			return err
		}
		if s.last && len(s.waiting) == 0 {
			return nil
		}
	}
}

// receive passes on what the client asks for until it asks no more.
func receive(stream runStream, asked chan<- string) error {
	for {
		r, err := stream.Recv()
		if err != nil {
			return err
		}
		select {
		case asked <- r.GetWorkflowRunId():
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

// subscription is the state of one stream; it belongs to its goroutine.
type subscription struct {
	*Services
	tenant  fsm.TenantID
	stream  runStream
	watcher *session.Watcher
	waiting map[fsm.RunID]struct{} // not answered yet
	unknown map[fsm.RunID]struct{} // of these, not in this node's state
	last    bool                   // the client asks for no more
}

func (s *subscription) add(text string) error {
	id, err := checkID("workflow_run_id", text)
	if err != nil {
		// The stream serves other runs too: only this one is refused.
		return s.stream.Send(unknownRun(text, "must be a valid UUID"))
	}
	if len(s.waiting) >= maxWatched {
		return transport.Unavailable("one stream waits for more than %d runs: open another", maxWatched)
	}
	run := fsm.RunID(id)
	s.waiting[run] = struct{}{}
	s.watcher.Add(run)
	return s.deliver(run)
}

// deliver answers those of the runs that have finished.
func (s *subscription) deliver(runs ...fsm.RunID) error {
	view := s.cfg.Backend.View()
	for _, id := range runs {
		if _, ok := s.waiting[id]; !ok {
			continue
		}
		run, ok := view.Run(id)
		if !ok || run.Tenant != s.tenant {
			s.unknown[id] = struct{}{}
			continue
		}
		delete(s.unknown, id)
		if !run.Status.Final() {
			continue
		}
		if err := s.stream.Send(s.answer(view, run)); err != nil {
			return err
		}
		s.forget(id)
		s.cfg.Counters.Results.Add(1)
	}
	return nil
}

// answer is the event of a run that has finished. One SDK looks for results that
// are missing over HTTP, where there is no limit: what does not fit into a message
// is left to that. The others are told which result did not fit.
func (s *subscription) answer(view fsm.View, run *fsm.Run) *compat.WorkflowRunEvent {
	e := finished(view, run)
	if proto.Size(e) > s.cfg.MaxMessage {
		if asksOverHTTP(s.stream.Context()) {
			e.Results = nil
		} else {
			shrink(e, s.cfg.MaxMessage)
		}
	}
	return e
}

// asksOverHTTP reports whether the caller is the TypeScript SDK.
func asksOverHTTP(ctx context.Context) bool {
	md, _ := metadata.FromIncomingContext(ctx)
	agents := slices.Concat(md.Get("user-agent"), md.Get(limpetv1.HeaderUserAgent))
	return slices.ContainsFunc(agents, func(agent string) bool { return strings.Contains(agent, "grpc-node-js") })
}

func (s *subscription) forget(id fsm.RunID) {
	delete(s.waiting, id)
	delete(s.unknown, id)
	s.watcher.Remove(id)
}

// resolve looks again for runs that were not known. A run may have been
// triggered at a node that is ahead of this one; what is still not known when
// this node is current does not exist, and its caller would wait for ever.
func (s *subscription) resolve() error {
	if len(s.unknown) == 0 {
		return nil
	}
	if err := s.current(s.stream.Context()); err != nil {
		s.cfg.Logger.Debug("runs that are not known have to wait", "runs", len(s.unknown), "error", err)
		return nil // it is tried again with the next tick
	}
	before := make([]fsm.RunID, 0, len(s.unknown))
	for id := range s.unknown {
		before = append(before, id)
	}
	if err := s.deliver(before...); err != nil {
		return err
	}
	for _, id := range before[:min(len(before), maxResolved)] {
		if _, still := s.unknown[id]; !still {
			continue
		}
		view, a, err := transport.Past(s.stream.Context(), s.cfg.Backend, s.tenant, string(id))
		if err != nil {
			s.cfg.Logger.Debug("runs that are not known have to wait", "runs", len(s.unknown), "error", err)
			return nil // it is tried again with the next tick
		}
		if a != nil && a.Run.ID == id {
			if err := s.stream.Send(s.answer(view, a.Run)); err != nil {
				return err
			}
			s.forget(id)
			s.cfg.Counters.Results.Add(1)
			continue
		}
		if err := s.stream.Send(unknownRun(string(id), "no such run: check the id; finished runs are kept for a limited time")); err != nil {
			return err
		}
		s.forget(id)
	}
	return nil
}
