package api

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/orchestrator/audit"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// ListFindings lists a page of the findings. By default, it lists the open findings.
func (s *server) ListFindings(c echo.Context, p ListFindingsParams) error {
	limit := defaultRuns
	if p.Limit != nil {
		limit = *p.Limit
	}
	filter := audit.Filter{
		Severity: audit.Severity(valueOf(p.Severity)), Cloud: valueOf(p.Cloud), MerchantID: valueOf(p.MerchantID),
		CustomerID: valueOf(p.CustomerID), SubscriptionID: valueOf(p.SubscriptionID), ProjectID: valueOf(p.ProjectID),
		UserID: valueOf(p.UserID), AuditID: valueOf(p.AuditID), After: valueOf(p.Marker), Limit: limit + 1,
	}
	for _, status := range valueOf(p.Status) {
		filter.Statuses = append(filter.Statuses, audit.Status(status))
	}
	if len(filter.Statuses) == 0 {
		filter.Statuses = []audit.Status{audit.New, audit.Known}
	}
	for _, code := range valueOf(p.Code) {
		filter.Codes = append(filter.Codes, audit.Code(code))
	}
	found, err := s.Audits.Findings(c.Request().Context(), filter)
	if err != nil {
		return err
	}
	answer := FindingList{Findings: []Finding{}}
	for _, f := range found[:min(limit, len(found))] {
		answer.Findings = append(answer.Findings, viewFinding(f))
	}
	next := ""
	if len(found) > limit {
		next = found[limit-1].ID
	}
	answer.Links = pageLinks(c, next)
	return answerJSON(c, http.StatusOK, answer)
}

// CountFindings counts the open and accepted findings.
func (s *server) CountFindings(c echo.Context, p CountFindingsParams) error {
	counts, err := s.Audits.CountFindings(c.Request().Context(), valueOf(p.Cloud), valueOf(p.MerchantID))
	if err != nil {
		return err
	}
	answer := FindingCounts{Counts: []FindingCount{}}
	for _, n := range counts {
		answer.Counts = append(answer.Counts, FindingCount{
			Severity: Severity(n.Severity), Code: string(n.Code), Status: FindingStatus(n.Status), Count: n.Count,
		})
	}
	return answerJSON(c, http.StatusOK, answer)
}

// GetFinding shows a finding with its history.
func (s *server) GetFinding(c echo.Context, findingID string) error {
	f, err := s.Audits.Finding(c.Request().Context(), findingID)
	if err != nil {
		return aboutFinding(err)
	}
	return s.showFinding(c, f)
}

// AcceptFinding accepts a finding.
func (s *server) AcceptFinding(c echo.Context, findingID string) error {
	want, err := bodyAs[AcceptRequest](c, s.document.operations["acceptFinding"])
	if err != nil {
		return err
	}
	if !strings.ContainsFunc(want.Why, visible) {
		return invalid(InvalidParam{Pointer: some("/why"), Detail: "the reason is empty"})
	}
	a := audit.Acceptance{Who: callerOf(c).String(), Why: upstream.Clean(want.Why), At: s.now()}
	if want.Until != nil {
		until, err := time.Parse(time.RFC3339, *want.Until)
		fault := ""
		switch {
		case err != nil: // the schema allows impossible dates, such as February 30
			fault = wantedTime
		case !until.After(a.At):
			fault = "the time is not in the future"
		case until.UTC().Year() > maxYear:
			fault = "the time is too far in the future: omit the field if the acceptance does not expire"
		}
		if fault != "" {
			return invalid(InvalidParam{Pointer: some("/until"), Detail: fault})
		}
		until = until.UTC()
		a.Until = &until
	}
	by := audit.Change{At: a.At, Status: audit.Accepted, Who: a.Who, Why: a.Why, Until: a.Until}
	f, err := s.Audits.Accept(c.Request().Context(), findingID, by, &a)
	if err != nil {
		return aboutFinding(err)
	}
	return s.showFinding(c, f)
}

// maxYear is the last year that RFC 3339 can represent.
const maxYear = 9999

// WithdrawAcceptance opens an accepted finding again.
func (s *server) WithdrawAcceptance(c echo.Context, findingID string) error {
	ctx := c.Request().Context()
	f, err := s.Audits.Finding(ctx, findingID)
	if err == nil && f.Status == audit.Accepted {
		f, err = s.Audits.Accept(ctx, findingID, audit.Change{At: s.now(), Status: audit.Known, Who: callerOf(c).String()}, nil)
	}
	if err != nil {
		return aboutFinding(err)
	}
	return s.showFinding(c, f)
}

