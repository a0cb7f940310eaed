package gate

import (
	"cmp"
	"maps"
	"slices"
	"sync"
)

// Gates are the gates of a process. The zero value is ready to use.
type Gates struct {
	// TripsAfter is how many calls in a row must fail before a circuit opens; zero means 5. It is set before the first Of.
	TripsAfter uint32

	mu     sync.Mutex
	byName map[string]*Gate
}

// Of returns the gate of an upstream, always the same one. The number of connections, at least 1, is taken from the first
// call. Names are stored with the runs that wait: they do not change.
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

// Open names the upstreams whose circuits are open, sorted.
func (g *Gates) Open() []string {
	g.mu.Lock()
	all := maps.Clone(g.byName)
	g.mu.Unlock()
	maps.DeleteFunc(all, func(_ string, gate *Gate) bool { return !gate.Open() })
	return slices.Sorted(maps.Keys(all))
}
