package store

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/store/storetest"
)

// TestWhatIsFinishedCostsNothing shows that finished runs do not slow down the service's frequent statements. The test measures
// each statement with 500 and with 5,000 finished runs. With 5,000 runs, the statement must read about as many rows as with 500
// runs. The number of pages may double, because an index may have one more level. The test compares the rows and pages that
// PostgreSQL counts, so the result does not depend on time. The test is repeated without statistics for PostgreSQL's planner.
func TestWhatIsFinishedCostsNothing(t *testing.T) {
	for name, counted := range map[string]bool{"counted": true, "never counted": false} {
		t.Run(name, func(t *testing.T) {
			few, many := growthOf(t, 500, counted), growthOf(t, 5000, counted)
			for _, what := range few.order {
				a, b := few.touched[what], many.touched[what]
				t.Logf("%-40s %4d rows %4d pages, and %4d rows %4d pages", what, a.rows, a.pages, b.rows, b.pages)
				if b.rows > a.rows+a.rows/10+a.slack || b.pages > 2*a.pages+20 {
					t.Errorf("%s: read %d rows on %d pages with 500 finished runs, but %d rows on %d pages with 5,000; want about as many",
						what, a.rows, a.pages, b.rows, b.pages)
				}
			}
		})
	}
}

// The type `growth` contains a store with finished runs, and the numbers of rows and pages that each statement reads.
type growth struct {
	*Store

	t       *testing.T
	order   []string
	slack   int64
	touched map[string]touched
}

// The type `touched` contains the numbers of rows and pages that a statement reads from tables and indexes. The field `slack` is
// the number of rows by which two measurements may differ. Measurements differ because each write leaves an old version of the row.
// PostgreSQL also reads the old version until all other transactions have ended.
type touched struct{ rows, pages, slack int64 }

func growthOf(t *testing.T, finished int, counted bool) *growth {
	t.Helper()
	s, err := Open(t.Context(), storetest.PostgreSQL(t), make([]byte, KeySize))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	pool, err := s.db.DB()
	if err != nil {
		t.Fatal(err)
	}
	pool.SetMaxOpenConns(1) // pg_stat_force_next_flush only affects the counters of its own connection
	g := &growth{Store: s, t: t, slack: 10, touched: map[string]touched{}}
	for _, statement := range slices.Concat(finishedRuns, resolvedFindings, postedUsage) {
		g.execute(strings.ReplaceAll(statement, "FINISHED", fmt.Sprint(finished)))
	}
	if counted {
		g.execute("ANALYZE")
	}
	g.measureAll(t.Context(), time.Now())
	g.plannedOnce()
	return g
}

