package storetest

import (
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// Record stores a run that has recorded the objects.
func Record(t testing.TB, s Store, objects ...saga.Object) {
	t.Helper()
	replica := newID()
	if _, err := s.Join(t.Context(), replica, epoch.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	n := leased(func(r *saga.Run) { r.Replica = replica })
	if err := s.Create(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	cp := checkpoint(n)
	cp.Objects, cp.Replica = objects, replica
	if result := s.Commit(t.Context(), epoch, []saga.Checkpoint{cp})[0]; result.Err != nil {
		t.Fatal(result.Err)
	}
}
