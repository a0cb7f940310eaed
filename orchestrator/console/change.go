package console

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

// The type `change` asks the API for a change of a subscription. The API answers with a dry run, with a run, or with a problem.
type change struct {
	name string
	verb string // the text of the button
	ask  func(ctx context.Context, api *client.ClientWithResponses, of target, t typed) (*http.Response, error)
}

// The type `target` has the subscription to change, and the change.
type target struct {
	merchant, id string
	key          string // the idempotency key, in quotes
	dryRun       *bool
}

// async makes the API answer before the run has ended.
var async = new("respond-async")

var changes = []change{
	{"suspend", "Suspend", func(ctx context.Context, api *client.ClientWithResponses, of target, t typed) (*http.Response, error) {
		q := client.SuspendSubscriptionParams{IdempotencyKey: of.key, Prefer: async}
		return api.SuspendSubscription(ctx, of.merchant, of.id, &q, client.ChangeRequest{Why: t.Why, DryRun: of.dryRun})
	}},
	{"resume", "Resume", func(ctx context.Context, api *client.ClientWithResponses, of target, t typed) (*http.Response, error) {
		q := client.ResumeSubscriptionParams{IdempotencyKey: of.key, Prefer: async}
		return api.ResumeSubscription(ctx, of.merchant, of.id, &q, client.ChangeRequest{Why: t.Why, DryRun: of.dryRun})
	}},
	{"change-plan", "Change the plan", func(ctx context.Context, api *client.ClientWithResponses, of target, t typed) (*http.Response, error) {
		q := client.ChangePlanParams{IdempotencyKey: of.key, Prefer: async}
		return api.ChangePlan(ctx, of.merchant, of.id, &q, client.ChangePlanRequest{Why: t.Why, PlanID: t.PlanID, DryRun: of.dryRun})
	}},
	{"unsubscribe", "Unsubscribe", func(ctx context.Context, api *client.ClientWithResponses, of target, t typed) (*http.Response, error) {
		q := client.UnsubscribeSubscriptionParams{IdempotencyKey: of.key, Prefer: async}
		return api.UnsubscribeSubscription(ctx, of.merchant, of.id, &q, client.ChangeRequest{Why: t.Why, DryRun: of.dryRun})
	}},
	{"restore", "Restore", func(ctx context.Context, api *client.ClientWithResponses, of target, t typed) (*http.Response, error) {
		q := client.RestoreSubscriptionParams{IdempotencyKey: of.key, Prefer: async}
		body := client.RestoreRequest{Why: t.Why, DryRun: of.dryRun}
		if t.AddUser != "" {
			body.AddUser = &t.AddUser
		}
		return api.RestoreSubscription(ctx, of.merchant, of.id, &q, body)
	}},
	{"remove", "Remove the tenant", func(ctx context.Context, api *client.ClientWithResponses, of target, t typed) (*http.Response, error) {
		q := client.RemoveSubscriptionParams{IdempotencyKey: of.key, Prefer: async}
		return api.RemoveSubscription(ctx, of.merchant, of.id, &q, client.RemoveRequest{Why: t.Why, Force: &t.Force, DryRun: of.dryRun})
	}},
}

// The type `changePage` is the content of the page that shows what a change would do. Only the button on this page makes the change.
type changePage struct {
	typed

	Name, Verb   string
	ID, Merchant string
	Key          string // the idempotency key of the change
	Would        *client.DryRun
	Fault        string // why the last attempt has failed
}

// Certain reports whether the run would succeed, as far as a dry run can tell.
func (p changePage) Certain() bool {
	return p.Would == nil || p.Would.State == client.DryRunStateSucceeded
}

// changeOf returns the change in the address, the person's input, and the subscription.
func changeOf(e echo.Context) (ch change, t typed, of target, err error) {
	i := slices.IndexFunc(changes, func(c change) bool { return c.name == e.Param("action") })
	if i < 0 {
		return ch, t, of, echo.ErrNotFound
	}
	p, _ := personOf(e)
	of = target{merchant: p.Merchant, id: e.Param("id")}
	if !p.Portal() {
		of.merchant = e.FormValue("merchant")
	}
	return changes[i], typedIn(e), of, nil
}

const writeWhy = "Write why: the reason is kept in the history of the run."

