package simulation

import (
	"context"
	"maps"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/audit"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/workflows"
)

// The function `repairing` returns a mutation that changes steps of the workflow `repair`.
func repairing(change func(*saga.Step[workflows.Repair], workflows.Deps)) mutations {
	return mutations{repairs: true, define: func(d workflows.Deps) (*saga.Definition, error) {
		w := workflows.RepairWorkflow(d)
		for i := range w.Steps {
			change(&w.Steps[i], d)
		}
		return saga.Define(w)
	}}
}

// unrepaired returns a mutation in which a step of the workflow `repair` is not undone.
func unrepaired(name string) mutations {
	return repairing(func(s *saga.Step[workflows.Repair], _ workflows.Deps) {
		if s.Name == name {
			s.Undo = func(context.Context, *workflows.Repair) error { return nil }
		}
	})
}

// The function `irrevocable` returns a mutation in which a pivot counts as a step that needs no undo.
func irrevocable(name string) mutations {
	return repairing(func(s *saga.Step[workflows.Repair], _ workflows.Deps) {
		if s.Name == name {
			s.Pivot, s.NoUndo = "", "it cannot be undone"
		}
	})
}

// repairMutants are the mutants of the workflow `repair`.
var repairMutants = map[string]mutations{
	"repairs do not look again": {repairs: true, audits: func(a workflows.Audits) workflows.Audits { return confident{a} }},
	"a repair removes the tenants of others": repairing(func(s *saga.Step[workflows.Repair], d workflows.Deps) {
		switch do := s.Do; s.Name {
		case "check":
			s.Do = func(ctx context.Context, o *workflows.Repair) error {
				err := do(ctx, o)
				if err != nil && workflows.Classify(err).Failure.Code == workflows.CodeTenantNotOurs {
					o.RunID = saga.CallOf(ctx).RunID
					return nil
				}
				return err
			}
		case "delete-tenant":
			s.Do = func(ctx context.Context, o *workflows.Repair) error {
				id, err := d.Identity(o.Entry.Cloud)
				if err != nil {
					return err
				}
				p, err := id.Project(ctx, o.Entry.Values["project_id"])
				if err == nil && len(p.Tags) > 0 {
					_, err = id.RemoveProject(ctx, keystone.Project{ID: p.ID}, p.Tags[0])
				}
				if err != nil {
					return err
				}
				return do(ctx, o)
			}
		}
	}),
	"a repair's removal of a tenant is no pivot": irrevocable("delete-tenant"),
	"no undo of a repair's assign-role":          unrepaired("assign-role"),
	"no undo of a repair's create-tenant":        unrepaired("create-tenant"),
	"no undo of a repair's set-resource":         unrepaired("set-resource"),
	"no undo of a repair's disable-project":      unrepaired("disable-project"),
}

// The type `confident` answers that every repair is still needed.
type confident struct{ workflows.Audits }

func (c confident) Confirm(ctx context.Context, e audit.PlanEntry, subject string) (string, error) {
	_, err := c.Audits.Confirm(ctx, e, subject)
	return "", err
}

func init() {
	maps.Copy(mutants, repairMutants)
}
