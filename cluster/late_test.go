package cluster

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

func started(id, tenant string, attempt int32) fsm.Command {
	return &limpetv1.Command{RequestId: []byte(id), Kind: &limpetv1.Command_ReportStarted{
		ReportStarted: &limpetv1.ReportStarted{TenantId: tenant, TaskRunId: "t", Attempt: attempt},
	}}
}

func completed(id, tenant string, attempt int32) fsm.Command {
	return &limpetv1.Command{RequestId: []byte(id), Kind: &limpetv1.Command_ReportCompleted{
		ReportCompleted: &limpetv1.ReportCompleted{TenantId: tenant, TaskRunId: "t", Attempt: attempt},
	}}
}

func failed(id, tenant string, attempt int32) fsm.Command {
	return &limpetv1.Command{RequestId: []byte(id), Kind: &limpetv1.Command_ReportFailed{
		ReportFailed: &limpetv1.ReportFailed{TenantId: tenant, TaskRunId: "t", Attempt: attempt},
	}}
}

func cancelled(id, tenant string, attempt int32) fsm.Command {
	return &limpetv1.Command{RequestId: []byte(id), Kind: &limpetv1.Command_ReportCancelled{
		ReportCancelled: &limpetv1.ReportCancelled{TenantId: tenant, TaskRunId: "t", Attempt: attempt},
	}}
}

func streamed(id, tenant, task string) fsm.Command {
	return &limpetv1.Command{RequestId: []byte(id), Kind: &limpetv1.Command_PutChunks{
		PutChunks: &limpetv1.PutChunks{TenantId: tenant, Chunks: []*limpetv1.Chunk{{TaskRunId: task}}},
	}}
}

// forwarding runs a forwarder to a leader, until the test ends.
func forwarding(t *testing.T) (*forwarder, *fakeRoute, context.Context) {
	t.Helper()
	to := &fakeRoute{}
	f := newForwarder(func(context.Context) route { return to }, time.Hour, 100)
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	go f.run(ctx)
	return f, to, ctx
}

// What is sent of reports that come after each other, and when.
func TestAShortTaskIsReportedOnce(t *testing.T) {
	const apart = time.Millisecond
	for _, c := range []struct {
		name  string
		cmds  []fsm.Command
		sends string // within what they are apart, and a bit
		then  string // with what comes later
	}{
		{"started", []fsm.Command{started("s", "a", 0)}, "", "s"},
		{"started and completed", []fsm.Command{started("s", "a", 0), completed("c", "a", 0)}, "c", "c"},
		{"started and failed", []fsm.Command{started("s", "a", 0), failed("f", "a", 0)}, "f", "f"},
		{"started and cancelled", []fsm.Command{started("s", "a", 0), cancelled("x", "a", 0)}, "x", "x"},
		{"started and streamed", []fsm.Command{started("s", "a", 0), streamed("k", "a", "t")}, "sk", "sk"},
		{"started, streamed and completed", []fsm.Command{started("s", "a", 0), streamed("k", "a", "t"), completed("c", "a", 0)}, "skc", "skc"},
		{"streamed by another", []fsm.Command{started("s", "a", 0), streamed("k", "a", "u")}, "k", "ks"},
		{"streamed with another tenant", []fsm.Command{started("s", "a", 0), streamed("k", "b", "t")}, "k", "ks"},
		{"completed and started", []fsm.Command{completed("c", "a", 0), started("s", "a", 0)}, "c", "c"},
		{"started twice", []fsm.Command{started("s", "a", 0), started("r", "a", 0)}, "", "s"},
		{"started twice and completed", []fsm.Command{started("s", "a", 0), started("r", "a", 0), completed("c", "a", 0)}, "c", "c"},
		{"of another attempt", []fsm.Command{started("s", "a", 0), completed("c", "a", 1)}, "c", "cs"},
		{"of no attempt", []fsm.Command{started("s", "a", -1), completed("c", "a", -1)}, "sc", "sc"},
		{"of another tenant", []fsm.Command{started("s", "a", 0), completed("c", "b", 0)}, "c", "cs"},
		{"completed twice", []fsm.Command{completed("c", "a", 0), completed("d", "a", 0), started("s", "a", 0)}, "cd", "cd"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, to, ctx := forwarding(t)
				got := make(chan error, len(c.cmds))
				for _, cmd := range c.cmds {
					go func() {
						_, err := f.propose(ctx, time.Minute, cmd)
						got <- err
					}()
					synctest.Wait()
					time.Sleep(apart)
				}
				synctest.Wait()
				if sent := to.took(); sent != c.sends {
					t.Errorf("at once %q is sent, want %q", sent, c.sends)
				}
				time.Sleep(lateFor)
				synctest.Wait()
				if sent := to.took(); sent != c.then {
					t.Errorf("in all %q is sent, want %q", sent, c.then)
				}
				var results []fsm.Result
				for _, id := range to.took() {
					results = append(results, fsm.Result{RequestID: string(id)})
				}
				f.answer(results)
				for range c.cmds {
					if err := <-got; err != nil {
						t.Error(err)
					}
				}
				if n, m := len(f.table.byID), len(f.table.late.about); n != 0 || m != 0 || f.table.bytes != 0 {
					t.Errorf("%d commands, %d attempts and %d bytes are kept", n, m, f.table.bytes)
				}
			})
		})
	}
}