// finishedRuns are SQL statements that insert finished runs of the merchants m0 to m9. The placeholder FINISHED is the number of
// runs. The runs were created 1,000 s apart. The newest run is about 18 minutes old. The oldest tenth of the runs belongs to a
// merchant with the id "old". About one run in twenty is compensated. The merchant m0 has no compensated runs. Each run was started by a
// follow-up whose next due time is far in the future. Two of these follow-ups have a reason. Autovacuum is off, because it would read rows
// during the measurements.
var finishedRuns = []string{
	`ALTER TABLE runs SET (autovacuum_enabled = off)`, `ALTER TABLE steps SET (autovacuum_enabled = off)`,
	`ALTER TABLE events SET (autovacuum_enabled = off)`, `ALTER TABLE objects SET (autovacuum_enabled = off)`,
	`ALTER TABLE idempotency_keys SET (autovacuum_enabled = off)`,
	`INSERT INTO runs (id, workflow, workflow_version, merchant_id, cloud, subject, user_id, doubles, on_failure, input,
		idempotency_key, fingerprint, pinned_steps, created_at, state, updated_at, ended_at, worked, budget_from, rechecks, take_overs,
		holds_subject, epoch, version, last_seq)
	SELECT lpad(to_hex(ms >> 16), 8, '0') || '-' || lpad(to_hex(ms & 65535), 4, '0') || '-7000-8000-' || lpad(i::text, 12, '0'),
		'subscribe', 1, CASE WHEN i > FINISHED * 0.9 THEN 'old' ELSE 'm' || i % 10 END, 'default', 's' || i, 'u' || i, 'p', 'compensate', '{}', 'k' || i, '', (SELECT json_agg(json_build_object('name', 'step' || n))::text FROM generate_series(1, 10) n), ms * 1000,
		CASE WHEN i / 10 % 20 = 7 AND i % 10 > 0 THEN 'compensated' ELSE 'succeeded' END, ms * 1000, ms * 1000, 0, 0, 0, 0,
		FALSE, 1, 5, 12
	FROM (SELECT i, (extract(epoch FROM now())::bigint - 60 - i * 1000) * 1000 AS ms FROM generate_series(1, FINISHED) i) n`,
	`INSERT INTO steps (run_id, name, state, attempts, undos, unknowns)
	SELECT id, 'step' || n, 'succeeded', 1, 0, 0 FROM runs, generate_series(1, 10) n`,
	`INSERT INTO events (run_id, seq, at, epoch, kind, step, attempt, action, who, why, request_id)
	SELECT id, n, 0, 1, 'succeeded', '', 1, '', '', '', '' FROM runs, generate_series(1, 12) n`,
	`INSERT INTO objects (run_id, kind, id, step, cloud, name, origin)
	SELECT id, kind, kind || ' of ' || user_id, '', '', '', 'own' FROM runs, unnest(ARRAY['customer', 'subscription', 'project']) kind`,
	`INSERT INTO objects (run_id, kind, id, step, cloud, name, origin)
	SELECT id, 'role-assignment', 'project of ' || user_id || '/' || user_id || '/r', '', '', '', 'own' FROM runs`,
	`INSERT INTO idempotency_keys (merchant_id, key, run_id) SELECT merchant_id, idempotency_key, id FROM runs`,
	`ALTER TABLE follow_ups SET (autovacuum_enabled = off)`,
	`INSERT INTO follow_ups (workflow, id, merchant_id, cloud, subject, user_id, doubles, input, due_at, reason, run_id)
	SELECT 'later', user_id, merchant_id, '', subject, user_id, '', '{}', 1::bigint << 60, CASE WHEN user_id IN ('u1', 'u2') THEN '{}' END, id
	FROM runs`,
}

func (g *growth) execute(statement string) {
	g.t.Helper()
	if err := g.db.Exec(statement).Error; err != nil {
		g.t.Fatal(err)
	}
}

// The function `customer` returns the filter for the runs that created or adopted a customer.
func customer(id string) []saga.ObjectRef { return []saga.ObjectRef{{Kind: "customer", ID: id}} }

// The method `measure` records the number of rows and pages that a repeated call reads. The first calls are not measured, because
// they also read PostgreSQL's catalog.
func (g *growth) measure(what string, call func() error) {
	g.t.Helper()
	for range 6 { // PostgreSQL may switch to a generic plan after five calls
		if err := call(); err != nil {
			g.t.Fatalf("%s: %v", what, err)
		}
	}
	// `measure` stores the minimum of three calls, because one of the three calls may also read the index entries of removed rows.
	least := touched{math.MaxInt64, math.MaxInt64, g.slack}
	for range 3 {
		before := g.count()
		if err := call(); err != nil {
			g.t.Fatalf("%s: %v", what, err)
		}
		after := g.count()
		least.rows, least.pages = min(least.rows, after.rows-before.rows), min(least.pages, after.pages-before.pages)
	}
	g.order = append(g.order, what)
	g.touched[what] = least
}

func (g *growth) count() (n touched) {
	g.t.Helper()
	g.execute("SELECT pg_stat_force_next_flush()")
	err := g.db.Raw(`
SELECT (SELECT SUM(seq_tup_read + COALESCE(idx_tup_fetch, 0)) FROM pg_stat_user_tables)
		+ (SELECT SUM(idx_tup_read) FROM pg_stat_user_indexes) AS rows,
	(SELECT SUM(heap_blks_hit + heap_blks_read + COALESCE(idx_blks_hit + idx_blks_read, 0)) FROM pg_statio_user_tables) AS pages`).
		Row().Scan(&n.rows, &n.pages)
	if err != nil {
		g.t.Fatal(err)
	}
	return n
}

