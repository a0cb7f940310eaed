package store

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/tenantry/tenantry/orchestrator/audit"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/usage"
	"github.com/tenantry/tenantry/store/storetest"
)

// If an older release accepted a run, this release reads the run unchanged, and the run's pending steps can still begin.
func TestMigrationPinsTheStepsOfARunUnderWay(t *testing.T) {
	for name, url := range map[string]func(testing.TB) string{"SQLite": storetest.SQLite, "PostgreSQL": storetest.PostgreSQL} {
		t.Run(name, func(t *testing.T) {
			s, err := Open(t.Context(), url(t), make([]byte, KeySize))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })
			provider, err := migrationsOf(s)
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
				{Name: "first", State: saga.StepRunning, Attempts: 1, InFlight: saga.CallDo},
				{Name: "second", Position: 1, After: []string{"first"}, Optional: true, State: saga.StepPending},
			}
			run := shows(t, s, want)
			want[0].State, want[0].InFlight, want[1].State, want[1].Attempts = saga.StepSucceeded, "", saga.StepRunning, 1
			results := s.Commit(t.Context(), at(2), []saga.Checkpoint{{Run: run, Replica: "replica", Steps: want}})
			if results[0].Err != nil {
				t.Fatal(results[0].Err)
			}
			shows(t, s, want)
		})
	}
}

// An older release did not store the calls in flight. The migration records all calls that may be in flight.
func TestMigrationMarksTheUndosThatCanBeInFlight(t *testing.T) {
	for name, url := range map[string]func(testing.TB) string{"SQLite": storetest.SQLite, "PostgreSQL": storetest.PostgreSQL} {
		t.Run(name, func(t *testing.T) {
			s, err := Open(t.Context(), url(t), make([]byte, KeySize))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })
			provider, err := migrationsOf(s)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := provider.UpTo(t.Context(), 8); err != nil {
				t.Fatal(err)
			}
			if err := s.db.Exec(`INSERT INTO replicas (id, lease_until) VALUES ('replica', 1)`).Error; err != nil {
				t.Fatal(err)
			}
			leased, due := "replica", 1
			cases := []struct {
				run, state string
				replica    *string
				due        *int
				undos      int
				retry      *int
				want       saga.CallKind
			}{
				{"an undo under a lease", "compensating", &leased, nil, 1, nil, saga.CallUndo},
				{"an undo of a dead replica", "compensating", nil, &due, 1, nil, saga.CallUndo},
				{"an undo beside a refused undo", "stuck", &leased, nil, 1, nil, saga.CallUndo},
				{"a re-check under a lease", "compensated", &leased, nil, 2, nil, saga.CallRecheck},
				{"an undo that is tried again later", "compensating", &leased, nil, 1, &due, ""},
				{"an undo that has not begun", "compensating", &leased, nil, 0, nil, ""},
				{"an undo that waits for an operator", "compensating", nil, nil, 1, nil, ""},
				{"an undo of a run that is held", "waiting", nil, &due, 1, nil, ""},
				{"a re-check that is made again later", "compensated", nil, &due, 2, nil, ""},
				{"a re-check that is tried again later", "compensated", &leased, nil, 2, &due, ""},
			}
			for _, c := range cases {
				err := errors.Join(s.db.Exec(`INSERT INTO runs (id, workflow, workflow_version, merchant_id, cloud, subject, user_id, plan_id,
						on_failure, input, idempotency_key, fingerprint, pinned_steps, created_at, state, updated_at, worked, budget_from,
						rechecks, take_overs, holds_subject, replica_id, due_at, epoch, version, last_seq)
					VALUES (?, 'w', 1, 'm', '', ?, '', '', 'hold', '{}', ?, '', '[{"name":"s"}]', 1, ?, 1, 0, 1, 0, 0, false, ?, ?, 1, 1, 0)`,
					c.run, c.run, c.run, c.state, c.replica, c.due).Error,
					s.db.Exec(`INSERT INTO steps (run_id, name, state, attempts, undos, unknowns, retry_at)
						VALUES (?, 's', 'undoing', 1, ?, 0, ?)`, c.run, c.undos, c.retry).Error)
				if err != nil {
					t.Fatal(err)
				}
			}
			if _, err := s.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, c := range cases {
				run, err := s.Run(t.Context(), c.run)
				if err != nil {
					t.Fatal(err)
				}
				if got := run.Step("s").InFlight; got != c.want {
					t.Errorf("%s: the call in flight is %q, want %q", c.run, got, c.want)
				}
			}
		})
	}
}

