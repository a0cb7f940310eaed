package engine

import (
	"context"
	"sync"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// watchers holds a channel for each caller who waits on this replica for changes of a run.
type watchers struct {
	mu sync.Mutex
	of map[string]map[chan *saga.Run]struct{}
}

// tell sends a copy of the stored run to the run's watchers. A nil run means that another replica changed the run. A slow watcher
// receives only the newest copy.
func (w *watchers) tell(runID string, run *saga.Run) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if run != nil && len(w.of[runID]) > 0 {
		run = run.AsStored()
	}
	for c := range w.of[runID] {
		select {
		case <-c:
		default:
		}
		c <- run
	}
}

func (w *watchers) add(runID string) (changes <-chan *saga.Run, stop func()) {
	c := make(chan *saga.Run, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.of == nil {
		w.of = map[string]map[chan *saga.Run]struct{}{}
	}
	if w.of[runID] == nil {
		w.of[runID] = map[chan *saga.Run]struct{}{}
	}
	w.of[runID][c] = struct{}{}
	return c, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.of[runID], c)
		if len(w.of[runID]) == 0 {
			delete(w.of, runID)
		}
	}
}

// lookAgain is the interval at which a watcher reads a run that another replica may be executing.
const lookAgain = time.Second

// watcher receives the changes of one run. A watcher does not read the run from the store if this replica executes the run and the
// watcher was created before the run.
type watcher struct {
	engine  *Engine
	runID   string
	changes <-chan *saga.Run
	stop    func()
}

// Watch implements [saga.Reader].
func (e *Engine) Watch(runID string) saga.Watcher {
	changes, stop := e.watchers.add(runID)
	return &watcher{e, runID, changes, stop}
}

// Close implements [saga.Watcher].
func (w *watcher) Close() { w.stop() }

// See implements [saga.Watcher].
func (w *watcher) See(ctx context.Context, run *saga.Run, see func(*saga.Run) bool) error {
	again, rest := w.engine.Clock.after(lookAgain)
	defer func() { rest() }()
	var seen int64 = -1
	for {
		if run == nil {
			var err error
			if run, err = w.engine.Store.Run(ctx, w.runID); err != nil {
				return err
			}
		}
		if run.Version > seen {
			seen = run.Version
			if !see(run) {
				return nil
			}
		}
		if ctx.Err() != nil { // check ctx first, because select chooses at random between channels that are ready
			return ctx.Err()
		}
		select {
		case run = <-w.changes:
			continue
		default:
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case run = <-w.changes:
		case <-again:
			run = nil
			again, rest = w.engine.Clock.after(lookAgain)
		}
	}
}
