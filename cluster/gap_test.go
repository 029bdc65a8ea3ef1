package cluster

import (
	"errors"
	"testing"

	"github.com/hashicorp/raft"
)

// A node that had got a snapshot kept entries from before it that were never
// committed, and as a leader sent them to others as if they were.
func TestWhatLiesBeforeAGapInTheLogIsRemoved(t *testing.T) {
	for name, c := range map[string]struct {
		kept     [][2]uint64 // ranges in the log
		snapshot uint64
		want     [2]uint64 // first and last
	}{
		"a snapshot beyond the log":    {[][2]uint64{{1, 9}}, 20, [2]uint64{0, 0}},
		"and entries behind it":        {[][2]uint64{{1, 9}, {21, 25}}, 20, [2]uint64{21, 25}},
		"a snapshot of the node's own": {[][2]uint64{{5, 30}}, 20, [2]uint64{5, 30}},
		"one at the end":               {[][2]uint64{{5, 20}}, 20, [2]uint64{5, 20}},
		"nothing before it":            {[][2]uint64{{21, 25}}, 20, [2]uint64{21, 25}},
		"none":                         {[][2]uint64{{1, 9}}, 0, [2]uint64{1, 9}},
		"no log":                       {nil, 20, [2]uint64{0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			g, store, _, _ := guarded(t)
			for _, r := range c.kept {
				for i := r[0]; i <= r[1]; i++ {
					if err := store.StoreLog(&raft.Log{Index: i, Term: 1}); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := mendGap(g, c.snapshot); err != nil {
				t.Fatal(err)
			}
			first, err1 := store.FirstIndex()
			last, err2 := store.LastIndex()
			if err := errors.Join(err1, err2); err != nil || first != c.want[0] || last != c.want[1] {
				t.Errorf("the log is %d to %d (%v), want %v", first, last, err, c.want)
			}
		})
	}
}
