package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tenantry/tenantry/orchestrator/audit"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

// resolvedFindings are SQL statements that insert ended audits, repair plans, and resolved findings. The placeholder FINISHED is the
// number of audits, of plans and of findings. Each resolved finding has two changes, and belongs to one of the merchants m0 to m9. No
// two findings have the same user or the same project. There are also 40 open findings, which the audit "now" has seen: ten of
// merchant m3, and thirty of merchant m4. Merchant m5 has no open findings.
var resolvedFindings = []string{
	`ALTER TABLE audits SET (autovacuum_enabled = off)`, `ALTER TABLE findings SET (autovacuum_enabled = off)`,
	`ALTER TABLE finding_changes SET (autovacuum_enabled = off)`,
	`INSERT INTO audits (id, scope, asked_by, created_at, started_at, ended_at, state, progress, failure, replica, beat_at)
	SELECT 'audit ' || lpad(i::text, 12, '0'), '{}', 'schedule', i, i, i, 'complete', '{}', '', 'r', i FROM generate_series(1, FINISHED) i`,
	`INSERT INTO findings (id, code, severity, cloud, merchant_id, customer_id, subscription_id, project_id, user_id, detail,
		affected, run_id, repair, status, first_seen, last_seen, first_audit, last_audit, resolved_at, changes)
	SELECT md5(i::text), 'code', CASE i % 2 WHEN 0 THEN 'high' ELSE 'low' END, 'default', 'm' || i % 10, 'c' || i, 's' || i, 'p' || i,
		'u' || i, repeat('x', 200), '', '', '{}', 'resolved', 0, 0, audit, audit, 1, 2
	FROM (SELECT i, 'audit ' || lpad(i::text, 12, '0') AS audit FROM generate_series(1, FINISHED) i) n`,
	`INSERT INTO finding_changes (finding_id, seq, at, status, audit_id, who, why)
	SELECT id, n, 0, 'new', '', '', '' FROM findings, generate_series(1, 2) n`,
	`INSERT INTO findings (id, code, severity, cloud, merchant_id, customer_id, subscription_id, project_id, user_id, detail,
		affected, run_id, repair, status, first_seen, last_seen, first_audit, last_audit, changes)
	SELECT 'open ' || i, 'code', 'high', 'default', CASE WHEN i <= 10 THEN 'm3' ELSE 'm4' END, '', '', '', '', '',
		'', '', '{}', 'known', 0, 0, 'now', 'now', 2
	FROM generate_series(1, 40) i`,
	`ALTER TABLE repair_plans SET (autovacuum_enabled = off)`,
	`INSERT INTO repair_plans (id, installation, created_at, created_by, entries, left_out, suspect)
	SELECT 'plan ' || i, 'i', 0, '', '[]', 0, 0 FROM generate_series(1, FINISHED) i`,
}

func (g *growth) measureFindings(ctx context.Context, old *saga.Run) {
	g.t.Helper()
	a := g.Audits()
	open := []audit.Status{audit.New, audit.Known}
	user := old.User[1:]
	for what, f := range map[string]audit.Filter{
		"open":                           {Statuses: open},
		"open, next page":                {Statuses: open, After: "open 3"},
		"open of a merchant":             {Statuses: open, MerchantID: "m3"},
		"open of a merchant without any": {Statuses: open, MerchantID: "m5"},
		"open and severe":                {Statuses: open, Severity: audit.Critical},
		"open, of a code":                {Statuses: open, Codes: []audit.Code{"none"}},
		"open, of a cloud":               {Statuses: open, Cloud: "none"},
		"all":                            {}, "next page": {After: "8"}, "resolved": {Statuses: []audit.Status{audit.Resolved}},
		"merchant": {MerchantID: "m3"}, "project": {ProjectID: "p" + user}, "user": {UserID: "u" + user},
		"customer":          {CustomerID: "c" + user},
		"subscription":      {SubscriptionID: "s" + user},
		"open of a project": {ProjectID: "p" + user, Statuses: open},
		"audit":             {AuditID: "now"}, "old audit": {AuditID: "audit 000000000007"},
		"audit, open": {AuditID: "now", Statuses: open}, "audit of a merchant": {AuditID: "now", MerchantID: "m3"},
	} {
		f.Limit = 2
		g.measure("findings: "+what, func() error { _, err := a.Findings(ctx, f); return err })
	}
	var id string
	if err := g.db.Raw("SELECT md5('7')").Scan(&id).Error; err != nil {
		g.t.Fatal(err)
	}
	g.measure("finding", func() error { _, err := a.Finding(ctx, id); return err })
	g.measure("plan", func() error { _, err := a.Plan(ctx, "plan 7"); return err })
	g.measure("plans", func() error { _, err := a.Plans(ctx, "", 2); return err })
	g.measure("plans, next page", func() error { _, err := a.Plans(ctx, "plan 7", 2); return err })
	g.measure("approvals", func() error { _, err := a.Approvals(ctx, "plan 7"); return err })
	g.measure("approvals of a finding", func() error { _, err := a.ApprovalsOf(ctx, id, 2); return err })
	g.measure("keyed runs", func() error {
		_, err := a.KeyedRuns(ctx, []audit.RunKey{{MerchantID: old.Merchant, Key: old.Key}, {MerchantID: "m3", Key: "k"}})
		return err
	})
	g.measure("findings by id", func() error {
		_, err := a.Findings(ctx, audit.Filter{IDs: []string{id, "open 3"}, Statuses: open, Limit: 2})
		return err
	})
	g.measure("counts", func() error { _, err := a.CountFindings(ctx, "", ""); return err })
	g.measure("counts of a merchant", func() error { _, err := a.CountFindings(ctx, "none", "m3"); return err })
	g.measure("history", func() error { _, err := a.History(ctx, id); return err })
}

