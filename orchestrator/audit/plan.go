package audit

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// Plan lists repairs of open findings. A person approves entries of a plan, and each approved entry becomes a run. A plan is stored, and
// never changes: its approvals are stored apart.
type Plan struct {
	ID           string // sorts by time
	Installation string // the id of the installation that has made the plan
	CreatedAt    time.Time
	By           string // who asked for the plan
	Entries      []PlanEntry
	LeftOut      int // the number of findings that have a repair, but did not fit into the plan
	Suspect      int // the number of findings whose repair is left out because a list is suspect
}

// PlanEntry is the repair of one finding, with the values that the repair depends on.
type PlanEntry struct {
	FindingID      string            `json:"finding_id"`
	Code           Code              `json:"code"`
	Severity       Severity          `json:"severity"`
	Detail         string            `json:"detail"`
	Cloud          string            `json:"cloud,omitempty"`
	MerchantID     string            `json:"merchant_id"`
	CustomerID     string            `json:"customer_id,omitempty"`
	SubscriptionID string            `json:"subscription_id,omitempty"`
	ProjectID      string            `json:"project_id,omitempty"`
	UserID         string            `json:"user_id,omitempty"`
	RunID          string            `json:"run_id"`  // the run that the finding is about
	Objects        []Object          `json:"objects"` // the objects of the finding
	Action         RepairAction      `json:"action"`
	Values         map[string]string `json:"values"`
}

// The limits of plans.
const (
	MaxPlanEntries = 1000
	PlanLife       = 7 * 24 * time.Hour // older plans are refused
)

// Expired reports whether the plan is too old to be applied.
func (p *Plan) Expired(now time.Time) bool { return now.Sub(p.CreatedAt) > PlanLife }

// Entry returns the plan's entry for a finding. If there is no entry, the second result is false.
func (p *Plan) Entry(findingID string) (PlanEntry, bool) {
	i := slices.IndexFunc(p.Entries, func(e PlanEntry) bool { return e.FindingID == findingID })
	if i < 0 {
		return PlanEntry{}, false
	}
	return p.Entries[i], true
}

// PlanSummary is a plan without its entries.
type PlanSummary struct {
	Plan // Entries is empty

	Size     int // the number of entries
	Approved int // the number of approved entries
}

// Approval is the approval of an entry of a plan.
type Approval struct {
	PlanID    string
	FindingID string
	Who       string
	At        time.Time
	Refusal   *Refusal // why the entry was refused when it was last applied; nil: it was not refused
}

// Refusal says why an entry of a plan was not carried out.
type Refusal struct {
	Code   string    `json:"code"`
	Detail string    `json:"detail"`
	FixBy  string    `json:"fix_by"`
	At     time.Time `json:"at"`
}

// RunKey is the idempotency key of a run of a merchant.
type RunKey struct{ MerchantID, Key string }

// KeyedRun is the newest run of an idempotency key.
type KeyedRun struct {
	ID    string
	State saga.RunState
}

// PlanStore stores plans, and the approvals of their entries.
type PlanStore interface {
	// CreatePlan stores a plan. It returns an error if the plan's id is taken, or if the plan has more than MaxPlanEntries entries.
	CreatePlan(ctx context.Context, p Plan) error
	// Plan reads a plan with its entries, or returns ErrNotFound.
	Plan(ctx context.Context, id string) (Plan, error)
	// Plans reads at most `limit` plans, newest first. If `before` is the id of a plan, Plans reads only plans older than that plan.
	Plans(ctx context.Context, before string, limit int) ([]PlanSummary, error)

	// Approvals reads the approvals of a plan, by the ids of the findings.
	Approvals(ctx context.Context, planID string) (map[string]Approval, error)
	// ApprovalsOf reads at most `limit` approvals of the repairs of a finding. Those of the newest plans are first.
	ApprovalsOf(ctx context.Context, findingID string, limit int) ([]Approval, error)
	// Approve stores approvals. It overwrites the earlier approvals of the same entries.
	Approve(ctx context.Context, all []Approval) error
	// Withdraw removes the approvals of the entries for these findings.
	Withdraw(ctx context.Context, planID string, findingIDs []string) error
	// KeyedRuns reads the runs of at most MaxPlanEntries idempotency keys. A key without a run is not in the result.
	KeyedRuns(ctx context.Context, keys []RunKey) (map[RunKey]KeyedRun, error)
}

// entryOf returns the entry that repairs a finding. The second result is false if Tenantry cannot repair the finding.
func entryOf(f *Finding) (PlanEntry, bool) {
	if f.Repair.Action == "" || f.RunID == "" || f.MerchantID == "" {
		return PlanEntry{}, false
	}
	return PlanEntry{
		FindingID: f.ID, Code: f.Code, Severity: f.Severity, Detail: f.Detail, Cloud: f.Cloud, MerchantID: f.MerchantID,
		CustomerID: f.CustomerID, SubscriptionID: f.SubscriptionID, ProjectID: f.ProjectID, UserID: f.UserID, RunID: f.RunID,
		Objects: f.Objects, Action: f.Repair.Action, Values: f.Repair.Values,
	}, true
}

// The method `same` reports whether two entries have the same action, merchant, cloud and values.
func (e *PlanEntry) same(other *PlanEntry) bool {
	return e.Action == other.Action && e.MerchantID == other.MerchantID && e.Cloud == other.Cloud && maps.Equal(e.Values, other.Values)
}

func sortEntries(all []PlanEntry) {
	slices.SortFunc(all, func(a, b PlanEntry) int {
		return cmp.Or(
			cmp.Compare(slices.Index(RepairActions, a.Action), slices.Index(RepairActions, b.Action)),
			cmp.Compare(slices.Index(Severities, a.Severity), slices.Index(Severities, b.Severity)),
			cmp.Compare(a.FindingID, b.FindingID),
		)
	})
}
