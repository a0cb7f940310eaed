package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// Serve executes runs until ctx ends. Then it starts no new calls, waits up to grace for the calls in flight, and hands back its
// runs, which informs the other replicas. When it loses its lease, it joins again under a new replica id.
func (e *Engine) Serve(ctx context.Context, grace time.Duration) {
	listening, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	go e.listen(listening)
	for ctx.Err() == nil {
		e.serveLease(ctx, grace)
	}
}

// serveLease joins, works until the lease is lost or ctx ends, and leaves.
func (e *Engine) serveLease(ctx context.Context, grace time.Duration) {
	l, replica := e.join(ctx)
	if l == nil {
		return
	}
	e.loop(ctx, l, replica)
	if l.ctx.Err() == nil {
		e.drain(grace)
		l.drop() // first, because another replica may execute the runs once they are handed back
		leaving, cancel := e.patiently(context.WithoutCancel(ctx))
		defer cancel()
		if err := e.Queue.Leave(leaving, replica, e.Clock.Now()); err != nil {
			e.OnFault(fmt.Errorf("handing back the runs of replica %s: %w", replica, err))
		}
	} else {
		e.OnFault(fmt.Errorf("replica %s: %w", replica, saga.ErrLeaseLost))
	}
	e.mu.Lock()
	e.lease, e.committer = nil, nil
	e.mu.Unlock()
	e.idle.Wait()
}

// join registers a new replica. It retries until that succeeds or ctx ends.
func (e *Engine) join(ctx context.Context) (*lease, string) {
	for n := 1; ctx.Err() == nil; n++ {
		replica := e.NewID()
		before := e.Clock.local()
		joining, cancel := e.patiently(ctx)
		database, err := e.Queue.Join(joining, replica, e.Clock.Now().Add(e.Lease))
		cancel()
		var asked time.Time
		if err == nil && !e.Clock.set(before, e.Clock.local(), database, margin(e.Lease)) {
			err = errors.New("the database answers too slowly to synchronize the clock with it")
		}
		if err == nil {
			asked, err = e.renew(ctx, replica) // again, now that the database's time is known
		}
		if err == nil {
			l := newLease(e.Lease, e.Clock, asked)
			e.mu.Lock()
			e.replica, e.lease, e.committer, e.stopping = replica, l, newCommitter(e.Store, l), false
			e.survivals.survive(e.Clock.Now())
			select {
			case <-e.joined:
			default:
				close(e.joined)
			}
			e.mu.Unlock()
			return l, replica
		}
		e.OnFault(fmt.Errorf("joining as a replica: %w", err))
		e.Clock.pause(ctx, saga.Delay(replica, n, 100*time.Millisecond, 2*time.Second))
	}
	return nil, ""
}

// renew extends the lease and reads the database's time.
func (e *Engine) renew(ctx context.Context, replica string) (asked time.Time, err error) {
	asked = e.Clock.local()
	now := e.Clock.Now()
	ctx, cancel := e.patiently(ctx)
	defer cancel()
	renewal, err := e.Queue.Renew(ctx, replica, now, now.Add(e.Lease))
	if err != nil {
		return asked, err
	}
	e.Clock.set(asked, e.Clock.local(), renewal.Now, margin(e.Lease)) // the time of a slow answer is ignored
	if renewal.Freed {
		e.lookForWork()
	}
	return asked, nil
}

// loop claims runs, again and again, until the lease is lost or ctx ends. The heartbeat renews the lease.
func (e *Engine) loop(ctx context.Context, l *lease, replica string) {
	go e.heartbeat(ctx, l, replica)
	poll, stop := e.Clock.after(e.Poll)
	defer func() { stop() }()
	for ctx.Err() == nil && l.ctx.Err() == nil {
		select {
		case <-e.kick: // the claim that follows serves it
		default:
		}
		if err := e.claim(l.ctx, replica); err != nil && l.ctx.Err() == nil {
			e.OnFault(err)
		}
		select {
		case <-poll:
			e.pokeAll() // the message about an action may have been missed
			if l.ctx.Err() == nil {
				e.speakUp(l.ctx, replica)
			}
			poll, stop = e.Clock.after(e.Poll)
		default:
		}
		select {
		case <-ctx.Done():
		case <-l.ctx.Done():
		case <-e.kick:
		case <-poll:
		}
	}
}

