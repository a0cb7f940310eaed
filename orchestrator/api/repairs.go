package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/orchestrator/audit"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
	"github.com/tenantry/tenantry/orchestrator/upstream/coalesce"
	"github.com/tenantry/tenantry/workflows"
)

// Repairs checks repairs of findings: see [workflows.Deps].
type Repairs interface {
	// AdmitRepair returns the request for the run that carries out an entry of a plan. If the entry is refused, the error is a
	// *workflows.AdmissionError.
	AdmitRepair(ctx context.Context, planID string, e audit.PlanEntry) (saga.Request, error)
}

// repairKinds lists the problem types of the operations in this file.
var (
	repairKinds  = []kind{planNotFound, planExpired, planForeign}
	planNotFound = kind{"plan-not-found", http.StatusNotFound, false}
	planExpired  = kind{"plan-expired", http.StatusConflict, false}
	planForeign  = kind{"plan-of-other-installation", http.StatusConflict, false}
)

// CreateRepairPlan makes a repair plan.
func (s *server) CreateRepairPlan(c echo.Context) error {
	want, err := bodyAs[RepairPlanFilter](c, s.document.operations["createRepairPlan"])
	if err != nil {
		return err
	}
	filter := audit.Filter{
		IDs: valueOf(want.FindingID), Severity: audit.Severity(valueOf(want.Severity)), MerchantID: valueOf(want.MerchantID),
		CustomerID: valueOf(want.CustomerID), SubscriptionID: valueOf(want.SubscriptionID), Cloud: valueOf(want.Cloud),
		ProjectID: valueOf(want.ProjectID), UserID: valueOf(want.UserID), AuditID: valueOf(want.AuditID),
	}
	for _, code := range valueOf(want.Code) {
		filter.Codes = append(filter.Codes, audit.Code(code))
	}
	p, err := s.Auditor.Plan(c.Request().Context(), filter, callerOf(c).String())
	if err != nil {
		return err
	}
	c.Response().Header().Set(echo.HeaderLocation, planPath(p.ID))
	return answerJSON(c, http.StatusCreated, viewRepairPlan(p))
}

// ListRepairPlans lists a page of the repair plans.
func (s *server) ListRepairPlans(c echo.Context, p ListRepairPlansParams) error {
	limit, page := pageOf(p.Limit, p.Marker)
	found, err := s.Audits.Plans(c.Request().Context(), page.After, page.Limit)
	if err != nil {
		return err
	}
	answer := RepairPlanList{Plans: []RepairPlanSummary{}}
	for _, one := range found[:min(limit, len(found))] {
		answer.Plans = append(answer.Plans, RepairPlanSummary{
			ID: one.ID, Installation: one.Installation, CreatedAt: one.CreatedAt, ExpiresAt: one.CreatedAt.Add(audit.PlanLife), By: one.By,
			Size: one.Size, Approved: one.Approved, LeftOut: one.LeftOut, Suspect: one.Suspect, Links: Links{{Rel: "self", Href: planPath(one.ID)}},
		})
	}
	next := ""
	if len(found) > limit {
		next = found[limit-1].ID
	}
	answer.Links = pageLinks(c, next)
	return answerJSON(c, http.StatusOK, answer)
}

// GetRepairPlan shows a repair plan.
func (s *server) GetRepairPlan(c echo.Context, planID string) error {
	p, err := s.repairPlan(c.Request().Context(), planID)
	if err != nil {
		return err
	}
	return s.showPlan(c, p)
}

// showPlan answers with a plan, its approvals, and the runs of its entries.
func (s *server) showPlan(c echo.Context, p audit.Plan) error {
	ctx := c.Request().Context()
	approvals, err := s.Audits.Approvals(ctx, p.ID)
	if err != nil {
		return err
	}
	keys := make([]audit.RunKey, len(p.Entries))
	for i := range p.Entries {
		keys[i] = runKey(p.ID, &p.Entries[i])
	}
	runs, err := s.Audits.KeyedRuns(ctx, keys)
	if err != nil {
		return err
	}
	view := viewRepairPlan(p)
	for i := range view.Entries {
		e := &view.Entries[i]
		run, started := runs[keys[i]]
		if started {
			e.RepairRunID, e.RepairRunState = &run.ID, some(RunState(run.State))
		}
		a, approved := approvals[e.FindingID]
		if !approved {
			continue
		}
		e.Approval = &RepairApproval{Who: a.Who, At: a.At}
		if r := a.Refusal; r != nil && !started {
			e.Refused, e.RefusedAt = &RepairRefusal{Code: r.Code, Detail: r.Detail, FixBy: FixBy(r.FixBy)}, &r.At
		}
	}
	return answerJSON(c, http.StatusOK, view)
}

