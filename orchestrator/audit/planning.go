package audit

import (
	"context"
	"slices"
	"time"
)

// Plan makes and stores a repair plan. The plan has an entry for each open finding that the filter selects and that has a repair.
// The argument `by` is the name of the caller. Plan sends no request to an upstream. If an upstream seems to show less than it has (code
// suspect-absence), no entry of the plan creates or removes objects of this upstream.
func (a *Auditor) Plan(ctx context.Context, f Filter, by string) (Plan, error) {
	suspect, err := a.suspicions(ctx)
	if err != nil {
		return Plan{}, err
	}
	p := Plan{
		ID: a.NewID(), Installation: a.Installation, CreatedAt: a.Now().UTC().Truncate(time.Microsecond), By: by, Entries: []PlanEntry{},
	}
	f.Statuses, f.Limit = []Status{New, Known}, 500
	err = a.eachFinding(ctx, f, func(found *Finding) {
		switch e, repairable := entryOf(found); {
		case !repairable:
		case suspect.forbid(&e):
			p.Suspect++
		case len(p.Entries) == MaxPlanEntries:
			p.LeftOut++
		default:
			p.Entries = append(p.Entries, e)
		}
	})
	if err != nil {
		return Plan{}, err
	}
	sortEntries(p.Entries)
	return p, a.Store.CreatePlan(ctx, p)
}

// eachFinding reads all findings that the filter selects, f.Limit at a time.
func (a *Auditor) eachFinding(ctx context.Context, f Filter, take func(*Finding)) error {
	for {
		page, err := a.Store.Findings(ctx, f)
		if err != nil {
			return err
		}
		for i := range page {
			take(&page[i])
		}
		if len(page) < f.Limit {
			return nil
		}
		f.After = page[len(page)-1].ID
	}
}

// suspicions are the open findings of code suspect-absence.
type suspicions []Finding

func (a *Auditor) suspicions(ctx context.Context) (all suspicions, err error) {
	f := Filter{Statuses: []Status{New, Known}, Codes: []Code{SuspectAbsence}, Limit: 500}
	err = a.eachFinding(ctx, f, func(found *Finding) { all = append(all, *found) })
	return all, err
}

// The method `forbid` reports whether the entry creates or removes an object while a list of the entry's cloud or merchant is
// suspect.
func (s suspicions) forbid(e *PlanEntry) bool {
	creates := slices.Contains([]RepairAction{CreateTenant, RemoveTenant, RemoveSubscription, RemoveCustomer}, e.Action)
	return creates && slices.ContainsFunc(s, func(f Finding) bool {
		return f.MerchantID == "" && f.Cloud == e.Cloud || f.MerchantID == e.MerchantID
	})
}

// Finding reads a finding: see [Store].
func (a *Auditor) Finding(ctx context.Context, id string) (Finding, error) {
	return a.Store.Finding(ctx, id)
}

// KeptPlan reads a plan: see [PlanStore].
func (a *Auditor) KeptPlan(ctx context.Context, id string) (Plan, error) {
	return a.Store.Plan(ctx, id)
}
