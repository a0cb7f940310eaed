package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// The type `passwords` holds the passwords that callers have sent with the requests for runs. A password can be used until its run ends,
// but no longer than Options.KeepPassword. When this time has passed, the next poll drops the password from memory. A password is never
// stored. The zero value is empty and ready for use.
type passwords struct {
	mu   sync.Mutex
	held map[string]heldPassword // by the id of the run
}

type heldPassword struct {
	text   string
	handed int // Run.Handed when the replica received the password; a run with a greater Handed has a newer password elsewhere
	until  time.Time
}

// The method `put` holds the password of a run until its lifetime has passed.
func (p *passwords) put(runID, password string, handed int, now time.Time, lifetime time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held == nil {
		p.held = map[string]heldPassword{}
	}
	p.held[runID] = heldPassword{password, handed, now.Add(lifetime)}
}

// The method `sweep` drops the passwords whose lifetime has passed.
func (p *passwords) sweep(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.held, func(_ string, h heldPassword) bool { return !now.Before(h.until) })
}

// The method `of` returns the password of a run, or saga.ErrNoPassword. The parameter `handed` is Run.Handed.
func (p *passwords) of(runID string, handed int, now time.Time) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h, ok := p.held[runID]; ok && h.handed == handed && now.Before(h.until) {
		return h.text, nil
	}
	return "", saga.ErrNoPassword
}

// The method `runs` returns the sorted ids of the runs whose passwords are held.
func (p *passwords) runs() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Sorted(maps.Keys(p.held))
}

func (p *passwords) forget(runID string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.held, runID)
}

func (e *Engine) keepPassword(runID, password string, handed int) {
	e.passwords.put(runID, password, handed, e.Clock.Now(), e.KeepPassword)
}

// HandOver implements [saga.Starter].
func (e *Engine) HandOver(ctx context.Context, runID, password string) error {
	return e.handOver(ctx, runID, password)
}

// takeHeld takes the runs that wait for a password that this replica holds. Such a run was released, for example because an upstream was
// down, and was then executed by another replica.
func (e *Engine) takeHeld(ctx context.Context) {
	for _, runID := range e.passwords.runs() {
		if e.worksOn(runID) {
			continue
		}
		err := e.handOver(ctx, runID, "")
		if err != nil && !errors.Is(err, saga.ErrChanged) && !errors.Is(err, saga.ErrNotFound) && ctx.Err() == nil {
			e.OnFault(err)
			return
		}
	}
}

// handOver takes a run that waits for its password. If the parameter `password` is empty, the run continues with the password that this
// replica holds, unless a newer password was handed over elsewhere.
func (e *Engine) handOver(ctx context.Context, runID, password string) error {
	ctx, cancel := e.patiently(ctx)
	defer cancel()
	run, err := e.Store.Run(ctx, runID)
	if err != nil {
		return err
	}
	now := e.Clock.Now()
	if password == "" {
		if run.State.Ended() { // on another replica
			e.passwords.forget(runID)
		}
		if _, err := e.passwords.of(runID, run.Handed, now); err != nil { // expired, or replaced elsewhere
			return saga.ErrChanged
		}
	}
	e.mu.Lock()
	replica, l := e.replica, e.lease
	free := l != nil && !e.stopping && len(e.executors) < e.Executors
	e.mu.Unlock()
	if !run.AwaitsPassword() || run.Replica != "" || !free || l.check() != nil {
		return saga.ErrChanged
	}
	taken, err := e.Queue.Take(ctx, saga.Take{Replica: replica, RunID: runID, Version: run.Version, Now: now, Handed: password != ""})
	switch {
	case err != nil:
		e.beUnsure() // the database may have leased the run in spite of the error
		return fmt.Errorf("handing over the password of run %s: %w", runID, err)
	case !taken:
		return saga.ErrChanged
	}
	if password != "" {
		e.keepPassword(runID, password, run.Handed+1)
	}
	e.takeUp(context.WithoutCancel(ctx), runID, true)
	return nil
}
