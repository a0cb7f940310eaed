package engine

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// The type `passwords` holds the passwords that callers have sent with the requests for runs. A password can be used until its run ends, but
// no longer than Options.KeepPassword. At the next poll after this time, it is dropped from memory. A password is never stored. The zero
// value is empty and ready for use.
type passwords struct {
	mu   sync.Mutex
	held map[string]heldPassword // by the id of the run
}

type heldPassword struct {
	text  string
	until time.Time
}

// The method `put` holds the password of a run until its lifetime has passed.
func (p *passwords) put(runID, password string, now time.Time, lifetime time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held == nil {
		p.held = map[string]heldPassword{}
	}
	p.held[runID] = heldPassword{password, now.Add(lifetime)}
}

// The method `sweep` drops the passwords whose lifetime has passed.
func (p *passwords) sweep(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.held, func(_ string, h heldPassword) bool { return !now.Before(h.until) })
}

// The method `of` returns the password of a run, or saga.ErrNoPassword.
func (p *passwords) of(runID string, now time.Time) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h, ok := p.held[runID]; ok && now.Before(h.until) {
		return h.text, nil
	}
	return "", saga.ErrNoPassword
}

func (p *passwords) forget(runID string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.held, runID)
}

func (e *Engine) keepPassword(runID, password string) {
	e.passwords.put(runID, password, e.Clock.Now(), e.KeepPassword)
}

// HandOver implements [saga.Starter].
func (e *Engine) HandOver(ctx context.Context, runID, password string) error {
	ctx, cancel := e.patiently(ctx)
	defer cancel()
	run, err := e.Store.Run(ctx, runID)
	if err != nil {
		return err
	}
	e.mu.Lock()
	replica, l := e.replica, e.lease
	free := l != nil && !e.stopping && len(e.executors) < e.Executors
	e.mu.Unlock()
	if !run.AwaitsPassword() || run.Replica != "" || !free || l.check() != nil {
		return saga.ErrChanged
	}
	taken, err := e.Queue.Take(ctx, replica, runID, run.Version, e.Clock.Now())
	switch {
	case err != nil:
		e.beUnsure() // the database may have leased the run in spite of the error
		return fmt.Errorf("handing over the password of run %s: %w", runID, err)
	case !taken:
		return saga.ErrChanged
	}
	e.keepPassword(runID, password)
	e.takeUp(context.WithoutCancel(ctx), runID, true)
	return nil
}
