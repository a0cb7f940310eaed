package main

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/jackc/pgx/v5"
)

// The type `damage` is a change of one subscription that is made directly in the database of Keystone or BillingStack.
type damage struct {
	code     string // code of the finding that an audit must report
	keystone []string
	billing  string
}

// The variable `damages` lists the damages that the benchmark causes. The benchmark causes each damage in damagedEach
// subscriptions.
var damages = []damage{
	{"subscription-without-tenant", deleted("{subscription_tenant}"), ""},
	{"customer-without-tenant", deleted("{customer_tenant}"), ""},
	{"tenant-disabled", []string{"UPDATE project SET enabled = 0 WHERE id = '{subscription_tenant}'"}, ""},
	{"tenant-renamed", []string{"UPDATE project SET name = 'renamed-' || id WHERE id = '{customer_tenant}'"}, ""},
	{"role-missing", []string{
		"DELETE FROM assignment WHERE target_id = '{subscription_tenant}' AND role_id = (SELECT id FROM role WHERE name = 'bs-admin')",
	}, ""},
	{"role-extra-user", []string{given("reader")}, ""},
	{"role-admin", []string{given("admin")}, ""},
	{"tag-missing", []string{"DELETE FROM project_tag WHERE project_id = '{subscription_tenant}' AND name = 'tenantry'"}, ""},
	{"role-of-disabled-user", []string{"UPDATE user SET enabled = 0 WHERE id = '{user}'"}, ""},
	{"resource-placeholder", nil, "UPDATE billing_subscriptions SET resource_id = 'pending:{run}' WHERE id = '{subscription}'"},
	{"resource-no-project", nil, "UPDATE billing_subscriptions SET resource_id = md5(id) WHERE id = '{subscription}'"},
	{"tenant-without-subscription", nil, "DELETE FROM billing_subscriptions WHERE id = '{subscription}'"},
}

const damagedEach = 5

// The function `deleted` returns the statements that delete a project.
func deleted(tenant string) []string {
	return []string{
		"DELETE FROM project_tag WHERE project_id = '" + tenant + "'", "DELETE FROM assignment WHERE target_id = '" + tenant + "'",
		"DELETE FROM project WHERE id = '" + tenant + "'",
	}
}

// The function `given` returns the statement that gives the user one more role.
func given(role string) string {
	return "INSERT INTO assignment SELECT 'UserProject', '{user}', '{subscription_tenant}', id, 0 FROM role WHERE name = '" + role + "'"
}

// The type `cut` has the results of two audits of the same damaged world. In the second audit, Keystone's option list_limit
// shortens the lists that Keystone returns.
type cut struct {
	ListLimit int     `json:"list_limit"`
	Findings  int     `json:"findings"` // number of findings; the same in both audits
	Whole     float64 `json:"seconds"`
	Cut       float64 `json:"seconds_with_list_limit"`
}

// compareCut damages the world, audits the world without list_limit and then with list_limit, and compares the findings.
func (w *world) compareCut(ctx context.Context) (*cut, error) {
	if err := w.damage(ctx); err != nil {
		return nil, fmt.Errorf("damaging subscriptions: %w", err)
	}
	c := &cut{ListLimit: len(w.copies)/5 + 1}
	whole, found, err := w.findings(ctx, "")
	if err != nil {
		return nil, err
	}
	codes := map[string]int{}
	for _, code := range found {
		codes[code]++
	}
	for _, d := range damages {
		if codes[d.code] != damagedEach {
			return nil, fmt.Errorf("the audit has %d findings with the code %s, wanted %d: %v", codes[d.code], d.code, damagedEach, codes)
		}
	}
	if len(codes) != len(damages) {
		return nil, fmt.Errorf("the audit has findings that no damage has caused: %v", codes)
	}
	parts, again, err := w.findings(ctx, fmt.Sprintf("/list_limit/%d", c.ListLimit))
	if err != nil {
		return nil, err
	}
	if !maps.Equal(found, again) {
		return nil, fmt.Errorf("the audit has %d findings with list_limit, and %d without list_limit", len(again), len(found))
	}
	c.Findings, c.Whole, c.Cut = len(found), whole.took.Seconds(), parts.took.Seconds()
	return c, nil
}

// The method `damage` causes each of the damages in damagedEach subscriptions.
func (w *world) damage(ctx context.Context) error {
	rest := w.copies
	var inKeystone []string
	for _, d := range damages {
		for _, n := range rest[:damagedEach] {
			for _, s := range d.keystone {
				inKeystone = append(inKeystone, n.in(s))
			}
			if _, err := w.conn.Exec(ctx, n.in(d.billing)); err != nil {
				return err
			}
		}
		rest = rest[damagedEach:]
	}
	return w.execute(ctx, nil, inKeystone)
}

// The method `findings` audits the world with a new process of `tenantry serve`. The result `found` maps the id of each open finding to the
// finding's code. The prefix is put before the path of Keystone's address.
func (w *world) findings(ctx context.Context, prefix string) (one ended, found map[string]string, err error) {
	v, err := serve(ctx, w.binary, w.environment(prefix))
	if err != nil {
		return one, nil, err
	}
	defer func() { err = errors.Join(err, v.stop()) }()
	if one, err = w.audit(ctx, v.url); err != nil {
		return one, nil, err
	}
	if one.State != "complete" {
		return one, nil, fmt.Errorf("the audit is %s: %s %s", one.State, one.Gaps, one.Failure)
	}
	rows, err := w.conn.Query(ctx, "SELECT id, code FROM findings WHERE last_audit = $1 AND status <> 'resolved'", one.ID)
	if err != nil {
		return one, nil, err
	}
	var id, code string
	found = map[string]string{}
	_, err = pgx.ForEachRow(rows, []any{&id, &code}, func() error { found[id] = code; return nil })
	return one, found, err
}
