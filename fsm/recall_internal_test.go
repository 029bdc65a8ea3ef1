package fsm

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// A table that recalls gives what one without it gives, whatever was done to it, and
// so does each copy of it.
func TestARecalledTableIsATable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		near, plain := newRecalled[RunID, *Run](), newTable[RunID, *Run]()
		near.on = true
		type pair struct {
			near  recalled[RunID, *Run]
			plain table[RunID, *Run]
		}
		var copies []pair
		ids := rapid.SampledFrom(idsInFewPlaces())
		steps := rapid.IntRange(1, 200).Draw(t, "steps")
		for range steps {
			id := ids.Draw(t, "id")
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			case 0, 1, 2:
				r := &Run{ID: id}
				old, had := near.Set(id, r)
				old2, had2 := plain.Set(id, r)
				if old != old2 || had != had2 {
					t.Fatalf("Set(%q) gives %p, %v; want %p, %v", id, old, had, old2, had2)
				}
			case 3:
				old, had := near.Delete(id)
				old2, had2 := plain.Delete(id)
				if old != old2 || had != had2 {
					t.Fatalf("Delete(%q) gives %p, %v; want %p, %v", id, old, had, old2, had2)
				}
			case 4:
				near.missed = len(near.lately) // it grows with the next step
			case 5:
				copies = append(copies, pair{near.clone(), plain.clone()})
			default:
				same(t, &near, plain, id)
			}
		}
		if near.Set(idsInFewPlaces()[3], nil); near.lately == nil {
			t.Fatal("it recalls nothing")
		}
		for i := range copies {
			for _, id := range idsInFewPlaces() {
				same(t, &copies[i].near, copies[i].plain, id)
			}
			if copies[i].near.lately != nil {
				t.Fatal("a copy recalls")
			}
		}
	})
}

func same(t *rapid.T, near *recalled[RunID, *Run], plain table[RunID, *Run], id RunID) {
	got, ok := near.Get(id)
	want, ok2 := plain.Get(id)
	if got != want || ok != ok2 {
		t.Fatalf("Get(%q) gives %p, %v; want %p, %v", id, got, ok, want, ok2)
	}
}

// idsInFewPlaces gives ids of which many share a place, others that do not, and some
// too short for one.
func idsInFewPlaces() []RunID {
	out := []RunID{"", "a", "1234567"}
	for i := range 24 {
		out = append(out, RunID(fmt.Sprintf("%08x-0000-7000-8000-00000000000%d", i, i%3)), RunID(fmt.Sprintf("00000000-0000-7000-8000-1%011d", i)))
	}
	return out
}

// Only what no copy of the state has is changed in its place.
func TestAWorkerThatAViewHasIsNotChanged(t *testing.T) {
	s := newState()
	slots := []Slots{{Type: "default", Units: 20}}
	s.setWorker(&Worker{ID: "w", Slots: slots, Used: []Slots{{Type: "default"}}, Lease: Lease{State: LeaseLive}})
	one := []Slots{{Type: "default", Units: 1}}
	use := func() *Worker {
		w, _ := s.workers.Get("w")
		return s.charge(w, one, 1, 0)
	}
	var views []View
	for n := range int32(5) {
		use()
		if first := use(); use() != first {
			t.Error("a worker that nobody else has was copied")
		}
		views = append(views, View{st: s.clone()})
		for i, v := range views {
			if w, _ := v.Worker("w"); w.Used[0].Units != 3*int32(i+1) {
				t.Fatalf("after %d entries view %d says %d units in use, want %d", n+1, i, w.Used[0].Units, 3*(i+1))
			}
		}
	}
	w, _ := s.workers.Get("w")
	if s.charge(w, one, -1, 7); s.free.Len() != 1 {
		t.Errorf("%d workers are free, want 1", s.free.Len())
	}
	w, _ = s.workers.Get("w")
	if k, _ := s.free.first(freeKey{}); w.Used[0].Units != 14 || w.LastAssigned != 7 || k != (freeKey{w.profile, w.Load(), 7, "w"}) {
		t.Errorf("after one was given back it is %+v, in the index as %+v", w, k)
	}
	if bad := (View{st: s}).Check(); len(bad) > 1 { // it holds nothing, and counts 14
		t.Errorf("%v", bad)
	}
}