// foresee shows what a change would do, step by step. It changes nothing.
func (c *console) foresee(e echo.Context) error {
	ch, t, of, err := changeOf(e)
	if err != nil {
		return err
	}
	if t.Why == "" {
		return c.showSubscription(e, http.StatusUnprocessableEntity, t, writeWhy)
	}
	page := changePage{typed: t, Name: ch.name, Verb: ch.verb, ID: of.id, Merchant: of.merchant, Key: uuid.NewString()}
	of.key, of.dryRun = quoted(page.Key), new(true)
	got, err := c.asks(e, ch, of, t)
	if err != nil {
		return err
	}
	if got.status != http.StatusOK {
		return c.refuseChange(e, t, got)
	}
	if err := json.Unmarshal(got.text, &page.Would); err != nil {
		return fmt.Errorf("reading a dry run: %w", err)
	}
	return c.show(e, http.StatusOK, "change", ch.verb, page)
}

// The method `change` makes a change, and shows its run. The key of the form identifies the request: if the form is sent twice, the second request
// leads to the run of the first.
func (c *console) change(e echo.Context) error {
	ch, t, of, err := changeOf(e)
	if err != nil {
		return err
	}
	key := e.FormValue("key")
	if _, err := uuid.Parse(key); err != nil {
		return c.showSubscription(e, http.StatusUnprocessableEntity, t, "First look at what the change would do.")
	}
	of.key = quoted(key)
	got, err := c.asks(e, ch, of, t)
	if err != nil {
		return err
	}
	if run, is := strings.CutPrefix(got.location, "/v1/runs/"); is {
		return e.Redirect(http.StatusSeeOther, runPath(run))
	}
	if got.status < http.StatusInternalServerError && got.status != http.StatusTooManyRequests {
		return c.refuseChange(e, t, got)
	}
	fault, err := faultOf(refusalWith(got.status, got.text)) // the same request can be sent again, with the same key
	if err != nil {
		return err
	}
	page := changePage{typed: t, Name: ch.name, Verb: ch.verb, ID: of.id, Merchant: of.merchant, Key: key, Fault: fault}
	return c.show(e, got.status, "change", ch.verb, page)
}

// The type `reply` is an answer of the API to a request for a change.
type reply struct {
	status   int
	location string // the header Location
	text     []byte
}

// The method `asks` sends the request for a change.
func (c *console) asks(e echo.Context, ch change, of target, t typed) (reply, error) {
	api, err := c.asPerson(e)
	if err != nil {
		return reply{}, err
	}
	response, err := ch.ask(e.Request().Context(), api, of, t)
	if err != nil {
		return reply{}, fmt.Errorf("calling the API: %w", err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return reply{response.StatusCode, response.Header.Get("Location"), text}, err
}

// refuseChange shows the subscription, and the reason why a change was refused.
func (c *console) refuseChange(e echo.Context, t typed, got reply) error {
	refused := refusalWith(got.status, got.text)
	if got.status == http.StatusNotFound {
		return refused
	}
	fault, err := faultOf(refused)
	if err != nil {
		return err
	}
	return c.showSubscription(e, got.status, t, fault)
}

func quoted(key string) string { return `"` + key + `"` }

// changedText has the texts that a page shows after an action that has no run.
var changedText = map[string]string{
	"hold": "The tenant is kept until the hold is lifted.", "release": "The hold is lifted. If the removal is due, the tenant is removed now.",
}

// A hold on an ending subscription is not a run, so the hold has no dry run.
var (
	holding = change{name: "hold", ask: func(ctx context.Context, api *client.ClientWithResponses, of target, t typed) (*http.Response, error) {
		return api.HoldSubscription(ctx, of.merchant, of.id, client.ActionRequest{Why: t.Why})
	}}
	releasing = change{name: "release", ask: func(ctx context.Context, api *client.ClientWithResponses, of target, _ typed) (*http.Response, error) {
		return api.ReleaseSubscription(ctx, of.merchant, of.id)
	}}
)

// holdEnding keeps the tenant of an ending subscription.
func (c *console) holdEnding(e echo.Context) error {
	if t := typedIn(e); t.Why == "" {
		return c.showSubscription(e, http.StatusUnprocessableEntity, t, writeWhy)
	}
	return c.changeHold(e, holding)
}

// releaseEnding lifts the hold on an ending subscription.
func (c *console) releaseEnding(e echo.Context) error { return c.changeHold(e, releasing) }

func (c *console) changeHold(e echo.Context, ch change) error {
	t := typedIn(e)
	got, err := c.asks(e, ch, target{merchant: e.FormValue("merchant"), id: e.Param("id")}, t)
	if err != nil {
		return err
	}
	if got.status != http.StatusOK {
		return c.refuseChange(e, t, got)
	}
	return e.Redirect(http.StatusSeeOther, objectPath("subscription", e.Param("id"))+"?done="+url.QueryEscape(ch.name))
}

// toSubscription redirects from the address of a form to the page of the subscription. A browser may request this address after a sign-in.
func (c *console) toSubscription(e echo.Context) error {
	return e.Redirect(http.StatusSeeOther, objectPath("subscription", e.Param("id")))
}
