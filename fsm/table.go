package fsm

import (
	"cmp"

	"github.com/tidwall/btree"
)

// table is an ordered copy-on-write map of objects that are not changed, but for
// workers that one state alone has (State.charge).
type table[K cmp.Ordered, V any] struct{ *btree.Map[K, V] }

func newTable[K cmp.Ordered, V any]() table[K, V] {
	return table[K, V]{btree.NewMap[K, V](16)}
}

// clone is O(1). It marks its source too, so it needs the source's owner.
func (t table[K, V]) clone() table[K, V] { return table[K, V]{t.Copy()} }

// index is an ordered copy-on-write set of keys, derived from the tables.
type index[T any] struct{ *btree.BTreeG[T] }

func newIndex[T any](less func(a, b T) bool) index[T] {
	return index[T]{btree.NewBTreeGOptions(less, btree.Options{NoLocks: true, Degree: 16})}
}

func (x index[T]) clone() index[T] { return index[T]{x.Copy()} }

// first gives the smallest key that is not below pivot.
func (x index[T]) first(pivot T) (T, bool) {
	var found T
	ok := false
	x.Ascend(pivot, func(item T) bool {
		found, ok = item, true
		return false
	})
	return found, ok
}
