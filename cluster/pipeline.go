package cluster

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// raftTransport is Raft's own transport, with pipelines that cannot block, and
// with a note of each heartbeat that was answered.
type raftTransport struct {
	*raft.NetworkTransport

	acks *acks
}

// AppendEntries implements raft.Transport. All heartbeats go this way.
func (t raftTransport) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	asked := time.Now()
	err := t.NetworkTransport.AppendEntries(id, target, args, resp)
	if err == nil && resp.Success && resp.Term == args.Term {
		t.acks.note(id, asked, args.Term)
	}
	return err //nolint:wrapcheck // Raft's own
}

// AppendEntriesPipeline implements raft.Transport.
func (t raftTransport) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	p, err := t.NetworkTransport.AppendEntriesPipeline(id, target)
	if err != nil {
		return nil, err
	}
	return newPipeline(p), nil
}

// pipeline closes the one inside with the first answer that is not a success.
// Raft takes no further answer after that, and a sender that has not noticed yet
// would wait for ever for room: the follower would get nothing more from this
// leader, and Raft could not be shut down.
type pipeline struct {
	raft.AppendPipeline
	answers chan raft.AppendFuture
	done    chan struct{}
	once    sync.Once
}

func newPipeline(inner raft.AppendPipeline) *pipeline {
	p := &pipeline{AppendPipeline: inner, answers: make(chan raft.AppendFuture), done: make(chan struct{})}
	go p.pump()
	return p
}

// pump hands answers on until the pipeline is closed or broken.
func (p *pipeline) pump() {
	for {
		select {
		case f := <-p.AppendPipeline.Consumer():
			bad := f.Error() != nil || !f.Response().Success || f.Response().Term > f.Request().Term
			select {
			case p.answers <- f:
			case <-p.done:
				return
			}
			if bad {
				_ = p.AppendPipeline.Close()
				return
			}
		case <-p.done:
			return
		}
	}
}

// Consumer implements raft.AppendPipeline.
func (p *pipeline) Consumer() <-chan raft.AppendFuture { return p.answers }

// Close implements raft.AppendPipeline.
func (p *pipeline) Close() error {
	p.once.Do(func() { close(p.done) })
	return p.AppendPipeline.Close()
}
