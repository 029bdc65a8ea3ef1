package cluster

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/cluster/pack"
	"github.com/limpet-dev/limpet/fsm"
)

// fakeLog is Raft without Raft: entries commit after a while, in order, to one
// machine.
type fakeLog struct {
	delay   time.Duration
	machine *machine

	mu      sync.Mutex
	entries []*fsm.Entry
	pending []*fakeFuture
	open    int // in flight
	most    int
	fail    error // of every entry from now on
	twist   bool  // answers with a wrong seq
}

func newFakeLog(delay time.Duration) *fakeLog {
	l := &fakeLog{delay: delay, machine: newMachine(time.Now)}
	l.machine.onResults, l.machine.onEffects = func([]fsm.Result) {}, func([]fsm.Effect) {}
	first, err := (&fsm.Entry{Stamp: fsm.Stamp{Instant: 1}, Commands: []fsm.Command{bootstrap()}}).Encode()
	if err != nil {
		panic(err)
	}
	l.machine.Apply(&raft.Log{Index: 1, Type: raft.LogCommand, Data: first})
	return l
}

func (l *fakeLog) Apply(data []byte, _ time.Duration) raft.ApplyFuture {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, err := new(pack.Packer).Decode(data)
	if err != nil {
		panic(err)
	}
	l.entries = append(l.entries, e)
	l.open++
	l.most = max(l.most, l.open)
	f := &fakeFuture{log: &raft.Log{Index: uint64(len(l.entries)), Type: raft.LogCommand, Data: data}, done: make(chan struct{})}
	l.pending = append(l.pending, f)
	time.AfterFunc(l.delay, l.commit)
	return f
}

// commit ends the oldest entry: timers of one moment run in any order.
func (l *fakeLog) commit() {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.pending[0]
	l.pending = l.pending[1:]
	l.open--
	if f.err = l.fail; f.err == nil {
		f.response = l.machine.Apply(f.log)
		if l.twist {
			f.response = fsm.Seq(99)
		}
	}
	close(f.done)
}

// data gives the entries as bytes.
func (l *fakeLog) data(tb testing.TB) (out [][]byte) {
	tb.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.entries {
		raw, err := e.Encode()
		if err != nil {
			tb.Fatal(err)
		}
		out = append(out, raw)
	}
	return out
}

func (l *fakeLog) count() (entries, commands int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.entries {
		commands += len(e.Commands)
	}
	return len(l.entries), commands
}

type fakeFuture struct {
	log      *raft.Log
	done     chan struct{}
	err      error
	response any
}

func (f *fakeFuture) Error() error  { <-f.done; return f.err }
func (f *fakeFuture) Index() uint64 { return f.log.Index }
func (f *fakeFuture) Response() any { return f.response }

// propose starts a proposer; end stops it and gives why it ended.
func (l *fakeLog) propose(t *testing.T, decide func(*fsm.Draft)) (p *proposer, ended <-chan error, end func()) {
	t.Helper()
	head := l.machine.clone()
	p = newProposer(l, head, newClusterClock(head.Stamp().Instant, 0, time.Now, time.Now), decide, 100000)
	p.ahead = l.machine.speculate
	ctx, cancel := context.WithCancelCause(t.Context())
	errs := make(chan error, 2)
	var duties sync.WaitGroup
	for _, duty := range []func(context.Context) error{p.run, p.collect} {
		duties.Go(func() {
			err := duty(ctx)
			cancel(err)
			errs <- err
		})
	}
	return p, errs, func() {
		cancel(nil)
		duties.Wait()
		time.Sleep(l.delay) // the log answers what is in flight
	}
}

func commands(from, count int) (cmds []fsm.Command) {
	for i := range count {
		c := register(from + i)
		c.RequestId = newRequestID()
		cmds = append(cmds, c)
	}
	return cmds
}

// offered makes offers of commands: about every second as one that came encoded.
func offered(cmds []fsm.Command) (offers []offer) {
	for _, c := range cmds {
		o := offer{cmd: c}
		if id := c.GetRequestId(); len(id) > 0 && id[len(id)-1]%2 == 1 {
			o.data, _ = proto.Marshal(c)
		}
		offers = append(offers, o)
	}
	return offers
}

func TestWaitingCommandsShareAnEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog(10 * time.Millisecond)
		p, _, end := l.propose(t, nil)
		defer end()
		synctest.Wait()
		for i := range 100 { // one after the other: the first is alone in its entry
			p.queue.put(offered(commands(i, 1)))
			synctest.Wait()
		}
		time.Sleep(time.Second)
		synctest.Wait()
		entries, cmds := l.count()
		if cmds != 100 || entries != 2 || l.most != 1 {
			t.Errorf("%d commands in %d entries, %d in flight", cmds, entries, l.most)
		}
		if got := l.machine.state().view.Seq(); got != p.view.Seq() {
			t.Errorf("the machine is at seq %d, the head at %d", got, p.view.Seq())
		}
		if a, b := l.machine.state().view.Hash(), p.view.Hash(); a != b {
			t.Errorf("the machine's hash is %x, the head's %x", a, b)
		}
		if len(p.queue.known) != 0 {
			t.Errorf("%d request ids are still kept", len(p.queue.known))
		}
	})
}

func TestLargeEntriesDoNotWaitForTheOneInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog(10 * time.Millisecond)
		p, _, end := l.propose(t, nil)
		defer end()
		synctest.Wait()
		const batches = 2 * maxInFlight
		for i := range batches {
			p.queue.put(offered(commands(i*largeEntryCommands, largeEntryCommands)))
			synctest.Wait()
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if entries, cmds := l.count(); cmds != batches*largeEntryCommands || entries > batches || l.most != maxInFlight {
			t.Errorf("%d commands in %d entries, %d in flight", cmds, entries, l.most)
		}
	})
}

// What the leader takes over unseen is what applying gives, on any path: entries
// that are taken over, applied beside it, and applied after some were taken over.
func TestTheLeaderTakesOverWhatItSpeculated(t *testing.T) {
	for _, check := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			l := newFakeLog(time.Millisecond)
			l.machine.check = check
			l.machine.fatal = func(err error) { t.Error(err) }
			var results, effects int
			l.machine.onResults = func(r []fsm.Result) { results += len(r) }
			l.machine.onEffects = func(e []fsm.Effect) { effects += len(e) }
			p, _, end := l.propose(t, func(d *fsm.Draft) {
				if have := int(d.View().Seq()); have%3 == 0 {
					d.Add(commands(100+have, 1)...)
				}
			})
			other := fsm.NewMachine()
			for i := range 50 {
				p.queue.put(offered(commands(i, 1)))
				time.Sleep(10 * time.Millisecond)
			}
			end()
			if f := &l.machine.guesses; len(f.list) != 0 {
				t.Errorf("%d speculations are left", len(f.list))
			}
			// Another leader's entry comes from the disk.
			late, err := (&fsm.Entry{Stamp: fsm.Stamp{Instant: l.machine.state().stamp.Instant + 1}, Commands: commands(5000, 1)}).Encode()
			if err != nil {
				t.Fatal(err)
			}
			l.machine.Apply(&raft.Log{Index: 999, Type: raft.LogCommand, Data: late})
			first, err := (&fsm.Entry{Stamp: fsm.Stamp{Instant: 1}, Commands: []fsm.Command{bootstrap()}}).Encode()
			if err != nil {
				t.Fatal(err)
			}
			var want int
			for _, data := range append([][]byte{first}, append(l.data(t), late)...) {
				e, err := new(pack.Packer).Decode(data)
				if err != nil {
					t.Fatal(err)
				}
				want += len(other.Apply(e).Results)
			}
			if got := l.machine.state().view.Hash(); got != other.View().Hash() {
				t.Errorf("check %v: the leader's hash is %x, a follower's %x", check, got, other.View().Hash())
			}
			if results != want-1 { // the first was before the callback was set
				t.Errorf("check %v: %d results were told, want %d", check, results, want-1)
			}
			if effects == 0 {
				t.Errorf("check %v: no effects were told", check)
			}
		})
	}
}

