package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

func TestRemovalNeedsALiveQuorum(t *testing.T) {
	servers := func(names string) (list []raft.Server) {
		for name := range strings.FieldsSeq(names) {
			list = append(list, raft.Server{Suffrage: raft.Voter, ID: raft.ServerID(name)})
		}
		return list
	}
	for _, c := range []struct {
		name, cluster, alive, remove, want string
	}{
		{"a dead one of three", "a b c", "a b", "c", ""},
		{"a live one of three", "a b c", "a b c", "c", ""},
		{"a live one beside a dead one", "a b c", "a b", "b", "first start or replace c"},
		{"one of five beside two dead", "a b c d e", "a b c", "c", "2 of 4 nodes are alive and 3 are needed"},
		{"a dead one of five beside another", "a b c d e", "a b c", "d", ""},
		{"the last", "a", "a", "a", "is the last one"},
	} {
		t.Run(c.name, func(t *testing.T) {
			alive := map[string]bool{}
			for name := range strings.FieldsSeq(c.alive) {
				alive[name] = true
			}
			err := checkRemoval(c.remove, servers(c.cluster), alive)
			if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	err := checkRemoval("x", servers("a b"), map[string]bool{"a": true, "b": true})
	if !errors.Is(err, ErrNoNode) || !strings.Contains(err.Error(), "which has a, b") {
		t.Errorf("remove a stranger: %v", err)
	}
}

func TestClusterTimeNeverStandsStillNorRunsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClusterClock(1000, 5*time.Second, time.Now, time.Now)
		first := c.stamp().Instant
		if want := fsm.Instant(1000).Add(5 * time.Second); first != want {
			t.Errorf("begins at %d, want %d", first, want)
		}
		if second := c.stamp().Instant; second != first+1 {
			t.Errorf("a stamp of the same moment is %d after %d", second, first)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := c.stamp().Instant; got != first.Add(time.Second) {
			t.Errorf("a second later it is %d after %d", got, first)
		}
		if got := newClusterClock(1000, -time.Hour, time.Now, time.Now).stamp().Instant; got != 1001 {
			t.Errorf("with time lost it begins at %d", got)
		}
	})
}

func TestEffectsAreMergedWhileTheSinkIsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &fakeSink{}
		f := newFanout(sink)
		a, b := fsm.Effect{Kind: fsm.RunChanged, ID: "a"}, fsm.Effect{Kind: fsm.RunChanged, ID: "b"}
		for range 1000 {
			f.push([]fsm.Effect{a, b, a})
		}
		if len(f.queue) != 2 {
			t.Errorf("%d effects wait, want 2", len(f.queue))
		}
		f.pushReset()
		f.push([]fsm.Effect{b})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			f.run(ctx)
		}()
		synctest.Wait()
		if woken, resets := sink.counts(); woken != 1 || !sink.woken[b] || resets != 1 {
			t.Errorf("woken %v, %d resets", sink.woken, resets)
		}
		f.push([]fsm.Effect{{Kind: fsm.Reset}})
		synctest.Wait()
		if _, resets := sink.counts(); resets != 2 {
			t.Errorf("%d resets, want 2", resets)
		}
		cancel()
		<-done
	})
}

func gossipNode(name string, meta *limpetv1.GossipMeta) *memberlist.Node {
	meta.Role = roleNode
	b, err := proto.Marshal(meta)
	if err != nil {
		panic(err)
	}
	return &memberlist.Node{Name: name, Meta: b}
}

func TestNodesPromiseThemselvesToOneCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &formation{name: "b", expect: 3, table: newMemberTable(nil), log: hclog.NewNullLogger(), hasState: func() bool { return false }}
		ask := func(names ...string) *limpetv1.BootstrapAnswer {
			return f.promise(&limpetv1.BootstrapRequest{Names: names})
		}
		join := func(name string, meta *limpetv1.GossipMeta) { f.table.NotifyJoin(gossipNode(name, meta)) }
		join("b", &limpetv1.GossipMeta{BootstrapExpect: 3})
		join("c", &limpetv1.GossipMeta{BootstrapExpect: 3})
		if a := ask("a", "b", "c"); a.GetPromised() || !strings.Contains(a.GetReason(), "2 of 3 nodes are there") {
			t.Errorf("promised with two nodes: %v", a)
		}
		join("a", &limpetv1.GossipMeta{BootstrapExpect: 3})
		if a := ask("b", "c", "d"); a.GetPromised() {
			t.Errorf("promised to nodes it does not see: %v", a)
		}
		if a := ask("a", "b", "c"); !a.GetPromised() {
			t.Errorf("did not promise: %v", a)
		}
		f.table.NotifyLeave(gossipNode("a", &limpetv1.GossipMeta{BootstrapExpect: 3}))
		join("d", &limpetv1.GossipMeta{BootstrapExpect: 3})
		if a := ask("b", "c", "d"); a.GetPromised() || !strings.Contains(a.GetReason(), "another cluster") {
			t.Errorf("promised twice: %v", a)
		}
		time.Sleep(promiseFor)
		if a := ask("b", "c", "d"); !a.GetPromised() {
			t.Errorf("did not promise after the first lapsed: %v", a)
		}
		join("d", &limpetv1.GossipMeta{BootstrapExpect: 5})
		if _, why := f.candidates(); !strings.HasPrefix(why, expectDiffers) {
			t.Errorf("different expectations: %q", why)
		}
		join("d", &limpetv1.GossipMeta{BootstrapExpect: 3, HasState: true})
		if _, why := f.candidates(); !strings.Contains(why, `"d" already belongs to a cluster`) {
			t.Errorf("beside a cluster: %q", why)
		}
	})
}

func TestNodesOfAnotherClusterAreNotLetIn(t *testing.T) {
	table := newMemberTable(nil)
	stranger := gossipNode("x", &limpetv1.GossipMeta{ClusterId: "other"})
	if err := table.NotifyAlive(stranger); err != nil {
		t.Errorf("without a cluster of its own: %v", err)
	}
	table.setCluster("mine")
	if err := table.NotifyAlive(stranger); err == nil || !strings.Contains(err.Error(), `"other"`) {
		t.Errorf("let in: %v", err)
	}
	for _, id := range []string{"", "mine"} {
		if err := table.NotifyAlive(gossipNode("y", &limpetv1.GossipMeta{ClusterId: id})); err != nil {
			t.Errorf("cluster %q: %v", id, err)
		}
	}
}

// fakeRoute takes commands, or not.
type fakeRoute struct {
	err error
	no  bool

	mu   sync.Mutex
	list []string
}

func (r *fakeRoute) send(batch []*waiter) ([]refusal, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	refused := refusal{reason: limpetv1.PeerRefused_OVERLOADED}
	for _, w := range batch {
		if r.no {
			refused.ids = append(refused.ids, w.id)
		} else if r.err == nil {
			r.list = append(r.list, w.id)
		}
	}
	if len(refused.ids) == 0 {
		return nil, r.err
	}
	return []refusal{refused}, r.err
}

func (r *fakeRoute) took() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.list, "")
}

// fakeLeader is the route of the moment.
type fakeLeader struct {
	mu sync.Mutex
	to route
}

func (l *fakeLeader) find(context.Context) route {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.to
}

func (l *fakeLeader) become(to route) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.to = to
}

func TestCommandsAreSentAgainUntilTheyAreAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var leader fakeLeader
		f := newForwarder(leader.find, 2*time.Second, 3)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			f.run(ctx)
		}()
		command := func(id string) fsm.Command {
			c := register(1)
			c.RequestId = []byte(id)
			return c
		}
		results := make(chan error, 8)
		for _, id := range []string{"a", "b"} {
			go func() {
				r, err := f.propose(ctx, forever, command(id))
				if err == nil && r.RequestID != id {
					err = fmt.Errorf("%q got the answer of %q", id, r.RequestID)
				}
				results <- err
			}()
			synctest.Wait()
		}
		time.Sleep(time.Second) // no leader: held
		synctest.Wait()
		first := &fakeRoute{}
		leader.become(first)
		time.Sleep(time.Second)
		synctest.Wait()
		if got := first.took(); got != "ab" {
			t.Errorf("the first leader got %q", got)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := first.took(); got != "abab" {
			t.Errorf("without an answer the first leader got %q", got)
		}
		if got := f.load().Repeats; got != 2 {
			t.Errorf("%d commands are counted as repeated", got)
		}
		full := &fakeRoute{no: true}
		leader.become(full)
		time.Sleep(time.Second)
		synctest.Wait()
		broken := &fakeRoute{err: errBroken}
		leader.become(broken)
		time.Sleep(time.Second)
		synctest.Wait()
		second := &fakeRoute{}
		leader.become(second)
		time.Sleep(time.Second)
		synctest.Wait()
		if got := second.took(); got != "ab" && got != "ba" {
			t.Errorf("the second leader got %q", got)
		}
		f.refused(refusal{reason: limpetv1.PeerRefused_NOT_LEADER, ids: []string{"a"}})
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		if got := strings.Count(second.took(), "a"); got != 2 {
			t.Errorf("a command that was refused was sent %d times", got)
		}
		f.answer([]fsm.Result{{RequestID: "x"}, {RequestID: "b"}, {RequestID: "a"}})
		for range 2 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		short, stop := context.WithTimeout(ctx, time.Second)
		defer stop()
		if _, err := f.propose(short, forever, command("c")); !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without an answer: %v", err)
		}
		if len(f.table.byID) != 0 {
			t.Errorf("%d commands are still kept", len(f.table.byID))
		}
		cancel()
		<-done
	})
}

func TestACallWaitsNoLongerThanItMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newForwarder(func(context.Context) route { return nil }, time.Second, 2)
		for _, hold := range []time.Duration{3 * time.Second, 0, -time.Second} {
			began := time.Now()
			_, err := f.propose(context.Background(), hold, register(1))
			if !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("hold %s: %v", hold, err)
			}
			if took := time.Since(began); took != max(0, hold) || len(f.table.byID) != 0 {
				t.Errorf("hold %s: it took %s, and %d commands are kept", hold, took, len(f.table.byID))
			}
		}
		f.table.fresh = nil
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := f.propose(ctx, time.Hour, register(1)); !errors.Is(err, context.Canceled) {
			t.Errorf("a caller that has gone: %v", err)
		}
	})
}

// One timer serves all callers: each must be let go at its own time, whatever came
// before it, and those of one command with the most patient of them.
func TestEachCallIsLetGoAtItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newForwarder(func(context.Context) route { return nil }, time.Second, 100)
		began := time.Now()
		var calls sync.WaitGroup
		call := func(cmd fsm.Command, hold, want time.Duration) {
			calls.Go(func() {
				_, err := f.propose(t.Context(), hold, cmd)
				if took := time.Since(began); took != want || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("a call that may wait %s came back after %s, not %s: %v", hold, took, want, err)
				}
			})
			synctest.Wait()
		}
		for _, s := range []int{7, 3, 5, 1, 9, 3} {
			hold := time.Duration(s) * time.Second
			call(register(s), hold, hold)
		}
		shared := register(100)
		shared.RequestId = newRequestID()
		call(shared, 2*time.Second, 8*time.Second)
		call(shared, 8*time.Second, 8*time.Second)
		call(shared, 4*time.Second, 8*time.Second)
		calls.Wait()
		synctest.Wait()
		if len(f.table.byID) != 0 || !f.soonest.IsZero() {
			t.Errorf("%d commands are kept, and the timer is set to %s", len(f.table.byID), f.soonest)
		}
		unbounded, unboundedToo := register(101), register(102)
		unbounded.RequestId, unboundedToo.RequestId = newRequestID(), newRequestID()
		for _, c := range []struct {
			cmd  fsm.Command
			hold time.Duration
		}{{unbounded, time.Second}, {unbounded, forever}, {unboundedToo, forever}, {unboundedToo, time.Second}} {
			calls.Go(func() {
				if _, err := f.propose(t.Context(), c.hold, c.cmd); !errors.Is(err, ErrUnavailable) || time.Since(began) < time.Hour {
					t.Errorf("a call beside one without an end came back after %s: %v", time.Since(began), err)
				}
			})
			synctest.Wait()
		}
		time.Sleep(time.Hour)
		f.close()
		calls.Wait()
	})
}

func TestAForwarderBoundsWhatItHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newForwarder(func(context.Context) route { return nil }, time.Second, 2)
		errs := make(chan error, 3)
		for range 2 {
			go func() {
				_, err := f.propose(context.Background(), forever, register(1))
				errs <- err
			}()
		}
		synctest.Wait()
		if _, err := f.propose(context.Background(), forever, register(1)); !errors.Is(err, ErrOverloaded) {
			t.Errorf("a third one: %v", err)
		}
		if _, err := f.propose(context.Background(), forever, &limpetv1.Command{}); err == nil {
			t.Error("an empty command was taken")
		}
		f.close()
		for range 2 {
			if err := <-errs; !errors.Is(err, ErrUnavailable) {
				t.Errorf("at the end: %v", err)
			}
		}
		if _, err := f.propose(context.Background(), forever, register(1)); !errors.Is(err, ErrClosed) {
			t.Errorf("after the end: %v", err)
		}
	})
}
