package engine_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/engine"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/store/storetest"
)

func TestAWatcherMadeBeforeItsRunReadsNothing(t *testing.T) {
	w := newWorld()
	database := open(t, storetest.PostgreSQL(t))
	s := &countingStore{Store: database}
	b := serve(t, database, w, func(o *engine.Options) {
		o.Store, o.Clock = s, engine.NewClock(time.Now)
		usual := o.Clock.AfterFunc
		o.Clock.AfterFunc = func(d time.Duration, f func()) func() {
			if d == time.Second { // disable the polling of runs that other replicas execute
				return func() {}
			}
			return usual(d, f)
		}
	})
	for range 20 {
		id := newID()
		watcher := b.Watch(id)
		run := b.start(t, func(q *saga.Request) { q.ID, q.Subject, q.Key = id, id, id })
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		err := watcher.See(ctx, run, func(now *saga.Run) bool { run = now; return !now.State.Ended() })
		cancel()
		watcher.Close()
		if err != nil || run.State != saga.Succeeded {
			t.Fatalf("%v, the run: %s", err, describe(run))
		}
		stored, err := database.Run(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		want(t, "objects as watched", run.Objects, stored.Objects)
	}
	want(t, "reads of runs", s.reads.Load(), int64(0))
}

// countingStore counts the reads of runs.
type countingStore struct {
	saga.Store
	reads atomic.Int64
}

func (s *countingStore) Run(ctx context.Context, id string) (*saga.Run, error) {
	s.reads.Add(1)
	return s.Store.Run(ctx, id)
}

// If many watchers watch a run that another replica executes, the watchers together read the run only about once a second.
func TestWatchersOfOneRunShareTheirReads(t *testing.T) {
	w := newWorld()
	gate := make(chan struct{})
	w.hooks["do b"] = func(context.Context, int) error { <-gate; return nil }
	database := open(t, storetest.SQLite(t))
	run := serve(t, database, w, nil).start(t, nil)
	s := &countingStore{Store: database}
	other := engine.New(engine.Options{Store: s, Queue: database, Tokens: database, NewID: newID})
	const watchers = 200
	began := time.Now()
	var all sync.WaitGroup
	for range watchers {
		all.Go(func() {
			watcher := other.Watch(run.ID)
			defer watcher.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if err := watcher.See(ctx, nil, func(now *saga.Run) bool { return !now.State.Ended() }); err != nil {
				t.Error(err)
			}
		})
	}
	time.AfterFunc(2500*time.Millisecond, func() { close(gate) })
	all.Wait()
	// A watcher cannot share a read that began before the watcher was created. In the first second, there may therefore be several
	// reads.
	if got, seconds := s.reads.Load(), int64(time.Since(began)/time.Second)+1; got > 10*seconds {
		t.Errorf("%d watchers read the run %d times in %d s, want at most %d", watchers, got, seconds, 10*seconds)
	}
}
