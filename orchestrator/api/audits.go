package api

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/orchestrator/audit"
	"github.com/tenantry/tenantry/orchestrator/merchants"
)

// Audits reads audits, findings, the ledger and repair plans, and accepts findings: see [audit.Store] and [audit.PlanStore].
type Audits interface {
	Audit(ctx context.Context, id string) (audit.Audit, error)
	Audits(ctx context.Context, before string, limit int) ([]audit.Audit, error)
	Findings(ctx context.Context, f audit.Filter) ([]audit.Finding, error)
	Finding(ctx context.Context, id string) (audit.Finding, error)
	History(ctx context.Context, id string) ([]audit.Change, error)
	Accept(ctx context.Context, id string, by audit.Change, a *audit.Acceptance) (audit.Finding, error)
	Entries(ctx context.Context, f audit.EntryFilter) ([]audit.Entry, error)
	CountFindings(ctx context.Context, cloud, merchantID string) ([]audit.FindingCount, error)
	Plan(ctx context.Context, id string) (audit.Plan, error)
	Plans(ctx context.Context, before string, limit int) ([]audit.PlanSummary, error)
	Approvals(ctx context.Context, planID string) (map[string]audit.Approval, error)
	ApprovalsOf(ctx context.Context, findingID string, limit int) ([]audit.Approval, error)
	Approve(ctx context.Context, all []audit.Approval) error
	Withdraw(ctx context.Context, planID string, findingIDs []string) error
	KeyedRuns(ctx context.Context, keys []audit.RunKey) (map[audit.RunKey]audit.KeyedRun, error)
}

// Auditor starts audits, and plans repairs.
type Auditor interface {
	// Request stores an audit, which a replica then executes. The argument `by` is the name of the caller. Request returns
	// audit.ErrBusy if too many audits are pending.
	Request(ctx context.Context, s audit.Scope, by string) (audit.Audit, error)
	// Plan makes and stores a repair plan. The plan contains the repairs of the open findings that the filter selects. The argument
	// `by` is the name of the caller. Plan ignores the fields Statuses, After and Limit of the filter.
	Plan(ctx context.Context, f audit.Filter, by string) (audit.Plan, error)
}

// auditKinds are the problem types that only the operations on audits and findings return.
var (
	auditKinds      = []kind{auditNotFound, findingNotFound, findingResolved, auditsWaiting}
	auditNotFound   = kind{"audit-not-found", http.StatusNotFound, false}
	findingNotFound = kind{"finding-not-found", http.StatusNotFound, false}
	findingResolved = kind{"finding-resolved", http.StatusConflict, false}
	auditsWaiting   = kind{"audits-waiting", http.StatusTooManyRequests, true}
)

const (
	auditPoll  = 1 * time.Second  // the interval at which a caller should read an audit that has not ended
	auditRetry = 30 * time.Second // time after which a caller should repeat a refused request for an audit
)

// CreateAudit stores an audit, which a replica executes later.
func (s *server) CreateAudit(c echo.Context) error {
	want, err := bodyAs[AuditScope](c, s.document.operations["createAudit"])
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	scope, err := s.scopeOf(c, want)
	if err != nil {
		return err
	}
	a, err := s.Auditor.Request(ctx, scope, callerOf(c).String())
	if errors.Is(err, audit.ErrBusy) {
		refused := refuse(auditsWaiting, "%d audits wait already", audit.MaxPending)
		refused.retryAfter = auditRetry
		return refused
	}
	if err != nil {
		return err
	}
	h := c.Response().Header()
	h.Set(echo.HeaderLocation, auditPath(a.ID))
	h.Set(echo.HeaderRetryAfter, seconds(auditPoll))
	return answerJSON(c, http.StatusAccepted, viewAudit(a))
}

