package engine

import (
	"context"
	"sync"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// The type `watchers` holds the runs that have watchers on this replica.
type watchers struct {
	mu sync.Mutex
	of map[string]*watched // the keys are the ids of the runs
}

// The type `watched` is a run with at least one watcher. If one watcher reads the run, the other watchers can use the result.
type watched struct {
	changes map[chan *saga.Run]struct{} // a channel for each watcher
	told    time.Time                   // time at which another replica last reported a change

	turn chan struct{} // contains an element while a watcher uses the fields `run` and `at`
	run  *saga.Run     // the result of the last read
	at   time.Time     // time at which the last read began
}

// The method `tell` sends a copy of the stored run to the run's watchers. If the argument `run` is nil, another replica has changed
// the stored run before the time `now`. A slow watcher receives only the newest copy. If the watcher has not yet received the copy of an ended
// run, the report of another replica does not replace this copy. The reason is that the database also reports the end of a run to the replica
// that has executed the run.
func (w *watchers) tell(runID string, run *saga.Run, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	watched := w.of[runID]
	if watched == nil {
		return
	}
	if run != nil {
		run = run.AsStored()
	} else {
		watched.told = now
	}
	for c := range watched.changes {
		next := run
		select {
		case waiting := <-c:
			if run == nil && waiting != nil && waiting.State.Ended() {
				next = waiting
			}
		default:
		}
		c <- next
	}
}

func (w *watchers) add(runID string) (run *watched, changes <-chan *saga.Run, stop func()) {
	c := make(chan *saga.Run, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.of == nil {
		w.of = map[string]*watched{}
	}
	run = w.of[runID]
	if run == nil {
		run = &watched{changes: map[chan *saga.Run]struct{}{}, turn: make(chan struct{}, 1)}
		w.of[runID] = run
	}
	run.changes[c] = struct{}{}
	return run, c, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(run.changes, c)
		if len(run.changes) == 0 && w.of[runID] == run {
			delete(w.of, runID)
		}
	}
}

// lookAgain is the interval at which a watcher reads a run that another replica may be executing.
const lookAgain = time.Second

// The type `watcher` receives the changes of one run. If this replica executes the run, and the watcher was created before the run,
// the watcher does not read the run from the store.
type watcher struct {
	engine  *Engine
	runID   string
	run     *watched
	changes <-chan *saga.Run
	stop    func()
	since   time.Time // time at which the watcher was created or began its last read
}

// Watch implements [saga.Reader].
func (e *Engine) Watch(runID string) saga.Watcher {
	since := e.Clock.local()
	run, changes, stop := e.watchers.add(runID)
	return &watcher{e, runID, run, changes, stop, since}
}

// The method `read` reads the run from the store, or returns the result of another watcher's read. The other watcher's read must have begun
// later than two events: this watcher's last read, and the last change that another replica reported.
func (w *watcher) read(ctx context.Context) (*saga.Run, error) {
	select {
	case w.run.turn <- struct{}{}:
		defer func() { <-w.run.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	w.engine.watchers.mu.Lock()
	told := w.run.told
	w.engine.watchers.mu.Unlock()
	began := w.engine.Clock.local()
	if w.run.run == nil || !w.run.at.After(w.since) || !w.run.at.After(told) {
		run, err := w.engine.Store.Run(ctx, w.runID)
		if err != nil {
			return nil, err
		}
		w.run.run, w.run.at = run, began
	}
	w.since = began
	return w.run.run, nil
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
			if run, err = w.read(ctx); err != nil {
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