// The migration replaces old names of tables, columns and stored values with the current names. For example, the table verbs
// becomes the table actions.
func TestMigrationRenamesWhatIsStored(t *testing.T) {
	for name, url := range map[string]func(testing.TB) string{"SQLite": storetest.SQLite, "PostgreSQL": storetest.PostgreSQL} {
		t.Run(name, func(t *testing.T) {
			s, err := Open(t.Context(), url(t), make([]byte, KeySize))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })
			provider, err := migrationsOf(s)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := provider.UpTo(t.Context(), 7); err != nil {
				t.Fatal(err)
			}
			for _, statement := range []string{
				`INSERT INTO runs (id, workflow, workflow_version, merchant_id, cloud, subject, user_id, plan_id, on_failure, input,
					idempotency_key, fingerprint, pinned_steps, created_at, state, reason, updated_at, worked, budget_from, probes, take_overs,
					holds_subject, epoch, version, last_seq)
				VALUES ('run', 'w', 1, 'm', '', 's', '', '', 'hold', '{}', '', '', '[]', 1, 'compensating',
					'{"kind":"settle","code":"c","detail":"a \"kind\" of","fix_by":"nobody","at":"2026-01-02T03:04:05Z"}', 1, 0, 1, 2, 0, true, 1, 1, 2)`,
				`INSERT INTO events (run_id, seq, at, epoch, kind, step, attempt, verb, who, why, request_id) VALUES
					('run', 1, 1, 1, 'verb', '', 0, 'retry', 'op', 'because', ''), ('run', 2, 1, 1, 'probed', '', 0, '', '', '', '')`,
				`INSERT INTO verbs (id, run_id, name, step, who, why, at) VALUES (7, 'run', 'hold', '', 'op', 'because', 1)`,
			} {
				if err := s.db.Exec(statement).Error; err != nil {
					t.Fatal(err)
				}
			}
			if _, err := s.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			run := shows(t, s, []saga.StepRow{})
			if run.Rechecks != 2 || run.Reason == nil || run.Reason.Kind != saga.WaitsForLateWindow {
				t.Errorf("the run is read as %+v, with the reason %+v", run, run.Reason)
			}
			events, err := s.Events(t.Context(), "run", 0, 10)
			if err != nil || len(events) != 2 || events[0].Kind != saga.EventAction || events[0].Action != "retry" ||
				events[1].Kind != saga.EventRechecked {
				t.Errorf("the events are read as %+v, %v", events, err)
			}
			actions, err := s.Actions(t.Context(), "run")
			if err != nil || len(actions) != 1 || actions[0].ID != 7 || actions[0].Name != saga.Hold {
				t.Errorf("the actions are read as %+v, %v", actions, err)
			}
		})
	}
}

// The function `shows` reports a test error if the stored steps of the run differ from want. `shows` returns the run.
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

