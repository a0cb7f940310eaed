package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// PostgreSQL detects invalid UTF-8 when it receives the row. If PostgreSQL refuses a row, no part of the checkpoint may be stored.
func TestACheckpointWithAFollowUpThatPostgreSQLRefusesWritesNothing(t *testing.T) {
	s, now := migrated(t, template.PostgreSQL(t)), time.Now()
	_, err := s.Join(t.Context(), "r", now.Add(time.Hour))
	must(t, err)
	run := &saga.Run{
		ID: "run", Workflow: "w", Subject: "s", Input: []byte("{}"), CreatedAt: now, UpdatedAt: now, BudgetFrom: now, State: saga.Running,
		HoldsSubject: true, Replica: "r", Epoch: 1, Version: 1,
	}
	must(t, s.Create(t.Context(), saga.NewRun{Run: run}))
	run.State, run.EndedAt, run.HoldsSubject = saga.Succeeded, &now, false
	for what, refused := range map[string]saga.FollowUp{
		"put": {Workflow: "later", ID: "z", User: "\xff", DueAt: now}, "dropped": {Workflow: "later", ID: "z\xff"},
	} {
		cp := saga.Checkpoint{Run: run, Replica: "r", FollowUps: []saga.FollowUp{{Workflow: "later", ID: "a", DueAt: now}, refused}}
		if r := s.Commit(t.Context(), now, []saga.Checkpoint{cp}); !errors.Is(r[0].Err, saga.ErrBadRow) {
			t.Errorf("%s: got %v, want ErrBadRow", what, r[0].Err)
		}
		stored, err := s.Run(t.Context(), "run")
		must(t, err)
		followUps, err := s.FollowUps(t.Context(), "", "later", []string{"a", "z"})
		must(t, err)
		if stored.Version != 1 || stored.EndedAt != nil || len(followUps) > 0 {
			t.Errorf("%s: the refused checkpoint has written the run %+v and the follow-ups %v", what, stored, followUps)
		}
	}
}
