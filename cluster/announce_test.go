package cluster

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// testAnnouncer has one follower, node-2.
func testAnnouncer(send func(*raft.AppendEntriesRequest) (*raft.AppendEntriesResponse, error)) *announcer {
	return &announcer{
		send:   func(_ raft.Server, r *raft.AppendEntriesRequest) (*raft.AppendEntriesResponse, error) { return send(r) },
		others: func() []raft.Server { return []raft.Server{{ID: "node-2"}} },
		spawn:  func(f func()) { go f() },
		holds:  newHoldings(), wake: make(chan struct{}, 1), peers: map[raft.ServerID]*announced{},
	}
}

// Each announcement that a follower refuses is a warning in its log.
func TestAFollowerFarBehindIsRarelyToldOfCommits(t *testing.T) {
	for _, c := range []struct {
		name        string
		follows     bool
		behind      uint64
		err         error
		least, most int // in a minute
	}{
		{"it follows", true, 0, nil, 5000, 6100},
		{"a little behind", false, 10, nil, 300, 601},
		{"away", false, 0, errors.New("no connection"), 300, 601},
		{"far behind", false, 900_000, nil, 5, 7},
	} {
		synctest.Test(t, func(t *testing.T) {
			told := 0
			a := testAnnouncer(func(r *raft.AppendEntriesRequest) (*raft.AppendEntriesResponse, error) {
				told++
				return &raft.AppendEntriesResponse{Success: c.follows, LastLog: r.PrevLogEntry - c.behind}, c.err
			})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			go func() { _ = a.run(ctx) }()
			for i := uint64(0); ctx.Err() == nil; i++ {
				a.committed(1_000_000+i, 1)
				time.Sleep(10 * time.Millisecond)
			}
			synctest.Wait()
			if told < c.least || told > c.most {
				t.Errorf("%s: told %d times in a minute, want %d to %d", c.name, told, c.least, c.most)
			}
		})
	}
}

// A follower that was told of an entry before it had it refused, and was not told
// again before Raft's own next message: a caller there waited for 50 ms.
func TestAFollowerIsToldOfACommitAsSoonAsItHasTheEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []uint64
		a := testAnnouncer(func(r *raft.AppendEntriesRequest) (*raft.AppendEntriesResponse, error) {
			told = append(told, r.LeaderCommitIndex)
			return &raft.AppendEntriesResponse{Success: true}, nil
		})
		stored := func(index uint64) {
			a.holds.note("node-2", &raft.AppendEntriesRequest{Entries: []*raft.Log{{Index: index}}}, &raft.AppendEntriesResponse{Success: true})
			synctest.Wait()
		}
		go func() { _ = a.run(t.Context()) }()
		stored(7)
		a.committed(8, 1)
		synctest.Wait()
		if len(told) > 0 {
			t.Fatalf("told of entry %d, and has 7", told[0])
		}
		began := time.Now()
		stored(8)
		if len(told) != 1 || told[0] != 8 || time.Since(began) > 0 {
			t.Errorf("has entry 8 and was told of %d after %s", told, time.Since(began))
		}
		stored(9)
		a.committed(9, 1)
		synctest.Wait()
		if len(told) != 2 || told[1] != 9 {
			t.Errorf("had entry 9 when it was committed, and was told of %d", told)
		}
	})
}