// runKey returns the idempotency key of the run for an entry of a plan.
func runKey(planID string, e *audit.PlanEntry) audit.RunKey {
	return audit.RunKey{MerchantID: e.MerchantID, Key: workflows.RepairKey(planID, e.FindingID)}
}

// ApproveRepairs stores and withdraws approvals of entries.
func (s *server) ApproveRepairs(c echo.Context, planID string) error {
	want, err := bodyAs[RepairApprovals](c, s.document.operations["approveRepairs"])
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	plan, err := s.repairPlan(ctx, planID)
	if err != nil {
		return err
	}
	var findings, approved, withdrawn []string
	for _, e := range want.Entries {
		findings = append(findings, e.FindingID)
		if e.Approved {
			approved = append(approved, e.FindingID)
		} else {
			withdrawn = append(withdrawn, e.FindingID)
		}
	}
	if err := s.applicable(&plan, findings); err != nil {
		return err
	}
	if _, err := s.approve(ctx, plan.ID, callerOf(c).String(), approved); err != nil {
		return err
	}
	if err := s.withdraw(ctx, &plan, withdrawn); err != nil {
		return err
	}
	return s.showPlan(c, plan)
}

// The method `withdraw` removes the approvals of entries that have no run.
func (s *server) withdraw(ctx context.Context, plan *audit.Plan, findings []string) error {
	var keys []audit.RunKey
	for _, f := range findings {
		entry, _ := plan.Entry(f)
		keys = append(keys, runKey(plan.ID, &entry))
	}
	runs, err := s.Audits.KeyedRuns(ctx, keys)
	if err != nil {
		return err
	}
	var open []string
	for i, f := range findings {
		if _, started := runs[keys[i]]; !started {
			open = append(open, f)
		}
	}
	return s.Audits.Withdraw(ctx, plan.ID, open)
}

// The method `approve` stores the approvals of entries, and returns them. An entry that was approved before keeps its approval.
func (s *server) approve(ctx context.Context, planID, who string, findings []string) (map[string]audit.Approval, error) {
	approvals, err := s.Audits.Approvals(ctx, planID)
	if err != nil {
		return nil, err
	}
	var added []audit.Approval
	for _, f := range findings {
		if _, before := approvals[f]; !before {
			approvals[f] = audit.Approval{PlanID: planID, FindingID: f, Who: who, At: s.now()}
			added = append(added, approvals[f])
		}
	}
	return approvals, s.Audits.Approve(ctx, added)
}

func (s *server) repairPlan(ctx context.Context, id string) (audit.Plan, error) {
	p, err := s.Audits.Plan(ctx, id)
	if errors.Is(err, audit.ErrNotFound) {
		return p, refuse(planNotFound, "there is no repair plan with this id")
	}
	return p, err
}

// planPath returns the path of a repair plan.
func planPath(id string) string { return "/v1/repair-plans/" + id }

// viewRepairPlan converts an audit.Plan to the RepairPlan of the API.
func viewRepairPlan(p audit.Plan) RepairPlan {
	view := RepairPlan{
		ID: p.ID, Installation: p.Installation, CreatedAt: p.CreatedAt, ExpiresAt: p.CreatedAt.Add(audit.PlanLife), By: p.By,
		Entries: []RepairPlanEntry{}, LeftOut: p.LeftOut, Suspect: p.Suspect, Links: Links{{Rel: "self", Href: planPath(p.ID)}},
	}
	for _, e := range p.Entries {
		entry := RepairPlanEntry{
			FindingID: e.FindingID, Code: string(e.Code), Severity: Severity(e.Severity), Detail: e.Detail, MerchantID: e.MerchantID,
			Cloud: some(e.Cloud), CustomerID: some(e.CustomerID), SubscriptionID: some(e.SubscriptionID), ProjectID: some(e.ProjectID),
			UserID: some(e.UserID), RunID: e.RunID, Objects: viewObjects(e.Objects), Action: string(e.Action), Values: e.Values,
		}
		if entry.Values == nil {
			entry.Values = map[string]string{}
		}
		view.Entries = append(view.Entries, entry)
	}
	return view
}