// measureLedger measures the first page of runs, and the entries of the ledger.
func (g *growth) measureLedger(ctx context.Context, old *saga.Run) {
	g.t.Helper()
	a := g.Audits().InPagesOf(2)
	enough := errors.New("enough")
	for what, f := range map[string]audit.RunFilter{
		"all": {}, "merchant": {MerchantID: "m3"}, "merchant of old": {MerchantID: "old"}, "subject": {Subject: old.Subject},
		"merchant and subject": {MerchantID: "m3", Subject: old.Subject}, "run": {ID: old.ID},
		"customer":             {Object: &saga.ObjectRef{Kind: "customer", ID: "customer of " + old.User}},
		"customer of merchant": {MerchantID: "m3", Object: &saga.ObjectRef{Kind: "customer", ID: "customer of " + old.User}},
		"role assignment": {
			Object: &saga.ObjectRef{Kind: "role-assignment", ID: "project of " + old.User + "/" + old.User + "/r"},
		},
	} {
		g.measure("audited: "+what, func() error {
			err := a.EachRun(ctx, f, func(*saga.Run) error { return enough })
			if !errors.Is(err, enough) {
				return fmt.Errorf("got %w, want a run", err)
			}
			return nil
		})
	}
	for what, f := range map[string]audit.EntryFilter{
		"project": {ProjectID: "project of " + old.User}, "user": {UserID: old.User}, "customer": {CustomerID: "customer of " + old.User},
		"subscription":            {SubscriptionID: "subscription of " + old.User},
		"project, next page":      {ProjectID: "project of " + old.User, After: old.ID + "/project/x"},
		"user, next page":         {UserID: old.User, After: old.ID + "/project/x"},
		"customer, next page":     {CustomerID: "customer of " + old.User, After: old.ID + "/project/x"},
		"subscription, next page": {SubscriptionID: "subscription of " + old.User, After: old.ID + "/project/x"},
	} {
		f.Limit = 2
		g.measure("ledger: "+what, func() error {
			found, err := a.Entries(ctx, f)
			if err == nil && len(found) == 0 {
				err = errors.New("got no entry")
			}
			return err
		})
	}
}

// measureAudits measures the calls of replicas that execute audits, and the calls of operators who accept findings and read audits.
func (g *growth) measureAudits(ctx context.Context, now time.Time) {
	g.t.Helper()
	a := g.Audits()
	n, id := 0, ""
	take := func() error { _, err := a.Take(ctx, "r", now, now.Add(-time.Hour)); return err }
	g.measure("take of no audit", func() error {
		if err := take(); !errors.Is(err, audit.ErrNotFound) {
			return fmt.Errorf("got %w, want no audit", err)
		}
		return nil
	})
	g.measure("audit", func() error {
		n++
		id = fmt.Sprintf("audit n%012d", n)
		err := a.Create(ctx, audit.Audit{ID: id, CreatedAt: now})
		if err == nil {
			err = take()
		}
		if err == nil {
			err = a.Beat(ctx, id, "r", now, audit.Progress{Done: n})
		}
		if err != nil {
			return err
		}
		return a.Finish(ctx, "r", audit.Outcome{
			Audit:    audit.Audit{ID: id, State: audit.Complete, EndedAt: &now},
			Seen:     []audit.Finding{{ID: "seen"}, {ID: fmt.Sprint("seen ", n)}, {ID: "open 1"}},
			Resolved: []string{fmt.Sprint("seen ", n-1), fmt.Sprint("open ", n+10), "none"},
		})
	})
	accepted := 0
	g.measure("acceptance", func() error { // each call accepts a different finding, so it reads no old versions of a row
		accepted++
		_, err := a.Accept(ctx, fmt.Sprint("open ", 40-accepted), audit.Change{At: now, Who: "op"}, &audit.Acceptance{Who: "op"})
		return err
	})
	g.measure("audits", func() error { _, err := a.Audits(ctx, "", 2); return err })
	g.measure("audits, next page", func() error { _, err := a.Audits(ctx, id, 2); return err })
	g.measure("one audit", func() error { _, err := a.Audit(ctx, id); return err })
}
