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
	plain, through, viewed := fsm.NewMachine(), fsm.NewMachine(), fsm.NewMachine()
	type seen struct {
		view fsm.View
		hash uint64
	}
	var views []seen
	for i, e := range b.entries {
		raw, err := e.Encode()
		if err != nil {
			tb.Fatal(err)
		}
		for _, m := range []*fsm.Machine{plain, through, viewed} {
			d, err := fsm.DecodeEntry(raw)
			if err != nil {
				tb.Fatal(err)
			}
			m.Apply(d)
		}
		if i < 200 { // later ones would only take long
			v := viewed.View()
			views = append(views, seen{v, v.Hash()})
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
	if bad := plain.Peek().Check(); len(bad) > 0 {
		tb.Errorf("a replay of which nobody had views: %v", bad)
	}
	if got := viewed.View().Hash(); got != want {
		tb.Errorf("a replay with views gives state hash %x, the first time gave %x", got, want)
	}
	for i, s := range views {
		if s.view.Hash() != s.hash {
			tb.Fatalf("the view after entry %d has changed since", i)
		}
	}
	if got := through.View().Hash(); got != want {
		tb.Errorf("a replay through a snapshot gives state hash %x, the first time gave %x", got, want)
	}
	if got, want := through.Peek().Counts(), b.m.Peek().Counts(); got != want {
		tb.Errorf("a replay through a snapshot gives counts %+v, want %+v", got, want)
	}
}
