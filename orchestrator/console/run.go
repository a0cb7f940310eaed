package console

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

// eventsOnPage is the number of the newest events on the page of a run.
const eventsOnPage = 200

// The type `runPage` is the content of the page of a run. Its parts are also sent as live updates.
type runPage struct {
	client.Run

	Now     time.Time
	Events  []client.Event
	Earlier bool   // there are earlier events, which the page does not show
	All     bool   // all events were asked for; the page shows at most maxEvents
	Portal  bool   // for a merchant's portal
	Live    string // the address of the live updates
	Done    string // the action that was just stored
	Fault   string // why the last action was refused
	Why     string // the reason that was typed
}

// Accepted returns the time at which the run was accepted.
func (r runPage) Accepted() moment { return moment{r.CreatedAt, r.Now} }

// Took returns how long the run took, or has taken until now.
func (r runPage) Took() string { return took(r.CreatedAt, r.EndedAt, r.Now) }

// Failure returns the reason for which the run waits, or the failure of the run.
func (r runPage) Failure() *client.Failure {
	if r.Reason != nil {
		return &client.Failure{
			Code: r.Reason.Code, Detail: r.Reason.Detail, FixBy: r.Reason.FixBy, Step: r.Reason.Step, Service: r.Reason.Service, Status: r.Reason.Status,
			RequestID: r.Reason.RequestID, Unavailable: r.Reason.Unavailable, At: r.Reason.At,
		}
	}
	return r.Cause
}

// Until returns the time at which the run continues by itself, if it waits for a time.
func (r runPage) Until() *moment {
	if r.Reason == nil || r.Reason.Until == nil {
		return nil
	}
	return &moment{*r.Reason.Until, r.Now}
}

