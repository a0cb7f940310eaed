package saga_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/store/storetest"
)

// joined waits until the engine works on runs that it accepts.
func (b *bench) joined(t *testing.T) {
	t.Helper()
	b.until(t, b.start(t, nil).ID, saga.Succeeded)
}

func TestARunThatItsReplicaBeganAtOnceIsTakenOver(t *testing.T) {
	w := newWorld()
	path := storetest.SQLite(t)
	dying := &mortal{}
	dead := serve(t, open(t, path), w, func(o *saga.Options) { dying.Queue = o.Queue; o.Queue = dying })
	dead.joined(t)
	hang := make(chan struct{})
	w.mu.Lock()
	w.after["do b"] = func(_ context.Context, attempt int) error {
		if attempt == 1 {
			<-hang
		}
		return nil
	}
	w.mu.Unlock()
	t.Cleanup(func() { close(hang) })
	run := dead.start(t, nil)
	want(t, "leased at acceptance", run.Replica != "", true)
	dying.dead.Store(true)
	alive := serve(t, open(t, path), w, nil)
	run = alive.until(t, run.ID, saga.Succeeded)
	want(t, "epoch", run.Epoch, int64(2))
}

// mortal is a queue that nothing passes once it is dead.
type mortal struct {
	saga.Queue
	dead atomic.Bool
}

func (m *mortal) Join(ctx context.Context, replica string, until time.Time) error {
	if m.dead.Load() {
		return errors.New("dead")
	}
	return m.Queue.Join(ctx, replica, until)
}

func (m *mortal) Renew(ctx context.Context, replica string, now, until time.Time) (time.Time, error) {
	if m.dead.Load() {
		return time.Time{}, errors.New("dead")
	}
	return m.Queue.Renew(ctx, replica, now, until)
}
