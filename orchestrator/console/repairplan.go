package console

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

// entriesOnPage is the number of entries on a page of a plan. One call of the API approves or carries out at most this number of entries.
const entriesOnPage = 30

// The type `repairPlanPage` is the content of the page of a repair plan.
type repairPlanPage struct {
	client.RepairPlan

	Now        time.Time
	Entries    []planEntry // the entries on this page
	Counts     planCounts  // of the whole plan
	First      int         // the number of the first entry of the page, from 1
	Here       string      // the address of this page
	Prev, Next string      // the addresses of the other pages
	DryRun     bool        // the page shows the results of a dry run
	Done       string      // the result of the last action, as a text
	Fault      string      // why the last action was refused
	Why        string      // the reason that was typed
}

// The type `planCounts` has the numbers of entries by their state.
type planCounts struct{ All, Open, Approved, Refused, Started int }

// The type `planEntry` is an entry of a plan.
type planEntry struct {
	client.RepairPlanEntry

	Number   int
	Ticked   bool
	Applied  *moment              // when the entry was refused
	Approved *moment              // when the entry was approved
	Foreseen *client.RepairResult // the result of a dry run
}

// State returns the state of the entry: the state of its run, or whether it is refused or approved.
func (e planEntry) State() string {
	switch {
	case e.RepairRunState != nil:
		return string(*e.RepairRunState)
	case e.Refused != nil:
		return "refused"
	case e.Approval != nil:
		return "approved"
	}
	return "not approved"
}

// Warning returns the warning that a person should read before the approval. The result is empty if the effect can be undone.
func (e planEntry) Warning() string {
	switch e.Action {
	case "remove-tenant":
		return "The run disables the tenant. Ten minutes later, another run removes the tenant. The removal cannot be undone." +
			" To prevent the removal, accept the finding before the removal is due."
	case "remove-subscription", "remove-customer":
		return "The removal cannot be undone."
	case "create-tenant":
		return "The resources of the old tenant are lost."
	}
	return ""
}

// Startable reports whether the entry has no run yet.
func (e planEntry) Startable() bool { return e.RepairRunID == nil }

// Difference returns the expected and the found values.
func (e planEntry) Difference() *difference { return differenceOf(e.Action, e.Values) }

// Planned returns the values that the repair depends on.
func (e planEntry) Planned() []result { return sortedValues(e.Values) }

// Steps returns the steps of a dry run.
func (e planEntry) Steps() []client.DryRunStep {
	if e.Foreseen == nil || e.Foreseen.DryRun == nil {
		return nil
	}
	return e.Foreseen.DryRun.Steps
}

// Made returns the time at which the plan was made.
func (p repairPlanPage) Made() moment { return moment{p.CreatedAt, p.Now} }

// Expires returns the time at which the plan expires.
func (p repairPlanPage) Expires() moment { return moment{p.ExpiresAt, p.Now} }

// Expired reports whether the plan is too old to be applied.
func (p repairPlanPage) Expired() bool { return p.Now.After(p.ExpiresAt) }

// Applicable reports whether entries can be approved and applied.
func (p repairPlanPage) Applicable() bool {
	return !p.Expired() && slices.ContainsFunc(p.Entries, planEntry.Startable)
}

// Last returns the number of the last entry of the page.
func (p repairPlanPage) Last() int { return p.First + len(p.Entries) - 1 }

// Elsewhere returns the number of approved entries on other pages that have not been carried out or refused yet.
func (p repairPlanPage) Elsewhere() int {
	n := p.Counts.Approved
	for _, e := range p.Entries {
		if e.State() == "approved" {
			n--
		}
	}
	return n
}

// The type `typedPlan` has the person's input on the page of a plan.
type typedPlan struct {
	ticked []string // the entries that were ticked; nil without a form
	shown  []string // the entries that could be ticked
	why    string
	fault  string                         // why the action was refused
	dry    map[string]client.RepairResult // the results of a dry run
}

func (c *console) repairPlan(e echo.Context) error { return c.showPlan(e, http.StatusOK, nil) }

// The texts after the actions on a plan.
var planDone = map[string]string{
	"approve": "The approvals are stored. Nothing is started yet.",
	"apply":   "The approved entries of this page were applied. Each entry shows its run, or the reason why it was refused.",
}

// showPlan answers with the page of a plan. The parameter `typed` is nil without a form.
func (c *console) showPlan(e echo.Context, status int, typed *typedPlan) error {
	api, err := c.asPerson(e)
	if err != nil {
		return err
	}
	answer, err := api.GetRepairPlanWithResponse(e.Request().Context(), e.Param("id"))
	if err != nil {
		return err
	}
	plan, err := answered(answer.JSON200, err, answer.HTTPResponse, answer.Body)
	if err != nil {
		return err
	}
	now := c.Now()
	page := repairPlanPage{
		RepairPlan: *plan, Now: now, First: firstEntry(e, len(plan.Entries)), Done: planDone[e.QueryParam("done")],
	}
	if typed != nil {
		page.Fault, page.Why, page.DryRun = typed.fault, typed.why, typed.dry != nil
	}
	for i, one := range plan.Entries {
		entry := planEntry{RepairPlanEntry: one, Number: i + 1, Ticked: one.Approval != nil, Applied: momentOf(one.RefusedAt, now)}
		page.Counts.add(entry.State())
		if i < page.First-1 || i >= page.First-1+entriesOnPage {
			continue
		}
		if one.Approval != nil {
			entry.Approved = &moment{one.Approval.At, now}
		}
		if typed != nil {
			entry.Ticked = slices.Contains(typed.ticked, one.FindingID)
			if found, ok := typed.dry[one.FindingID]; ok {
				entry.Foreseen = &found
			}
		}
		page.Entries = append(page.Entries, entry)
	}
	page.Here = page.address(page.First)
	if page.First > 1 {
		page.Prev = page.address(page.First - entriesOnPage)
	}
	if page.Last() < len(plan.Entries) {
		page.Next = page.address(page.First + entriesOnPage)
	}
	return c.show(e, status, "repair-plan", "Repair plan "+short(plan.ID), page)
}

