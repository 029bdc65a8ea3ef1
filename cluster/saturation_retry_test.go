package cluster

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

// A caller whose first try had no answer repeats the call, at this node or another,
// with the same request id. If it was done, nobody may say that it was not.
func TestARetryOfWhatWasDoneIsNotRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog(10 * time.Millisecond)
		p, _, end := l.propose(t, nil)
		defer end()
		p.applied = func() fsm.View { return l.machine.state().view }
		done := nextTrigger()
		done.Remember = true
		p.take([]offer{{cmd: done}})
		time.Sleep(time.Second)
		synctest.Wait()
		if len(p.queue.known) != 0 || !p.applied().Remembers(done) {
			t.Fatal("the command was not applied")
		}
		saturate(p)
		if got := p.take([]offer{{cmd: done}}); len(got) != 0 {
			t.Errorf("the leader refused what it has done: %v", got)
		}
		f := newForwarder(func(context.Context) route { return nil }, time.Second, 100)
		f.limit.refused(time.Second, time.Now())
		f.limit.most = 0
		if err := f.throttle(done); err == nil {
			t.Fatal("the node refuses nothing")
		}
		f.remembers = func(cmd fsm.Command) bool { return p.applied().Remembers(cmd) }
		if err := f.throttle(done); err != nil {
			t.Errorf("the node refused what was done: %v", err)
		}
	})
}

// Some kinds of command are kept whether the caller chose the request id or not: sent
// again after they were done, they take no room from new runs.
func TestAReplayThatWasDoneTakesNoRoomAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog(10 * time.Millisecond)
		p, _, end := l.propose(t, nil)
		defer end()
		p.applied = func() fsm.View { return l.machine.state().view }
		replay := &limpetv1.Command{RequestId: newRequestID(), Kind: &limpetv1.Command_ReplayTasks{ReplayTasks: &limpetv1.ReplayTasks{Ids: []string{"a", "b"}}}}
		p.take([]offer{{cmd: replay}})
		time.Sleep(time.Second)
		synctest.Wait()
		if runs, _ := freshRuns(replay, p.applied); runs != 2 || !p.applied().Remembers(replay) {
			t.Fatal("the command asks for nothing, or was not applied")
		}
		p.load.mu.Lock()
		p.load.on, p.load.room = true, 50
		p.load.mu.Unlock()
		p.take([]offer{{cmd: replay, resent: true}})
		p.load.mu.Lock()
		defer p.load.mu.Unlock()
		if p.load.room != 50 {
			t.Errorf("room %.0f of 50 is left", p.load.room)
		}
	})
}

// What is sent again while it waits asks for nothing more.
func TestWhatWaitsAlreadyTakesNoRoomAgain(t *testing.T) {
	l := newFakeLog(time.Hour)
	p := newProposer(l, l.machine.clone(), newClusterClock(1, 0, time.Now, time.Now), nil, 1000)
	var offers []offer
	for range 50 {
		offers = append(offers, offer{cmd: nextTrigger()})
	}
	p.take(offers)
	p.load.on, p.load.room = true, 50
	for i := range offers {
		offers[i].resent = true
	}
	for range 3 {
		p.take(offers)
	}
	if p.load.room != 50 || p.queue.len() != 50 {
		t.Errorf("room %.0f of 50 is left, %d commands of 50 wait", p.load.room, p.queue.len())
	}
}

// New runs find their way beside a backlog of large reports, also a large one.
func TestABacklogOfLargeReportsLeavesRoomForNewRuns(t *testing.T) {
	q := newCommandQueue(10_000)
	var cmds []fsm.Command
	for range 200 {
		report := nextReport()
		report.GetReportCompleted().Output = make([]byte, 100<<10)
		cmds = append(cmds, report)
	}
	large := nextTrigger()
	large.GetTriggerRuns().Runs = []*limpetv1.RunSpec{{Input: make([]byte, 300<<10)}}
	q.put(offered(append(cmds, large, nextTrigger())))
	b := q.take()
	if q.later.len() != 0 || b.reports == 0 || b.bytes > maxEntryBytes {
		t.Errorf("the first entry has %d reports, %d bytes; %d new runs wait", b.reports, b.bytes, q.later.len())
	}
}

// A disk that gets slower makes all reports slow. That is not the leader's doing, and
// nothing to refuse runs for.
func TestADiskThatGetsSlowerIsNoSaturation(t *testing.T) {
	l := newLoaded(10)
	var writes uint64
	var spent time.Duration
	each := 2 * time.Millisecond
	l.disk = func() (uint64, time.Duration) {
		writes, spent = writes+10, spent+10*each
		return writes, spent
	}
	l.reports, l.inside = 4, 5*time.Millisecond
	l.seconds(10, 2, 2)
	l.inside, each = 40*time.Millisecond, 18*time.Millisecond
	l.seconds(1, 100, 2)
	l.seconds(60, 4, 2)
	if l.refused != 0 {
		t.Errorf("%d of %d refused", l.refused, l.asked)
	}
}
