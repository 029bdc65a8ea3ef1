package cluster

import (
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// lateBed is a bare Raft follower on a guarded disk, and a leader made by hand.
type lateBed struct {
	t        *testing.T
	deadline time.Duration
	disk     *shakyDisk
	store    *raft.InmemStore
	raft     *raft.Raft
	to       raft.ServerAddress
	leader   *raft.InmemTransport
	from     []byte
}

func newLateBed(t *testing.T) *lateBed {
	t.Helper()
	store, disk := raft.NewInmemStore(), &shakyDisk{}
	cfg := DiskConfig{WriteDeadline: 200 * time.Millisecond, Failures: 1000, Fault: disk.fault}
	s := &storage{logs: store, stable: store}
	if err := s.watch("/data", cfg, func(err error) { t.Error(err) }); err != nil {
		t.Fatal(err)
	}
	addr, trans := raft.NewInmemTransportWithTimeout("", 10*time.Second)
	from, leader := raft.NewInmemTransportWithTimeout("", 10*time.Second)
	leader.Connect(addr, trans)
	rc := raft.DefaultConfig()
	rc.LocalID, rc.LogLevel = "follower", "OFF"
	rc.HeartbeatTimeout, rc.ElectionTimeout = time.Minute, time.Minute
	snaps := raft.NewInmemSnapshotStore()
	servers := raft.Configuration{Servers: []raft.Server{{ID: "follower", Address: addr}, {ID: "leader", Address: from}, {ID: "third", Address: "third"}}}
	if err := raft.BootstrapCluster(rc, s.logs, s.stable, snaps, trans, servers); err != nil {
		t.Fatal(err)
	}
	r, err := raft.NewRaft(rc, newMachine(time.Now), s.logs, s.stable, snaps, trans)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Shutdown().Error() })
	return &lateBed{t: t, deadline: cfg.WriteDeadline, disk: disk, store: store, raft: r, to: addr, leader: leader, from: []byte(from)}
}

// append is what a leader of a term sends: no-ops of that term after prev.
func (b *lateBed) append(term, prev, prevTerm uint64, count int) bool {
	b.t.Helper()
	req := &raft.AppendEntriesRequest{
		RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte("leader"), Addr: b.from},
		Term:      term, PrevLogEntry: prev, PrevLogTerm: prevTerm,
	}
	for i := range count {
		req.Entries = append(req.Entries, &raft.Log{Index: prev + uint64(i) + 1, Term: term, Type: raft.LogNoop})
	}
	var resp raft.AppendEntriesResponse
	if err := b.leader.AppendEntries("follower", b.to, req, &resp); err != nil {
		b.t.Fatal(err)
	}
	return resp.Success
}

// hole gives the first index that the follower lacks of those that it says it has.
func (b *lateBed) hole() uint64 {
	for i := uint64(1); i <= b.raft.LastIndex(); i++ {
		var l raft.Log
		if err := b.store.GetLog(i, &l); err != nil {
			return i
		}
	}
	return 0
}

// Raft looks for the entry before those that it is sent in the store, also past
// what it knows to be its own. It found one there that was written too late, took
// what came after it, and acknowledged a log from which that one was removed.
func TestAnEntryThatWasWrittenTooLateIsNotBuiltUpon(t *testing.T) {
	b := newLateBed(t)
	if !b.append(2, 1, 1, 1) {
		t.Fatal("entry 2 was refused")
	}
	mend := b.disk.stalls()
	if b.append(2, 2, 2, 1) {
		t.Fatal("an entry whose write stalled was acknowledged")
	}
	mend()
	b.await(func() bool { last, _ := b.store.LastIndex(); return last == 3 })
	ok := b.append(2, 3, 2, 1) // it was on its way behind the other, in a pipeline
	if i := b.hole(); i != 0 {
		t.Errorf("the follower acknowledged entry 4 (%v) and has no entry %d", ok, i)
	}
	if !b.append(2, 2, 2, 2) || b.raft.LastIndex() != 4 || b.hole() != 0 {
		t.Errorf("what the leader sends again is not taken: last index %d, hole at %d", b.raft.LastIndex(), b.hole())
	}
}

// Raft was told that the entries are still there, and would look for them for ever.
func TestAFollowerWhoseTruncationTakesLongGoesOn(t *testing.T) {
	b := newLateBed(t)
	if !b.append(2, 1, 1, 3) || !b.append(3, 1, 1, 0) {
		t.Fatal("entries 2 to 4, or the next term, were refused")
	}
	mend := b.disk.stalls()
	time.AfterFunc(2*b.deadline, mend)
	b.append(3, 2, 2, 1)
	b.await(func() bool { l, _ := b.store.LastIndex(); return l < 4 })
	for range 5 { // the leader goes back, and sends what it has from there
		if b.append(3, 2, 2, 1) || b.append(3, 1, 1, 0) && b.append(3, 2, 2, 1) {
			break
		}
	}
	if last, hole := b.raft.LastIndex(), b.hole(); last != 3 || hole != 0 {
		t.Errorf("the follower takes nothing any more: last index %d, hole at %d", last, hole)
	}
}

// Raft truncates its log and then writes what comes instead. If only the second
// failed, it took entries for its own that were gone: it refused what the leader
// sent for ever, and stood for election with a log that it did not have.
func TestATruncatedLogIsWrittenBeforeAnythingElseIsDone(t *testing.T) {
	for name, trouble := range map[string]func(*shakyDisk) func(){
		"fails": func(d *shakyDisk) func() {
			d.fails(errors.New("no space left on device"))
			return func() { d.fails(nil) }
		},
		"stalls": (*shakyDisk).stalls,
	} {
		t.Run(name, func(t *testing.T) {
			b := newLateBed(t)
			if !b.append(2, 1, 1, 3) || !b.append(3, 1, 1, 0) {
				t.Fatal("entries 2 to 4, or the next term, were refused")
			}
			b.disk.spares(1) // the truncation
			time.AfterFunc(3*b.deadline, trouble(b.disk))
			b.append(3, 1, 1, 1)
			if last, hole := b.raft.LastIndex(), b.hole(); last != 2 || hole != 0 {
				t.Errorf("the follower says that it has %d entries, and lacks entry %d", last, hole)
			}
			if !b.append(3, 1, 1, 2) || b.hole() != 0 {
				t.Errorf("what the leader sends again is not taken: last index %d, hole at %d", b.raft.LastIndex(), b.hole())
			}
		})
	}
}

func (b *lateBed) await(ok func() bool) {
	b.t.Helper()
	for range 1000 {
		if ok() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	b.t.Fatal("it never came")
}