// Moving selects the parts of the page that show runs that have not ended. The browser reads them again, and keeps the ticks.
func (p repairPlanPage) Moving() string {
	var parts []string
	for _, e := range p.Entries {
		if s := e.RepairRunState; s != nil && *s != client.RunStateSucceeded && *s != client.RunStateCompensated && *s != client.RunStateStuck {
			parts = append(parts, fmt.Sprint("#r", e.Number))
		}
	}
	return strings.Join(parts, ",")
}

func (n *planCounts) add(state string) {
	n.All++
	switch state {
	case "not approved":
		n.Open++
	case "approved":
		n.Approved++
	case "refused":
		n.Refused++
	default:
		n.Started++
	}
}

// firstEntry returns the number of the first entry of the wanted page.
func firstEntry(e echo.Context, all int) int {
	n, err := strconv.Atoi(e.FormValue("from"))
	if err != nil || n < 1 || n > all {
		return 1
	}
	return (n-1)/entriesOnPage*entriesOnPage + 1
}

// The method `address` returns the address of the page that begins with an entry.
func (p repairPlanPage) address(first int) string {
	if first <= 1 {
		return planPath(p.ID)
	}
	return planPath(p.ID) + "?from=" + strconv.Itoa(first)
}

// repair approves the ticked entries of a page, and withdraws the approvals of all other entries of the page. It then carries out the approved
// entries, if this was asked for. A dry run changes nothing.
func (c *console) repair(e echo.Context) error {
	form, err := e.FormParams()
	if err != nil {
		return &problem{status: http.StatusBadRequest, title: "The form cannot be read", cause: err}
	}
	action, typed := e.Param("action"), &typedPlan{ticked: form["finding"], shown: form["shown"], why: strings.TrimSpace(form.Get("why"))}
	if !slices.Contains([]string{"approve", "dry-run", "apply"}, action) {
		return echo.ErrNotFound
	}
	again := func(status int, fault string) error {
		typed.fault = fault
		return c.showPlan(e, status, typed)
	}
	refused := func(p *problem) error { return again(p.status, p.text()) }
	switch {
	case len(typed.ticked) == 0 && action != "approve":
		return again(http.StatusUnprocessableEntity, "First tick the entries that you approve.")
	case action == "apply" && typed.why == "":
		return again(http.StatusUnprocessableEntity, "Write why: the history of each run records the reason, and the merchant sees it.")
	}
	api, err := c.asPerson(e)
	if err != nil {
		return err
	}
	if action == "dry-run" {
		answer, err := c.apply(e, api, typed, true)
		if err != nil {
			return c.again(err, refused)
		}
		typed.dry = map[string]client.RepairResult{}
		for _, r := range answer.Repairs {
			typed.dry[r.FindingID] = r
		}
		return c.showPlan(e, http.StatusOK, typed)
	}
	if err := c.approve(e, api, typed); err != nil {
		return c.again(err, refused)
	}
	if action == "apply" {
		if _, err := c.apply(e, api, typed, false); err != nil {
			return c.again(err, refused)
		}
	}
	return e.Redirect(http.StatusSeeOther, fmt.Sprintf("%s?done=%s&from=%d", planPath(e.Param("id")), action, firstEntry(e, 1<<30)))
}

// The method `approve` stores which entries of the page are approved.
func (c *console) approve(e echo.Context, api *client.ClientWithResponses, typed *typedPlan) error {
	var want client.RepairApprovals
	for _, id := range typed.shown {
		want.Entries = append(want.Entries, client.RepairApprovalChange{FindingID: id, Approved: slices.Contains(typed.ticked, id)})
	}
	answer, err := api.ApproveRepairsWithResponse(e.Request().Context(), e.Param("id"), want)
	if err != nil {
		return fmt.Errorf("calling the API: %w", err)
	}
	_, err = answered(answer.JSON200, nil, answer.HTTPResponse, answer.Body)
	return err
}

// The method `apply` carries out the ticked entries, or makes a dry run of them.
func (c *console) apply(e echo.Context, api *client.ClientWithResponses, typed *typedPlan, dry bool) (*client.RepairAnswer, error) {
	want := client.RepairRequest{PlanID: e.Param("id")}
	if dry {
		want.DryRun = &dry
	}
	for _, id := range typed.ticked {
		want.Entries = append(want.Entries, client.ApprovedRepair{FindingID: id, Comment: optional(typed.why)})
	}
	answer, err := api.ApplyRepairsWithResponse(e.Request().Context(), want)
	if err != nil {
		return nil, fmt.Errorf("calling the API: %w", err)
	}
	if dry {
		return answered(answer.JSON200, nil, answer.HTTPResponse, answer.Body)
	}
	return answered(answer.JSON202, nil, answer.HTTPResponse, answer.Body)
}
