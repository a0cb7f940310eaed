package console

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

const (
	plansPath         = Path + "/repair-plans"
	repairPlansOnPage = 50
)

// The type `planList` is the content of the page with repair plans.
type planList struct {
	Plans       []planRow
	Next, First string // the addresses of the next page and of the first page
}

// The type `planRow` is a repair plan in a list.
type planRow struct {
	client.RepairPlanSummary

	Now time.Time
}

// Made returns the time at which the plan was made.
func (r planRow) Made() moment { return moment{r.CreatedAt, r.Now} }

// Expires returns the time at which the plan expires.
func (r planRow) Expires() moment { return moment{r.ExpiresAt, r.Now} }

// Expired reports whether the plan is too old to be applied.
func (r planRow) Expired() bool { return r.Now.After(r.ExpiresAt) }

func (c *console) repairPlans(e echo.Context) error {
	api, err := c.asPerson(e)
	if err != nil {
		return err
	}
	marker := e.QueryParam("marker")
	answer, err := api.ListRepairPlansWithResponse(e.Request().Context(), &client.ListRepairPlansParams{Limit: new(repairPlansOnPage), Marker: optional(marker)})
	if err != nil {
		return err
	}
	page, err := answered(answer.JSON200, err, answer.HTTPResponse, answer.Body)
	if err != nil {
		return err
	}
	list := planList{Next: nextPage(&url.URL{Path: plansPath}, page.Links)}
	if marker != "" {
		list.First = plansPath
	}
	now := c.Now()
	for _, p := range page.Plans {
		list.Plans = append(list.Plans, planRow{p, now})
	}
	return c.show(e, http.StatusOK, "repair-plans", "Repair plans", list)
}

// planRepairs makes a repair plan from the chosen findings, or from all open findings that match the filter of the list.
func (c *console) planRepairs(e echo.Context) error {
	form, err := e.FormParams()
	if err != nil {
		return &problem{status: http.StatusBadRequest, title: "The form cannot be read", cause: err}
	}
	again := func(status int, fault string) error { return c.showFindings(e, status, form, fault) }
	api, err := c.asPerson(e)
	if err != nil {
		return err
	}
	ctx := e.Request().Context()
	var want client.RepairPlanFilter
	if chosen := form["finding"]; form.Get("which") != "all" {
		if len(chosen) == 0 {
			return again(http.StatusUnprocessableEntity, "First tick the findings to repair.")
		}
		want.FindingID = &chosen
	} else {
		f := findingFilterOf(form)
		merchants, err := c.merchantsOf(ctx, api)
		if err != nil {
			return err
		}
		want.Severity, want.MerchantID = optional(client.Severity(f.Severity)), optional(merchantNamed(merchants, f.Merchant))
		want.AuditID = optional(f.Audit)
		if f.Code != "" {
			want.Code = &[]string{f.Code}
		}
		if !narrow(&want, form.Get("by"), f.Query) {
			return again(http.StatusUnprocessableEntity, "A plan cannot be made from this search. Tick the findings instead.")
		}
	}
	answer, err := api.CreateRepairPlanWithResponse(ctx, want)
	if err != nil {
		return fmt.Errorf("calling the API: %w", err)
	}
	if answer.JSON201 == nil {
		return c.again(refusal(answer.HTTPResponse, answer.Body), func(p *problem) error { return again(p.status, p.text()) })
	}
	return e.Redirect(http.StatusSeeOther, planPath(answer.JSON201.ID))
}

// The function `narrow` adds the search of the list to the filter of a plan. The parameter `by` names the field of the API with which the
// search has found findings. The result is false if there is no such field.
func narrow(want *client.RepairPlanFilter, by, typed string) bool {
	if typed == "" {
		return true
	}
	if match := tenantName.FindStringSubmatch(typed); match != nil {
		typed = match[2]
	}
	if !dashedID.MatchString(typed) && !hexID.MatchString(typed) {
		return false
	}
	field := map[string]**string{
		"subscription_id": &want.SubscriptionID, "customer_id": &want.CustomerID, "project_id": &want.ProjectID, "user_id": &want.UserID,
		"merchant_id": &want.MerchantID, "audit_id": &want.AuditID,
	}[by]
	if field == nil {
		return false
	}
	*field = &typed
	return true
}

func planPath(id string) string { return plansPath + "/" + url.PathEscape(id) }
