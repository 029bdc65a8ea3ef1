package cluster

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

// loaded is a leader as its saturation sees it, in a time of its own: every 50 ms it
// makes an entry.
type loaded struct {
	*saturation
	now                         time.Time
	slots, queued, absent       int // absent: what waits for others
	asked, let, refused, ending int
	reports                     int // of an entry
	inside, wait                time.Duration
}

const entryEvery = 50 * time.Millisecond

func newLoaded(slots int) *loaded {
	now := time.Unix(1, 0)
	return &loaded{saturation: newSaturation(fsm.Counts{}, now), now: now, slots: slots}
}

// entry is one: so many runs are asked for, one by one, and so many of those that
// workers have come to their end.
func (l *loaded) entry(ask, end int) {
	l.trigger(ask)
	live := l.let - l.ending
	end = min(end, live, l.slots)
	l.ending += end
	live -= end
	held := min(live, l.slots)
	l.queued = live - held
	l.now = l.now.Add(entryEvery)
	l.drafted(end, l.wait, fsm.Counts{LiveRuns: live, Queued: l.queued + l.absent, Held: held}, l.now)
	l.answered(l.reports, time.Duration(l.reports)*l.inside, l.now)
}

// trigger asks for so many runs, one by one.
func (l *loaded) trigger(runs int) {
	for range runs {
		l.asked++
		if l.admit(1, false, l.now) {
			l.let++
		} else {
			l.refused++
		}
	}
}

func (l *loaded) seconds(n, ask, end int) {
	for range n * int(time.Second/entryEvery) {
		l.entry(ask, end)
	}
}

// busyLeader is one that 500 task runs wait for, whatever it does: 2,000 runs end a
// second.
func busyLeader() *loaded {
	l := newLoaded(500)
	l.reports, l.inside = 20, 5*time.Millisecond
	l.seconds(10, 10, 10) // an ordinary load comes before
	l.reports, l.inside = 200, 60*time.Millisecond
	return l
}

func TestALeaderThatHoldsUpItsWorkersLetsInWhatEnds(t *testing.T) {
	l := busyLeader()
	if l.refused != 0 {
		t.Fatalf("%d refused of an ordinary load", l.refused)
	}
	l.seconds(1, 600, 100)
	if !l.on {
		t.Fatalf("not saturated after a second: %.2f held up, %d wait", l.share, l.queued)
	}
	l.seconds(9, 600, 100)
	most := 3 * 2000
	if l.queued > most {
		t.Errorf("after 10 s %d wait, more than %d", l.queued, most)
	}
	before, ended := l.let, l.ending
	l.seconds(590, 600, 100)
	if l.queued > most {
		t.Errorf("after 10 min %d wait, more than %d", l.queued, most)
	}
	if let, end := l.let-before, l.ending-ended; let > end+most || let < end/2 {
		t.Errorf("%d were let in while %d ended", let, end)
	}
	if got := l.advice(); got < 3*time.Second || got > mostAdvice {
		t.Errorf("at six times what ends the advice is %v", got)
	}
	if i := l.info(l.now); !i.Saturated || i.Refused != int64(l.refused) || i.EndsPerSecond < 1500 {
		t.Errorf("it says of itself %+v, with %d refused", i, l.refused)
	}

	// It is over at once when less is asked for.
	l.refused = 0
	l.seconds(4, 20, 100)
	if l.on || l.refused > 0 {
		t.Errorf("four seconds later it is still saturated (%v), and refused %d", l.on, l.refused)
	}
}

func TestSlowWorkersAreNoSaturation(t *testing.T) {
	for _, end := range []int{0, 1} {
		l := newLoaded(1)
		l.reports, l.inside = 0, 0
		for i := range 200 { // 100,000 runs in ten seconds
			l.reports, l.inside = 0, 0
			if end > 0 && i%60 == 59 {
				l.reports, l.inside = 2, 150*time.Millisecond // the leader is slow too
			}
			l.entry(500, l.reports/2)
		}
		if l.refused != 0 || l.on {
			t.Errorf("ends %d: %d of %d runs for one slow worker were refused", end, l.refused, l.asked)
		}
	}
	l := newLoaded(500)
	l.reports, l.inside = 50, 50*time.Millisecond // 500 slots for tasks of a second
	l.seconds(20, 600, 25)
	if l.refused != 0 {
		t.Errorf("%d of %d runs for workers that are full were refused", l.refused, l.asked)
	}
}

