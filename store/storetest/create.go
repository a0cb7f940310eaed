package storetest

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// atOnce creates n runs in parallel and returns the results.
func atOnce(t *testing.T, s fixture, n int, change func(*saga.Run)) []error {
	t.Helper()
	var all sync.WaitGroup
	answers := make([]error, n)
	for i := range n {
		all.Go(func() { answers[i] = s.Create(t.Context(), leased(change)) })
	}
	all.Wait()
	return answers
}

func createOneKey(t *testing.T, s fixture) {
	made := 0
	for _, err := range atOnce(t, s, 200, func(r *saga.Run) { r.Key = "the same" }) {
		if err == nil {
			made++
		} else if !errors.Is(err, saga.ErrKeyUsed) {
			t.Error(err)
		}
	}
	runs, err := s.Runs(t.Context(), saga.Filter{Limit: 1000})
	if err != nil || made != 1 || len(runs) != 1 {
		t.Errorf("%d calls of Create succeeded, and %d runs exist (error %v); want one successful call and one run", made, len(runs), err)
	}
}

func createOneSubject(t *testing.T, s fixture) {
	made := 0
	for _, err := range atOnce(t, s, 50, func(r *saga.Run) { r.Subject = "m:c" }) {
		if err == nil {
			made++
		} else if _, busy := errors.AsType[*saga.SubjectBusyError](err); !busy {
			t.Error(err)
		}
	}
	if made != 1 {
		t.Errorf("%d runs hold the subject; want one", made)
	}
}

func createRetry(t *testing.T, s fixture) {
	old := s.create(t, nil)
	retry := func(r *saga.Run) { r.RetryOf, r.Key = old.Run.ID, old.Run.Key }
	first := s.create(t, retry)
	if err := s.Create(t.Context(), leased(retry)); !errors.Is(err, saga.ErrRetried) {
		t.Errorf("creating a second retry of a run: %v; want ErrRetried", err)
	}
	byKey, err := s.RunOfKey(t.Context(), "m", old.Run.Key)
	if err != nil || byKey.ID != first.Run.ID || s.read(t, old.Run.ID).RetriedBy != first.Run.ID {
		t.Errorf("RunOfKey returned %v, %v; want the retry", byKey, err)
	}
	end := checkpoint(first)
	end.Run.State, end.Run.EndedAt, end.Run.HoldsSubject = saga.Succeeded, &epoch, false
	s.commit(t, end)
	other := leased(func(r *saga.Run) { r.RetryOf = "0" })
	later, ok := errors.AsType[*saga.AlreadySucceededError](s.Create(t.Context(), other))
	if !ok || later.RunID != first.Run.ID || !later.AcceptedAt.Equal(s.read(t, first.Run.ID).CreatedAt) {
		t.Errorf("creating a retry although run %s succeeded for the same user and plan: %+v; want an error that names that run",
			first.Run.ID, later)
	}
}

func tokenDropped(t *testing.T, s fixture) {
	n := leased(nil)
	n.Token, n.TokenExpiresAt = "gAAAA-canary", epoch.Add(time.Hour)
	s.insert(t, n)
	token, err := s.Token(t.Context(), n.Run.ID)
	if err != nil || token != "gAAAA-canary" {
		t.Fatalf("Token returned %q, %v; want the stored token", token, err)
	}
	cp := checkpoint(n)
	cp.DropToken = true
	s.commit(t, cp)
	if _, err := s.Token(t.Context(), n.Run.ID); !errors.Is(err, saga.ErrNoToken) {
		t.Errorf("after the checkpoint that drops the token, Token returns %v; want ErrNoToken", err)
	}
}