// Whoever reported that a task has begun gets an answer, although the report of its end
// that was to give it was given up.
func TestAReportThatRidesIsSentWhenItsCarrierIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, to, ctx := forwarding(t)
		got := make(chan error, 2)
		ask := func(ctx context.Context, hold time.Duration, cmd fsm.Command) {
			go func() {
				_, err := f.propose(ctx, hold, cmd)
				got <- err
			}()
			synctest.Wait()
		}
		ask(ctx, time.Minute, started("s", "a", 0))
		short, leave := context.WithCancel(ctx)
		ask(short, forever, completed("c", "a", 0))
		leave()
		if err := <-got; err == nil {
			t.Error("the call that was given up has an answer")
		}
		time.Sleep(lateFor)
		synctest.Wait()
		if sent := to.took(); sent != "cs" {
			t.Fatalf("%q is sent, want cs", sent)
		}
		f.answer([]fsm.Result{{RequestID: "c"}, {RequestID: "s"}})
		if err := <-got; err != nil {
			t.Error(err)
		}
		// And one that rides waits no longer than its own caller does.
		ask(ctx, forever, completed("d", "a", 1))
		began := time.Now()
		if _, err := f.propose(ctx, time.Second, started("r", "a", 1)); err == nil || time.Since(began) != time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		f.close()
		if err := <-got; err == nil {
			t.Error("the call that is over has an answer")
		}
	})
}

// While nobody leads, callers come and give up for hours: nothing of that is kept.
func TestWhatRodeOrWasLateIsNotKeptWhileNobodyLeads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newForwarder(func(context.Context) route { return nil }, time.Hour, 10_000)
		ctx, cancel := context.WithCancel(t.Context())
		go f.run(ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = f.propose(ctx, forever, completed("c", "a", 0))
		}()
		synctest.Wait()
		for i := range 500 {
			for _, attempt := range []int32{0, int32(i + 1)} {
				_, _ = f.propose(ctx, time.Millisecond, started(string(rune('d'+i)), "a", attempt))
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		f.mu.Lock()
		if n, m := len(f.table.late.list), len(f.table.late.about); n > 0 || m > 1 || len(f.table.byID) != 1 || len(f.table.fresh) > 64 {
			t.Errorf("kept: %d late, %d attempts, %d commands, %d to send", n, m, len(f.table.byID), len(f.table.fresh))
		}
		if f.table.byID["c"].rider != nil {
			t.Error("one that was given up still rides")
		}
		f.mu.Unlock()
		cancel()
		<-done
	})
}

