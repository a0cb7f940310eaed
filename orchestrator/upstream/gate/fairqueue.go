package gate

import (
	"context"
	"slices"
	"sync"
)

// fairQueue limits the number of calls that are in progress at the same time. A call in progress holds a place; the other calls wait
// for a place. The queue serves merchants round-robin, so that the load of one merchant cannot starve other merchants. The calls of
// one merchant are served in the order in which they came.
type fairQueue struct {
	mu      sync.Mutex
	free    int
	turns   []string                     // the merchants with waiting calls; the first is served next
	waiting map[string][]chan<- struct{} // the waiting calls of each merchant; no list is empty
}

func newFairQueue(places int) *fairQueue {
	return &fairQueue{free: places, waiting: map[string][]chan<- struct{}{}}
}

// The method `enter` waits for a place and takes the place; the method `leave` frees the place. If ctx ends during the wait, the
// result is context.Cause(ctx).
func (q *fairQueue) enter(ctx context.Context, merchant string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	q.mu.Lock()
	if q.free > 0 { // no call waits
		q.free--
		q.mu.Unlock()
		return nil
	}
	called := make(chan struct{}, 1)
	if len(q.waiting[merchant]) == 0 {
		q.turns = append(q.turns, merchant)
	}
	q.waiting[merchant] = append(q.waiting[merchant], called)
	q.mu.Unlock()

	select {
	case <-called:
		return nil
	case <-ctx.Done():
	}
	q.mu.Lock()
	gone := q.forget(merchant, called)
	q.mu.Unlock()
	if !gone { // the call got a place just when ctx ended
		q.leave()
	}
	return context.Cause(ctx)
}

// The method `leave` passes a place to the first call of the next merchant. If no call waits, `leave` frees the place.
func (q *fairQueue) leave() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.turns) == 0 {
		q.free++
		return
	}
	merchant := q.turns[0]
	first := q.waiting[merchant][0]
	q.forget(merchant, first)
	if len(q.waiting[merchant]) > 0 { // the merchant's next call is served after the other merchants' calls
		q.turns = append(slices.Delete(q.turns, 0, 1), merchant)
	}
	first <- struct{}{}
}

// The method `forget` removes a waiting call from the queue, and reports whether the queue contained the call. The caller of
// `forget` holds the lock.
func (q *fairQueue) forget(merchant string, one chan<- struct{}) bool {
	theirs := q.waiting[merchant]
	i := slices.Index(theirs, one)
	if i < 0 {
		return false
	}
	if theirs = slices.Delete(theirs, i, i+1); len(theirs) > 0 {
		q.waiting[merchant] = theirs
		return true
	}
	delete(q.waiting, merchant)
	q.turns = slices.DeleteFunc(q.turns, func(m string) bool { return m == merchant })
	return true
}