// plannedOnce checks that PostgreSQL has not made any custom plans. PostgreSQL would make a custom plan again on every call.
func (g *growth) plannedOnce() {
	g.t.Helper()
	var statements []string
	err := g.db.Raw("SELECT statement FROM pg_prepared_statements WHERE custom_plans > 0").Scan(&statements).Error
	if err != nil || len(statements) > 0 {
		g.t.Errorf("statements with custom plans: %q, %v; want none", statements, err)
	}
}

func (g *growth) measureAll(ctx context.Context, now time.Time) {
	g.t.Helper()
	found, err := g.Runs(ctx, saga.Filter{Merchant: "m3", States: []saga.RunState{saga.Succeeded}, Limit: 30})
	if err != nil {
		g.t.Fatal(err)
	}
	old := found[len(found)-1]
	g.measureLists(ctx, now, old)
	g.measure("get", func() error { _, err := g.Run(ctx, old.ID); return err })
	g.measure("get by key", func() error { _, err := g.RunOfKey(ctx, old.Merchant, old.Key); return err })
	g.measure("newest run about a subscription", func() error {
		runs, err := g.Latest(ctx, old.Merchant, "subscription", []string{"subscription of " + old.User})
		if err == nil && len(runs) != 1 {
			err = fmt.Errorf("got %d runs, want one", len(runs))
		}
		return err
	})
	g.measure("version", func() error { _, _, err := g.Tip(ctx, old.ID); return err })
	g.measure("events", func() error { _, err := g.Events(ctx, old.ID, 6, 100); return err })
	g.measure("actions", func() error { _, err := g.Actions(ctx, old.ID); return err })
	if _, err := g.Join(ctx, "r", now.Add(time.Hour)); err != nil {
		g.t.Fatal(err)
	}
	g.measure("claim of nothing", func() error { return g.claim(ctx, now, 0) })
	g.measureFollowUps(ctx, now, old)
	g.measureFindings(ctx, old)
	g.measureLedger(ctx, old)
	g.slack = 200
	g.measureAudits(ctx, now)
	g.measureUsage(ctx)
	var live []saga.NewRun
	g.measure("create", func() error { live = append(live, g.live("r")); return g.Create(ctx, live[len(live)-1]) })
	g.measure("checkpoint", func() error { return g.checkpoint(ctx, now, &live, saga.Running) })
	g.measure("last checkpoint", func() error { return g.checkpoint(ctx, now, &live, saga.Succeeded) })
	g.measure("run with a follow-up", func() error {
		live = append(live, g.live("r"))
		if err := g.Create(ctx, live[len(live)-1]); err != nil {
			return err
		}
		return g.checkpoint(ctx, now, &live, saga.Succeeded, saga.FollowUp{Workflow: "later", ID: "u3", DueAt: now})
	})
	for range 20 {
		if err := g.Create(ctx, g.live("")); err != nil {
			g.t.Fatal(err)
		}
	}
	g.measure("claim", func() error { return g.claim(ctx, now, 1) })
	g.measure("runs that are due", func() error { _, err := g.Due(ctx, saga.Due{Now: now, Down: []string{"k"}}); return err })
	g.measure("backlog", func() error {
		b, err := g.Backlog(ctx, saga.Due{Now: now, Down: []string{"k"}}, saga.BacklogLimits{Count: 50, FollowUp: 5, Replicas: 5})
		if err == nil && (len(b.Runs) == 0 || len(b.Replicas) != 1) {
			err = fmt.Errorf("got %+v", b)
		}
		return err
	})
	g.measure("runs that live", func() error { _, err := g.LiveRuns(ctx, "m3"); return err })
	g.measure("lease", func() error { _, err := g.Renew(ctx, "r", now, now.Add(time.Hour)); return err })
	g.measure("hand back", func() error { return g.HandBack(ctx, "r", now, now.Add(-time.Hour), []string{"x"}) })
}