// A speculation on another state than the one that is there is worth nothing.
func TestASpeculationOnAnotherStateIsNotTakenOver(t *testing.T) {
	l := newFakeLog(0)
	l.machine.fatal = func(err error) { t.Error(err) }
	data, err := (&fsm.Entry{Stamp: fsm.Stamp{Instant: 9}, Commands: commands(1, 1)}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	l.machine.speculate(speculation{data: data, from: 5, view: fsm.NewMachine().View()})
	l.machine.Apply(&raft.Log{Index: 2, Type: raft.LogCommand, Data: data})
	if _, ok := l.machine.state().view.Worker(workerID(1)); !ok {
		t.Error("the entry was not applied")
	}
	// Nor is one whose bytes are equal and not the same.
	l.machine.speculate(speculation{data: data, from: 9, view: fsm.NewMachine().View()})
	l.machine.Apply(&raft.Log{Index: 3, Type: raft.LogCommand, Data: slices.Clone(data)})
	if _, ok := l.machine.state().view.Worker(workerID(1)); !ok {
		t.Error("the state was replaced")
	}
}

func TestAnEntryIsBoundedAndARepeatedCommandRidesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog(time.Millisecond)
		p, _, end := l.propose(t, nil)
		defer end()
		cmds := commands(0, 5000)
		p.queue.put(offered(cmds))
		p.queue.put(offered(cmds[:100]))
		time.Sleep(time.Second)
		synctest.Wait()
		entries, count := l.count()
		if count != 5000 || entries < 2 {
			t.Errorf("%d commands in %d entries", count, entries)
		}
		for _, e := range l.entries {
			if len(e.Commands) > maxEntryCommands {
				t.Errorf("an entry of %d commands", len(e.Commands))
			}
		}
		q := newCommandQueue(10)
		if refused := q.put(offered(commands(0, 12))); len(refused) != 2 {
			t.Errorf("a full queue refused %d of 12", len(refused))
		}
	})
}

func TestDecisionsRideInTheEntryThatCausesThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog(time.Millisecond)
		var calls atomic.Int32
		decide := func(d *fsm.Draft) {
			calls.Add(1)
			if _, ok := d.View().Worker(workerID(0)); !ok {
				return
			}
			if _, ok := d.View().Worker(workerID(1)); ok {
				return
			}
			d.Add(register(1))
		}
		p, _, end := l.propose(t, decide)
		defer end()
		time.Sleep(time.Second)
		synctest.Wait()
		if entries, _ := l.count(); entries != 0 || calls.Load() != 1 {
			t.Errorf("%d entries and %d looks with nothing to do", entries, calls.Load())
		}
		p.queue.put(offered(commands(0, 1)))
		time.Sleep(time.Second)
		synctest.Wait()
		if entries, cmds := l.count(); entries != 1 || cmds != 2 {
			t.Errorf("%d commands in %d entries, want 2 in 1", cmds, entries)
		}
	})
}

func TestAFullPassIsFollowedByAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog(time.Millisecond)
		const want = 2*FullPass + 5
		decide := func(d *fsm.Draft) {
			have := int(d.View().Seq()) - 1 // the bootstrap
			d.Add(commands(have, min(FullPass, want-have))...)
		}
		p, _, end := l.propose(t, decide)
		defer end()
		time.Sleep(time.Second)
		synctest.Wait()
		if entries, cmds := l.count(); cmds != want || entries != 3 {
			t.Errorf("%d commands decided in %d entries, want %d in 3", cmds, entries, want)
		}
		p.queue.put(offered(commands(want, 1)))
		time.Sleep(time.Second)
		synctest.Wait()
		if entries, cmds := l.count(); cmds != want+1 || entries != 4 {
			t.Errorf("%d commands in %d entries at the end", cmds, entries)
		}
	})
}

