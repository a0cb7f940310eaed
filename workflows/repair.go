package workflows

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/audit"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

// RepairName is the name of the workflow that [RepairWorkflow] returns.
const RepairName = "repair"

// The codes of errors that refuse a repair.
const (
	CodeFindingClosed  saga.Code = "finding-closed"
	CodeFindingChanged saga.Code = "finding-changed"
	CodeRoleChanged    saga.Code = "role-changed"
	CodeInUse          saga.Code = "in-use"
	CodeNotRepairable  saga.Code = "not-repairable"
	CodePlanExpired    saga.Code = "plan-expired"
)

// Audits reads findings and plans, and confirms findings: see [audit.Auditor].
type Audits interface {
	// Finding returns a finding, or audit.ErrNotFound.
	Finding(ctx context.Context, id string) (audit.Finding, error)
	// KeptPlan returns a stored plan, or audit.ErrNotFound.
	KeptPlan(ctx context.Context, id string) (audit.Plan, error)
	// Confirm checks whether the repair is still needed as it was planned. If so, the result `changed` is empty. Otherwise,
	// `changed` is the reason.
	Confirm(ctx context.Context, e audit.PlanEntry, subject string) (changed string, err error)
}

// Repair is the data of a run that resolves a finding of an audit. The plan's entry contains the values for which the repair was
// planned: see [audit.PlanEntry]. A Repair is stored as JSON, so fields may be added, but never removed or renamed.
type Repair struct {
	PlanID  string          `json:"plan_id"`
	Entry   audit.PlanEntry `json:"entry"`
	Subject string          `json:"subject"` // the subject of the run that the finding is about
	// DisabledAt and DisabledBy are set if this run removes a tenant that an earlier repair has disabled. DisabledBy is the id of the
	// earlier run, and DisabledAt is the time at which the earlier run ended.
	DisabledAt time.Time `json:"disabled_at,omitzero"`
	DisabledBy string    `json:"disabled_by,omitempty"`
	// WasDisabled is true if the tenant was already disabled before the repair. If DisabledBy is set, the repair has begun with the
	// run DisabledBy. Otherwise, the repair begins with this run.
	WasDisabled bool `json:"was_disabled,omitempty"`

	// The steps set the fields below. If a follow-up starts the run, the run's input cannot contain the run's id. Therefore the
	// first step sets RunID.

	RunID string `json:"run_id,omitempty"`
	// Was is the Standing of the subscription before the run. Was is nil unless the repair creates the subscription's tenant, or sets the
	// subscription's resource_id.
	Was      *Standing `json:"was,omitempty"`
	Marks    []string  `json:"marks,omitempty"`     // the marks of the runs that had disabled the project before this run
	TenantID string    `json:"tenant_id,omitempty"` // the id of the tenant that the run has created
	Kept     string    `json:"kept,omitempty"`      // reason why the customer was not removed; empty if the customer is removed
	// RemovalDueAt is the time at which another run removes the tenant that this run has disabled.
	RemovalDueAt time.Time `json:"removal_due_at,omitzero"`
}

// RepairResult is the part of a Repair that the API returns with a run.
type RepairResult struct {
	PlanID         string             `json:"plan_id"`
	FindingID      string             `json:"finding_id"`
	Action         audit.RepairAction `json:"action"`
	CustomerID     string             `json:"customer_id,omitempty"`
	SubscriptionID string             `json:"subscription_id,omitempty"`
	TenantID       string             `json:"tenant_id,omitempty"`
	Kept           []Kept             `json:"kept,omitempty"`
	// RemovalDueAt is the time at which another run removes the tenant.
	RemovalDueAt *time.Time `json:"removal_due_at,omitempty"`
}

func (o Repair) result() any {
	r := RepairResult{
		PlanID: o.PlanID, FindingID: o.Entry.FindingID, Action: o.Entry.Action,
		CustomerID: o.Entry.CustomerID, SubscriptionID: o.Entry.SubscriptionID, TenantID: cmp.Or(o.TenantID, o.Entry.Values["project_id"]),
	}
	if o.Kept != "" {
		r.Kept = []Kept{{"customer", o.Entry.CustomerID, "", o.Kept}}
	}
	if !o.RemovalDueAt.IsZero() {
		r.RemovalDueAt = &o.RemovalDueAt
	}
	return r
}

// RepairKey returns the idempotency key of the run for an entry of a plan. A portal cannot send this key, because the keys of portals
// contain only ASCII characters.
func RepairKey(planID, findingID string) string { return "repair·" + planID + "·" + findingID }

