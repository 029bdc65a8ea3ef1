package cluster

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/limpet-dev/limpet/fsm"
)

// leaseBed plays the state machine's part for the rules of liveness.
type leaseBed struct {
	l      *liveness
	worker fsm.Worker
	gone   string // how node-2 is away
	lost   string // the reason of the loss
	lostAt time.Duration
	says   []string // reasons of suspicion proposed
	start  time.Time
	asked  int // questions after the process
	answer func() (verdict, string)
}

func newLeaseBed() *leaseBed {
	b := &leaseBed{start: time.Now()}
	b.l = newLiveness(LeaseConfig{TTL: 15 * time.Second, Grace: 5 * time.Second}, b.start)
	b.worker = fsm.Worker{ID: "w", Lease: fsm.Lease{Epoch: 1}}
	return b
}

func (b *leaseBed) attach(session fsm.SessionID) {
	b.set(fsm.LeaseLive, "")
	b.worker.Lease.Node, b.worker.Lease.Session = "node-2", session
}

// gossips makes the worker a gossip member of which the nodes say v.
func (b *leaseBed) gossips(v verdict) {
	b.attach("s")
	b.worker.Member = "worker-1"
	b.answer = func() (verdict, string) { return v, "nobody reaches it" }
}

func (b *leaseBed) set(state fsm.LeaseState, reason string) {
	b.worker.Lease.State, b.worker.Lease.Reason, b.worker.Lease.Since = state, reason, fsm.Instant(time.Since(b.start))
}

func (b *leaseBed) heartbeat(age time.Duration) {
	b.l.hear("node-1", map[fsm.WorkerID]time.Duration{"w": age}, time.Now())
}

// run judges every tick for so long, with a heartbeat every so often; 0 for none.
func (b *leaseBed) run(d, heartbeat time.Duration) {
	next := time.Now().Add(heartbeat)
	for end := time.Now().Add(d); time.Now().Before(end); {
		time.Sleep(livenessTick) // virtual
		if heartbeat > 0 && !time.Now().Before(next) {
			b.heartbeat(0)
			next = next.Add(heartbeat)
		}
		if b.gone == "" {
			b.l.hear("node-2", nil, time.Now())
		}
		gone := func(fsm.NodeID) (string, bool) { return b.gone, b.gone != "" }
		for _, cmd := range b.l.judge(time.Now(), slices.Values([]*fsm.Worker{&b.worker}), gone) {
			if s := cmd.GetSuspectSessions(); s != nil {
				b.says = append(b.says, s.GetReason())
				b.set(fsm.LeaseSuspect, s.GetReason())
				continue
			}
			if b.worker.Lease.State == fsm.LeaseLost {
				continue
			}
			if b.lost == "" {
				b.lost, b.lostAt = cmd.GetLoseLease().GetReason(), time.Since(b.start)
				b.set(fsm.LeaseLost, b.lost)
			}
		}
		for _, d := range b.l.doubts {
			b.asked++
			d.about.asked = time.Now()
			v, words := b.answer()
			b.l.testify(testimony{d.worker, d.about, d.about.asked, v, words})
		}
	}
}

