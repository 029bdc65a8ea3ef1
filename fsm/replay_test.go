package fsm_test

import (
	"bytes"
	"testing"

	"github.com/limpet-dev/limpet/fsm"
)

// replay applies the bed's log again, through its encoding, to a second machine
// and to a third that goes through a snapshot in the middle; all must agree.
func replay(tb testing.TB, b *bed) {
	tb.Helper()
	plain, through := fsm.NewMachine(), fsm.NewMachine()
	for i, e := range b.entries {
		raw, err := e.Encode()
		if err != nil {
			tb.Fatal(err)
		}
		for _, m := range []*fsm.Machine{plain, through} {
			d, err := fsm.DecodeEntry(raw)
			if err != nil {
				tb.Fatal(err)
			}
			m.Apply(d)
		}
		if i == len(b.entries)/2 || i == len(b.entries)-1 {
			var buf bytes.Buffer
			if err := through.View().WriteSnapshot(&buf); err != nil {
				tb.Fatal(err)
			}
			if through, err = fsm.ReadSnapshot(&buf); err != nil {
				tb.Fatal(err)
			}
			if bad := through.View().Check(); len(bad) > 0 {
				tb.Fatalf("after a restore: %v", bad)
			}
		}
	}
	want := b.m.View().Hash()
	if got := plain.View().Hash(); got != want {
		tb.Errorf("a replay of the log gives state hash %x, the first time gave %x", got, want)
	}
	if got := through.View().Hash(); got != want {
		tb.Errorf("a replay through a snapshot gives state hash %x, the first time gave %x", got, want)
	}
	if got, want := through.Peek().Counts(), b.m.Peek().Counts(); got != want {
		tb.Errorf("a replay through a snapshot gives counts %+v, want %+v", got, want)
	}
}