// scopeOf returns the scope of the requested audit, or a problem. The merchant must be registered, and the cloud must be configured. A
// local caller may name any cloud, because the local process does not know the clouds of the replicas. The customer and the project need
// not exist, because an audit also reports missing customers and projects.
func (s *server) scopeOf(c echo.Context, want AuditScope) (audit.Scope, error) {
	scope := audit.Scope{
		MerchantID: valueOf(want.MerchantID), CustomerID: valueOf(want.CustomerID),
		Cloud: valueOf(want.Cloud), ProjectID: valueOf(want.ProjectID),
	}
	wrong := func(pointer, detail string) (audit.Scope, error) {
		return audit.Scope{}, invalid(InvalidParam{Pointer: &pointer, Detail: detail})
	}
	switch {
	case scope.CustomerID != "" && scope.MerchantID == "":
		return wrong("/merchant_id", "the field is missing: a customer belongs to one merchant")
	case scope.MerchantID != "" && scope.ProjectID != "":
		return wrong("/project_id", "the field cannot be combined with merchant_id")
	case scope.MerchantID != "" && scope.Cloud != "":
		return wrong("/cloud", "the field cannot be combined with merchant_id")
	case scope.ProjectID != "":
		scope.Cloud = cmp.Or(scope.Cloud, merchants.DefaultCloud)
	}
	if scope.MerchantID != "" {
		_, err := s.Merchants.Merchant(c.Request().Context(), scope.MerchantID)
		if errors.Is(err, merchants.ErrNotFound) {
			return wrong("/merchant_id", "there is no such merchant")
		}
		if err != nil {
			return audit.Scope{}, err
		}
	}
	if scope.Cloud != "" && callerOf(c).local == "" {
		if _, err := s.Identity(scope.Cloud); err != nil {
			return wrong("/cloud", "the service has no cloud of this name in its configuration")
		}
	}
	return scope, nil
}

// ListAudits lists a page of the audits.
func (s *server) ListAudits(c echo.Context, p ListAuditsParams) error {
	limit, page := pageOf(p.Limit, p.Marker)
	found, err := s.Audits.Audits(c.Request().Context(), page.After, page.Limit)
	if err != nil {
		return err
	}
	answer := AuditList{Audits: []Audit{}}
	for _, a := range found[:min(limit, len(found))] {
		a.Gaps = nil // a page of audits with many gaps would be too long
		answer.Audits = append(answer.Audits, viewAudit(a))
	}
	next := ""
	if len(found) > limit {
		next = found[limit-1].ID
	}
	answer.Links = pageLinks(c, next)
	return answerJSON(c, http.StatusOK, answer)
}

// GetAudit shows an audit.
func (s *server) GetAudit(c echo.Context, auditID string) error {
	a, err := s.Audits.Audit(c.Request().Context(), auditID)
	if errors.Is(err, audit.ErrNotFound) {
		return refuse(auditNotFound, "there is no such audit")
	}
	if err != nil {
		return err
	}
	if !a.State.Ended() {
		c.Response().Header().Set(echo.HeaderRetryAfter, seconds(auditPoll))
	}
	return answerJSON(c, http.StatusOK, viewAudit(a))
}

// auditPath returns the path of an audit.
func auditPath(id string) string { return "/v1/audits/" + id }

// viewAudit converts an audit.Audit to the Audit of the API.
func viewAudit(a audit.Audit) Audit {
	view := Audit{
		ID: a.ID, By: a.By, State: AuditState(a.State), Failure: some(a.Failure), Found: a.Found, Read: a.Read,
		Scope: AuditScope{
			MerchantID: some(a.Scope.MerchantID), CustomerID: some(a.Scope.CustomerID),
			Cloud: some(a.Scope.Cloud), ProjectID: some(a.Scope.ProjectID),
		},
		Progress:  AuditProgress{Phase: a.Progress.Phase, Done: a.Progress.Done, Total: a.Progress.Total},
		CreatedAt: a.CreatedAt, StartedAt: a.StartedAt, EndedAt: a.EndedAt,
		Links: Links{
			{Rel: "self", Href: auditPath(a.ID)},
			{Rel: "findings", Href: "/v1/findings?audit_id=" + url.QueryEscape(a.ID)},
		},
	}
	if view.Found == nil {
		view.Found = map[string]int{}
	}
	if view.Read == nil {
		view.Read = map[string]int{}
	}
	var gaps []AuditGap
	for _, g := range a.Gaps {
		gaps = append(gaps, AuditGap{Code: g.Code, Cloud: some(g.Cloud), MerchantID: some(g.MerchantID), Detail: g.Detail})
	}
	view.Gaps = list(gaps)
	return view
}
