// Package groupcommit lets concurrent callers share a commit. Items that are handed in while a group is being committed form the
// next group.
package groupcommit

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// ErrNoResult is the result of an item whose group's Commit panicked, or returned too few results. It is unknown whether the item
// was committed.
var ErrNoResult = errors.New("the commit of the group returned no result for this item")

// Group commits items of type T together; each item has a result of type R. It has no goroutine of its own: one of the
// callers whose items make up a group leads it, that is, commits it for all of them. Groups are committed one after the
// other. Set the fields before the first use. It is safe for concurrent use.
type Group[T, R any] struct {
	// Commit commits up to Max items and returns as many results in the same order. The items belong to several callers,
	// so ctx has the leader's values but not its end or its deadline: Commit must limit its time itself.
	Commit func(ctx context.Context, items []T) []R
	Max    int
	// Yield, if set, is called before a group is gathered, so that a simulation can decide who else is in it.
	Yield func()

	mu      sync.Mutex
	led     bool // there is a leader
	waiting []*caller[T, R]
}

// caller is a caller of Do whose item is not committed yet.
type caller[T, R any] struct {
	item   T
	lead   chan struct{} // closed when the caller must lead the next group
	result chan R        // closed without a result if there is none
}

// Do hands in an item and returns its result. If ctx ends first, Do returns the cause, and the item is never committed, unless its
// commit has begun: then it is unknown. If Commit panics, so does the leader's Do. The others of the group get ErrNoResult, and the
// next group is committed.
func (g *Group[T, R]) Do(ctx context.Context, item T) (R, error) {
	c := &caller[T, R]{item, make(chan struct{}), make(chan R, 1)}
	g.join(c)
	select {
	case result, ok := <-c.result:
		return given(result, ok)
	case <-c.lead:
		if ctx.Err() == nil {
			g.commit(ctx)
			result, ok := <-c.result
			return given(result, ok)
		}
	case <-ctx.Done():
	}
	g.withdraw(c)
	var none R
	return none, context.Cause(ctx)
}

func given[R any](result R, ok bool) (R, error) {
	if !ok {
		return result, ErrNoResult
	}
	return result, nil
}

func (g *Group[T, R]) join(c *caller[T, R]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting = append(g.waiting, c)
	if !g.led {
		g.appoint()
	}
}

// appoint makes the first of those who wait the leader. The caller holds the lock.
func (g *Group[T, R]) appoint() {
	g.led = len(g.waiting) > 0
	if g.led {
		close(g.waiting[0].lead)
	}
}

// commit commits the next group, which includes the item of the leader, who calls it.
func (g *Group[T, R]) commit(ctx context.Context) {
	if g.Yield != nil {
		g.Yield()
	}
	g.mu.Lock()
	n := min(len(g.waiting), g.Max)
	group := g.waiting[:n:n]
	g.waiting = g.waiting[n:]
	g.mu.Unlock()

	items := make([]T, n)
	for i, c := range group {
		items[i] = c.item
	}
	answered := 0
	defer func() { // also if Commit panics
		for _, c := range group[answered:] {
			close(c.result)
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		g.appoint()
	}()
	for _, result := range g.Commit(context.WithoutCancel(ctx), items) {
		group[answered].result <- result
		answered++
	}
}

// withdraw removes an item that is in no group yet. If its caller was to lead, the next caller leads.
func (g *Group[T, R]) withdraw(c *caller[T, R]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.waiting, c)
	if i < 0 {
		return
	}
	g.waiting = slices.Delete(g.waiting, i, i+1)
	select {
	case <-c.lead:
		g.appoint()
	default:
	}
}
