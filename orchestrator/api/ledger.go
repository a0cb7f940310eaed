package api

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/orchestrator/audit"
)

// ListLedger lists a page of the objects that runs have made, adopted or removed. A portal sees the runs of its merchant, and no findings.
func (s *server) ListLedger(c echo.Context, p ListLedgerParams) error {
	limit := defaultRuns
	if p.Limit != nil {
		limit = *p.Limit
	}
	filter := audit.EntryFilter{
		ProjectID: valueOf(p.ProjectID), UserID: valueOf(p.UserID), CustomerID: valueOf(p.CustomerID),
		SubscriptionID: valueOf(p.SubscriptionID), After: valueOf(p.Marker), Limit: limit + 1,
	}
	given := 0
	for _, id := range []*string{p.ProjectID, p.UserID, p.CustomerID, p.SubscriptionID} {
		if id != nil {
			given++
		}
	}
	if given != 1 {
		return invalid(InvalidParam{Detail: "wanted: exactly one of project_id, user_id, customer_id and subscription_id"})
	}
	ctx, own := c.Request().Context(), callerOf(c).merchant
	if own != nil {
		filter.Merchant = own.ID
	}
	entries, err := s.Audits.Entries(ctx, filter)
	if err != nil {
		return err
	}
	shown := entries[:min(limit, len(entries))]
	var said map[object][]audit.Finding
	var about []audit.Finding
	if own == nil { // findings are for operators
		if said, err = s.saidAbout(ctx, shown); err != nil {
			return err
		}
		about, err = s.notResolved(ctx, audit.Filter{
			ProjectID: filter.ProjectID, UserID: filter.UserID, CustomerID: filter.CustomerID, SubscriptionID: filter.SubscriptionID,
		})
		if err != nil {
			return err
		}
	}
	answer := Ledger{Entries: []LedgerEntry{}, Findings: []Finding{}}
	for _, e := range shown {
		answer.Entries = append(answer.Entries, viewEntry(e, said[object{e.Kind, e.ID}]))
	}
	for _, f := range about {
		answer.Findings = append(answer.Findings, viewFinding(f))
	}
	next := ""
	if len(entries) > limit {
		next = entries[limit-1].Cursor()
	}
	answer.Links = pageLinks(c, next)
	return answerJSON(c, http.StatusOK, answer)
}

// maxSaid is the maximum number of findings that are read about one project, user, customer or subscription.
const maxSaid = 100

// notResolved returns the open and accepted findings that the filter selects.
func (s *server) notResolved(ctx context.Context, f audit.Filter) ([]audit.Finding, error) {
	f.Statuses, f.Limit = []audit.Status{audit.New, audit.Known, audit.Accepted}, maxSaid
	return s.Audits.Findings(ctx, f)
}

// The type `object` identifies an object of an entry or of a finding.
type object struct{ kind, id string }

// saidAbout returns the open and accepted findings that name the objects of the entries.
func (s *server) saidAbout(ctx context.Context, entries []audit.Entry) (map[object][]audit.Finding, error) {
	said, asked := map[object][]audit.Finding{}, map[object]bool{}
	for _, e := range entries {
		for _, about := range partsOf(e) {
			filter, is := filterOf(about)
			if !is || asked[about] {
				continue
			}
			asked[about] = true
			found, err := s.notResolved(ctx, filter)
			if err != nil {
				return nil, err
			}
			for _, f := range found {
				for _, o := range f.Objects {
					key := object{o.Kind, o.ID}
					if !slices.ContainsFunc(said[key], func(other audit.Finding) bool { return other.ID == f.ID }) {
						said[key] = append(said[key], f)
					}
				}
			}
		}
	}
	return said, nil
}

// partsOf returns the objects whose findings may name the entry's object. Most objects are named only by findings about the object itself.
// A role assignment is named by findings about its project. It is also named by a finding about its user, if the finding is about all role
// assignments of the user.
func partsOf(e audit.Entry) []object {
	if project, rest, is := strings.Cut(e.ID, "/"); is {
		user, _, _ := strings.Cut(rest, "/")
		return []object{{"project", project}, {"user", user}}
	}
	return []object{{e.Kind, e.ID}}
}

// filterOf returns a filter that selects the findings about an object. The second result is false if no finding can be about an object of
// this kind.
func filterOf(o object) (f audit.Filter, is bool) {
	switch o.kind {
	case "project":
		f.ProjectID = o.id
	case "user":
		f.UserID = o.id
	case "customer":
		f.CustomerID = o.id
	case "subscription":
		f.SubscriptionID = o.id
	default:
		return f, false
	}
	return f, true
}

func viewEntry(e audit.Entry, said []audit.Finding) LedgerEntry {
	view := LedgerEntry{
		Kind: e.Kind, ID: e.ID, Name: some(e.Name), Cloud: some(e.Cloud), Origin: LedgerEntryOrigin(e.Origin), RemovedAt: e.RemovedAt,
		RunID: e.RunID, Workflow: e.Workflow, RunState: RunState(e.RunState), MerchantID: e.MerchantID, Step: e.Step, At: e.At,
		By: e.By, Why: some(e.Why), RequestID: some(e.RequestID), Findings: []LedgerFinding{},
	}
	for _, f := range said {
		view.Findings = append(view.Findings, LedgerFinding{
			ID: f.ID, Code: string(f.Code), Severity: Severity(f.Severity), Status: FindingStatus(f.Status),
		})
	}
	return view
}