func deleteExpiredTokens(t *testing.T, s fixture) {
	other := leased(nil)
	other.Token, other.TokenExpiresAt = "x", epoch.Add(time.Hour)
	s.insert(t, other)
	if err := s.DeleteExpiredTokens(t.Context(), epoch.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if token, err := s.Token(t.Context(), other.Run.ID); token != "x" || err != nil {
		t.Errorf("Token at the moment of expiry: %q, %v; want the stored token", token, err)
	}
	if err := s.DeleteExpiredTokens(t.Context(), epoch.Add(2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Token(t.Context(), other.Run.ID); !errors.Is(err, saga.ErrNoToken) {
		t.Errorf("Token an hour after the expiry: %v; want ErrNoToken", err)
	}
}

// createSubjectBusy shows that Create stores no part of a run that it refuses.
func createSubjectBusy(t *testing.T, s fixture) {
	holder := s.create(t, func(r *saga.Run) { r.Subject = "m:c" })
	young := s.create(t, func(r *saga.Run) { r.Subject, r.HoldsSubject, r.WaitsFor = "m:c", false, holder.Run.ID })
	n := leased(func(r *saga.Run) { r.Subject = "m:c" })
	n.Token, n.TokenExpiresAt = "x", epoch.Add(time.Hour)
	err := s.Create(t.Context(), n)
	if busy, ok := errors.AsType[*saga.SubjectBusyError](err); !ok || busy.RunID != young.Run.ID {
		t.Fatalf("got %v; want a SubjectBusyError that names the newest run with the subject, %s", err, young.Run.ID)
	}
	_, ofRun := s.Run(t.Context(), n.Run.ID)
	_, ofKey := s.RunOfKey(t.Context(), "m", n.Run.Key)
	_, token := s.Token(t.Context(), n.Run.ID)
	events, err := s.Events(t.Context(), n.Run.ID, 0, 10)
	if !errors.Is(ofRun, saga.ErrNotFound) || !errors.Is(ofKey, saga.ErrNotFound) || !errors.Is(token, saga.ErrNoToken) ||
		len(events) > 0 || err != nil {
		t.Errorf("reading the refused run: run %v, key %v, token %v, events %v, %v; want ErrNotFound twice, ErrNoToken and no events", ofRun, ofKey, token, events, err)
	}
	s.create(t, func(r *saga.Run) { r.Key = n.Run.Key }) // the key of the refused run can still be used
}

// createAfterEnd stores a run after another run with the same subject has ended. However, the new run was accepted while the other run was
// live, so its first steps have times before the end of the other run. Therefore the new run must be queued behind the other run.
func createAfterEnd(t *testing.T, s fixture) {
	n := s.create(t, func(r *saga.Run) { r.Subject = "m:c" })
	ended := epoch.Add(time.Second)
	cp := checkpoint(n)
	cp.Run.State, cp.Run.EndedAt, cp.Run.HoldsSubject, cp.Run.Replica, cp.Run.DueAt = saga.Succeeded, &ended, false, "", nil
	s.commit(t, cp)
	early := leased(func(r *saga.Run) { r.Subject, r.CreatedAt = "m:c", ended.Add(-time.Microsecond) })
	err := s.Create(t.Context(), early)
	if busy, ok := errors.AsType[*saga.SubjectBusyError](err); !ok || busy.RunID != n.Run.ID {
		t.Errorf("got %v; want a SubjectBusyError that names %s", err, n.Run.ID)
	}
	queued := s.create(t, func(r *saga.Run) {
		r.Subject, r.CreatedAt, r.HoldsSubject, r.WaitsFor, r.Replica, r.DueAt = "m:c", early.Run.CreatedAt, false, n.Run.ID, "", nil
	})
	if got := s.claim(t, 10); !slices.Equal(got, []string{queued.Run.ID}) {
		t.Errorf("claimed %v; want %s", got, queued.Run.ID)
	}
	s.create(t, func(r *saga.Run) {
		r.Subject, r.CreatedAt, r.HoldsSubject, r.WaitsFor = "m:c", ended, false, queued.Run.ID
	})
}

// createKeyless shows that two runs without a key do not conflict. Two merchants can also use the same key.
func createKeyless(t *testing.T, s fixture) {
	s.create(t, func(r *saga.Run) { r.Key = "" })
	s.create(t, func(r *saga.Run) { r.Key = "" })
	ours := s.create(t, func(r *saga.Run) { r.Key = "k" })
	theirs := s.create(t, func(r *saga.Run) { r.Merchant, r.Key = "m2", "k" })
	for merchant, want := range map[string]string{"m": ours.Run.ID, "m2": theirs.Run.ID} {
		if run, err := s.RunOfKey(t.Context(), merchant, "k"); err != nil || run.ID != want {
			t.Errorf("RunOfKey for merchant %s returned %v, %v; want run %s", merchant, run, err, want)
		}
	}
}

// createTwice inserts a run that is already stored, as a caller does after the answer to the first insert was lost. If the run has
// a key, the error is ErrKeyUsed. If the run has no key, the store returns another error.
func createTwice(t *testing.T, f fixture) {
	n := f.create(t, func(r *saga.Run) { r.HoldsSubject = false })
	if err := f.Create(t.Context(), n); !errors.Is(err, saga.ErrKeyUsed) {
		t.Errorf("the same run again: got %v, want ErrKeyUsed", err)
	}
	keyless := f.create(t, func(r *saga.Run) { r.Key, r.HoldsSubject = "", false })
	if err := f.Create(t.Context(), keyless); err == nil || errors.Is(err, saga.ErrKeyUsed) {
		t.Errorf("the same run without a key again: got %v, want another error", err)
	}
}