func (g *growth) measureFollowUps(ctx context.Context, now time.Time, old *saga.Run) {
	g.t.Helper()
	take := func(want int) error {
		taken, err := g.TakeFollowUps(ctx, saga.DueFollowUps{Now: now, Workflows: []string{"later", "toy"}, Limit: 1}, uuid.NewString)
		if err == nil && len(taken) != want {
			err = fmt.Errorf("took %d follow-ups, want %d", len(taken), want)
		}
		return err
	}
	g.measure("follow-ups of nothing", func() error { return take(0) })
	g.measure("follow-ups by id", func() error {
		_, err := g.FollowUps(ctx, old.Merchant, "later", []string{old.User, "none"})
		return err
	})
	g.measure("hold of a follow-up", func() error {
		return g.HoldFollowUp(ctx, old.Merchant, "later", old.User, &saga.FollowUpHold{Who: "op", At: now})
	})
	for n := range 20 { // these follow-ups have been taken before
		g.execute(fmt.Sprintf("UPDATE follow_ups SET due_at = 0, taken_at = 0 WHERE id = 'u%d'", n+10))
	}
	g.measure("follow-ups", func() error { return take(1) })
}

func (g *growth) measureLists(ctx context.Context, now time.Time, old *saga.Run) {
	g.t.Helper()
	for what, f := range map[string]saga.Filter{
		"no filter": {}, "next page": {Before: old.ID}, "merchant": {Merchant: "m3"}, "user": {User: old.User},
		"customer": {Objects: customer("customer of " + old.User)}, "succeeded": {States: []saga.RunState{saga.Succeeded}}, "stuck": {States: []saga.RunState{saga.Stuck}},
		"compensated": {States: []saga.RunState{saga.Compensated}}, "merchant and succeeded": {Merchant: "m3", States: []saga.RunState{saga.Succeeded}},
		"merchant and compensated":              {Merchant: "m3", States: []saga.RunState{saga.Compensated}},
		"customer, next page":                   {Objects: customer("customer of " + old.User), Before: "y"},
		"customer of a merchant, compensated":   {Objects: customer("customer of " + old.User), Merchant: "m3", States: []saga.RunState{saga.Compensated}},
		"role assignment":                       {Objects: []saga.ObjectRef{{Kind: "role-assignment", ID: "project of " + old.User + "/" + old.User + "/r"}}},
		"customer of a merchant":                {Objects: customer("customer of " + old.User), Merchant: "m3"},
		"merchant of old":                       {Merchant: "old"},
		"merchant of old and succeeded":         {Merchant: "old", States: []saga.RunState{saga.Succeeded}},
		"compensated of a merchant without any": {Merchant: "m0", States: []saga.RunState{saga.Compensated}},
		"running of a merchant without any":     {Merchant: "m3", States: []saga.RunState{saga.Running}},
		"workflow":                              {Workflow: "subscribe"}, "workflow of none": {Workflow: "w"},
		"live about a subject":              {Subject: old.Subject, Live: true},
		"rechecked about a subject":         {Subject: old.Subject, AwaitsRecheck: true},
		"succeeded about a subject":         {Subject: old.Subject, States: []saga.RunState{saga.Succeeded}},
		"compensated and stuck":             {States: []saga.RunState{saga.Compensated, saga.Stuck}},
		"succeeded, waiting and stuck":      {States: []saga.RunState{saga.Succeeded, saga.Waiting, saga.Stuck}},
		"compensated and stuck, next page":  {States: []saga.RunState{saga.Compensated, saga.Stuck}, Before: old.ID},
		"merchant, compensated and running": {Merchant: "m3", States: []saga.RunState{saga.Compensated, saga.Running}},
		"attention":                         {Attention: now},
		"attention of a merchant":           {Merchant: "m3", Attention: now, Since: now.Add(-time.Hour)},
		"attention, compensated or stuck":   {Attention: now, States: []saga.RunState{saga.Compensated, saga.Stuck}},
		"since an hour":                     {Since: now.Add(-time.Hour)}, "since now": {Since: now},
	} {
		f.Limit = 2
		g.measure("list: "+what, func() error { _, err := g.Runs(ctx, f); return err })
	}
}