// Results returns the results of the workflow, sorted by name.
func (r runPage) Results() (all []result) {
	for name, value := range r.Result {
		text, ok := value.(string)
		if !ok {
			raw, err := json.Marshal(value)
			if err != nil {
				continue
			}
			text = string(raw)
		}
		all = append(all, result{strings.ReplaceAll(name, "_", " "), text, kindOfResult(name)})
	}
	slices.SortFunc(all, func(a, b result) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// The type `result` is a result of a run. If it is the id of an object, Kind is the kind of the object.
type result struct{ Name, Value, Kind string }

// The type `event` is an event with the time at which the page was made.
type event struct {
	client.Event

	Since time.Duration // since the run was accepted
}

// After returns a text with the time since the run was accepted.
func (v event) After() string { return "+" + duration(v.Since) }

// Newest returns the events, newest first.
func (r runPage) Newest() []event {
	all := make([]event, 0, len(r.Events))
	for _, v := range slices.Backward(r.Events) {
		all = append(all, event{v, v.At.Sub(r.CreatedAt)})
	}
	return all
}

// Bars returns the steps with the places of their bars.
func (r runPage) Bars() []bar { return barsOf(r.Run, r.Now) }

// Graph returns the picture of the steps.
func (r runPage) Graph() graph { return graphOf(r.Run) }

// Skippable returns the steps that a person may skip.
func (r runPage) Skippable() (names []string) {
	for _, s := range r.Steps {
		if s.Optional && s.State != client.StepStateSucceeded && s.State != client.StepStateSkipped {
			names = append(names, s.Name)
		}
	}
	return names
}

// Can reports whether the person may request an action now.
func (r runPage) Can(action string) bool {
	return slices.Contains(r.Actions, action)
}

func (c *console) run(e echo.Context) error { return c.showRun(e, http.StatusOK, "", "") }

// showRun answers with the page of a run. If an action was refused, `fault` says why, and `why` is the reason that the person has typed.
func (c *console) showRun(e echo.Context, status int, fault, why string) error {
	api, err := c.asPerson(e)
	if err != nil {
		return err
	}
	ctx, id := e.Request().Context(), e.Param("id")
	answer, err := api.GetRunWithResponse(ctx, id, &client.GetRunParams{})
	if err != nil {
		return err
	}
	run, err := answered(answer.JSON200, err, answer.HTTPResponse, answer.Body)
	if err != nil {
		return err
	}
	p, _ := personOf(e)
	page := runPage{Run: *run, Now: c.Now(), Portal: p.Portal(), Fault: fault, Why: why, Done: doneText(e.QueryParam("done"))}
	page.Live = Path + "/live?run=" + url.QueryEscape(shownAs(*run))
	page.All = e.QueryParam("events") == "all"
	number := eventsOnPage
	if page.All {
		number = maxEvents
	}
	if page.Events, page.Earlier, err = c.lastEvents(ctx, api, id, number); err != nil {
		return err
	}
	return c.show(e, status, "run", run.Workflow+" "+short(run.ID), page)
}

// maxEvents is the maximum number of events on a page.
const maxEvents = 5000

// lastEvents reads the last events of a run that the person may see. The result `earlier` reports whether there are events before them.
func (c *console) lastEvents(
	ctx context.Context, api *client.ClientWithResponses, id string, number int,
) (events []client.Event, earlier bool, err error) {
	last, err := c.Follower.LastEvents(ctx, []string{id}, 1)
	if err != nil {
		return nil, false, err
	}
	var after int64
	for _, e := range last[id] {
		after = max(0, e.Seq-int64(number))
	}
	earlier = after > 0
	for len(events) < number {
		limit := min(number-len(events), 1000)
		answer, err := api.ListRunEventsWithResponse(ctx, id, &client.ListRunEventsParams{After: &after, Limit: &limit})
		if err != nil {
			return nil, false, err
		}
		page, err := answered(answer.JSON200, err, answer.HTTPResponse, answer.Body)
		if err != nil {
			return nil, false, err
		}
		events = append(events, page.Events...)
		if len(page.Events) < limit {
			break
		}
		after = page.Events[len(page.Events)-1].Seq
	}
	return events, earlier, nil
}

// The actions of the page, and the texts that the page shows after each action.
var actions = map[string]string{
	"retry":      "The retry was stored. The run continues within seconds.",
	"skip":       "The step is skipped within seconds.",
	"compensate": "The run begins to undo its steps within seconds.",
	"hold":       "The run is held before its next step.",
	"cancel":     "The run is cancelled as soon as it reaches the end of a step.",
}

func doneText(action string) string { return actions[action] }

// The method `act` requests an action.
func (c *console) act(e echo.Context) error {
	api, err := c.asPerson(e)
	if err != nil {
		return err
	}
	ctx, id, action := e.Request().Context(), e.Param("id"), e.Param("action")
	why := strings.TrimSpace(e.FormValue("why"))
	if why == "" {
		return c.showRun(e, http.StatusUnprocessableEntity, "Write why: the reason is kept in the history of the run.", why)
	}
	var response *http.Response
	var taken *client.Run
	var text []byte
	switch action {
	case "retry":
		r, failed := api.RetryRunWithResponse(ctx, id, &client.RetryRunParams{}, client.ActionRequest{Why: why})
		if err = failed; err == nil {
			response, taken, text = r.HTTPResponse, r.JSON202, r.Body
		}
	case "skip":
		r, failed := api.SkipStepWithResponse(ctx, id, &client.SkipStepParams{}, client.SkipRequest{Step: e.FormValue("step"), Why: why})
		if err = failed; err == nil {
			response, taken, text = r.HTTPResponse, r.JSON202, r.Body
		}
	case "compensate":
		r, failed := api.CompensateRunWithResponse(ctx, id, &client.CompensateRunParams{}, client.ActionRequest{Why: why})
		if err = failed; err == nil {
			response, taken, text = r.HTTPResponse, r.JSON202, r.Body
		}
	case "hold":
		r, failed := api.HoldRunWithResponse(ctx, id, &client.HoldRunParams{}, client.ActionRequest{Why: why})
		if err = failed; err == nil {
			response, taken, text = r.HTTPResponse, r.JSON202, r.Body
		}
	case "cancel":
		r, failed := api.CancelRunWithResponse(ctx, id, &client.CancelRunParams{}, client.ActionRequest{Why: why})
		if err = failed; err == nil {
			response, taken, text = r.HTTPResponse, r.JSON202, r.Body
		}
	default:
		return echo.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("calling the API: %w", err)
	}
	if taken == nil {
		err := refusal(response, text)
		if p, ok := err.(*problem); ok && !p.ends && p.status != http.StatusNotFound { //nolint:errorlint // refusal does not wrap
			return c.showRun(e, p.status, p.title+": "+p.detail, why)
		}
		return err
	}
	return e.Redirect(http.StatusSeeOther, runPath(taken.ID)+"?done="+url.QueryEscape(action))
}
