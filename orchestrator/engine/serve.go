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

// Serve executes runs until ctx ends. After ctx ends, Serve starts no new calls, and waits for the calls in flight, but no longer
// than `grace`. Then Serve hands back its runs and informs the other replicas. When Serve loses its lease, it joins again under a
// new replica id.
func (e *Engine) Serve(ctx context.Context, grace time.Duration) {
	listening, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	go e.listen(listening)
	for ctx.Err() == nil {
		e.serveLease(ctx, grace)
	}
}

// serveLease joins as a new replica, and executes runs until the lease is lost or ctx ends.
func (e *Engine) serveLease(ctx context.Context, grace time.Duration) {
	l, replica := e.join(ctx)
	if l == nil {
		return
	}
	e.loop(ctx, l, replica)
	if l.ctx.Err() == nil {
		e.drain(grace)
		l.drop() // drop the lease first: after the runs are handed back, another replica may execute them
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

// The method `join` registers a new replica, and retries until the registration succeeds or ctx ends.
func (e *Engine) join(ctx context.Context) (*lease, string) {
	for n := 1; ctx.Err() == nil; n++ {
		replica := e.NewID()
		before := e.Clock.local()
		joining, cancel := e.patiently(ctx)
		database, err := e.Queue.Join(joining, replica, e.Clock.Now().Add(e.Lease))
		cancel()
		var asked time.Time
		if err == nil && !e.Clock.set(before, e.Clock.local(), database, margin(e.Lease)) {
			err = fmt.Errorf("the database took more than %s to return its time: check the database's load and the network to it", margin(e.Lease))
		}
		if err == nil {
			asked, err = e.renew(ctx, replica) // extend the lease now that the database's time is known
		}
		if err == nil {
			l := newLease(e.Lease, e.Clock, asked)
			e.mu.Lock()
			e.replica, e.lease, e.committer, e.stopping = replica, l, newCommitter(e.Store, l, e.OnFault), false
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

// The method `renew` extends the lease and reads the database's time.
func (e *Engine) renew(ctx context.Context, replica string) (asked time.Time, err error) {
	asked = e.Clock.local()
	now := e.Clock.Now()
	ctx, cancel := e.patiently(ctx)
	defer cancel()
	renewal, err := e.Queue.Renew(ctx, replica, now, now.Add(e.Lease))
	if err != nil {
		return asked, err
	}
	// If the answer was slow, the method `set` ignores the database's time.
	e.Clock.set(asked, e.Clock.local(), renewal.Now, margin(e.Lease))
	if renewal.Freed {
		e.lookForWork()
	}
	return asked, nil
}

// The method `loop` takes due runs again and again, until the lease is lost or ctx ends. It starts follow-ups at the beginning and at each
// poll. Meanwhile the heartbeat renews the lease.
func (e *Engine) loop(ctx context.Context, l *lease, replica string) {
	go e.heartbeat(ctx, l, replica)
	poll, stop := e.Clock.after(e.Poll)
	defer func() { stop() }()
	e.startFollowUps(l.ctx, replica)
	for ctx.Err() == nil && l.ctx.Err() == nil {
		select {
		case <-e.kick: // the call of e.claim below finds the announced work
		default:
		}
		if err := e.claim(l.ctx, replica); err != nil && l.ctx.Err() == nil {
			e.OnFault(err)
		}
		select {
		case <-poll:
			e.pokeAll() // the message that announces an action may have been lost
			e.passwords.sweep(e.Clock.Now())
			if l.ctx.Err() == nil {
				e.speakUp(l.ctx, replica)
				e.takeHeld(l.ctx)
				e.startFollowUps(l.ctx, replica)
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

// The method `heartbeat` renews the lease at intervals of 30% of the lease's length. The heartbeat continues while the replica
// drains.
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

// The method `claim` takes as many due runs as there are free executors. If the answer to a write to the database was lost recently, the
// method `claim` also hands back runs that are leased to this replica but have no executor.
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
			e.setBehind(true) // assume that runs wait for a replica
			return e.countWaiting(ctx)
		}
		bounded, cancel := e.patiently(ctx)
		ids, err := e.Queue.Claim(bounded, saga.Claim{Due: e.due(e.Clock.Now()), Replica: replica, Limit: room})
		cancel()
		if err != nil {
			e.beUnsure() // the database may have leased the runs in spite of the error
			return fmt.Errorf("claiming runs: %w", err)
		}
		e.setBehind(len(ids) == room)
		for _, id := range ids {
			e.takeUp(ctx, id, false)
		}
		if len(ids) < room {
			return nil
		}
	}
}

// The method `due` returns the condition for due runs.
func (e *Engine) due(now time.Time) saga.Due {
	return saga.Due{Now: now, Down: e.Down(), Expired: now.Add(-e.GiveUpAfter)}
}

// takeUp reads a run that this replica has taken, and starts an executor for the run. If the run cannot be read, the method `claim` hands
// the run back later. The parameter `handed` is true if the engine has just received the password of the run.
func (e *Engine) takeUp(ctx context.Context, id string, handed bool) {
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
	x.handed = handed
	e.mu.Unlock()
	go x.takeOver()
}

// The method `drain` tells the executors to hand back their runs, and waits for the executors to end, but no longer than `grace`.
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

// The method `listen` receives the messages of the other replicas, and reconnects after an error. If a message is lost, the next
// poll finds the work that the message announced.
func (e *Engine) listen(ctx context.Context) {
	for n := 1; ctx.Err() == nil; n++ {
		if err := e.Queue.Listen(ctx, e.wake); err != nil && ctx.Err() == nil {
			e.OnFault(fmt.Errorf("listening for messages from the other replicas: %w", err))
		}
		e.Clock.pause(ctx, saga.Delay("listen", n, time.Second, e.Poll))
	}
}

// The method `wake` handles a message from another replica.
func (e *Engine) wake(w saga.Wake) {
	switch w.Kind {
	case saga.WakeAction:
		e.poke(w.RunID)
		e.lookForWork()
	case saga.WakeEnded:
		if !e.worksOn(w.RunID) { // if this replica executes the run, the executor informs the watchers
			e.watchers.tell(w.RunID, nil, e.Clock.local())
		}
	case saga.WakeWork:
		e.lookForWork()
	}
}

// The method `poke` makes the executor of a run read the run's actions.
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

// beUnsure records that the answer to a write was lost. During the next four poll intervals, the method `claim` hands back runs
// that are leased to this replica but have no executor.
func (e *Engine) beUnsure() { e.unsureUntil.Store(e.Clock.Now().Add(4 * e.Poll).UnixNano()) }
