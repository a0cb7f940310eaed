package simulation

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	v3 "github.com/tenantry/tenantry/keystone/v3"
	"github.com/tenantry/tenantry/orchestrator/audit"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/workflows"
	"github.com/tenantry/tenantry/workflows/workflowstest"
)

// audit audits the world, in which nothing has happened behind Tenantry's back. What an operator has left behind is no violation.
func (w *world) audit() (broken []workflowstest.Broken) {
	definitions, err := workflowstest.Definitions(workflows.Deps{Installation: installation})
	w.ok(err)
	all := w.store.Everything().Runs
	inventory, err := v3.New(v3.Config{
		URL: "http://keystone/v3", Base: inProcess{w.cloud}, Credential: v3.Credential{
			Username: "admin", Password: servicePassword, UserDomainID: keystonetest.DefaultDomain,
			ProjectName: "admin", ProjectDomainID: keystonetest.DefaultDomain,
		},
	})
	w.ok(err)
	outcome, err := audit.NewAuditor(audit.Options{
		Store: history{all: all}, Merchants: w.merchants, Inventory: func(string) (keystone.Inventory, error) { return inventory, nil },
		FindDomain: func(ctx context.Context, _, name string) (keystone.Domain, error) { return inventory.Domain(ctx, name) },
		Billing:    w.direct, Installation: installation, Domain: keystonetest.DefaultDomain, Now: time.Now,
		Expect: func(r *saga.Run) ([]saga.Expected, bool, error) {
			i := slices.IndexFunc(definitions, func(d *saga.Definition) bool { return d.Name == r.Workflow })
			expected, err := definitions[i].Expect(r)
			return expected, true, err
		},
	}).Examine(context.Background(), audit.Scope{})
	w.ok(err)
	for _, g := range outcome.Audit.Gaps {
		broken = append(broken, workflowstest.Broken{Invariant: "audits find nothing", Detail: "gap " + g.Code + ": " + g.Detail})
	}
	for _, f := range outcome.Seen {
		if f.Code == audit.RunWaits || f.Code == audit.ObjectsLeft && leftOnPurpose(all, f.RunID) {
			continue
		}
		broken = append(broken, workflowstest.Broken{Invariant: "audits find nothing", Run: f.RunID, Detail: string(f.Code) + ": " + f.Detail})
	}
	return broken
}

// leftOnPurpose reports whether an operator has skipped an undo of the run.
func leftOnPurpose(all []*saga.Run, id string) bool {
	return slices.ContainsFunc(all, func(r *saga.Run) bool { return r.ID == id && len(r.LeftBehind) > 0 })
}

// history shows all runs to an audit.
type history struct {
	audit.Store
	all []*saga.Run
}

func (h history) EachRun(_ context.Context, f audit.RunFilter, take func(*saga.Run) error) error {
	slices.SortFunc(h.all, func(a, b *saga.Run) int { return cmp.Compare(a.ID, b.ID) })
	for _, r := range h.all {
		has := f.Object == nil || slices.ContainsFunc(r.Objects, func(o saga.Object) bool { return o.Kind == f.Object.Kind && o.ID == f.Object.ID })
		if !has || f.ID != "" && f.ID != r.ID || f.Subject != "" && f.Subject != r.Subject {
			continue
		}
		if err := take(r); err != nil {
			return err
		}
	}
	return nil
}

func (h history) Findings(context.Context, audit.Filter) ([]audit.Finding, error) { return nil, nil }

// List returns all merchants.
func (k *knownMerchants) List(_ context.Context, after string, _ int) ([]merchants.Merchant, error) {
	if after != "" {
		return nil, nil
	}
	return k.all, nil
}

var _ http.RoundTripper = inProcess{}
