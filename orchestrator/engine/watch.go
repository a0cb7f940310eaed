package engine

import (
	"context"
	"sync"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// watchers are those on this replica who wait for changes of runs.
type watchers struct {
	mu sync.Mutex
	of map[string]map[chan *saga.Run]struct{}
}

// tell passes on a copy of a run that was just stored; nil says that it changed elsewhere. The slow get only the newest.
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

// lookAgain is how often a watcher reads a run that another replica may be working on.
const lookAgain = time.Second

// Watch calls see with the run as it stands and after each change that it learns of, until see returns false, ctx ends,
// or the run cannot be read. Changes in quick succession may be seen as one.
func (e *Engine) Watch(ctx context.Context, runID string, see func(*saga.Run) bool) error {
	w := e.NewWatcher(runID)
	defer w.Close()
	return w.Watch(ctx, nil, see)
}

// Watcher hears of one run. One that is made before its run is misses nothing, and then needs to read nothing of a run
// that goes on on this replica.
type Watcher struct {
	engine  *Engine
	runID   string
	changes <-chan *saga.Run
	stop    func()
}

// NewWatcher begins to hear of a run, which need not be there yet. It is to be closed.
func (e *Engine) NewWatcher(runID string) *Watcher {
	changes, stop := e.watchers.add(runID)
	return &Watcher{e, runID, changes, stop}
}

// Close ends the hearing.
func (w *Watcher) Close() { w.stop() }

// Watch is Engine.Watch, but begins with the run as the caller knows it since the Watcher was made; nil has it read.
func (w *Watcher) Watch(ctx context.Context, run *saga.Run, see func(*saga.Run) bool) error {
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
		if ctx.Err() != nil { // not left to chance where all three have come
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
