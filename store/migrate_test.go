package store

import (
	"encoding/json"
	"testing"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/store/storetest"
)

// A run that an older release accepted is read as it stood, and the steps that it has not begun can still begin.
func TestMigrationPinsTheStepsOfARunUnderWay(t *testing.T) {
	for name, url := range map[string]func(testing.TB) string{"SQLite": storetest.SQLite, "PostgreSQL": storetest.PostgreSQL} {
		t.Run(name, func(t *testing.T) {
			s, err := Open(t.Context(), url(t), make([]byte, KeySize))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })
			provider, err := s.migrations()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := provider.UpTo(t.Context(), 4); err != nil {
				t.Fatal(err)
			}
			for _, statement := range []string{
				`INSERT INTO replicas (id, lease_until) VALUES ('replica', 1)`,
				`INSERT INTO runs (id, workflow, workflow_version, merchant_id, cloud, subject, user_id, plan_id, on_failure, input,
					idempotency_key, fingerprint, created_at, state, updated_at, worked, budget_from, probes, take_overs,
					holds_subject, replica_id, epoch, version, last_seq)
				VALUES ('run', 'w', 1, 'm', '', 's', '', '', 'hold', '{}', '', '', 1, 'running', 1, 0, 1, 0, 0, true, 'replica', 1, 1, 0)`,
				`INSERT INTO steps (run_id, name, position, after, optional, state, attempts, undos, unknowns) VALUES
					('run', 'second', 1, '["first"]', true, 'pending', 0, 0, 0),
					('run', 'first', 0, 'null', false, 'running', 1, 0, 0)`,
			} {
				if err := s.db.Exec(statement).Error; err != nil {
					t.Fatal(err)
				}
			}
			if _, err := s.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			want := []saga.StepRow{
				{Name: "first", State: saga.StepRunning, Attempts: 1},
				{Name: "second", Position: 1, After: []string{"first"}, Optional: true, State: saga.StepPending},
			}
			run := shows(t, s, want)
			want[0].State, want[1].State, want[1].Attempts = saga.StepSucceeded, saga.StepRunning, 1
			results := s.Commit(t.Context(), at(2), []saga.Checkpoint{{Run: run, Replica: "replica", Steps: want}})
			if results[0].Err != nil {
				t.Fatal(results[0].Err)
			}
			shows(t, s, want)
		})
	}
}

// shows reads the run and compares its steps.
func shows(t *testing.T, s *Store, want []saga.StepRow) *saga.Run {
	t.Helper()
	run, err := s.Run(t.Context(), "run")
	if err != nil {
		t.Fatal(err)
	}
	got, gotErr := json.Marshal(run.Steps)
	wanted, wantErr := json.Marshal(want)
	if gotErr != nil || wantErr != nil || string(got) != string(wanted) {
		t.Errorf("the steps are %s (%v), want %s (%v)", got, gotErr, wanted, wantErr)
	}
	return run
}