// AdmitRepair returns the request for a run that makes the repair of a plan's entry, or an *AdmissionError. AdmitRepair checks neither
// the age of the plan nor whether this installation has created the plan.
func (d Deps) AdmitRepair(ctx context.Context, planID string, e audit.PlanEntry) (saga.Request, error) {
	if err := d.findingOpen(ctx, e.FindingID); err != nil {
		return saga.Request{}, err
	}
	about, err := d.Ledger.Run(ctx, e.RunID)
	switch {
	case errors.Is(err, saga.ErrNotFound):
		return saga.Request{}, refuse(CodeNotRepairable, saga.FixByOperator, "run "+e.RunID+", which the finding is about, does not exist")
	case err != nil:
		return saga.Request{}, err
	case about.Merchant != e.MerchantID:
		return saga.Request{}, refuse(CodeNotRepairable, saga.FixByOperator, "run "+e.RunID+", which the finding is about, belongs to merchant "+about.Merchant)
	}
	o := Repair{PlanID: planID, Entry: e, Subject: about.Subject}
	if _, err := d.repairable(ctx, o); err != nil {
		return saga.Request{}, err
	}
	return o.request(d.NewID()), nil
}

// findingOpen returns an *AdmissionError if the finding is not open.
func (d Deps) findingOpen(ctx context.Context, id string) error {
	f, err := d.Audits.Finding(ctx, id)
	switch {
	case errors.Is(err, audit.ErrNotFound):
		return refuse(CodeFindingClosed, saga.FixByOperator, "there is no such finding")
	case err != nil:
		return err
	case f.Status == audit.Accepted:
		return refuse(CodeFindingClosed, saga.FixByOperator, "a person has accepted the finding since the repair was planned: withdraw the acceptance first")
	case !f.Open():
		return refuse(CodeFindingClosed, saga.FixByNobody, "the finding is "+string(f.Status)+": there is nothing to repair")
	}
	return nil
}

// retryRepair admits the repair of a compensated run again. The plan must be of this installation and must not be expired, and the
// finding must still be open.
func (d Deps) retryRepair(ctx context.Context, old Repair, runID string) (saga.Request, error) {
	plan, err := d.Audits.KeptPlan(ctx, old.PlanID)
	switch {
	case errors.Is(err, audit.ErrNotFound), err == nil && (plan.Expired(d.Now()) || plan.Installation != d.Installation):
		err = refuse(CodePlanExpired, saga.FixByOperator, "the plan of the repair is over 7 days old, or belongs to another installation: run an audit again, and create a new plan")
	case err == nil:
		err = d.findingOpen(ctx, old.Entry.FindingID)
	}
	if err == nil {
		_, err = d.repairable(ctx, old)
	}
	if err != nil {
		return saga.Request{}, retryRefused(err)
	}
	return old.request(runID), nil
}

// RepairRequest returns the request for a run that makes the repair of a plan's entry. The parameter `subject` is the subject of the
// run that the finding is about.
func RepairRequest(planID string, e audit.PlanEntry, subject, runID string) saga.Request {
	return Repair{PlanID: planID, Entry: e, Subject: subject}.request(runID)
}

func (o Repair) request(runID string) saga.Request {
	return saga.Request{
		ID: runID, Workflow: RepairName, Merchant: o.Entry.MerchantID, Cloud: o.Entry.Cloud, Subject: o.Subject, User: o.Entry.UserID,
		Doubles: o.doubles(), OnFailure: saga.FailureCompensates, Input: o.asked(),
	}
}

// The method `asked` returns the order without the fields that the steps set.
func (o Repair) asked() Repair {
	asked := Repair{PlanID: o.PlanID, Entry: o.Entry, Subject: o.Subject}
	if o.removing() {
		asked.DisabledAt, asked.DisabledBy, asked.WasDisabled = o.DisabledAt, o.DisabledBy, o.WasDisabled
	}
	return asked
}

func (o Repair) doubles() string {
	name := "repair " + o.PlanID + " " + o.Entry.FindingID
	if o.removing() {
		name += " removal"
	}
	return name
}

// The method `value` returns one of the values for which the repair was planned.
func (o Repair) value(name string) string { return o.Entry.Values[name] }

// The method `does` reports whether the repair's action is one of the given actions.
func (o Repair) does(actions ...audit.RepairAction) bool {
	return slices.Contains(actions, o.Entry.Action)
}

// The method `removing` reports whether the run removes the tenant that an earlier repair has disabled.
func (o Repair) removing() bool { return o.does(audit.RemoveTenant) && !o.DisabledAt.IsZero() }

