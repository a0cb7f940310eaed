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
		t.Fatalf("Commit returned %+v, and the actions are %v, %v; want two actions", r, actions, err)
	}
	rest := checkpoint(n)
	rest.Run.Version, rest.Run.Replica, rest.Run.DueAt = 2, "", nil
	rest.Events[0].Seq, rest.Consumed = 3, []int64{actions[0].ID, actions[1].ID}
	if r := s.commit(t, rest); r != (saga.CommitResult{}) {
		t.Errorf("Commit returned %+v after both actions were consumed; want an empty result", r)
	}
	if got := s.claim(t, 10); len(got) != 0 {
		t.Errorf("claimed %v; want no run, because the only run is not due", got)
	}
	s.ask(t, action)
	if got := s.claim(t, 10); len(got) != 1 {
		t.Errorf("claimed %v; want the run with the new action", got)
	}
	if err := s.AddAction(t.Context(), epoch, saga.Action{RunID: newID()}); !errors.Is(err, saga.ErrNotFound) {
		t.Errorf("adding an action for a run that does not exist: %v; want ErrNotFound", err)
	}
}

// addActionIfVersion adds several actions for the same version concurrently. Only one of these actions may be stored.
func addActionIfVersion(t *testing.T, s fixture) {
	n := s.create(t, nil)
	action := saga.Action{RunID: n.Run.ID, Name: saga.Hold, At: epoch, IfVersion: n.Run.Version}
	errs := make(chan error)
	for range 4 {
		go func() { errs <- s.AddAction(t.Context(), epoch, action) }()
	}
	stored := 0
	for range 4 {
		switch err := <-errs; {
		case err == nil:
			stored++
		case !errors.Is(err, saga.ErrChanged):
			t.Errorf("got %v; want ErrChanged", err)
		}
	}
	if actions, err := s.Actions(t.Context(), n.Run.ID); err != nil || stored != 1 || len(actions) != 1 {
		t.Errorf("%d actions were added, and %d are stored, %v; want one", stored, len(actions), err)
	}
	cp := checkpoint(n)
	actions, err := s.Actions(t.Context(), n.Run.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range actions {
		cp.Consumed = append(cp.Consumed, a.ID)
	}
	s.commit(t, cp)
	if err := s.AddAction(t.Context(), epoch, action); !errors.Is(err, saga.ErrChanged) {
		t.Errorf("an action for an old version: got %v; want ErrChanged", err)
	}
	action.IfVersion++
	if err := s.AddAction(t.Context(), epoch, action); err != nil {
		t.Errorf("an action for the current version: got %v", err)
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
		t.Fatalf("committing a checkpoint with a wrong epoch: %v; want ErrFenced", r[0].Err)
	}
	if after, err := s.Actions(t.Context(), n.Run.ID); err != nil || len(after) != 1 {
		t.Errorf("actions after the fenced checkpoint: %v, %v; want the unconsumed action", after, err)
	}
}

// actionsAtOnce shows that a store can add two actions of a run in the same microsecond. The store returns the actions oldest first.
// It replaces a NUL in the texts of an action. An action for a leased run does not change the run's due time.
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
		t.Errorf("got the actions %+v; want the first action to be %+v", actions, want)
	}
	if got := s.read(t, n.Run.ID).DueAt; !got.Equal(later) {
		t.Errorf("the leased run is due at %v after the action; want %v, as before", got, later)
	}
}

// actionsOutOfTime adds an action whose time is earlier than the time of the previous action, as if the caller had waited for a
// lock. The actions must be read in the order in which they were stored.
func actionsOutOfTime(t *testing.T, s fixture) {
	n := s.create(t, nil)
	later := epoch.Add(time.Second)
	if err := s.AddAction(t.Context(), later, saga.Action{RunID: n.Run.ID, Name: saga.Hold, At: later}); err != nil {
		t.Fatal(err)
	}
	s.ask(t, saga.Action{RunID: n.Run.ID, Name: saga.Retry, At: epoch})
	actions, err := s.Actions(t.Context(), n.Run.ID)
	if err != nil || len(actions) != 2 || actions[0].Name != saga.Hold || actions[1].Name != saga.Retry || actions[1].At.Before(later) {
		t.Errorf("got %+v, %v; want hold, and then retry with a time that is not earlier", actions, err)
	}
}

// commitMissedAction shows that Claim takes a run if an action arrived just before the checkpoint that releases the run.
func commitMissedAction(t *testing.T, s fixture) {
	n := s.create(t, nil)
	s.ask(t, saga.Action{RunID: n.Run.ID, Name: saga.Retry})
	rest := checkpoint(n)
	rest.Run.Replica, rest.Run.DueAt = "", nil
	if r := s.commit(t, rest); !r.Actions {
		t.Errorf("releasing the run returned %+v; want Actions to be true", r)
	}
	if got := s.claim(t, 10); len(got) != 1 {
		t.Errorf("claimed %v; want the released run, which has an unconsumed action", got)
	}
}
