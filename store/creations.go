package store

import (
	"context"
	"sync"
	"time"
)

// creations gathers the runs that are to be inserted: those that come while some are being inserted go together into the
// next statement and its commit. It has no goroutine of its own: one of those who wait sees to the group.
type creations struct {
	insert func(ctx context.Context, group []newRunRows) []error

	mu      sync.Mutex
	busy    bool
	waiting []*creation
}

// creation is one run that waits. Who waits for it hears what came of it, or before that, that the group is its to insert.
type creation struct {
	rows newRunRows
	turn chan struct{}
	done chan error
}

// Most runs that go into one statement, and how long it may take: it is not only for who asked first.
const (
	maxCreations = 64
	creationTime = 30 * time.Second
)

// create inserts a run with all others that wait.
func (c *creations) create(ctx context.Context, rows newRunRows) error {
	own := &creation{rows, make(chan struct{}), make(chan error, 1)}
	c.mu.Lock()
	c.waiting = append(c.waiting, own)
	if !c.busy {
		c.busy = true
		close(own.turn)
	}
	c.mu.Unlock()
	select {
	case err := <-own.done:
		return err
	case <-own.turn: // whoever has it must take it, or nobody would go on
		c.insertGroup(ctx)
		return <-own.done
	}
}

// insertGroup inserts those who wait, the first of whom calls it, and leaves the next group to its first.
func (c *creations) insertGroup(ctx context.Context) {
	c.mu.Lock()
	n := min(len(c.waiting), maxCreations)
	group := c.waiting[:n:n]
	c.waiting = c.waiting[n:]
	c.mu.Unlock()

	rows := make([]newRunRows, n)
	for i, one := range group {
		rows[i] = one.rows
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), creationTime)
	defer cancel()
	for i, err := range c.insert(ctx, rows) {
		group[i].done <- err
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy = len(c.waiting) > 0; c.busy {
		close(c.waiting[0].turn)
	}
}
