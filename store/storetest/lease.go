package storetest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

func endedLease(t *testing.T, s fixture) {
	n := s.create(t, nil)
	late := epoch.Add(2 * time.Hour) // r1's lease ended an hour ago
	if _, err := s.Renew(t.Context(), "r1", late, late.Add(time.Hour)); !errors.Is(err, saga.ErrLeaseLost) {
		t.Errorf("renewing a lease that has ended: %v, want ErrLeaseLost", err)
	}
	s.join(t, "r2", late.Add(time.Hour))
	for _, freed := range []bool{true, false} {
		renewal, err := s.Renew(t.Context(), "r2", late, late.Add(time.Hour))
		if err != nil || renewal.Freed != freed {
			t.Errorf("renewing r2: %+v, %v; want freed %t", renewal, err, freed)
		}
	}
	ids, err := s.Claim(t.Context(), "r2", late, 10)
	if err != nil || !slices.Equal(ids, []string{n.Run.ID}) {
		t.Fatalf("claimed %v, %v; want the dead replica's run", ids, err)
	}
	if r := s.Commit(t.Context(), late, []saga.Checkpoint{checkpoint(n)}); !errors.Is(r[0].Err, saga.ErrFenced) {
		t.Errorf("the dead replica wrote: %+v", r[0])
	}
	if err := s.Create(t.Context(), leased(nil)); err == nil {
		t.Error("a run was created leased to a replica that is gone")
	}
}

func handingBack(t *testing.T, s fixture) {
	working, stray := s.create(t, nil), s.create(t, nil)
	later := epoch.Add(time.Minute)
	if err := s.HandBack(t.Context(), "r1", later, later, []string{working.Run.ID}); err != nil {
		t.Fatal(err)
	}
	if got := s.read(t, stray.Run.ID).Replica + s.read(t, working.Run.ID).Replica; got != "r1" {
		t.Errorf("replicas of both: %q, want the stray one's empty", got)
	}
	if err := s.Leave(t.Context(), "r1", later); err != nil {
		t.Fatal(err)
	}
	if got := s.read(t, working.Run.ID); got.Replica != "" || !got.DueAt.Equal(later) {
		t.Errorf("after leaving: %q, due %v", got.Replica, got.DueAt)
	}
}
