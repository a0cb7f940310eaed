package gate

import (
	"cmp"
	"maps"
	"slices"
	"sync"
)

// Gates holds the gates of all upstreams of a process. The zero value is ready to use.
type Gates struct {
	// TripsAfter is the number of consecutive failed calls after which a circuit opens; zero means 5. Set TripsAfter before the
	// first call of Of.
	TripsAfter uint32

	mu     sync.Mutex
	byName map[string]*Gate
}

// Of returns the gate of the upstream with this name. Of always returns the same gate for the same name. The first call for a name
// sets the number of connections, which is at least 1. The name of an upstream must never change, because the name is stored with
// waiting runs.
func (g *Gates) Of(name string, connections int) *Gate {
	g.mu.Lock()
	defer g.mu.Unlock()
	gate := g.byName[name]
	if gate == nil {
		gate = newGate(name, max(connections, 1), cmp.Or(g.TripsAfter, tripsAfter))
		if g.byName == nil {
			g.byName = map[string]*Gate{}
		}
		g.byName[name] = gate
	}
	return gate
}

// Open returns the sorted names of the upstreams whose circuits are open.
func (g *Gates) Open() []string { return g.those((*Gate).Open) }

// Circuits returns the circuits of all upstreams, sorted by name.
func (g *Gates) Circuits() []Circuit {
	var all []Circuit
	for _, name := range g.those(func(*Gate) bool { return true }) {
		all = append(all, g.Of(name, 1).circuit())
	}
	return all
}

// Failing returns the sorted names of the upstreams whose circuits are open or whose last calls have failed.
func (g *Gates) Failing() []string { return g.those((*Gate).Failing) }

// The method `those` calls `is` for each gate. It returns the sorted names of the upstreams for which `is` has returned true.
func (g *Gates) those(is func(*Gate) bool) []string {
	g.mu.Lock()
	all := maps.Clone(g.byName)
	g.mu.Unlock()
	maps.DeleteFunc(all, func(_ string, gate *Gate) bool { return !is(gate) })
	return slices.Sorted(maps.Keys(all))
}
