package console

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

// The type `findingPage` is the content of the page of a finding.
type findingPage struct {
	client.Finding

	Now        time.Time
	Merchant   string // the name of the merchant, if it is known
	Runs       []row  // the newest runs about its objects
	Done       string // the result of the last action, as a text
	Fault      string // why the last action was refused
	Why, Until string // what was typed
}

// runsOfFinding is the number of runs on the page of a finding.
const runsOfFinding = 10

// First returns the time at which the finding was first seen.
func (f findingPage) First() moment { return moment{f.FirstSeen, f.Now} }

// Last returns the time at which the finding was last seen.
func (f findingPage) Last() moment { return moment{f.LastSeen, f.Now} }

// Resolved returns the time at which the finding was resolved.
func (f findingPage) Resolved() *moment { return momentOf(f.ResolvedAt, f.Now) }

// AcceptedAt returns the time at which the finding was accepted.
func (f findingPage) AcceptedAt() moment { return moment{f.Acceptance.At, f.Now} }

// AcceptedUntil returns the end of the acceptance.
func (f findingPage) AcceptedUntil() *moment { return momentOf(f.Acceptance.Until, f.Now) }

// Acceptable reports whether the finding can be accepted. There is nothing to do about a resolved finding.
func (f findingPage) Acceptable() bool { return f.Status != client.FindingResolved }

// Choosable reports whether a plan can contain the finding.
func (f findingPage) Choosable() bool { return repairable(f.Finding) }

// Difference returns the expected and the found values, if the repair has them.
func (f findingPage) Difference() *difference {
	if f.Repair.Action == nil || f.Repair.Values == nil {
		return nil
	}
	return differenceOf(*f.Repair.Action, *f.Repair.Values)
}

// Values returns the values of the repair.
func (f findingPage) Values() []result {
	if f.Repair.Values == nil {
		return nil
	}
	return sortedValues(*f.Repair.Values)
}

// The type `findingRepair` is a repair of the finding, with the time at which the page was made.
type findingRepair struct {
	client.FindingRepair

	now time.Time
}

// State returns the state of the repair's run, or whether the repair was refused or approved.
func (r findingRepair) State() string {
	switch {
	case r.RunState != nil:
		return string(*r.RunState)
	case r.Refused != nil:
		return "refused"
	}
	return "approved"
}

// Approved returns the time at which the repair was approved.
func (r findingRepair) Approved() moment { return moment{r.Approval.At, r.now} }

// Approvals returns the approved repairs of the finding. The repairs of the newest plan are first.
func (f findingPage) Approvals() (all []findingRepair) {
	if f.Repairs == nil {
		return nil
	}
	for _, r := range *f.Repairs {
		all = append(all, findingRepair{r, f.Now})
	}
	return all
}

// The type `findingChange` is a change of the status, with the time at which the page was made.
type findingChange struct {
	client.FindingChange

	now time.Time
}

// When returns the time at which the status has changed.
func (h findingChange) When() moment { return moment{h.At, h.now} }

// End returns the end of the acceptance.
func (h findingChange) End() *moment { return momentOf(h.Until, h.now) }

// Newest returns the changes of the status, newest first.
func (f findingPage) Newest() (all []findingChange) {
	if f.History == nil {
		return nil
	}
	for _, one := range slices.Backward(*f.History) {
		all = append(all, findingChange{one, f.Now})
	}
	return all
}

// The type `difference` has the expected and the found value.
type difference struct{ What, Found, Expected string }

// differenceOf returns the difference that an action resolves.
func differenceOf(action string, v map[string]string) *difference {
	switch action {
	case "assign-role":
		return &difference{"role " + v["role"] + " of user " + v["user_id"], "not assigned", "assigned"}
	case "revoke-role":
		return &difference{"role " + v["role"] + " of user " + v["user_id"], "assigned", "not assigned"}
	case "enable-project":
		return &difference{v["tenant"], "disabled", "enabled"}
	case "disable-project":
		return &difference{v["tenant"], "enabled", "disabled"}
	case "tag-project":
		return &difference{
			"tags of " + v["tenant"], "without " + orNothing(v["add"]) + ", with " + orNothing(v["remove"]),
			"with " + orNothing(v["add"]) + ", without " + orNothing(v["remove"]),
		}
	case "create-tenant":
		return &difference{v["tenant"], "no such project", "a project"}
	case "set-resource":
		return &difference{"resource_id", v["old_resource_id"], v["resource_id"]}
	case "remove-tenant", "remove-subscription", "remove-customer":
		return &difference{"the object", "exists", "removed"}
	}
	return nil
}

func orNothing(s string) string {
	if s == "" {
		return "none"
	}
	return strings.ReplaceAll(s, ",", ", ")
}

// sortedValues returns the values of a repair, sorted by name.
func sortedValues(values map[string]string) (all []result) {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		all = append(all, result{Name: name, Value: values[name]})
	}
	return all
}

// momentOf returns a time with the time of the page. The result is nil if there is no time.
func momentOf(at *time.Time, now time.Time) *moment {
	if at == nil {
		return nil
	}
	return &moment{*at, now}
}

func (c *console) finding(e echo.Context) error { return c.showFinding(e, http.StatusOK, "", "", "") }

