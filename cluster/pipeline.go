package cluster

import (
	"sync"

	"github.com/hashicorp/raft"
)

// pipeline closes the one inside with the first answer that is not a success.
// Raft takes no further answer after that, and a sender that has not noticed yet
// would wait for ever for room: the follower would get nothing more from this
// leader, and Raft could not be shut down.
type pipeline struct {
	raft.AppendPipeline
	note    func(raft.AppendFuture) // told of each success before Raft is
	answers chan raft.AppendFuture
	done    chan struct{}
	once    sync.Once
}

func newPipeline(inner raft.AppendPipeline, note func(raft.AppendFuture)) *pipeline {
	p := &pipeline{AppendPipeline: inner, note: note, answers: make(chan raft.AppendFuture), done: make(chan struct{})}
	go p.pump()
	return p
}

// pump hands answers on until the pipeline is closed or broken.
func (p *pipeline) pump() {
	for {
		select {
		case f := <-p.AppendPipeline.Consumer():
			bad := f.Error() != nil || !f.Response().Success || f.Response().Term > f.Request().Term
			if !bad {
				p.note(f)
			}
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