// If a run needed a person before the migration, the run is in the list of runs that need attention after the migration.
func TestMigrationFindsTheRunsThatNeedAttention(t *testing.T) {
	for name, url := range map[string]func(testing.TB) string{"SQLite": storetest.SQLite, "PostgreSQL": storetest.PostgreSQL} {
		t.Run(name, func(t *testing.T) {
			s, err := Open(t.Context(), url(t), make([]byte, KeySize))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })
			provider, err := migrationsOf(s)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := provider.UpTo(t.Context(), 11); err != nil {
				t.Fatal(err)
			}
			const updated = 1_000_000
			operator, upstream, retry := `{"kind":"operator","code":"held"}`, `{"kind":"upstream","code":"x"}`, `{"kind":"retry","code":"operator"}`
			ended := updated
			for _, c := range []struct {
				id, state string
				reason    *string
				ended     *int
			}{
				{"a stuck", "stuck", &operator, nil},
				{"b held", "waiting", &operator, nil},
				{"c refused", "compensating", nil, nil},
				{"d upstream", "compensating", &upstream, nil},
				{"e retry", "waiting", &retry, nil},
				{"f running", "running", nil, nil},
				{"g compensated", "compensated", nil, &ended},
			} {
				err := s.db.Exec(`INSERT INTO runs (id, workflow, workflow_version, merchant_id, cloud, subject, user_id, doubles, on_failure,
						input, idempotency_key, fingerprint, pinned_steps, created_at, state, reason, updated_at, ended_at, worked, budget_from,
						rechecks, take_overs, holds_subject, epoch, version, last_seq)
					VALUES (?, 'w', 1, 'm', '', ?, '', '', 'hold', '{}', ?, '', '[{"name":"x"}]', 1, ?, ?, ?, ?, 0, 1, 0, 0, true, 1, 1, 0)`,
					c.id, c.id, c.id, c.state, c.reason, updated, c.ended).Error
				if err == nil && (c.state == "compensating" && c.reason == nil || c.ended != nil) {
					err = s.db.Exec(`INSERT INTO steps (run_id, name, state, attempts, undos, unknowns) VALUES (?, 'x', 'undo_failed', 1, 1, 0)`, c.id).Error
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if _, err := s.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			for after, want := range map[time.Duration]string{
				0: "c refused, b held, a stuck, ", saga.Patience: "d upstream, c refused, b held, a stuck, ",
			} {
				runs, err := s.Runs(t.Context(), saga.Filter{Attention: at(updated).Add(after), Limit: 10})
				got := ""
				for _, r := range runs {
					got += r.ID + ", "
				}
				if err != nil || got != want {
					t.Errorf("after %v: got %q, %v, want %q", after, got, err, want)
				}
			}
		})
	}
}

// migrationsOf returns the migrations of a store that is not pooled.
func migrationsOf(s *Store) (*goose.Provider, error) {
	pool, err := s.db.DB()
	if err != nil {
		return nil, err
	}
	return s.migrations(pool)
}

