package cluster

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// stuckPipeline has one answer, and room for nothing more: as the library's has
// once nobody takes its answers.
type stuckPipeline struct {
	answers chan raft.AppendFuture
	closed  chan struct{}
}

func (p *stuckPipeline) AppendEntries(*raft.AppendEntriesRequest, *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	<-p.closed
	return nil, raft.ErrPipelineShutdown
}

func (p *stuckPipeline) Consumer() <-chan raft.AppendFuture { return p.answers }

func (p *stuckPipeline) Close() error {
	select {
	case <-p.closed:
	default:
		close(p.closed)
	}
	return nil
}

// answered is a future that has its answer.
type answered struct {
	raft.AppendFuture
	success bool
}

func (answered) Error() error { return nil }

func (answered) Request() *raft.AppendEntriesRequest { return &raft.AppendEntriesRequest{Term: 2} }

func (a answered) Response() *raft.AppendEntriesResponse {
	return &raft.AppendEntriesResponse{Term: 2, Success: a.success}
}

func TestAPipelineThatFailedHoldsUpNoSender(t *testing.T) {
	for _, success := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			inner := &stuckPipeline{answers: make(chan raft.AppendFuture, 1), closed: make(chan struct{})}
			var noted atomic.Int32
			p := newPipeline(inner, func(raft.AppendFuture) { noted.Add(1) })
			sent := make(chan error, 1)
			go func() {
				_, err := p.AppendEntries(&raft.AppendEntriesRequest{}, &raft.AppendEntriesResponse{})
				sent <- err
			}()
			inner.answers <- answered{success: success}
			<-p.Consumer() // as Raft does, which then stops if it was no success
			if got := noted.Load() == 1; got != success {
				t.Errorf("an answer that is a success (%t) was noted: %t", success, got)
			}
			time.Sleep(time.Minute)
			select {
			case err := <-sent:
				if success {
					t.Errorf("a pipeline was closed for an answer that is a success: %v", err)
				}
			default:
				if !success {
					t.Error("a sender waits for ever at a pipeline whose answers nobody takes")
				}
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestALeaderThatNobodyCanFollowGivesUpHandingOver(t *testing.T) {
	b := newBed(t, 1, nil)
	b.start("node-1")
	b.awaitReady()
	if err := b.leader().abdicate(t.Context()); err == nil {
		t.Error("the only node handed leadership over")
	}
}