// repairsTime is the time limit for the checks of all entries of a request. The method `start` has a time limit, too. The sum of
// both limits is less than the time in which the server must answer.
const repairsTime = 45 * time.Second

// ApplyRepairs carries out entries of a repair plan. ApplyRepairs may be repeated: if an entry has a run already, the answer
// contains this run. The merchants' limits of live runs do not apply, because an operator has approved each entry. Besides, a
// merchant may have reached its limit because many live runs wait for the repair.
func (s *server) ApplyRepairs(c echo.Context) error {
	want, err := bodyAs[RepairRequest](c, s.document.operations["applyRepairs"])
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), repairsTime)
	defer cancel()
	plan, err := s.repairPlan(ctx, want.PlanID)
	if err != nil {
		return err
	}
	all, err := s.approved(&plan, want.Entries)
	if err != nil {
		return err
	}
	var approvals map[string]audit.Approval
	if !valueOf(want.DryRun) {
		if approvals, err = s.approve(ctx, plan.ID, callerOf(c).String(), findingsOf(want.Entries)); err != nil {
			return err
		}
	}
	work := repairing{server: s, planID: plan.ID, who: callerOf(c).String(), dryRun: valueOf(want.DryRun), down: map[string]error{}}
	answer := RepairAnswer{PlanID: plan.ID, Repairs: []RepairResult{}}
	answered := false // true if an entry has a run, or the result of a dry run
	var faults []error
	for _, a := range all {
		result, err := work.repair(ctx, a)
		if gone := c.Request().Context().Err(); gone != nil {
			return gone
		}
		if err != nil {
			result = RepairResult{Refused: refusal(err, fixer(c)), Links: Links{}}
		}
		if approval, kept := approvals[a.FindingID]; kept {
			approval.Refusal = s.refusedNow(result.Refused)
			approvals[a.FindingID] = approval
		}
		if isFault(err) {
			faults = append(faults, err)
		}
		result.FindingID, answered = a.FindingID, answered || err == nil
		answer.Repairs = append(answer.Repairs, result)
	}
	if err := s.keepRefusals(c.Request().Context(), answer, approvals); err != nil {
		faults = append(faults, err) // the answer has the results
	}
	if len(faults) > 0 && !answered {
		return faults[0]
	}
	for _, err := range faults {
		s.Log.Error().Err(err).Str("request_id", requestID(c)).Str("problem", problem(err).kind.name).Msg("repairing")
	}
	if work.dryRun {
		return answerJSON(c, http.StatusOK, answer)
	}
	return answerJSON(c, http.StatusAccepted, answer)
}

// approvedRepair is an entry that an operator has approved.
type approvedRepair struct {
	audit.PlanEntry
	why string
}

// The method `approved` returns the approved entries of a plan. If the plan cannot be applied, or if an entry of the request is
// wrong, the error is a problem.
func (s *server) approved(plan *audit.Plan, want []ApprovedRepair) (all []approvedRepair, _ error) {
	if err := s.applicable(plan, findingsOf(want)); err != nil {
		return nil, err
	}
	for _, w := range want {
		entry, _ := plan.Entry(w.FindingID)
		why := "plan " + plan.ID
		if comment := valueOf(w.Comment); strings.ContainsFunc(comment, visible) {
			why = upstream.Clean(comment)
		}
		all = append(all, approvedRepair{entry, why})
	}
	return all, nil
}

func findingsOf(all []ApprovedRepair) []string {
	findings := make([]string, len(all))
	for i, a := range all {
		findings[i] = a.FindingID
	}
	return findings
}

// The method `applicable` returns a problem if the plan cannot be applied, if the plan has no entry for one of the given findings, or if a
// finding is given more than once.
func (s *server) applicable(plan *audit.Plan, findings []string) error {
	switch {
	case plan.Installation != s.Installation:
		return refuse(planForeign, "the plan was made by installation %s, but this is installation %s", plan.Installation, s.Installation)
	case plan.Expired(s.now()):
		return refuse(planExpired, "the plan was made at %s, and expired 7 days later: make a new plan", plan.CreatedAt.UTC().Format(time.RFC3339))
	}
	var faults []InvalidParam
	seen := map[string]bool{}
	for i, f := range findings {
		fault := ""
		if _, ok := plan.Entry(f); !ok {
			fault = "the plan has no entry for this finding"
		} else if seen[f] {
			fault = "the finding occurs more than once"
		}
		if fault != "" {
			faults = append(faults, InvalidParam{Pointer: some(fmt.Sprintf("/entries/%d/finding_id", i)), Detail: fault})
		}
		seen[f] = true
	}
	if len(faults) > 0 {
		return invalid(faults...)
	}
	return nil
}

