package engine_test

import (
	"context"
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