// The method `disabling` reports whether the run disables a tenant.
func (o Repair) disabling() bool {
	return o.does(audit.DisableProject) || o.does(audit.RemoveTenant) && !o.removing() ||
		o.does(audit.CreateTenant) && o.value("enabled") == "false"
}

// The function `inRepairs` returns the value of the field Each for a step that only some repairs have. The function `has` selects these
// repairs.
func inRepairs(has func(o Repair) bool) func(*Repair) []string {
	return func(o *Repair) []string {
		if !has(*o) {
			return nil
		}
		return []string{""}
	}
}

// The function `inActions` is like `inRepairs`. It selects the repairs with one of the given actions.
func inActions(actions ...audit.RepairAction) func(*Repair) []string {
	return inRepairs(func(o Repair) bool { return o.does(actions...) })
}

// The method `project` returns the tenant as a parameter for calls of [keystone.Identity].
func (o Repair) project() keystone.Project {
	return keystone.Project{ID: o.tenantID(), Name: o.value("tenant"), DomainID: o.value("domain_id")}
}

// tenantID returns the id of the tenant. If the run creates the tenant, the result is the new id.
func (o Repair) tenantID() string {
	if o.does(audit.CreateTenant) {
		return o.TenantID
	}
	return o.value("project_id")
}

func (o Repair) tenant() tenant {
	return tenant{
		cloud: o.Entry.Cloud, domain: o.value("domain_id"), name: o.value("tenant"), run: o.RunID, merchant: o.Entry.MerchantID,
	}
}

// The method `text` returns the tenant's name and id, for error texts.
func (o Repair) text() string {
	return "tenant " + o.value("tenant") + " (" + cmp.Or(o.tenantID(), "new") + ")"
}

// The method `leaves` returns the standing of the subscription after a successful run.
func (o Repair) leaves(runID string) Standing {
	if o.Was == nil {
		return Standing{Held: o.held(), State: SubscriptionEnded, RunID: runID}
	}
	s := *o.Was
	if o.does(audit.CreateTenant) {
		s.TenantID, s.TenantOwn, s.Roles = o.TenantID, true, nil
		for _, r := range o.roles() {
			if r.user == s.UserID {
				s.Roles = append(s.Roles, r.role)
			}
		}
	}
	return s
}

// RepairWorkflow returns the workflow that makes one repair of an audit's plan. The first step checks that the finding still exists,
// with the values for which the repair was planned. The other steps depend on the repair's action.
//
// The removal of a tenant needs two runs. The first run disables the tenant, and stores a follow-up. The follow-up starts the second
// run ten minutes later. The second run removes the tenant if the finding still exists and is open, and if the tenant is proven empty:
// see [Remove]. Otherwise, the second run is compensated. The compensation enables the tenant again if the first run has disabled it.
func RepairWorkflow(d Deps) saga.Workflow[Repair] {
	check := saga.Step[Repair]{Name: "check", After: []string{"keep-disabled"}, Effect: saga.Reads, Do: d.checkRepair, NoUndo: "it only reads"}
	return saga.Workflow[Repair]{
		Name: RepairName, Version: 1, Classify: Classify,
		Meaning: saga.Meaning{
			Open:   "The finding of the audit is not repaired yet.",
			Failed: "The finding of the audit is not repaired.",
			Done:   "The finding of the audit is repaired. The next audit resolves it.",
		},
		Retry:  d.retryRepair,
		Expect: d.expectRepair,
		Result: Repair.result,
		Then:   afterRepair,
		Steps:  slices.Concat([]saga.Step[Repair]{check}, d.repairTenant(), d.repairRoles(), d.repairBilling(), d.repairByRemoval()),
	}
}

// afterRepair returns the follow-up that removes a tenant that the run has disabled. If a follow-up has started this run to remove
// the tenant, afterRepair drops this follow-up. afterRepair also drops the follow-up if the tenant was not removed. The finding is
// then still open, and a new plan can contain the repair again.
func afterRepair(o Repair, end saga.End) []saga.FollowUp {
	if !o.does(audit.RemoveTenant) || !o.removing() && end.Cause != nil {
		return nil
	}
	removal := o
	removal.DisabledAt, removal.DisabledBy = end.Now, end.RunID
	f := saga.FollowUp{
		Workflow: RepairName, ID: o.value("project_id"), Merchant: o.Entry.MerchantID, Cloud: o.Entry.Cloud, Subject: o.Subject,
		User: o.Entry.UserID, Doubles: removal.doubles(), Input: removal.asked(),
	}
	if !o.removing() {
		f.DueAt = end.Now.Add(settled)
	}
	return []saga.FollowUp{f}
}