// aboutFinding converts an error of the store to a problem about a finding.
func aboutFinding(err error) error {
	switch {
	case errors.Is(err, audit.ErrNotFound):
		return refuse(findingNotFound, "there is no such finding")
	case errors.Is(err, audit.ErrResolved):
		return refuse(findingResolved, "the finding is resolved")
	}
	return err
}

// showFinding answers with a finding and its history.
func (s *server) showFinding(c echo.Context, f audit.Finding) error {
	changes, err := s.Audits.History(c.Request().Context(), f.ID)
	if err != nil {
		return aboutFinding(err)
	}
	view, history := viewFinding(f), []FindingChange{}
	for _, change := range changes {
		history = append(history, FindingChange{
			At: change.At, Status: FindingStatus(change.Status), AuditID: some(change.AuditID), Who: some(change.Who),
			Why: some(change.Why), Until: change.Until,
		})
	}
	explanation := explainFinding(c, f)
	view.History, view.Explanation = &history, &explanation
	if view.Repairs, err = s.repairsOf(c.Request().Context(), f); err != nil {
		return err
	}
	return answerJSON(c, http.StatusOK, view)
}

// maxRepairs is the maximum number of repairs that a finding shows.
const maxRepairs = 20

// repairsOf returns the approved repairs of a finding, with their runs.
func (s *server) repairsOf(ctx context.Context, f audit.Finding) (*[]FindingRepair, error) {
	approvals, err := s.Audits.ApprovalsOf(ctx, f.ID, maxRepairs)
	if err != nil {
		return nil, err
	}
	keys := make([]audit.RunKey, len(approvals))
	for i, a := range approvals {
		keys[i] = runKey(a.PlanID, &audit.PlanEntry{MerchantID: f.MerchantID, FindingID: f.ID})
	}
	runs, err := s.Audits.KeyedRuns(ctx, keys)
	if err != nil {
		return nil, err
	}
	repairs := []FindingRepair{}
	for i, a := range approvals {
		view := FindingRepair{PlanID: a.PlanID, Approval: RepairApproval{Who: a.Who, At: a.At}}
		if run, started := runs[keys[i]]; started {
			view.RunID, view.RunState = &run.ID, some(RunState(run.State))
		} else if r := a.Refusal; r != nil {
			view.Refused, view.RefusedAt = &RepairRefusal{Code: r.Code, Detail: r.Detail, FixBy: FixBy(r.FixBy)}, &r.At
		}
		repairs = append(repairs, view)
	}
	return &repairs, nil
}

// viewFinding converts an audit.Finding to the Finding of the API, without its history.
func viewFinding(f audit.Finding) Finding {
	view := Finding{
		ID: f.ID, Code: string(f.Code), Severity: Severity(f.Severity), Status: FindingStatus(f.Status),
		Cloud: some(f.Cloud), MerchantID: some(f.MerchantID), CustomerID: some(f.CustomerID), SubscriptionID: some(f.SubscriptionID),
		ProjectID: some(f.ProjectID), UserID: some(f.UserID), Objects: viewObjects(f.Objects),
		Detail: f.Detail, Affected: f.Affected, RunID: some(f.RunID),
		Repair:    Repair{Action: some(string(f.Repair.Action)), Advice: f.Repair.Advice},
		FirstSeen: f.FirstSeen, LastSeen: f.LastSeen, FirstAuditID: f.FirstAudit, LastAuditID: f.LastAudit, ResolvedAt: f.ResolvedAt,
		Links: Links{{Rel: "self", Href: "/v1/findings/" + f.ID}},
	}
	if len(f.Repair.Values) > 0 {
		view.Repair.Values = &f.Repair.Values
	}
	if a := f.Acceptance; a != nil {
		view.Acceptance = &Acceptance{Who: a.Who, Why: a.Why, At: a.At, Until: a.Until}
	}
	if f.RunID != "" {
		view.Links = append(view.Links, Link{Rel: "run", Href: runPath(f.RunID)})
	}
	return view
}

func viewObjects(all []audit.Object) []FindingObject {
	view := []FindingObject{}
	for _, o := range all {
		view = append(view, FindingObject{Kind: o.Kind, ID: o.ID, Name: some(o.Name)})
	}
	return view
}