// TestAClosedLoopIsNeverRefused: whoever asks for a run when another has ended does
// not overload anything, however long it takes.
func TestAClosedLoopIsNeverRefused(t *testing.T) {
	for _, outstanding := range []int{64, 256, 1024, 2048} {
		l := busyLeader()
		l.entry(outstanding, 0)
		for range 2000 {
			ended := l.ending
			l.entry(0, 100)
			l.entry(l.ending-ended, 0)
		}
		if l.refused != 0 {
			t.Errorf("%d runs in flight: %d refused", outstanding, l.refused)
		}
	}
}

// TestADiskThatIsSlowIsNoSaturation: reports take long there, whatever the load.
func TestADiskThatIsSlowIsNoSaturation(t *testing.T) {
	l := newLoaded(10)
	l.reports, l.inside = 4, 15*time.Millisecond
	l.seconds(10, 2, 2)
	l.inside = 40 * time.Millisecond
	l.seconds(60, 100, 2)
	if l.refused != 0 {
		t.Errorf("%d of %d refused", l.refused, l.asked)
	}
}

func TestASingleStallIsNoSaturation(t *testing.T) {
	l := busyLeader()
	l.reports, l.inside = 20, 5*time.Millisecond
	l.seconds(5, 100, 100)
	l.entry(2000, 0)
	l.reports, l.inside = 500, 2*time.Second
	l.now = l.now.Add(2 * time.Second)
	l.entry(4000, 250)
	l.reports, l.inside = 200, 8*time.Millisecond
	l.seconds(5, 100, 300)
	if l.refused != 0 {
		t.Errorf("%d refused", l.refused)
	}
}

func TestASaturationWithoutEndsLocksNothingUp(t *testing.T) {
	l := busyLeader()
	l.seconds(5, 600, 100)
	if !l.on {
		t.Fatal("not saturated")
	}
	// Reports come and nothing ends: a little is let in.
	let := l.let
	l.seconds(60, 600, 0)
	if got := l.let - let; got < 30*leastRate || got > 120*leastRate {
		t.Errorf("%d runs were let in within a minute without an end", got)
	}
	// No report comes: the workers are gone, and what comes waits for others.
	l.reports, l.inside = 0, 0
	l.seconds(10, 600, 0)
	if l.refused = 0; l.on {
		t.Error("still saturated without any report")
	}
	l.seconds(60, 600, 0)
	if l.refused != 0 {
		t.Errorf("%d refused", l.refused)
	}
}

// TestALeaderThatIsFarBehindIsSaturated: its entries take longer than a look, and few
// reports get so far at all.
func TestALeaderThatIsFarBehindIsSaturated(t *testing.T) {
	l := busyLeader()
	l.reports, l.inside, l.wait = 4, 700*time.Millisecond, 700*time.Millisecond
	for range 60 {
		l.now = l.now.Add(700 * time.Millisecond)
		l.entry(5000, 2)
	}
	if !l.on {
		t.Error("not saturated")
	}
	if most := 20_000; l.queued > most {
		t.Errorf("%d runs wait, of %d that were asked for", l.queued, l.asked)
	}
}

func TestWhatMustComeInIsNotRefused(t *testing.T) {
	l := busyLeader()
	l.seconds(5, 600, 100)
	for l.admit(1, false, l.now) {
	}
	for range 100_000 {
		if !l.admit(1, true, l.now) {
			t.Fatal("a child was refused")
		}
	}
	if l.admit(1, false, l.now) {
		t.Error("children took no room")
	}
	if l.room < -l.burst() {
		t.Errorf("children took room for ever: %.0f", l.room)
	}
	l.seconds(3, 20, 100)
	refused := l.refused
	l.seconds(1, 20, 100)
	if l.refused != refused {
		t.Errorf("%d refused three seconds after the last child", l.refused-refused)
	}
}

// saturate makes a proposer refuse new runs for as long as it lasts.
func saturate(p *proposer) {
	p.load.mu.Lock()
	defer p.load.mu.Unlock()
	p.load.on, p.load.share, p.load.room, p.load.calm = true, 1e9, -1e9, -time.Hour
}

