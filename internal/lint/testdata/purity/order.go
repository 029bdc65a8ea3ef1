package planted

import (
	"fmt"
	"maps"
	"slices"
)

type set map[string]bool

func orders(m map[string]int, s set) []string {
	for k := range m { // want "range over a map"
		_ = k
	}
	for range s { // want "range over a map"
	}
	for k := range maps.Keys(m) { // want "maps.Keys"
		_ = k
	}
	for k, v := range maps.All(m) { // want "maps.All"
		_, _ = k, v
	}
	_ = slices.Collect(maps.Values(m))                                      // want "maps.Values"
	_ = slices.SortedFunc(maps.Keys(m), func(a, b string) int { return 0 }) // want "maps.Keys"
	f := maps.Keys[map[string]int]                                          // want "maps.Keys"
	_ = f
	maps.DeleteFunc(m, func(string, int) bool { return true }) // want "maps.DeleteFunc"
	_ = fmt.Sprintf("%p", m)                                   // want "%p"
	_ = maps.Collect(maps.All(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		_ = k
	}
	for i := range 3 {
		_ = i
	}
	return slices.Sorted(maps.Keys(m))
}

func generic[M ~map[K]V, K comparable, V any](m M) {
	for range m { // want "range over a map"
	}
}
