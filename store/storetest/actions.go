package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

func (f fixture) ask(t *testing.T, v saga.Action) {
	t.Helper()
	if err := f.AddAction(t.Context(), epoch, v); err != nil {
		t.Fatal(err)
	}
}

func addAction(t *testing.T, s fixture) {
	n := s.create(t, nil)
	action := saga.Action{RunID: n.Run.ID, Name: saga.Hold, Who: "op", Why: "nul \x00 and ü", At: epoch}
	s.ask(t, action)
	s.ask(t, action)
	r := s.commit(t, checkpoint(n))
	actions, err := s.Actions(t.Context(), n.Run.ID)
	if err != nil || len(actions) != 2 || !r.Actions {
		t.Fatalf("the checkpoint told %+v; actions %v, %v", r, actions, err)
	}
	rest := checkpoint(n)
	rest.Run.Version, rest.Run.Replica, rest.Run.DueAt = 2, "", nil
	rest.Events[0].Seq, rest.Consumed = 3, []int64{actions[0].ID, actions[1].ID}
	if r := s.commit(t, rest); r != (saga.CommitResult{}) {
		t.Errorf("consuming them: %+v", r)
	}
	if got := s.claim(t, 10); len(got) != 0 {
		t.Errorf("claimed %v although it rests", got)
	}
	s.ask(t, action)
	if got := s.claim(t, 10); len(got) != 1 {
		t.Errorf("claimed %v, want the run that an action waits for", got)
	}
	if err := s.AddAction(t.Context(), epoch, saga.Action{RunID: newID()}); !errors.Is(err, saga.ErrNotFound) {
		t.Errorf("an action for no run: %v", err)
	}
}

func commitFencedActions(t *testing.T, s fixture) {
	n := s.create(t, nil)
	s.ask(t, saga.Action{RunID: n.Run.ID, Name: saga.Hold, At: epoch})
	before, err := s.Actions(t.Context(), n.Run.ID)
	if err != nil || len(before) != 1 {
		t.Fatalf("actions %v, %v; want one", before, err)
	}
	stale := checkpoint(n)
	stale.Run.Epoch, stale.Consumed = 7, []int64{before[0].ID}
	if r := s.Commit(t.Context(), epoch, []saga.Checkpoint{stale}); !errors.Is(r[0].Err, saga.ErrFenced) {
		t.Fatalf("committing: %v, want ErrFenced", r[0].Err)
	}
	if after, err := s.Actions(t.Context(), n.Run.ID); err != nil || len(after) != 1 {
		t.Errorf("actions %v, %v; want the one that nobody obeyed", after, err)
	}
}

// actionsAtOnce shows that actions of the same moment are kept apart, cleaned, and returned oldest first, and that an action for a
// leased run does not change when that run is due.
func actionsAtOnce(t *testing.T, s fixture) {
	later := epoch.Add(time.Minute)
	n := s.create(t, func(r *saga.Run) { r.DueAt = &later })
	other := s.create(t, nil)
	s.ask(t, saga.Action{RunID: n.Run.ID, Name: saga.SkipStep, Step: "a", Who: "op", Why: "nul \x00", At: epoch})
	s.ask(t, saga.Action{RunID: other.Run.ID, Name: saga.Hold})
	s.ask(t, saga.Action{RunID: n.Run.ID, Name: saga.Retry, At: later})
	actions, err := s.Actions(t.Context(), n.Run.ID)
	if err != nil || len(actions) != 2 {
		t.Fatalf("actions %v, %v; want two", actions, err)
	}
	want := saga.Action{ID: actions[0].ID, RunID: n.Run.ID, Name: saga.SkipStep, Step: "a", Who: "op", Why: "nul �", At: epoch}
	if actions[0] != want || actions[1].Name != saga.Retry || actions[1].At != later || actions[1].ID <= actions[0].ID {
		t.Errorf("actions %+v; want first %+v", actions, want)
	}
	if got := s.read(t, n.Run.ID).DueAt; !got.Equal(later) {
		t.Errorf("due %v, want %v: it is worked on", got, later)
	}
}

// commitMissedAction shows that a run that is released while an action arrives is claimed for the action.
func commitMissedAction(t *testing.T, s fixture) {
	n := s.create(t, nil)
	s.ask(t, saga.Action{RunID: n.Run.ID, Name: saga.Retry})
	rest := checkpoint(n)
	rest.Run.Replica, rest.Run.DueAt = "", nil
	if r := s.commit(t, rest); !r.Actions {
		t.Errorf("going to rest: %+v, want to hear of the action", r)
	}
	if got := s.claim(t, 10); len(got) != 1 {
		t.Errorf("claimed %v, want the run whose action nobody saw", got)
	}
}