// heartbeat renews the lease after every three tenths of its length, also while the replica drains.
func (e *Engine) heartbeat(ctx context.Context, l *lease, replica string) {
	for next := e.Clock.local(); ; {
		next = next.Add(e.Lease * 3 / 10)
		e.Clock.pause(l.ctx, next.Sub(e.Clock.local()))
		if l.ctx.Err() != nil {
			return
		}
		asked, err := e.renew(context.WithoutCancel(ctx), replica)
		switch {
		case err == nil:
			l.prolong(asked)
		case errors.Is(err, saga.ErrLeaseLost):
			l.drop()
			return
		default:
			e.OnFault(fmt.Errorf("renewing the lease: %w", err))
		}
	}
}

// claim claims as many due runs as there is room for. For a while after a lost answer, it also hands back runs that are leased to
// this replica but not executed.
func (e *Engine) claim(ctx context.Context, replica string) error {
	if now := e.Clock.Now(); now.UnixNano() < e.unsureUntil.Load() {
		bounded, cancel := e.patiently(ctx)
		err := e.Queue.HandBack(bounded, replica, now, now.Add(-e.Poll), e.working())
		cancel()
		if err != nil {
			e.beUnsure()
			return fmt.Errorf("handing back stray runs: %w", err)
		}
	}
	for {
		room := e.room()
		if room == 0 {
			e.setBehind(true) // runs may be waiting
			return e.countWaiting(ctx)
		}
		bounded, cancel := e.patiently(ctx)
		ids, err := e.Queue.Claim(bounded, saga.Claim{Replica: replica, Now: e.Clock.Now(), Limit: room, Down: e.Down()})
		cancel()
		if err != nil {
			e.beUnsure() // the claim may have been committed
			return fmt.Errorf("claiming runs: %w", err)
		}
		e.setBehind(len(ids) == room)
		for _, id := range ids {
			e.takeUp(ctx, id)
		}
		if len(ids) < room {
			return nil
		}
	}
}

// takeUp reads a claimed run and starts its executor. A run that cannot be read is handed back like other stray runs.
func (e *Engine) takeUp(ctx context.Context, id string) {
	ctx, cancel := e.patiently(ctx)
	defer cancel()
	run, err := e.Store.Run(ctx, id)
	if err != nil {
		e.beUnsure()
		e.OnFault(fmt.Errorf("reading claimed run %s: %w", id, err))
		return
	}
	e.mu.Lock()
	if e.lease == nil || run.Replica != e.replica || e.executors[id] != nil {
		e.mu.Unlock()
		e.beUnsure()
		return
	}
	x := e.employ(run)
	e.mu.Unlock()
	go x.takeOver()
}

// drain waits up to grace for the executors to end.
func (e *Engine) drain(grace time.Duration) {
	e.mu.Lock()
	e.stopping = true
	e.mu.Unlock()
	e.pokeAll()
	done := make(chan struct{})
	go func() { e.idle.Wait(); close(done) }()
	timer, stop := e.Clock.after(grace)
	defer stop()
	select {
	case <-done:
	case <-timer:
	}
}

// listen receives the messages of the other replicas, and reconnects when that fails. Polling covers the gaps.
func (e *Engine) listen(ctx context.Context) {
	for n := 1; ctx.Err() == nil; n++ {
		if err := e.Queue.Listen(ctx, e.wake); err != nil && ctx.Err() == nil {
			e.OnFault(fmt.Errorf("listening to the other replicas: %w", err))
		}
		e.Clock.pause(ctx, saga.Delay("listen", n, time.Second, e.Poll))
	}
}

// wake handles a message of another replica.
func (e *Engine) wake(w saga.Wake) {
	switch w.Kind {
	case saga.WakeAction:
		e.poke(w.RunID)
		e.lookForWork()
	case saga.WakeEnded:
		if !e.worksOn(w.RunID) { // otherwise its executor informs the watchers
			e.watchers.tell(w.RunID, nil)
		}
	case saga.WakeWork:
		e.lookForWork()
	}
}

// poke makes the executor of a run read its actions.
func (e *Engine) poke(runID string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if x := e.executors[runID]; x != nil {
		x.poke()
	}
}

func (e *Engine) worksOn(runID string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.executors[runID] != nil
}

func (e *Engine) pokeAll() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, x := range e.executors {
		x.poke()
	}
}

func (e *Engine) room() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.lease == nil || e.stopping {
		return 0
	}
	return max(0, e.Executors-len(e.executors))
}

func (e *Engine) setBehind(behind bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.behind = behind; !behind {
		e.waiting = 0
	}
}

func (e *Engine) working() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Collect(maps.Keys(e.executors))
}

// beUnsure records that the answer to a write was lost. For a while, claim then looks for runs that are leased to this replica but
// not executed.
func (e *Engine) beUnsure() { e.unsureUntil.Store(e.Clock.Now().Add(4 * e.Poll).UnixNano()) }