// TestARefusalOfASaturatedLeaderLeavesNoTrace: nothing is done, nothing is kept, and
// reports go through.
func TestARefusalOfASaturatedLeaderLeavesNoTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog(10 * time.Millisecond)
		p, _, end := l.propose(t, nil)
		defer end()
		f := newForwarder(func(context.Context) route { return &reign{proposer: p} }, time.Second, 1000)
		l.machine.onResults = f.answer
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			f.run(ctx)
		}()
		saturate(p)
		before := l.machine.state().view.Hash()
		_, err := f.propose(ctx, forever, nextTrigger())
		if full, ok := errors.AsType[*SaturatedError](err); !ok || !errors.Is(err, ErrOverloaded) || full.After < time.Second {
			t.Errorf("a trigger gave %v", err)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if entries, _ := l.count(); entries != 0 || l.machine.state().view.Hash() != before {
			t.Errorf("a refusal made %d entries", entries)
		}
		if len(f.table.byID) != 0 || f.table.bytes != 0 || len(p.queue.known) != 0 || !p.queue.empty() {
			t.Errorf("%d commands, %d bytes and %d request ids are kept of a refusal", len(f.table.byID), f.table.bytes, len(p.queue.known))
		}
		for _, cmd := range []fsm.Command{nextReport(), register(1), nextChild()} {
			if _, err := f.propose(ctx, forever, cmd); err != nil {
				t.Errorf("%T was not taken: %v", cmd.GetKind(), err)
			}
		}
		cancel()
		<-done
	})
}

// nextChild is a trigger of a child.
func nextChild() fsm.Command {
	cmd := nextTrigger()
	cmd.GetTriggerRuns().Runs = []*limpetv1.RunSpec{{ParentTaskRunId: "00000000-0000-7000-8000-000000000009"}}
	return cmd
}

// TestWhatMayHaveBeenDoneIsNotSaidToBeRefused: of a command that was sent before
// nobody can say that nothing was done.
func TestWhatMayHaveBeenDoneIsNotSaidToBeRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog(10 * time.Millisecond)
		p, _, end := l.propose(t, nil)
		defer end()
		cmd := nextTrigger()
		if got := p.take([]offer{{cmd: cmd}}); len(got) != 0 {
			t.Fatalf("refused without need: %v", got)
		}
		saturate(p)
		if got := p.take([]offer{{cmd: cmd}}); len(got) != 0 {
			t.Errorf("a command that waits, or is in flight, was refused: %v", got)
		}
		if got := p.take([]offer{{cmd: nextTrigger(), resent: true}}); len(got) != 0 {
			t.Errorf("a command that was sent before was refused: %v", got)
		}
		if got := p.take([]offer{{cmd: nextTrigger()}}); len(got) != 1 || got[0].reason != limpetv1.PeerRefused_SATURATED {
			t.Errorf("a new one was not refused: %v", got)
		}
	})
	f := newForwarder(func(context.Context) route { return nil }, time.Second, 100)
	w, err := f.register(nextTrigger(), forever)
	if err != nil {
		t.Fatal(err)
	}
	denied := refusal{reason: limpetv1.PeerRefused_SATURATED, ids: []string{w.id}, after: time.Second}
	f.table.take(1000, time.Now())
	f.table.again(w.id) // another leader
	f.refused(denied)
	f.table.take(1000, time.Now())
	f.refused(denied) // the late word of the first
	if w.over {
		t.Errorf("a command that went to two leaders was given up at the word of one: %v", w.err)
	}
}

// TestANodeAsksASaturatedLeaderForLittleMoreThanItTakes: what is refused at the node
// costs the leader nothing.
func TestANodeAsksASaturatedLeaderForLittleMoreThanItTakes(t *testing.T) {
	var l throttle
	now := time.Unix(1, 0)
	if !l.admit(now) {
		t.Fatal("a call was refused before the leader refused any")
	}
	l.refused(2*time.Second, now)
	asked, came := 0, 0
	for range 100 { // ten seconds: 100 calls every tenth of a second, of which the leader takes 10
		now = now.Add(100 * time.Millisecond)
		for i := range 100 {
			came++
			if !l.admit(now) {
				continue
			}
			asked++
			if i < 10 {
				l.taken++
			} else {
				l.refused(2*time.Second, now)
			}
		}
	}
	if asked < 1000 || asked > came*2/5 {
		t.Errorf("%d of %d calls went to a leader that takes %d", asked, came, came/10)
	}
	if l.advice < 2*time.Second || l.advice > mostAdvice {
		t.Errorf("the advice is %v", l.advice)
	}
	now = now.Add(2 * throttleFor)
	for range 1000 {
		if !l.admit(now) {
			t.Fatal("a call was refused long after the leader's last refusal")
		}
	}
}