func TestLeasesAreLostByTheRules(t *testing.T) {
	const beat = 4 * time.Second
	for _, c := range []struct {
		name  string
		story func(b *leaseBed)
		at    time.Duration // when it is lost; 0 for never
		why   string
	}{
		{"a live worker that heartbeats stays", func(b *leaseBed) { b.attach("s"); b.run(time.Minute, beat) }, 0, ""},
		{"a silent one is lost after the TTL", func(b *leaseBed) { b.attach("s"); b.run(time.Minute, 0) }, 15 * time.Second, "no heartbeat for 15s"},
		{"the last heartbeat counts", func(b *leaseBed) { b.attach("s"); b.run(21*time.Second, beat); b.run(time.Minute, 0) }, 35 * time.Second, "no heartbeat for 15s"},
		{"a broken stream without heartbeat has the grace", func(b *leaseBed) {
			b.attach("s")
			b.run(21*time.Second, beat)
			b.set(fsm.LeaseSuspect, "stream ended")
			b.run(time.Minute, 0)
		}, 26 * time.Second, "stream ended; no heartbeat for 5s"},
		{"a heartbeat from before the break does not help", func(b *leaseBed) {
			b.attach("s")
			b.run(20*time.Second, beat)
			b.set(fsm.LeaseSuspect, "stream ended")
			b.run(500*time.Millisecond, 0)
			b.heartbeat(time.Second)
			b.run(time.Minute, 0)
		}, 25 * time.Second, "no heartbeat for 5s"},
		{"right after an election the break has a full TTL", func(b *leaseBed) {
			b.attach("s")
			b.set(fsm.LeaseSuspect, "stream ended")
			b.run(time.Minute, 0)
		}, 15 * time.Second, "stream ended"},
		{"a worker that comes back in time stays", func(b *leaseBed) {
			b.attach("s")
			b.run(21*time.Second, beat)
			b.set(fsm.LeaseSuspect, "stream ended")
			b.run(4*time.Second, 0)
			b.attach("t")
			b.run(time.Minute, beat)
		}, 0, ""},
		{"heartbeats keep a streamless worker, but not for ever", func(b *leaseBed) {
			b.attach("s")
			b.run(20*time.Second, beat)
			b.set(fsm.LeaseSuspect, "stream ended")
			b.run(2*time.Minute, beat)
		}, 50 * time.Second, "no stream for 30s"},
		{"heartbeats that stop after the break end it a TTL later", func(b *leaseBed) {
			b.attach("s")
			b.run(20*time.Second, beat)
			b.set(fsm.LeaseSuspect, "stream ended")
			b.run(4*time.Second, beat)
			b.run(time.Minute, 0)
		}, 39 * time.Second, "neither stream nor heartbeat for 15s"},
		{"a worker whose node died has a TTL", func(b *leaseBed) {
			b.attach("s")
			b.run(20*time.Second, beat)
			b.gone = "is dead"
			b.run(time.Minute, 0)
		}, 35 * time.Second, "node node-2 is dead; neither stream nor heartbeat for 15s"},
		{"and stays if it attaches elsewhere", func(b *leaseBed) {
			b.attach("s")
			b.run(20*time.Second, beat)
			b.gone = "is dead"
			b.run(10*time.Second, 0)
			b.gone = ""
			b.attach("t")
			b.run(time.Minute, beat)
		}, 0, ""},
		{"a worker whose node died long before that was noticed", func(b *leaseBed) {
			b.attach("s")
			b.run(20*time.Second, beat)
			b.gone = "is dead"
			b.l.suspected["node-2"] = time.Now() // proposed, and only now done
			b.run(1500*time.Millisecond, 0)
			b.run(time.Minute, 0)
		}, 35 * time.Second, "node node-2 is dead"},
		{"a gossiping worker that nobody reaches is lost at once", func(b *leaseBed) {
			b.gossips(verdictGone)
			b.run(21*time.Second, beat)
			b.set(fsm.LeaseSuspect, "stream ended")
			b.run(time.Minute, 0)
		}, 21500 * time.Millisecond, "stream ended, and nobody reaches it"},
		{"also right after an election", func(b *leaseBed) {
			b.gossips(verdictGone)
			b.run(time.Second, 0)
			b.set(fsm.LeaseSuspect, "stream ended")
			b.run(time.Minute, 0)
		}, 1500 * time.Millisecond, "nobody reaches it"},
		{"also when its node died with it", func(b *leaseBed) {
			b.gossips(verdictGone)
			b.run(20*time.Second, beat)
			b.gone = "is dead"
			b.run(time.Minute, 0)
		}, 20750 * time.Millisecond, "node node-2 is dead, and nobody reaches it"},
		{"one whose process answers has the grace", func(b *leaseBed) {
			b.gossips(verdictAlive)
			b.run(21*time.Second, beat)
			b.set(fsm.LeaseSuspect, "stream ended")
			b.run(time.Minute, 0)
		}, 26 * time.Second, "stream ended; no heartbeat for 5s"},
		{"one of which nobody can tell has the grace", func(b *leaseBed) {
			b.gossips(verdictNone)
			b.run(21*time.Second, beat)
			b.set(fsm.LeaseSuspect, "stream ended")
			b.run(time.Minute, 0)
		}, 26 * time.Second, "no heartbeat for 5s"},
		{"one that is heard of is not asked after, whatever gossip says", func(b *leaseBed) {
			b.gossips(verdictGone)
			b.l.away = func(string) bool { return true }
			b.run(time.Minute, beat)
			if b.asked > 0 {
				b.lost = "was asked after"
			}
		}, 0, ""},
		{"a frozen one that gossip calls dead is lost after the grace", func(b *leaseBed) {
			b.gossips(verdictGone)
			b.run(21*time.Second, beat)
			b.l.away = func(string) bool { return true }
			b.run(time.Minute, 0)
		}, 25250 * time.Millisecond, "no heartbeat, and nobody reaches it"},
		{"one that comes back before the answer stays", func(b *leaseBed) {
			b.gossips(verdictGone)
			b.run(21*time.Second, beat)
			b.answer = func() (verdict, string) {
				time.Sleep(time.Millisecond)
				b.heartbeat(0)
				return verdictGone, "nobody reaches it"
			}
			b.set(fsm.LeaseSuspect, "stream ended")
			b.run(3*time.Second, 0)
			b.attach("t")
			b.run(time.Minute, beat)
		}, 0, ""},
		{"a worker that never attached goes after a TTL", func(b *leaseBed) { b.run(time.Minute, 0) }, 15 * time.Second, "opened no stream"},
		{"and after two if it heartbeats", func(b *leaseBed) { b.run(time.Minute, beat) }, 30 * time.Second, "no stream for 30s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newLeaseBed()
				c.story(b)
				slack := b.lostAt - c.at
				if c.at == 0 && b.lost != "" || c.at > 0 && (b.lost == "" || slack < 0 || slack > 2*livenessTick) || !strings.Contains(b.lost, c.why) {
					t.Errorf("lost after %v: %q; want %v, %q", b.lostAt, b.lost, c.at, c.why)
				}
			})
		})
	}
}

func TestLossAndSuspicionAreProposedAgainUntilTheyHappen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLeaseBed()
		b.attach("s")
		count := map[string]int{}
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(livenessTick) {
			for _, cmd := range b.l.judge(time.Now(), slices.Values([]*fsm.Worker{&b.worker}), func(fsm.NodeID) (string, bool) { return "", false }) {
				count[cmd.GetLoseLease().GetWorkerId()]++
			}
		}
		if got := count["w"]; got < 2 || got > 4 {
			t.Errorf("proposed %d times in 5 s", got)
		}
		suspicions := 0
		for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(livenessTick) {
			for _, cmd := range b.l.judge(time.Now(), slices.Values([]*fsm.Worker{&b.worker}), func(fsm.NodeID) (string, bool) { return "has left", true }) {
				if cmd.GetSuspectSessions().GetNode() == "node-2" && cmd.GetSuspectSessions().GetReason() == "node node-2 has left" {
					suspicions++
				} else {
					t.Errorf("proposed %v", cmd)
				}
			}
		}
		if suspicions < 2 || suspicions > 3 {
			t.Errorf("suspicion proposed %d times in 5 s", suspicions)
		}
	})
}
