package console

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

const (
	auditsPath   = Path + "/audits"
	auditsOnPage = 30
)

// The type `auditList` is the content of the page with audits, with a form that starts an audit.
type auditList struct {
	Audits      []auditRow
	Merchants   []client.Merchant
	Scope       auditScope // as it was typed
	Fault       string     // why the audit was refused
	Busy        bool       // an audit has not ended
	Here        string     // the address of this page
	Next, First string     // the addresses of the next page and of the first page
}

// The type `auditScope` is the scope of an audit as it was typed.
type auditScope struct{ Merchant, Customer, Cloud, Project string }

// The type `auditRow` is an audit in a list, or on its own page.
type auditRow struct {
	client.Audit

	Merchant string // the name of the merchant in the scope, if it is known
	Now      time.Time
}

// Ended reports whether the audit has ended.
func (r auditRow) Ended() bool {
	return r.State == client.AuditComplete || r.State == client.AuditIncomplete || r.State == client.AuditFailed
}

// Requested returns the time at which the audit was requested.
func (r auditRow) Requested() moment { return moment{r.CreatedAt, r.Now} }

// Took returns how long the audit took, or has taken until now.
func (r auditRow) Took() string {
	if r.StartedAt == nil {
		return ""
	}
	return took(*r.StartedAt, r.EndedAt, r.Now)
}

// Percent returns how much of the current phase is done.
func (r auditRow) Percent() int {
	if r.Progress.Total <= 0 {
		return 0
	}
	return min(100, max(0, 100*r.Progress.Done/r.Progress.Total))
}

// Everything reports whether the scope of the audit is empty, so that the audit is about all merchants and clouds.
func (r auditRow) Everything() bool { return r.Scope == client.AuditScope{} }

// Counts returns the numbers of the open findings by severity, the gravest first.
func (r auditRow) Counts() (all []severityNumber) {
	for _, s := range severities {
		if n := r.Found[string(s)]; n != 0 {
			all = append(all, severityNumber{string(s), n})
		}
	}
	return all
}

type severityNumber struct {
	Severity string
	Count    int
}

// Objects returns the numbers of the objects that were read, by kind.
func (r auditRow) Objects() (all []result) {
	for _, kind := range slices.Sorted(maps.Keys(r.Read)) {
		all = append(all, result{Name: kind, Value: fmt.Sprint(r.Read[kind])})
	}
	return all
}

// NotAssessed returns the parts of the scope that the audit could not assess.
func (r auditRow) NotAssessed() []client.AuditGap {
	if r.Gaps == nil {
		return nil
	}
	return *r.Gaps
}

func (c *console) audits(e echo.Context) error {
	return c.showAudits(e, http.StatusOK, auditScope{}, "")
}

// showAudits answers with the list of audits. The parameters are the scope that was typed, and why an audit was refused.
func (c *console) showAudits(e echo.Context, status int, typed auditScope, fault string) error {
	api, err := c.asPerson(e)
	if err != nil {
		return err
	}
	ctx, marker := e.Request().Context(), e.QueryParam("marker")
	answer, err := api.ListAuditsWithResponse(ctx, &client.ListAuditsParams{Limit: new(auditsOnPage), Marker: optional(marker)})
	if err != nil {
		return err
	}
	page, err := answered(answer.JSON200, err, answer.HTTPResponse, answer.Body)
	if err != nil {
		return err
	}
	list := auditList{Scope: typed, Fault: fault, Here: auditsPath, Next: nextPage(&url.URL{Path: auditsPath}, page.Links)}
	if list.Merchants, err = c.merchantsOf(ctx, api); err != nil {
		return err
	}
	if marker != "" {
		list.First, list.Here = auditsPath, auditsPath+"?"+url.Values{"marker": {marker}}.Encode()
	}
	now := c.Now()
	for _, a := range page.Audits {
		r := auditRow{a, nameOfMerchant(list.Merchants, a.Scope.MerchantID), now}
		list.Audits, list.Busy = append(list.Audits, r), list.Busy || !r.Ended()
	}
	return c.show(e, status, "audits", "Audits", list)
}

// The method `audit` answers with the page of an audit.
func (c *console) audit(e echo.Context) error {
	api, err := c.asPerson(e)
	if err != nil {
		return err
	}
	ctx := e.Request().Context()
	answer, err := api.GetAuditWithResponse(ctx, e.Param("id"))
	if err != nil {
		return err
	}
	a, err := answered(answer.JSON200, err, answer.HTTPResponse, answer.Body)
	if err != nil {
		return err
	}
	merchants, err := c.merchantsOf(ctx, api)
	if err != nil {
		return err
	}
	return c.show(e, http.StatusOK, "audit", "Audit "+short(a.ID), auditRow{*a, nameOfMerchant(merchants, a.Scope.MerchantID), c.Now()})
}

// startAudit starts an audit, and leads to its page.
func (c *console) startAudit(e echo.Context) error {
	typed := auditScope{
		Merchant: strings.TrimSpace(e.FormValue("merchant")), Customer: strings.TrimSpace(e.FormValue("customer")),
		Cloud: strings.TrimSpace(e.FormValue("cloud")), Project: strings.TrimSpace(e.FormValue("project")),
	}
	api, err := c.asPerson(e)
	if err != nil {
		return err
	}
	ctx := e.Request().Context()
	merchants, err := c.merchantsOf(ctx, api)
	if err != nil {
		return err
	}
	answer, err := api.CreateAuditWithResponse(ctx, client.AuditScope{
		MerchantID: optional(merchantNamed(merchants, typed.Merchant)), CustomerID: optional(strings.ToLower(typed.Customer)),
		Cloud: optional(typed.Cloud), ProjectID: optional(typed.Project),
	})
	if err != nil {
		return fmt.Errorf("calling the API: %w", err)
	}
	if answer.JSON202 == nil {
		return c.again(refusal(answer.HTTPResponse, answer.Body), func(p *problem) error {
			return c.showAudits(e, p.status, typed, p.text())
		})
	}
	return e.Redirect(http.StatusSeeOther, auditPath(answer.JSON202.ID))
}

func auditPath(id string) string { return auditsPath + "/" + url.PathEscape(id) }
