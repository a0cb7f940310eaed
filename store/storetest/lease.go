package storetest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

func renewEnded(t *testing.T, s fixture) {
	n := s.create(t, nil)
	late := epoch.Add(2 * time.Hour) // r1's lease ended an hour ago
	if _, err := s.Renew(t.Context(), "r1", late, late.Add(time.Hour)); !errors.Is(err, saga.ErrLeaseLost) {
		t.Errorf("renewing a lease that has ended: %v; want ErrLeaseLost", err)
	}
	s.join(t, "r2", late.Add(time.Hour))
	for _, freed := range []bool{true, false} {
		renewal, err := s.Renew(t.Context(), "r2", late, late.Add(time.Hour))
		if err != nil || renewal.Freed != freed {
			t.Errorf("renewing the lease of replica r2: %+v, %v; want Freed to be %t", renewal, err, freed)
		}
	}
	ids, err := s.Claim(t.Context(), saga.Claim{Due: saga.Due{Now: late}, Replica: "r2", Limit: 10})
	if err != nil || !slices.Equal(ids, []string{n.Run.ID}) {
		t.Fatalf("claimed %v, %v; want the run of the dead replica", ids, err)
	}
	if r := s.Commit(t.Context(), late, []saga.Checkpoint{checkpoint(n)}); !errors.Is(r[0].Err, saga.ErrFenced) {
		t.Errorf("committing for the dead replica returned %+v; want ErrFenced", r[0])
	}
	if err := s.Create(t.Context(), leased(nil)); err == nil {
		t.Error("Create accepted a run that is leased to a dead replica; want an error")
	}
}

func handBackAndLeave(t *testing.T, s fixture) {
	working, stray := s.create(t, nil), s.create(t, nil)
	later := epoch.Add(time.Minute)
	if err := s.HandBack(t.Context(), "r1", later, later, []string{working.Run.ID}); err != nil {
		t.Fatal(err)
	}
	if got := s.read(t, stray.Run.ID).Replica + s.read(t, working.Run.ID).Replica; got != "r1" {
		t.Errorf("the replicas of the two runs are %q; want r1 for one run and none for the other run", got)
	}
	if err := s.Leave(t.Context(), "r1", later); err != nil {
		t.Fatal(err)
	}
	if got := s.read(t, working.Run.ID); got.Replica != "" || !got.DueAt.Equal(later) {
		t.Errorf("the run after Leave: leased to %q, due at %v; want no lease", got.Replica, got.DueAt)
	}
}

// handBackStray shows that HandBack releases a run only if the run is leased to the given replica and the run's last write was
// before the given time.
func handBackStray(t *testing.T, s fixture) {
	s.join(t, "r2", epoch.Add(time.Hour))
	stray := s.create(t, nil)
	fresh := s.create(t, func(r *saga.Run) { r.UpdatedAt = epoch.Add(time.Second) })
	theirs := s.create(t, func(r *saga.Run) { r.Replica = "r2" })
	later := epoch.Add(time.Minute)
	if err := s.HandBack(t.Context(), "r1", later, epoch.Add(time.Second), nil); err != nil {
		t.Fatal(err)
	}
	want := stray.Run
	want.Replica, want.DueAt = "", &later
	if got := s.read(t, want.ID); show(t, got) != show(t, want) {
		t.Errorf("the run after HandBack:\n got %s\nwant %s", show(t, got), show(t, want))
	}
	for _, n := range []saga.NewRun{fresh, theirs} {
		if got := s.read(t, n.Run.ID); show(t, got) != show(t, n.Run) {
			t.Errorf("a run that HandBack must not release:\n got %s\nwant %s", show(t, got), show(t, n.Run))
		}
	}
}

// renewOtherDead shows that the runs of a dead replica lose their lease, and that nothing else in the runs changes. A late
// heartbeat of the dead replica does not restore the lease.
func renewOtherDead(t *testing.T, s fixture) {
	n := s.create(t, nil)
	end := epoch.Add(time.Hour)
	s.join(t, "r2", end.Add(time.Hour))
	beat := func(replica string, at time.Time) error {
		_, err := s.Renew(t.Context(), replica, at, at.Add(time.Hour))
		return err
	}
	if err := beat("r2", end); err != nil || s.read(t, n.Run.ID).Replica != "r1" {
		t.Errorf("renewing r2 at the moment when r1's lease ends: %v; the run is leased to %q, want r1", err, s.read(t, n.Run.ID).Replica)
	}
	for range 2 { // the second call must also fail
		if err := beat("r1", end); !errors.Is(err, saga.ErrLeaseLost) {
			t.Errorf("renewing r1 at the moment when its lease ends: %v; want ErrLeaseLost", err)
		}
	}
	if err := beat("r2", end.Add(time.Microsecond)); err != nil {
		t.Fatal(err)
	}
	want := n.Run
	want.Replica = ""
	if got := s.read(t, want.ID); show(t, got) != show(t, want) {
		t.Errorf("the run of the dead replica:\n got %s\nwant %s", show(t, got), show(t, want))
	}
	if err := beat("r1", epoch); !errors.Is(err, saga.ErrLeaseLost) {
		t.Errorf("renewing r1 after another replica has removed it: %v; want ErrLeaseLost", err)
	}
}

func joinRepeated(t *testing.T, s fixture) {
	if _, err := s.Join(t.Context(), "r1", epoch.Add(2*time.Hour)); err == nil {
		t.Error("replica r1 joined for the second time without an error; want an error")
	}
}
