package cluster

import (
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/limpet-dev/limpet/cluster/quorum"
)

// still is a Raft that stands still in a state and a term.
type still struct {
	state raft.RaftState
	term  uint64
}

func (s *still) State() raft.RaftState { return s.state }
func (s *still) CurrentTerm() uint64   { return s.term }
func (*still) LastIndex() uint64       { return 7 }

// Raft's main goroutine alone may change its state and its term. Beside it, a
// candidate became a follower of a newer term and then, by a vote that came late,
// the leader of that term, which another had won.
func TestAHeartbeatChangesNothingBesideRaftsOwnGoroutine(t *testing.T) {
	for name, c := range map[string]struct {
		is    *still
		term  uint64
		short bool
	}{
		"a follower of the term":   {&still{raft.Follower, 4}, 4, true},
		"a follower of a former":   {&still{raft.Follower, 3}, 4, false},
		"a follower of a later":    {&still{raft.Follower, 5}, 4, false},
		"a candidate of a former":  {&still{raft.Candidate, 3}, 4, false},
		"a candidate of the term":  {&still{raft.Candidate, 4}, 4, false},
		"a leader of a former":     {&still{raft.Leader, 3}, 4, false},
		"one that is not yet open": {nil, 4, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := &raftTransport{calls: make(chan raft.RPC), closed: make(chan struct{})}
				if c.is != nil {
					tr.follow(c.is)
				}
				answer := make(chan raft.RPCResponse, 1)
				go tr.heartbeat(raft.RPC{Command: &raft.AppendEntriesRequest{Term: c.term}, RespChan: answer})
				synctest.Wait()
				if len(answer) == 1 != c.short {
					t.Fatalf("%d answers beside Raft", len(answer))
				}
				if tr.heard().IsZero() == c.short {
					t.Errorf("heard at %v", tr.heard())
				}
				if c.short {
					res, ok := (<-answer).Response.(*raft.AppendEntriesResponse)
					if !ok || !res.Success || res.Term != c.term || res.LastLog != 7 {
						t.Errorf("the answer: %+v", res)
					}
					return
				}
				select {
				case got := <-tr.Consumer():
					got.Respond(&raft.AppendEntriesResponse{}, nil)
				case <-time.After(time.Second):
					t.Fatal("Raft did not get it")
				}
				if len(answer) != 1 {
					t.Error("Raft's answer is lost")
				}
			})
		})
	}
}

// Else it would stand for election while its leader is there.
func TestRaftHearsOfAHeartbeatThatWasAnsweredForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &raftTransport{calls: make(chan raft.RPC), closed: make(chan struct{})}
		tr.follow(&still{raft.Follower, 4})
		heard := make(chan raft.RPC, 1)
		go func() { heard <- <-tr.Consumer() }()
		synctest.Wait()
		answer := make(chan raft.RPCResponse, 1)
		tr.heartbeat(raft.RPC{Command: &raft.AppendEntriesRequest{Term: 4}, RespChan: answer})
		if len(answer) != 1 {
			t.Error("no answer")
		}
		got := <-heard
		got.Respond(&raft.AppendEntriesResponse{}, nil) // goes nowhere
		if len(answer) != 1 {
			t.Error("two answers")
		}
		close(tr.closed)
	})
}

// The leader counted it as one that follows, and it counted itself as in contact.
func TestANodeWhoseDiskIsGivenUpAnswersNoHeartbeat(t *testing.T) {
	dead := make(chan struct{})
	close(dead)
	tr := &raftTransport{calls: make(chan raft.RPC), closed: make(chan struct{}), dead: dead}
	tr.follow(&still{raft.Follower, 4})
	answer := make(chan raft.RPCResponse, 1)
	tr.heartbeat(raft.RPC{Command: &raft.AppendEntriesRequest{Term: 4}, RespChan: answer})
	if res := <-answer; res.Error == nil || !tr.heard().IsZero() {
		t.Errorf("the answer: %+v; heard at %v", res, tr.heard())
	}
}

// A call that Raft does not take any more must not hold up who made it.
func TestACallToARaftThatIsClosedIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &raftTransport{calls: make(chan raft.RPC), closed: make(chan struct{})}
		answer := make(chan raft.RPCResponse, 1)
		go tr.heartbeat(raft.RPC{Command: &raft.AppendEntriesRequest{Term: 4}, RespChan: answer})
		synctest.Wait()
		close(tr.closed)
		if res := <-answer; res.Error == nil {
			t.Errorf("the answer: %+v", res)
		}
	})
}

// deaf is a network on which everything is taken and nothing answered.
type deaf struct{ ends chan net.Conn }

func (d *deaf) Dial(raft.ServerAddress, time.Duration) (net.Conn, error) {
	mine, theirs := net.Pipe()
	go func() { _, _ = io.Copy(io.Discard, theirs) }()
	d.ends <- theirs
	return mine, nil
}

func (d *deaf) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (d *deaf) Addr() net.Addr            { return &net.TCPAddr{} }
func (d *deaf) Close() error              { return nil }

// Raft refuses everything as handing over until the chosen node has answered: when
// that was cut off, nothing was done for ten seconds, or the leader took itself for
// stuck.
func TestANodeThatDoesNotTakeOverIsNotWaitedForForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &deaf{make(chan net.Conn, 1)}
		inner := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{Stream: d, MaxPool: 1, Timeout: 10 * time.Second, Logger: hclog.NewNullLogger()})
		const patience = 300 * time.Millisecond
		tr := newRaftTransport(inner, &quorum.Acks{}, newHoldings(), nil, patience, nil)
		began := time.Now()
		err := tr.TimeoutNow("n2", "10.0.0.2:1", &raft.TimeoutNowRequest{}, &raft.TimeoutNowResponse{})
		if !errors.Is(err, errNoHeir) || time.Since(began) != patience {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		if err := errors.Join((<-d.ends).Close(), tr.Close()); err != nil {
			t.Error(err)
		}
	})
}
