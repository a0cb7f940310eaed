// Package groupcommit lets concurrent callers share a commit. Items that callers add while a group is being committed form the next
// group.
package groupcommit

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// ErrNoResult is the error of an item for which Commit panicked or returned no result. The item may have been committed.
var ErrNoResult = errors.New("the commit of the group returned no result for this item")

// Group commits items of type T together. Each item gets a result of type R. Group starts no goroutine: one of the callers, the
// leader, commits the items of all callers in the group. Groups are committed one after the other. Set the fields before the first
// use. Group is safe for concurrent use.
type Group[T, R any] struct {
	// Commit commits up to Max items, and returns one result per item, in the order of the items. Because the items belong to
	// several callers, ctx has the values of the leader's context, but not its cancellation and deadline. Commit must set its own
	// time limit.
	Commit func(ctx context.Context, items []T) []R
	Max    int
	// Weigh, if set, returns the weight of an item. The items of a group then weigh at most MaxWeight together. An item that weighs more
	// forms a group of its own. Group calls Weigh while it is locked.
	Weigh     func(item T) int
	MaxWeight int
	// Yield, if set, is called before the items of a group are collected. A simulation can use Yield to let more callers join the
	// group.
	Yield func()

	mu      sync.Mutex
	led     bool // whether there is a leader
	waiting []*caller[T, R]
}

// The type `caller` is a caller of Do whose item is not committed yet.
type caller[T, R any] struct {
	item   T
	lead   chan struct{} // closed when the caller must lead the next group
	result chan R        // closed without a value if there is no result
}

// Do adds an item to the next group, and returns the item's result after the commit. If ctx ends before the commit begins, the item
// is never committed, and Do returns context.Cause(ctx). If ctx ends during the commit, Do may return context.Cause(ctx) although
// the item is committed. If Commit panics, the leader's Do panics too, and the other callers of the group get ErrNoResult. The next
// group is committed as usual.
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

// The method `appoint` makes the first waiting caller the leader. g.mu must be locked.
func (g *Group[T, R]) appoint() {
	g.led = len(g.waiting) > 0
	if g.led {
		close(g.waiting[0].lead)
	}
}

// The method `commit` commits the next group. Only the leader calls `commit`, and the group includes the leader's item.
func (g *Group[T, R]) commit(ctx context.Context) {
	if g.Yield != nil {
		g.Yield()
	}
	g.mu.Lock()
	n := g.size()
	group := g.waiting[:n:n]
	g.waiting = g.waiting[n:]
	g.mu.Unlock()

	items := make([]T, n)
	for i, c := range group {
		items[i] = c.item
	}
	answered := 0
	defer func() { // this function runs even if Commit panics
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

// The method `size` returns the number of callers in the next group. g.mu must be locked, and a caller must be waiting.
func (g *Group[T, R]) size() int {
	n := min(len(g.waiting), g.Max)
	if g.Weigh == nil {
		return n
	}
	weight := 0
	for i, c := range g.waiting[:n] {
		if weight += g.Weigh(c.item); weight > g.MaxWeight {
			return max(i, 1)
		}
	}
	return n
}

// The method `withdraw` removes a caller whose item is in no group yet. If this caller was the leader, `withdraw` makes the next
// caller the leader.
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