// TestAStallDoesNotEndASaturation: after it, nodes ask the leader for less than it takes
// for a while, for they took it for the leader's pace. That is no sign that less is wanted.
func TestAStallDoesNotEndASaturation(t *testing.T) {
	for stall := range 201 { // up to ten seconds
		l := busyLeader()
		nodes, stuck := make([]throttle, 3), false
		entry := func(end int) {
			for i := range 600 {
				n := &nodes[i%len(nodes)]
				if n.saturated(l.now) && !n.admit(l.now) {
					continue
				}
				let := l.let
				if l.trigger(1); l.let == let {
					n.refused(l.advice(), l.now)
				} else if end > 0 {
					n.taken++
				}
			}
			switch {
			case end == 0 && !stuck: // it does not get into the log
				l.drafted(0, 0, fsm.Counts{Queued: l.queued, Held: l.slots}, l.now)
			case end > 0 && stuck:
				l.answered(0, 0, l.now)
			}
			if stuck = end == 0; stuck {
				l.now = l.now.Add(entryEvery)
				return
			}
			l.entry(0, end)
		}
		for range 100 {
			entry(100)
		}
		if !l.on {
			t.Fatal("not saturated")
		}
		l.reports, l.inside = 100, 25*time.Millisecond // what is let in keeps them quick
		most := 3 * 2000
		for range stall {
			entry(0)
		}
		for i := range 400 {
			if entry(100); !l.on {
				t.Fatalf("a stall of %v ended the saturation %v later; %d wait", time.Duration(stall)*entryEvery, time.Duration(i)*entryEvery, l.queued)
			}
			if l.queued > most {
				t.Fatalf("%d wait %v after a stall of %v", l.queued, time.Duration(i)*entryEvery, time.Duration(stall)*entryEvery)
			}
		}
	}
}

// TestANodeBelievesInAStallOnlySlowly: who stood still for a moment takes as much as
// before afterwards, and is asked for it.
func TestANodeBelievesInAStallOnlySlowly(t *testing.T) {
	var l throttle
	now := time.Unix(1, 0)
	asked := func() (n int) { // of 300 calls in a quarter of a second
		now = now.Add(throttleEvery)
		for range 300 {
			if l.admit(now) {
				n++
			}
		}
		return n
	}
	l.refused(time.Second, now)
	for range 20 {
		l.taken = min(asked(), 100)
		l.refused(time.Second, now)
	}
	if n := asked(); n < 150 || n > 250 {
		t.Errorf("%d calls go to a leader that takes 100", n)
	}
	for i := range 2 { // it takes none of them
		l.refused(time.Second, now)
		if n := asked(); n < 100 {
			t.Errorf("%d stalls later %d calls go to a leader that took 100", i+1, n)
		}
	}
	for range 20 {
		l.refused(time.Second, now)
		asked()
	}
	if n := asked(); n > askedAtLeast {
		t.Errorf("%d calls go to a leader that has taken none for long", n)
	}
}

// TestALeaderThatNothingHoldsUpAnyMoreLetsAllIn: its reports take as long as ever, but
// workers are busy with their tasks.
func TestALeaderThatNothingHoldsUpAnyMoreLetsAllIn(t *testing.T) {
	l := newLoaded(10_000)
	l.goOn()
	l.reports, l.inside = 25, 35*time.Millisecond
	l.let = 12_000
	l.seconds(10, 30, 25)
	if l.refused = 0; l.on {
		t.Error("still saturated")
	}
	l.seconds(60, 30, 25)
	if l.refused > 0 {
		t.Errorf("%d refused", l.refused)
	}
}

// TestWhatWaitsForOthersHoldsUpNobody: a leader that begins as saturated does not know that
// it is ordinary, and letting in less does not make it go away.
func TestWhatWaitsForOthersHoldsUpNobody(t *testing.T) {
	l := newLoaded(500)
	l.absent = 100_000
	l.goOn()
	l.reports, l.inside = 200, 60*time.Millisecond
	l.seconds(30, 600, 100)
	before, ended := l.let, l.ending
	l.seconds(60, 600, 100)
	if !l.on {
		t.Error("not saturated")
	}
	if let, end := l.let-before, l.ending-ended; end < 60*1500 || let > end+3*2000 {
		t.Errorf("%d runs were let in, and %d ended, in a minute that could do %d", let, end, 60*2000)
	}
}

// TestMomentsInWhichNoLessWaitsDoNotAddUp: only if that goes on does what waits wait for
// something else, or an uneven overload would grow by each of them.
func TestMomentsInWhichNoLessWaitsDoNotAddUp(t *testing.T) {
	l := busyLeader()
	l.seconds(5, 600, 100)
	base := l.base
	look := func(queued int) {
		l.saturation.queued, l.saturation.refused, l.ended = queued, 1, 100
		l.drained()
	}
	for range 50 {
		for range vainLooks - 1 {
			look(10_000)
		}
		look(0)
	}
	if l.base > base {
		t.Errorf("%.0f are taken for ordinary, %.0f before", l.base, base)
	}
	for range vainLooks + 1 {
		look(10_000)
	}
	if l.base < 10_000 {
		t.Errorf("%.0f are taken for ordinary of 10,000 that nothing drains", l.base)
	}
}