// The migration finds the merchants and subscriptions of usage that was computed before, as the service does for new usage. The migration to
// the earlier schema keeps this usage, and the migration to this schema can be repeated.
func TestMigrationOfUsageRows(t *testing.T) {
	for name, url := range map[string]func(testing.TB) string{"SQLite": storetest.SQLite, "PostgreSQL": storetest.PostgreSQL} {
		t.Run(name, func(t *testing.T) {
			s, err := Open(t.Context(), url(t), make([]byte, KeySize))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })
			provider, err := migrationsOf(s)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := provider.UpTo(t.Context(), 20); err != nil {
				t.Fatal(err)
			}
			execute := func(statement string, args ...any) {
				t.Helper()
				if err := s.db.Exec(statement, args...).Error; err != nil {
					t.Fatal(err)
				}
			}
			for _, run := range [][2]string{{"1", "old"}, {"2", "m"}, {"3", "m"}, {"4", "z"}} {
				execute(`INSERT INTO runs (id, workflow, workflow_version, merchant_id, cloud, subject, user_id, doubles, on_failure, input,
						idempotency_key, fingerprint, pinned_steps, created_at, state, updated_at, worked, budget_from, rechecks, take_overs,
						holds_subject, epoch, version, last_seq)
					VALUES (?, 'w', 1, ?, '', ?, '', '', 'hold', '{}', ?, '', '[]', 1, 'succeeded', 1, 0, 1, 0, 0, false, 1, 1, 0)`,
					run[0], run[1], run[0], run[0])
			}
			for _, o := range [][5]string{
				{"1", "project", "p", "default", "bs-subscription-old"},
				{"2", "project", "p", "default", "bs-subscription-s"},
				{"4", "project", "p", "default", "renamed"},
				{"3", "project", "p", "west", "bs-subscription-west"},
				{"3", "user", "other", "default", "bs-subscription-user"},
				{"2", "project", "adopted", "default", "adopted"},
				{"3", "project", "parent", "default", "bs-customer-c"},
				{"3", "role-assignment", "p/u/r", "default", "bs-subscription-r"},
			} {
				execute("INSERT INTO objects (run_id, kind, id, step, cloud, name, origin) VALUES (?, ?, ?, '', ?, ?, 'own')", o[0], o[1], o[2], o[3], o[4])
			}
			const hour = 3_600_000_000
			for _, of := range [][2]string{
				{"default", "p"}, {"west", "p"}, {"default", "adopted"}, {"default", "parent"}, {"default", "other"}, {"default", "unknown"},
			} {
				execute(`INSERT INTO usage_amounts (cloud, project_id, hour, from_at, to_at, meter, kind, unit, amount, plan_id, state)
					VALUES (?, ?, 0, 0, ?, 'cpu', 'delta', 'B', '1', 'plan', 'active')`, of[0], of[1], hour)
			}
			execute("INSERT INTO usage_again (cloud, project_id, hour) VALUES ('default', 'p', 0)")
			want := "default/adopted/m/ default/other// default/p/m/s default/parent/m/ default/unknown// west/p/m/west "
			for range 2 {
				if _, err := s.Migrate(t.Context()); err != nil {
					t.Fatal(err)
				}
				var amounts []amountRow
				if err := columns(s.db).Order("cloud, project_id").Find(&amounts).Error; err != nil {
					t.Fatal(err)
				}
				got := ""
				for _, a := range amounts {
					got += strings.Join([]string{a.Cloud, a.ProjectID, a.MerchantID, a.SubscriptionID}, "/") + " "
				}
				if got != want {
					t.Errorf("the usage belongs to\n%s, want\n%s", got, want)
				}
				for _, merchant := range []string{"m", "old", "z", ""} { // usage that was computed before is not billed
					if n, err := s.Usage().Bill(t.Context(), at(hour), merchant, 10, nil); err != nil || n != 0 {
						t.Errorf("billed %d projects of merchant %q, %v", n, merchant, err)
					}
				}
				due, err := s.Usage().TakeDue(t.Context(), at(hour), at(hour), 10)
				if err != nil || len(due) != 1 {
					t.Fatalf("the due hours are %+v, %v", due, err)
				}
				err = s.Usage().FinishHour(t.Context(), at(0), due[0], usage.Finished{
					Usage:    []usage.Measured{{Range: usage.Hour(at(0)), Meter: "cpu", Kind: usage.Delta, Unit: "B"}},
					Merchant: "m", Subscription: "s", Again: []time.Time{at(0)},
				})
				if err != nil {
					t.Fatal(err)
				}
				for _, table := range []any{&unbilledRow{}, &usageRow{}, &unmatchedRow{}} {
					if err := s.db.Create(table).Error; err != nil {
						t.Fatal(err)
					}
				}
				if _, err := provider.DownTo(t.Context(), 20); err != nil {
					t.Fatal(err)
				}
				for _, gone := range []string{
					"SELECT merchant_id FROM usage_amounts", "SELECT subscription_id FROM usage_amounts", "SELECT due_at FROM usage_again",
					"SELECT * FROM usage_unbilled", "SELECT * FROM usage_rows", "SELECT * FROM usage_unmatched",
				} {
					if err := s.db.Exec(gone).Error; err == nil {
						t.Errorf("after the migration to the earlier schema, this works: %s", gone)
					}
				}
			}
		})
	}
}

// The migration counts the entries of plans that were made before. A text within an entry is not counted.
func TestMigrationCountsTheEntriesOfPlans(t *testing.T) {
	for name, url := range map[string]func(testing.TB) string{"SQLite": storetest.SQLite, "PostgreSQL": storetest.PostgreSQL} {
		t.Run(name, func(t *testing.T) {
			s, err := Open(t.Context(), url(t), make([]byte, KeySize))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })
			provider, err := migrationsOf(s)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := provider.UpTo(t.Context(), 29); err != nil {
				t.Fatal(err)
			}
			entries := []audit.PlanEntry{{FindingID: "f1", Detail: `"finding_id":"x"`}, {FindingID: "f2", Values: map[string]string{"v": `"finding_id":`}}}
			for id, all := range map[string][]audit.PlanEntry{"two": entries, "none": {}} {
				row, err := rowOfPlan(&audit.Plan{ID: id, CreatedAt: time.Now(), Entries: all})
				if err != nil {
					t.Fatal(err)
				}
				if err := s.db.Omit("size").Create(&row).Error; err != nil {
					t.Fatal(err)
				}
			}
			if _, err := s.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			plans, err := s.Audits().Plans(t.Context(), "", 9)
			if err != nil || len(plans) != 2 || plans[0].Size != 2 || plans[1].Size != 0 {
				t.Errorf("got %+v, %v; want plans with 2 and 0 entries", plans, err)
			}
		})
	}
}
