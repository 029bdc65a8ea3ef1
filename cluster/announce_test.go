package cluster

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

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
			a := &announcer{
				send: func(_ raft.Server, r *raft.AppendEntriesRequest) (*raft.AppendEntriesResponse, error) {
					told++
					return &raft.AppendEntriesResponse{Success: c.follows, LastLog: r.PrevLogEntry - c.behind}, c.err
				},
				others: func() []raft.Server { return []raft.Server{{ID: "node-2"}} },
				spawn:  func(f func()) { f() },
				wake:   make(chan struct{}, 1), peers: map[raft.ServerID]*announced{},
			}
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