// refusedNow returns the refusal to store. The result is nil if the entry was not refused.
func (s *server) refusedNow(r *RepairRefusal) *audit.Refusal {
	if r == nil {
		return nil
	}
	return &audit.Refusal{Code: r.Code, Detail: r.Detail, FixBy: string(r.FixBy), At: s.now()}
}

// keepRefusals stores why entries were refused, and removes the earlier refusals of entries that have a run now. In a dry run, there are no
// approvals, and nothing is stored.
func (s *server) keepRefusals(ctx context.Context, answer RepairAnswer, approvals map[string]audit.Approval) error {
	var all []audit.Approval
	for _, r := range answer.Repairs {
		if a, kept := approvals[r.FindingID]; kept {
			all = append(all, a)
		}
	}
	return s.Audits.Approve(ctx, all)
}

// The type `repairing` is the state of one request to apply repairs.
type repairing struct {
	*server
	planID, who string
	dryRun      bool
	down        map[string]error // the fault of each cloud that is down; further entries of these clouds are not checked
}

// The method `repair` returns the run of an entry, and starts the run if there is none. In a dry run, `repair` returns what the run would
// do, and neither looks up nor uses the idempotency key.
func (r *repairing) repair(ctx context.Context, a approvedRepair) (RepairResult, error) {
	key := workflows.RepairKey(r.planID, a.FindingID)
	if !r.dryRun {
		if run, err := r.known(ctx, a.MerchantID, key, key); err != nil || run != nil {
			return viewRepair(run), err
		}
	}
	if err := r.down[a.Cloud]; err != nil {
		return RepairResult{}, err
	}
	request, foreseen, err := r.check(ctx, a)
	if err != nil {
		if problem(err).kind.name == upstreamUnavailable.name {
			r.down[a.Cloud] = err
		}
		return RepairResult{}, err
	}
	if r.dryRun {
		return RepairResult{DryRun: &foreseen, Links: Links{}}, nil
	}
	request.Key, request.Fingerprint, request.Who, request.Why = key, key, r.who, a.why
	run, err := r.start(ctx, request)
	if errors.Is(err, saga.ErrKeyUsed) { // a concurrent request has used the key
		if run, err = r.known(ctx, a.MerchantID, key, key); run == nil && err == nil {
			err = refuse(outcomeUnknown, "another request is starting the run of this entry: repeat the call")
		}
	}
	return viewRepair(run), err
}

// The method `check` checks an entry, with the time limit coalesce.Limit. In a dry run, the method also returns what the run would do.
func (r *repairing) check(ctx context.Context, a approvedRepair) (q saga.Request, foreseen DryRun, err error) {
	ctx, cancel := context.WithTimeout(ctx, coalesce.Limit)
	defer cancel()
	q, err = r.Repairs.AdmitRepair(ctx, r.planID, a.PlanEntry)
	if err != nil || !r.dryRun {
		return q, foreseen, err
	}
	found, err := r.Starter.DryRun(ctx, q)
	return q, viewDryRun(found), err
}

// viewRepair returns the answer for an entry that has a run. If run is nil, the answer is empty.
func viewRepair(run *saga.Run) RepairResult {
	if run == nil {
		return RepairResult{}
	}
	return RepairResult{
		RunID: &run.ID, RunState: some(RunState(run.State)), Links: Links{{Rel: "run", Href: runPath(run.ID)}},
	}
}

// refusal returns the reason why an entry was refused. The parameter `fixer` is the kind of caller that can change and repeat the request.
func refusal(err error, fixer FixBy) *RepairRefusal {
	if e, ok := errors.AsType[*workflows.AdmissionError](err); ok {
		return &RepairRefusal{Code: string(e.Code), Detail: e.Detail, FixBy: cmp.Or(FixBy(e.FixBy), fixer)}
	}
	p := problem(err)
	return &RepairRefusal{Code: p.kind.name, Detail: p.detail, FixBy: valueOf(p.body("", fixer).FixBy)}
}

// isFault reports whether the service or an upstream failed while an entry was checked or started. If the entry was refused, isFault
// returns false.
func isFault(err error) bool {
	_, refused := errors.AsType[*workflows.AdmissionError](err)
	return err != nil && !refused && problem(err).kind.status >= http.StatusInternalServerError
}
