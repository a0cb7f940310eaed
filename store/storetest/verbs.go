package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

func (f fixture) ask(t *testing.T, v saga.Verb) {
	t.Helper()
	if err := f.AddVerb(t.Context(), epoch, v); err != nil {
		t.Fatal(err)
	}
}

func verbs(t *testing.T, s fixture) {
	n := s.create(t, nil)
	verb := saga.Verb{RunID: n.Run.ID, Name: saga.Hold, Who: "op", Why: "nul \x00 and ü", At: epoch}
	s.ask(t, verb)
	s.ask(t, verb)
	r := s.commit(t, checkpoint(n))
	verbs, err := s.Verbs(t.Context(), n.Run.ID)
	if err != nil || len(verbs) != 2 || !r.Verbs {
		t.Fatalf("the checkpoint told %+v; verbs %v, %v", r, verbs, err)
	}
	rest := checkpoint(n)
	rest.Run.Version, rest.Run.Replica, rest.Run.DueAt = 2, "", nil
	rest.Events[0].Seq, rest.Consumed = 3, []int64{verbs[0].ID, verbs[1].ID}
	if r := s.commit(t, rest); r != (saga.CommitResult{}) {
		t.Errorf("consuming them: %+v", r)
	}
	if got := s.claim(t, 10); len(got) != 0 {
		t.Errorf("claimed %v although it rests", got)
	}
	s.ask(t, verb)
	if got := s.claim(t, 10); len(got) != 1 {
		t.Errorf("claimed %v, want the run that a verb waits for", got)
	}
	if err := s.AddVerb(t.Context(), epoch, saga.Verb{RunID: newID()}); !errors.Is(err, saga.ErrNotFound) {
		t.Errorf("a verb for no run: %v", err)
	}
}

func fencedVerbs(t *testing.T, s fixture) {
	n := s.create(t, nil)
	s.ask(t, saga.Verb{RunID: n.Run.ID, Name: saga.Hold, At: epoch})
	before, err := s.Verbs(t.Context(), n.Run.ID)
	if err != nil || len(before) != 1 {
		t.Fatalf("verbs %v, %v; want one", before, err)
	}
	stale := checkpoint(n)
	stale.Run.Epoch, stale.Consumed = 7, []int64{before[0].ID}
	if r := s.Commit(t.Context(), epoch, []saga.Checkpoint{stale}); !errors.Is(r[0].Err, saga.ErrFenced) {
		t.Fatalf("committing: %v, want ErrFenced", r[0].Err)
	}
	if after, err := s.Verbs(t.Context(), n.Run.ID); err != nil || len(after) != 1 {
		t.Errorf("verbs %v, %v; want the one that nobody obeyed", after, err)
	}
}

// verbsInOrder shows that verbs of one moment are kept apart, cleaned, and told oldest first, and that one for a run
// that is worked on leaves its due time alone.
func verbsInOrder(t *testing.T, s fixture) {
	later := epoch.Add(time.Minute)
	n := s.create(t, func(r *saga.Run) { r.DueAt = &later })
	other := s.create(t, nil)
	s.ask(t, saga.Verb{RunID: n.Run.ID, Name: saga.SkipStep, Step: "a", Who: "op", Why: "nul \x00", At: epoch})
	s.ask(t, saga.Verb{RunID: other.Run.ID, Name: saga.Hold})
	s.ask(t, saga.Verb{RunID: n.Run.ID, Name: saga.Retry, At: later})
	verbs, err := s.Verbs(t.Context(), n.Run.ID)
	if err != nil || len(verbs) != 2 {
		t.Fatalf("verbs %v, %v; want two", verbs, err)
	}
	want := saga.Verb{ID: verbs[0].ID, RunID: n.Run.ID, Name: saga.SkipStep, Step: "a", Who: "op", Why: "nul �", At: epoch}
	if verbs[0] != want || verbs[1].Name != saga.Retry || verbs[1].At != later || verbs[1].ID <= verbs[0].ID {
		t.Errorf("verbs %+v; want first %+v", verbs, want)
	}
	if got := s.read(t, n.Run.ID).DueAt; !got.Equal(later) {
		t.Errorf("due %v, want %v: it is worked on", got, later)
	}
}

// missedVerb shows that a run that went to rest as a verb came in is taken up for it.
func missedVerb(t *testing.T, s fixture) {
	n := s.create(t, nil)
	s.ask(t, saga.Verb{RunID: n.Run.ID, Name: saga.Retry})
	rest := checkpoint(n)
	rest.Run.Replica, rest.Run.DueAt = "", nil
	if r := s.commit(t, rest); !r.Verbs {
		t.Errorf("going to rest: %+v, want to hear of the verb", r)
	}
	if got := s.claim(t, 10); len(got) != 1 {
		t.Errorf("claimed %v, want the run whose verb nobody saw", got)
	}
}