// Whatever comes, goes and is answered in whatever order: every caller hears once, what
// is not answered is sent, or rides on what is, and nothing is kept for nobody.
func TestReportsThatRideAreNeverLost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, at, n := newWaiters(), time.Unix(1, 0), 0
		var all []*waiter
		open := func() (list []*waiter) {
			for _, x := range all {
				if !x.over {
					list = append(list, x)
				}
			}
			return list
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			refused := func() string { // who got a command has not taken it
				var ids []string
				for _, x := range w.sent {
					if !x.over {
						ids = append(ids, x.id)
					}
				}
				if len(ids) == 0 {
					return ""
				}
				return rapid.SampledFrom(ids).Draw(t, "refused")
			}
			switch rapid.IntRange(0, 11).Draw(t, "step") {
			case 0, 1, 2:
				n++
				chunk := func(id, tenant string, _ int32) fsm.Command { return streamed(id, tenant, "t") }
				kind := rapid.SampledFrom([]func(string, string, int32) fsm.Command{started, started, completed, failed, cancelled, chunk}).Draw(t, "report")
				x, _ := w.add(string(rune('a'+n)), kind(string(rune('a'+n)), "a", rapid.Int32Range(0, 1).Draw(t, "attempt")), []byte{1, 2}, at)
				if rapid.Bool().Draw(t, "bounded") {
					x.until = at.Add(time.Duration(rapid.IntRange(0, 20).Draw(t, "hold")) * time.Millisecond)
				}
				all = append(all, x)
			case 3:
				at = at.Add(time.Duration(rapid.IntRange(0, 10).Draw(t, "time")) * time.Millisecond)
				w.freshen(at)
				w.take(rapid.IntRange(0, 9).Draw(t, "bytes"), at)
			case 4:
				if list := open(); len(list) > 0 {
					x := rapid.SampledFrom(list).Draw(t, "answered")
					w.answer([]fsm.Result{{RequestID: x.id}})
				}
			case 5:
				if list := open(); len(list) > 0 {
					x := rapid.SampledFrom(list).Draw(t, "leaves")
					w.leave(x)
				}
			case 6:
				w.expire(at, errWaited)
			case 7:
				w.allAgain()
			case 8:
				w.again(refused())
			case 9:
				id := refused()
				w.again(id)
				w.untaken(id)
			case 10:
				w.deny(refused(), errWaited)
			case 11:
				w.overdue(at.Add(-time.Duration(rapid.IntRange(0, 10).Draw(t, "patience")) * time.Millisecond))
			}
			checkWaiters(t, &w, open())
		}
		at = at.Add(lateFor)
		w.freshen(at)
		sent := map[*waiter]bool{}
		for batch := w.take(1<<20, at); len(batch) > 0; batch = w.take(1<<20, at) {
			for _, x := range batch {
				sent[x] = true
			}
		}
		for _, x := range w.sent {
			sent[x.waiter] = true
		}
		for id, x := range w.byID {
			if !sent[x] {
				t.Fatalf("%s is kept and not sent", id)
			}
			w.answer([]fsm.Result{{RequestID: id}})
		}
		if list := open(); len(list) > 0 || len(w.byID) > 0 || w.bytes != 0 || len(w.late.about) > 0 || len(w.late.list) > 0 {
			t.Fatalf("%d wait for ever; kept are %d commands, %d bytes, %d attempts, %d late", len(list), len(w.byID), w.bytes, len(w.late.about), len(w.late.list))
		}
	})
}

func checkWaiters(t *rapid.T, w *waiters, open []*waiter) {
	carried := map[*waiter]bool{}
	bytes := 0
	for id, x := range w.byID {
		if x.over || x.id != id {
			t.Fatalf("%s is kept as %s, over: %v", x.id, id, x.over)
		}
		bytes += len(x.data)
		for r := x; r != nil; r = r.rider {
			if carried[r] {
				t.Fatalf("%s is carried twice", r.id)
			}
			carried[r] = true
		}
	}
	queued := map[*waiter]bool{}
	for _, x := range w.fresh {
		switch {
		case x.over:
		case !x.fresh, x.late:
			t.Fatalf("%s is among what is to be sent; fresh: %v, late: %v", x.id, x.fresh, x.late)
		case queued[x]:
			t.Fatalf("%s is to be sent twice", x.id)
		}
		queued[x] = true
	}
	for id, x := range w.byID {
		if x.fresh && !queued[x] {
			t.Fatalf("%s is to be sent, and in no list", id)
		}
	}
	if bytes != w.bytes {
		t.Fatalf("%d bytes are counted, %d are kept", w.bytes, bytes)
	}
	for _, x := range open {
		if !carried[x] {
			t.Fatalf("nobody answers %s", x.id)
		}
	}
	for about, x := range w.late.about {
		if x.over || w.byID[x.id] != x {
			t.Fatalf("what waits about %v does not: %s", about, x.id)
		}
	}
	late := func(x *waiter) bool {
		return slices.ContainsFunc(w.late.list, func(l lateReport) bool { return l.waiter == x })
	}
	for _, x := range open {
		if x.late && (x.fresh || !late(x)) {
			t.Fatalf("%s is late, and nobody will send it", x.id)
		}
	}
}