// TestManyRunsInOneCallAreForgotten: they may come when there is room for one, and make
// up for it by what ends. If nothing is left to end nobody waits for that.
func TestManyRunsInOneCallAreForgotten(t *testing.T) {
	l := busyLeader()
	l.seconds(5, 600, 100)
	for l.room <= 0 {
		l.entry(0, 1)
	}
	if !l.on || !l.admit(10_000, false, l.now) {
		t.Fatal("not saturated, or no room")
	}
	for range 200 { // no entry, no report: everything has ended, or nobody is there
		l.trigger(10)
		l.now = l.now.Add(entryEvery)
	}
	if l.on {
		t.Errorf("ten seconds later it still refuses: room is %.0f", l.room)
	}
}

// TestALeaderThatIsSlowForManyWorkersGoesOnRefusing: of many task runs few are
// inside it, each for long.
func TestALeaderThatIsSlowForManyWorkersGoesOnRefusing(t *testing.T) {
	l := newLoaded(2500)
	l.reports, l.inside = 20, 5*time.Millisecond
	l.seconds(10, 10, 10)
	l.reports, l.inside = 400, 60*time.Millisecond
	l.seconds(10, 600, 100)
	if !l.on {
		t.Fatal("not saturated")
	}
	l.reports, l.inside = 100, 25*time.Millisecond // a fiftieth of them
	for range 60 {
		if l.seconds(1, 600, 100); !l.on {
			t.Fatalf("not saturated any more; %d wait", l.queued)
		}
	}
	if most := 3 * 2000; l.queued > most {
		t.Errorf("%d wait", l.queued)
	}
}

// TestALongSaturationIsNoOrdinaryTime: how long reports take under it is not taken for
// what they take as a rule, or the next would be noticed late.
func TestALongSaturationIsNoOrdinaryTime(t *testing.T) {
	l := busyLeader()
	l.seconds(10, 600, 100)
	least := l.least
	l.seconds(1200, 600, 100)
	if !l.on || l.least > least {
		t.Errorf("after 20 min reports take %v as a rule, %v before; saturated: %v", l.least, least, l.on)
	}
}

// TestACallAtAFollowerOfASaturatedLeaderIsRefused: by the leader, over the wire of the
// nodes.
func TestACallAtAFollowerOfASaturatedLeaderIsRefused(t *testing.T) {
	b := newBed(t, 3, nil)
	b.start("node-1", "node-2", "node-3")
	b.awaitReady()
	leader, follower := b.leader(), b.follower()
	saturate(leader.current.Load().proposer)
	_, err := follower.Propose(t.Context(), nextTrigger())
	if full, ok := errors.AsType[*SaturatedError](err); !ok || full.After < time.Second {
		t.Errorf("a trigger at a follower gave %v", err)
	}
	propose(t, follower, register(1))
	if got := leader.Load(); !got.Leads || !got.Saturated {
		t.Errorf("the leader says of itself %+v", got)
	}
	if got := follower.Load(); got.Leads || !got.Saturated || got.Refused != 0 {
		t.Errorf("the follower says of itself %+v", got)
	}
}

// TestANewLeaderGoesOnAsSaturated: what was held back during the election does not
// come in at once; but one that nobody asks for more ends it.
func TestANewLeaderGoesOnAsSaturated(t *testing.T) {
	l := newLoaded(500)
	l.goOn()
	for range 1000 {
		if l.admit(1, false, l.now) {
			t.Fatal("a run came in before one had ended")
		}
	}
	l.seconds(6, 0, 0)
	if l.on {
		t.Error("still saturated when nothing is asked for")
	}
	f := newForwarder(func(context.Context) route { return nil }, time.Second, 100)
	if f.inherits() {
		t.Error("a node that was never refused would begin as saturated")
	}
	w, err := f.register(nextTrigger(), forever)
	if err != nil {
		t.Fatal(err)
	}
	f.table.take(1000, time.Now())
	f.refused(refusal{reason: limpetv1.PeerRefused_NOT_LEADER, ids: []string{w.id}})
	f.table.take(1000, time.Now())
	f.refused(refusal{reason: limpetv1.PeerRefused_SATURATED, ids: []string{w.id}, after: time.Second})
	if !w.over || !errors.Is(w.err, ErrOverloaded) {
		t.Errorf("the second node refused what the first had not taken, and the caller was told %v", w.err)
	}
	if !f.inherits() {
		t.Error("a node that was just refused would begin as if nothing were")
	}
}