func TestAnyErrorEndsTheProposerAndItsHead(t *testing.T) {
	for _, c := range []struct {
		name string
		harm func(*fakeLog)
		want error
	}{
		{"leadership lost", func(l *fakeLog) { l.fail = raft.ErrLeadershipLost }, raft.ErrLeadershipLost},
		{"transfer in progress", func(l *fakeLog) { l.fail = raft.ErrLeadershipTransferInProgress }, raft.ErrLeadershipTransferInProgress},
		{"a wrong speculation", func(l *fakeLog) { l.twist = true }, errSpeculation},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newFakeLog(time.Millisecond)
				p, ended, end := l.propose(t, nil)
				p.queue.put(offered(commands(0, 3)))
				time.Sleep(100 * time.Millisecond)
				synctest.Wait()
				l.mu.Lock()
				c.harm(l)
				l.mu.Unlock()
				p.queue.put(offered(commands(10, 3)))
				if err := <-ended; !errors.Is(err, c.want) {
					t.Errorf("ended with %v, want %v", err, c.want)
				}
				end()
				// The next one starts from what was committed.
				l.mu.Lock()
				l.fail, l.twist = nil, false
				l.mu.Unlock()
				p, _, end = l.propose(t, nil)
				defer end()
				p.queue.put(offered(commands(20, 1)))
				time.Sleep(100 * time.Millisecond)
				synctest.Wait()
				if a, b := l.machine.state().view.Hash(), p.view.Hash(); a != b {
					t.Errorf("the machine's hash is %x, the new head's %x", a, b)
				}
			})
		})
	}
}

func TestAnEntryOfANewerBuildStopsTheNode(t *testing.T) {
	f := newMachine(time.Now)
	var told error
	f.onResults, f.onEffects = func([]fsm.Result) {}, func([]fsm.Effect) {}
	f.fatal = func(err error) { told = err }
	good, err := (&fsm.Entry{Stamp: fsm.Stamp{Instant: 5}, Commands: commands(0, 1)}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	bad, err := (&fsm.Entry{Stamp: fsm.Stamp{Instant: 6}, Commands: []fsm.Command{&limpetv1.Command{}}}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	var logs []*raft.Log
	for i, data := range [][]byte{good, bad, good} { // the machine must not go on after the second
		logs = append(logs, &raft.Log{Index: uint64(i + 1), Type: raft.LogCommand, Data: data})
	}
	f.ApplyBatch(logs)
	if told == nil || f.state().index != 1 {
		t.Errorf("applied up to %d, told %v", f.state().index, told)
	}
	if _, err := f.Snapshot(); err == nil {
		t.Error("a stopped machine gave a snapshot")
	}
}

func TestADueDeadlineMakesAnEntryOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const tenant, run = "707d0855-80ab-4e1f-a156-f1c4546cbf52", "00000000-0000-7000-8000-000000000003"
		definition, err := proto.Marshal(&limpetv1.WorkflowDefinition{
			Name: "w", Tasks: []*limpetv1.TaskDefinition{{Name: "t", Action: "w:t", ScheduleTimeout: int64(time.Minute)}},
		})
		if err != nil {
			t.Fatal(err)
		}
		l := newFakeLog(time.Millisecond)
		p, _, end := l.propose(t, nil)
		defer end()
		p.queue.put(offered([]fsm.Command{
			{RequestId: newRequestID(), Kind: &limpetv1.Command_PutWorkflow{PutWorkflow: &limpetv1.PutWorkflow{
				TenantId: tenant, WorkflowId: "00000000-0000-7000-8000-000000000001",
				VersionId: "00000000-0000-7000-8000-000000000002", Definition: definition,
			}}},
			{RequestId: newRequestID(), Kind: &limpetv1.Command_TriggerRuns{TriggerRuns: &limpetv1.TriggerRuns{
				TenantId: tenant, Runs: []*limpetv1.RunSpec{{RunId: run, Workflow: "w", Input: []byte("{}")}},
			}}},
		}))
		time.Sleep(59 * time.Second)
		synctest.Wait()
		if entries, _ := l.count(); entries != 1 {
			t.Errorf("%d entries before the deadline, want 1", entries)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if entries, _ := l.count(); entries != 2 {
			t.Errorf("%d entries after the deadline, want 2", entries)
		}
		if r, ok := l.machine.state().view.Run(run); !ok || r.Status != fsm.Failed {
			t.Errorf("the run is %v", r)
		}
	})
}
