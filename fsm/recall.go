package fsm

// recallBits says how many objects a table recalls: 4,096, the task runs of a few
// entries. recallSpread spreads the ends of ids over them.
const (
	recallBits   = 12
	recallSpread = 0x9e3779b97f4a7c15
	// recallAfter is how often a table is asked before it begins: a machine may be
	// made for one look.
	recallAfter = 1 << recallBits
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
	asked  int                            // until it is recallAfter
	lately *[1 << recallBits]recall[K, V] // nil before that
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
	if t.lately == nil {
		if t.asked++; t.asked < recallAfter {
			return nil
		}
		t.lately = new([1 << recallBits]recall[K, V])
	}
	var x uint64
	for i := range tail {
		x = x<<8 | uint64(key[len(key)-tail+i])
	}
	return &t.lately[x*recallSpread>>(64-recallBits)]
}
