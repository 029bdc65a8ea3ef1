package fsm

// What a table recalls: few objects at first, for a machine may be made for one look,
// and then as many as are missed, up to the task runs of a few entries.
const (
	leastRecallBits, mostRecallBits = 6, 12
	recallGrowth                    = 3 // bits at a time

	// recallSpread spreads the ends of ids over the places.
	recallSpread = 0x9e3779b97f4a7c15
)

// recalled is a table of which a machine finds what it has lately used without going
// down the tree: a command asks for its run and task run a dozen times, and each
// way down is some fifteen comparisons of texts that lie elsewhere in memory.
//
// Only a machine's own state recalls, not the copies made of it: many goroutines read
// a view, and none of them may write.
type recalled[K ~string, V any] struct {
	table[K, V]
	on     bool
	lately []recall[K, V] // a power of two
	shift  uint           // what is left of 64 bits is a place in it
	missed int            // since it has this length
}

// recall is an object by its key; none if the key is empty.
type recall[K ~string, V any] struct {
	key   K
	value V
}

func newRecalled[K ~string, V any]() recalled[K, V] { return recalled[K, V]{table: newTable[K, V]()} }

// clone gives a copy that does not recall.
func (t *recalled[K, V]) clone() recalled[K, V] { return recalled[K, V]{table: t.table.clone()} }

// Get looks an object up.
func (t *recalled[K, V]) Get(key K) (V, bool) {
	place := t.place(key)
	if place != nil && place.key == key {
		return place.value, true
	}
	v, ok := t.table.Get(key)
	if ok && place != nil {
		*place = recall[K, V]{key, v}
		t.missed++
	}
	return v, ok
}

// Set stores an object, and gives the one that it replaces.
func (t *recalled[K, V]) Set(key K, v V) (V, bool) {
	if place := t.place(key); place != nil {
		*place = recall[K, V]{key, v}
	}
	return t.table.Set(key, v)
}

// Delete removes an object, and gives it.
func (t *recalled[K, V]) Delete(key K) (V, bool) {
	if place := t.place(key); place != nil && place.key == key {
		*place = recall[K, V]{}
	}
	return t.table.Delete(key)
}

// place is where the key's object is recalled; nil for nowhere.
func (t *recalled[K, V]) place(key K) *recall[K, V] {
	const tail = 8 // of a UUID: what is random in it
	if !t.on || len(key) < tail {
		return nil
	}
	if t.missed >= len(t.lately) && len(t.lately) < 1<<mostRecallBits {
		t.grow()
	}
	var x uint64
	for i := range tail {
		x = x<<8 | uint64(key[len(key)-tail+i])
	}
	return &t.lately[x*recallSpread>>t.shift]
}

// grow makes room for more, and begins anew.
func (t *recalled[K, V]) grow() {
	bits := uint(leastRecallBits)
	if t.lately != nil {
		bits = min(64-t.shift+recallGrowth, mostRecallBits)
	}
	t.lately, t.shift, t.missed = make([]recall[K, V], 1<<bits), 64-bits, 0
}