func (g *growth) claim(ctx context.Context, now time.Time, want int) error {
	ids, err := g.Claim(ctx, saga.Claim{Due: saga.Due{Now: now}, Replica: "r", Limit: 1})
	if err == nil && len(ids) != want {
		err = fmt.Errorf("claimed %v, want %d", ids, want)
	}
	return err
}

// On SQLite, the search for the newest run about an object begins with the object, and not with all runs of the merchant.
func TestTheNewestRunAboutAnObjectOnSQLite(t *testing.T) {
	read := planOnSQLite(t, latestRuns, []string{"s1", "s2"}, "subscription", "m")
	want := []string{
		"SEARCH o USING INDEX objects_id (id=?)", "SEARCH r USING INDEX sqlite_autoindex_runs_1 (id=?)", "USE TEMP B-TREE FOR ORDER BY",
	}
	if !slices.Equal(read, want) {
		t.Errorf("SQLite reads\n%q\nwant\n%q", read, want)
	}
}

// planOnSQLite returns the lines of the plan that SQLite makes for a statement.
func planOnSQLite(t *testing.T, statement string, args ...any) (read []string) {
	t.Helper()
	s, err := Open(t.Context(), storetest.SQLite(t), make([]byte, KeySize))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	var plan []struct{ Detail string }
	if err := s.db.Raw("EXPLAIN QUERY PLAN "+statement, args...).Scan(&plan).Error; err != nil {
		t.Fatal(err)
	}
	for _, line := range plan {
		read = append(read, line.Detail)
	}
	return read
}

// The method `live` returns a live run that is leased to the replica. If replica is empty, the run has no lease and is due.
func (g *growth) live(replica string) saga.NewRun {
	id, now := uuid.Must(uuid.NewV7()).String(), time.Now()
	due := now.Add(-time.Minute)
	return saga.NewRun{
		Run: &saga.Run{
			ID: id, Workflow: "subscribe", Merchant: "m3", Subject: id, User: id, Doubles: "p", Key: id, Input: []byte("{}"),
			CreatedAt: now, UpdatedAt: now, BudgetFrom: now, State: saga.Running, HoldsSubject: true, Epoch: 1, Version: 1, Seq: 1,
			Replica: replica, DueAt: &due,
			Steps: []saga.StepRow{{Name: "a", State: saga.StepRunning, Attempts: 1, StartedAt: &now}},
		},
		Events: []saga.Event{{RunID: id, Seq: 1, At: now, Kind: saga.EventAccepted}},
	}
}

// The method `checkpoint` commits a checkpoint that changes the state of the first run in the list `live`. If the run has ended in
// the new state, `checkpoint` removes the run from the list `live`.
func (g *growth) checkpoint(ctx context.Context, now time.Time, live *[]saga.NewRun, state saga.RunState, then ...saga.FollowUp) error {
	run := (*live)[0].Run
	run.State, run.Seq = state, run.Seq+1
	cp := saga.Checkpoint{Run: run, Replica: "r", Steps: run.Steps, Events: []saga.Event{{RunID: run.ID, Seq: run.Seq, At: now}}}
	cp.Objects, cp.FollowUps = []saga.Object{{Kind: "customer", ID: run.ID, Origin: saga.Own}}, then
	if state.Ended() {
		run.EndedAt, run.Replica, run.HoldsSubject, run.DueAt = &now, "", false, nil
		cp.DropToken = true
		*live = (*live)[1:]
	}
	err := g.Commit(ctx, now, []saga.Checkpoint{cp})[0].Err
	run.Version++
	return err
}
