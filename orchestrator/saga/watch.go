package saga

import (
	"context"
	"sync"
	"time"
)

// watchers are those on this replica who wait for changes of runs.
type watchers struct {
	mu sync.Mutex
	of map[string]map[chan *Run]struct{}
}

// tell passes on a copy of a run that was just stored; nil says that it changed elsewhere. The slow get only the newest.
func (w *watchers) tell(runID string, run *Run) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if run != nil && len(w.of[runID]) > 0 {
		run = run.clone()
	}
	for c := range w.of[runID] {
		select {
		case <-c:
		default:
		}
		c <- run
	}
}

func (w *watchers) add(runID string) (changes <-chan *Run, stop func()) {
	c := make(chan *Run, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.of == nil {
		w.of = map[string]map[chan *Run]struct{}{}
	}
	if w.of[runID] == nil {
		w.of[runID] = map[chan *Run]struct{}{}
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
func (e *Engine) Watch(ctx context.Context, runID string, see func(*Run) bool) error {
	changes, stop := e.watchers.add(runID)
	defer stop()
	again, rest := e.Clock.after(lookAgain)
	defer func() { rest() }()
	var run *Run
	var seen int64 = -1
	for {
		if run == nil {
			var err error
			if run, err = e.Store.Run(ctx, runID); err != nil {
				return err
			}
		}
		if run.Version > seen {
			seen = run.Version
			if !see(run) {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case run = <-changes:
		case <-again:
			run = nil
			again, rest = e.Clock.after(lookAgain)
		}
	}
}
