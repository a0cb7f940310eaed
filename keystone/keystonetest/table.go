package keystonetest

import (
	"iter"
	"slices"
)

// The type `table` stores objects by their keys, in the order in which they were added. An object in a table is never changed, but it can
// be replaced. An answer can therefore be encoded after Keystone.mu was unlocked.
type table[K comparable, V any] struct {
	at   map[K]int // the indexes of rows
	rows []*V      // a nil row means that the object was removed
}

func (t *table[K, V]) get(key K) *V {
	if i, ok := t.at[key]; ok {
		return t.rows[i]
	}
	return nil
}

// put adds an object, or replaces the object with this key.
func (t *table[K, V]) put(key K, v *V) {
	if i, ok := t.at[key]; ok {
		t.rows[i] = v
		return
	}
	if t.at == nil {
		t.at = map[K]int{}
	}
	t.at[key] = len(t.rows)
	t.rows = append(t.rows, v)
}

func (t *table[K, V]) remove(key K) {
	i, ok := t.at[key]
	if !ok {
		return
	}
	delete(t.at, key)
	t.rows[i] = nil
	if len(t.rows) < 64 || len(t.rows) < 2*len(t.at) {
		return
	}
	moved := make(map[int]int, len(t.at)) // maps old indexes to new indexes
	rows := make([]*V, 0, len(t.at))      // a new slice, because a caller may iterate over the old slice with the method `all`
	for old, v := range t.rows {
		if v != nil {
			moved[old] = len(rows)
			rows = append(rows, v)
		}
	}
	for key, old := range t.at {
		t.at[key] = moved[old]
	}
	t.rows = rows
}

// The method `all` iterates over the objects in the order in which they were added. The loop may remove objects.
func (t *table[K, V]) all() iter.Seq[*V] {
	return func(yield func(*V) bool) {
		for _, v := range t.rows {
			if v != nil && !yield(v) {
				return
			}
		}
	}
}

// find returns the first object for which the function `fits` returns true. If there is no such object, find returns nil.
func (t *table[K, V]) find(fits func(*V) bool) *V {
	for v := range t.all() {
		if fits(v) {
			return v
		}
	}
	return nil
}

// The type `index` maps a value to the objects that have this value.
type index[T comparable] map[string][]T

func (x index[T]) add(value string, one T) { x[value] = append(x[value], one) }

func (x index[T]) remove(value string, one T) {
	rest := slices.DeleteFunc(x[value], func(other T) bool { return other == one })
	if x[value] = rest; len(rest) == 0 {
		delete(x, value)
	}
}