// The texts after the actions on a finding.
var findingDone = map[string]string{
	"accept":   "The finding is accepted, and no longer open.",
	"withdraw": "The acceptance is withdrawn. The finding is open again.",
}

// showFinding answers with the page of a finding. The parameters are the reason why an action was refused, and the person's input.
func (c *console) showFinding(e echo.Context, status int, fault, why, until string) error {
	api, err := c.asPerson(e)
	if err != nil {
		return err
	}
	ctx := e.Request().Context()
	answer, err := api.GetFindingWithResponse(ctx, e.Param("id"))
	if err != nil {
		return err
	}
	found, err := answered(answer.JSON200, err, answer.HTTPResponse, answer.Body)
	if err != nil {
		return err
	}
	page := findingPage{Finding: *found, Now: c.Now(), Fault: fault, Why: why, Until: until, Done: findingDone[e.QueryParam("done")]}
	merchants, err := c.merchantsOf(ctx, api)
	if err != nil {
		return err
	}
	page.Merchant = nameOfMerchant(merchants, found.MerchantID)
	if err := page.addRuns(ctx, api); err != nil {
		return err
	}
	return c.show(e, status, "finding", found.Code, page)
}

// addRuns adds the newest runs that have created, used or changed one of the objects of the finding.
func (f *findingPage) addRuns(ctx context.Context, api *client.ClientWithResponses) error {
	seen := map[string]bool{}
	for _, object := range f.objectsOfRuns() {
		answer, err := api.ListRunsWithResponse(ctx, &client.ListRunsParams{Object: &[]string{object}, Limit: new(runsOfFinding)})
		if err != nil {
			return err
		}
		listed, err := answered(answer.JSON200, err, answer.HTTPResponse, answer.Body)
		if err != nil {
			return err
		}
		for _, r := range listed.Runs {
			if !seen[r.ID] {
				seen[r.ID], f.Runs = true, append(f.Runs, row{r, f.Now})
			}
		}
	}
	slices.SortFunc(f.Runs, func(a, b row) int { return cmp.Compare(b.ID, a.ID) }) // the ids sort by time
	f.Runs = f.Runs[:min(len(f.Runs), runsOfFinding)]
	return nil
}

// maxObjects is the maximum number of objects whose runs are on the page of a finding.
const maxObjects = 4

// objectsOfRuns returns the objects of a finding as KIND:ID. The page lists the runs about these objects.
func (f *findingPage) objectsOfRuns() (all []string) {
	add := func(kind, id string) {
		if object := kind + ":" + id; len(all) < maxObjects && !slices.Contains(all, object) {
			all = append(all, object)
		}
	}
	for _, o := range f.Objects {
		if slices.Contains([]string{"role-assignment", "project", "subscription", "customer"}, o.Kind) {
			add(o.Kind, o.ID)
		}
	}
	for kind, id := range map[string]*string{"project": f.ProjectID, "subscription": f.SubscriptionID} {
		if id != nil {
			add(kind, *id)
		}
	}
	return all
}

// accept accepts a finding, with a reason.
func (c *console) accept(e echo.Context) error {
	why, until := strings.TrimSpace(e.FormValue("why")), strings.TrimSpace(e.FormValue("until"))
	if why == "" {
		return c.showFinding(e, http.StatusUnprocessableEntity, "Write why: the finding and its history show the reason.", why, until)
	}
	want := client.AcceptRequest{Why: why}
	if until != "" {
		end, err := time.Parse(time.DateOnly, until)
		if err != nil {
			return c.showFinding(e, http.StatusUnprocessableEntity, "Write the end as a date, such as 2027-01-31.", why, until)
		}
		want.Until = new(end.Format(time.RFC3339))
	}
	api, err := c.asPerson(e)
	if err != nil {
		return err
	}
	answer, err := api.AcceptFindingWithResponse(e.Request().Context(), e.Param("id"), want)
	if err != nil {
		return fmt.Errorf("calling the API: %w", err)
	}
	if answer.JSON200 == nil {
		return c.again(refusal(answer.HTTPResponse, answer.Body), func(p *problem) error {
			return c.showFinding(e, p.status, p.text(), why, until)
		})
	}
	return e.Redirect(http.StatusSeeOther, findingPath(answer.JSON200.ID)+"?done=accept")
}

// The method `withdraw` withdraws the acceptance of a finding.
func (c *console) withdraw(e echo.Context) error {
	api, err := c.asPerson(e)
	if err != nil {
		return err
	}
	answer, err := api.WithdrawAcceptanceWithResponse(e.Request().Context(), e.Param("id"))
	if err != nil {
		return err
	}
	found, err := answered(answer.JSON200, err, answer.HTTPResponse, answer.Body)
	if err != nil {
		return err
	}
	return e.Redirect(http.StatusSeeOther, findingPath(found.ID)+"?done=withdraw")
}

// The method `again` shows a page again with a problem of the API. If the problem is not about the person's input, `again` returns
// it.
func (c *console) again(err error, show func(*problem) error) error {
	p, ok := err.(*problem) //nolint:errorlint // refusal does not wrap
	if !ok || p.status == http.StatusUnauthorized || p.status == http.StatusForbidden || p.status == http.StatusNotFound {
		return err
	}
	return show(p)
}

// The method `text` returns the title and what the person can do.
func (p *problem) text() string {
	if p.detail == "" {
		return p.title
	}
	return p.title + ": " + p.detail
}
