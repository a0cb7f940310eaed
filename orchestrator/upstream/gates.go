package upstream

import (
	"maps"
	"slices"
	"sync"
)

// Gates are all of a process. The zero value is ready.
type Gates struct {
	mu     sync.Mutex
	byName map[string]*Gate
}

// Of gives the gate of an upstream, always the same one. It lets in so many calls at once, at least 1, as was said
// the first time. Names are stored with the runs that wait: they do not change.
func (g *Gates) Of(name string, connections int) *Gate {
	g.mu.Lock()
	defer g.mu.Unlock()
	gate := g.byName[name]
	if gate == nil {
		gate = newGate(name, max(connections, 1))
		if g.byName == nil {
			g.byName = map[string]*Gate{}
		}
		g.byName[name] = gate
	}
	return gate
}

// Open names the upstreams that are left alone at present, sorted.
func (g *Gates) Open() []string {
	g.mu.Lock()
	all := maps.Clone(g.byName)
	g.mu.Unlock()
	maps.DeleteFunc(all, func(_ string, gate *Gate) bool { return !gate.Open() })
	return slices.Sorted(maps.Keys(all))
}
