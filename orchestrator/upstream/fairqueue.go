package upstream

import (
	"context"
	"slices"
	"sync"
)

// fairQueue gives out so many places at once. Who finds none waits: merchants take turns, and within a merchant who came
// first goes first, so that one's bulk keeps nobody else waiting for longer than its turn.
type fairQueue struct {
	mu      sync.Mutex
	free    int
	turns   []string                     // the merchants that wait, whose turn is next first
	waiting map[string][]chan<- struct{} // by merchant, none of them empty
}

func newFairQueue(places int) *fairQueue {
	return &fairQueue{free: places, waiting: map[string][]chan<- struct{}{}}
}

// enter takes a place, which leave gives back. It returns the cause of ctx's end where that comes first.
func (l *fairQueue) enter(ctx context.Context, merchant string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	l.mu.Lock()
	if l.free > 0 { // then nobody waits
		l.free--
		l.mu.Unlock()
		return nil
	}
	called := make(chan struct{}, 1)
	if len(l.waiting[merchant]) == 0 {
		l.turns = append(l.turns, merchant)
	}
	l.waiting[merchant] = append(l.waiting[merchant], called)
	l.mu.Unlock()

	select {
	case <-called:
		return nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	gone := l.forget(merchant, called)
	l.mu.Unlock()
	if !gone { // it was called at the same moment
		l.leave()
	}
	return context.Cause(ctx)
}

// leave gives the place to the next merchant's first, or back.
func (l *fairQueue) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.turns) == 0 {
		l.free++
		return
	}
	merchant := l.turns[0]
	first := l.waiting[merchant][0]
	l.forget(merchant, first)
	if len(l.waiting[merchant]) > 0 { // it goes to the end
		l.turns = append(slices.Delete(l.turns, 0, 1), merchant)
	}
	first <- struct{}{}
}

// forget takes one out of the line; false if it is not there. The caller holds the lock.
func (l *fairQueue) forget(merchant string, one chan<- struct{}) bool {
	theirs := l.waiting[merchant]
	i := slices.Index(theirs, one)
	if i < 0 {
		return false
	}
	if theirs = slices.Delete(theirs, i, i+1); len(theirs) > 0 {
		l.waiting[merchant] = theirs
		return true
	}
	delete(l.waiting, merchant)
	l.turns = slices.DeleteFunc(l.turns, func(m string) bool { return m == merchant })
	return true
}
