package simulation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/clouds"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/orchestrator/audit"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/workflows"
	"github.com/tenantry/tenantry/workflows/workflowstest"
)

// The method `audit` audits a world in which the vandal has done nothing. `audit` ignores findings about objects that operators have
// left behind, and about objects that a late request has changed: see changedLate. Each other finding is a violation.
func (w *world) audit() (broken []workflowstest.Broken) {
	outcome, wrong := w.examine(), w.wrongSinceLate()
	for _, f := range outcome.Seen {
		if slices.ContainsFunc(f.Objects, func(o audit.Object) bool { return slices.Contains(wrong, saga.ObjectRef{Kind: o.Kind, ID: o.ID}) }) {
			continue
		}
		broken = append(broken, workflowstest.Broken{Invariant: "audits find nothing", Run: f.RunID, Detail: string(f.Code) + ": " + f.Detail})
	}
	return broken
}

// The method `examine` audits the world. The result omits findings about waiting runs, and about objects that operators have left
// behind. A gap of the audit is a violation.
func (w *world) examine() audit.Outcome {
	outcome, err := w.auditor().Examine(context.Background(), audit.Scope{})
	w.ok(err)
	for _, g := range outcome.Audit.Gaps {
		if g.Code == audit.GapNotShown {
			continue
		}
		w.broken = append(w.broken, workflowstest.Broken{Invariant: "audits find nothing", Detail: "gap " + g.Code + ": " + g.Detail})
	}
	all := w.store.Everything().Runs
	w.leftOver = nil
	outcome.Seen = slices.DeleteFunc(outcome.Seen, func(f audit.Finding) bool {
		onPurpose := f.Code == audit.ObjectsLeft && leftOnPurpose(all, f.RunID)
		if onPurpose {
			w.leftOver = append(w.leftOver, f.Objects...)
		}
		return f.Code == audit.RunWaits || onPurpose
	})
	return outcome
}

// The method `auditor` returns an auditor whose calls do not pass through the driver.
func (w *world) auditor() *audit.Auditor {
	definitions, err := workflowstest.Definitions(workflows.Deps{Installation: installation})
	w.ok(err)
	cfg := w.serviceConfig()
	cfg.Base = inProcess{w.cloud}
	inventory, err := clouds.Open(cfg)
	w.ok(err)
	return audit.NewAuditor(audit.Options{
		Store: history{all: w.store.Everything().Runs, findings: w.findings}, Merchants: w.merchants,
		Inventory:  func(string) (keystone.Inventory, error) { return inventory, nil },
		FindDomain: func(ctx context.Context, _, name string) (keystone.Domain, error) { return inventory.Domain(ctx, name) },
		Billing:    w.direct, Installation: installation, Domain: keystonetest.DefaultDomain, Now: time.Now,
		NewID: func() string { return fmt.Sprint("plan ", w.planned) }, Expect: expectation(definitions),
	})
}

// The function `expectation` returns a function for audits. For each run, the returned function lists the objects that the run
// should have left.
func expectation(definitions []*saga.Definition) func(*saga.Run) ([]saga.Expected, bool, error) {
	return func(r *saga.Run) ([]saga.Expected, bool, error) {
		i := slices.IndexFunc(definitions, func(d *saga.Definition) bool { return d.Name == r.Workflow })
		expected, err := definitions[i].Expect(r)
		return expected, true, err
	}
}

// leftOnPurpose reports whether an operator has skipped an undo of the run.
func leftOnPurpose(all []*saga.Run, id string) bool {
	return slices.ContainsFunc(all, func(r *saga.Run) bool { return r.ID == id && len(r.LeftBehind) > 0 })
}

// The type `history` is a store from which an audit reads all runs.
type history struct {
	audit.Store
	all      []*saga.Run
	findings map[string]audit.Finding
}

func (h history) EachRun(_ context.Context, f audit.RunFilter, take func(*saga.Run) error) error {
	slices.SortFunc(h.all, func(a, b *saga.Run) int { return cmp.Compare(a.ID, b.ID) })
	for _, r := range h.all {
		has := f.Object == nil || slices.ContainsFunc(r.Objects, func(o saga.Object) bool { return o.Kind == f.Object.Kind && o.ID == f.Object.ID })
		if !has || slices.Contains(f.Except, r.Workflow) || f.ID != "" && f.ID != r.ID || f.Subject != "" && f.Subject != r.Subject {
			continue
		}
		if err := take(r); err != nil {
			return err
		}
	}
	return nil
}

// EachUnmatched calls nothing: the simulation has no usage.
func (history) EachUnmatched(context.Context, string, func(audit.Unmatched) error) error { return nil }

// WaitingUsage returns nothing: the simulation has no usage.
func (history) WaitingUsage(context.Context, string, time.Time) (w audit.WaitingUsage, err error) {
	return w, nil
}

// Findings returns the findings whose codes match the filter.
func (h history) Findings(_ context.Context, f audit.Filter) (all []audit.Finding, err error) {
	for _, id := range slices.Sorted(maps.Keys(h.findings)) {
		if found := h.findings[id]; len(f.Codes) == 0 || slices.Contains(f.Codes, found.Code) {
			all = append(all, found)
		}
	}
	return all, nil
}

// CreatePlan stores nothing, because the operator keeps the plan.
func (h history) CreatePlan(context.Context, audit.Plan) error { return nil }

// The type `records` is a replica's connection to the database of audits.
type records struct {
	audit.Store
	link link
}

// Findings implements [audit.Store].
func (r records) Findings(ctx context.Context, f audit.Filter) ([]audit.Finding, error) {
	return ask(ctx, r.link, fmt.Sprint("findings ", f.Codes), func(ctx context.Context) ([]audit.Finding, error) {
		return history{findings: r.link.r.world.findings}.Findings(ctx, f)
	})
}

// Finding implements [audit.Store].
func (r records) Finding(ctx context.Context, id string) (audit.Finding, error) {
	return ask(ctx, r.link, "finding "+id, func(context.Context) (audit.Finding, error) {
		if f, known := r.link.r.world.findings[id]; known {
			return f, nil
		}
		return audit.Finding{}, audit.ErrNotFound
	})
}

// EachRun implements [audit.Store].
func (r records) EachRun(ctx context.Context, f audit.RunFilter, take func(*saga.Run) error) error {
	all, err := ask(ctx, r.link, fmt.Sprintf("each run id=%s subject=%s object=%v", f.ID, f.Subject, f.Object), func(ctx context.Context) ([]*saga.Run, error) {
		if f.ID != "" {
			run, err := r.link.store.Run(ctx, f.ID)
			if errors.Is(err, saga.ErrNotFound) {
				return nil, nil
			}
			return []*saga.Run{run}, err
		}
		filter := saga.Filter{Merchant: f.MerchantID, Subject: f.Subject, Limit: -1}
		if f.Object != nil {
			filter.Objects = []saga.ObjectRef{*f.Object}
		}
		return r.link.store.Runs(ctx, filter)
	})
	slices.Reverse(all)
	for _, run := range all {
		if err := take(run); err != nil {
			return err
		}
	}
	return err
}

// List returns all merchants.
func (k *knownMerchants) List(_ context.Context, f merchants.Filter) ([]merchants.Merchant, error) {
	if f.After != "" {
		return nil, nil
	}
	return k.all, nil
}

var _ http.RoundTripper = inProcess{}
