package api_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
)

// The method `held` starts a run that waits for an operator at the step create-subscription, and returns the path of the run.
func (w *world) held(q request) string {
	w.t.Helper()
	w.steps.fail(errBlocked)
	defer w.steps.fail(nil)
	got := w.call(q)
	if got.status != http.StatusAccepted {
		w.t.Fatalf("got %d %s, want a run that waits", got.status, got.body)
	}
	return got.header.Get("Location")
}

// ofOther returns an order of w.Other, the second merchant of the world.
func (w *world) ofOther(key string) request {
	q := w.order(key)
	q.path, q.portal = "/v1/merchants/"+w.Other.ID+"/subscriptions", w.Other
	q.body = strings.ReplaceAll(q.body, w.Merchant.Plan, w.Other.Plan)
	return q
}

func TestWhoSeesWhat(t *testing.T) {
	w := newWorld(t)
	mine := w.held(w.order("mine"))
	theirs := w.held(w.ofOther("theirs"))
	operator := func(path string) request { return request{path: path, operator: w.OperatorToken} }
	for _, c := range []struct {
		name string
		q    request
		want int
	}{
		{"a portal its own run", w.get(mine), 200},
		{"a portal another's run", w.get(theirs), 404},
		{"a portal another's events", w.get(theirs + "/events"), 404},
		{"an operator any run", operator(theirs), 200},
		{"nobody a run", request{path: mine}, 401},
		{"an unknown run", operator("/v1/runs/" + nobody), 404},
		{"a malformed run", operator("/v1/runs/%00"), 404},
		{"a portal retries", request{method: "POST", path: mine + "/retry", portal: w.Merchant, body: `{"why": "x"}`}, 403},
		{"a portal skips", request{method: "POST", path: mine + "/skip", portal: w.Merchant, body: `{"why": "x", "step": "y"}`}, 403},
		{"a portal cancels another's", request{method: "POST", path: theirs + "/cancel", portal: w.Merchant, body: `{"why": "x"}`}, 404},
		{"a portal makes a merchant", request{method: "POST", path: "/v1/merchants", portal: w.Merchant, body: `{}`}, 403},
		{"a portal reads its merchant", w.get("/v1/merchants/" + w.Merchant.ID), 200},
		{"a portal reads another merchant", w.get("/v1/merchants/" + w.Other.ID), 404},
		{"a user without the role", request{path: "/v1/runs", operator: w.UserToken}, 403},
		{"a token that is none", request{path: "/v1/runs", operator: "nonsense"}, 401},
		{"an unknown path", operator("/v1/nothing"), 404},
		{"another method", request{method: "DELETE", path: mine, operator: w.OperatorToken}, 405},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := w.call(c.q)
			if got.status != c.want {
				t.Errorf("got %d %s, want %d", got.status, got.body, c.want)
			}
			if c.want == 405 && !strings.Contains(got.header.Get("Allow"), "GET") {
				t.Errorf("Allow: got %q, want GET in it", got.header.Get("Allow"))
			}
			if got.status >= 400 && got.header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("got a %q", got.header.Get("Content-Type"))
			}
		})
	}
	if got := w.call(request{path: "/v1/runs", operator: "nonsense"}).header.Get("WWW-Authenticate"); got != fmt.Sprintf("Keystone uri=%q", w.KeystoneURL) {
		t.Errorf("WWW-Authenticate: got %q, want Keystone's address", got)
	}
	cancel := w.call(request{method: "POST", path: mine + "/cancel", portal: w.Merchant, body: `{"why": "changed my mind"}`})
	if cancel.status != http.StatusAccepted {
		t.Errorf("a portal cancels its own run: got %d %s", cancel.status, cancel.body)
	}
	w.await(mine, api.RunStateCompensated)
	events := read[api.EventList](t, w.call(w.get(mine+"/events"))).Events
	who := slices.IndexFunc(events, func(e api.Event) bool { return text(e.Action) == "cancel" })
	if who < 0 || text(events[who].Who) != "portal with key "+w.Merchant.Key || text(events[who].Why) != "changed my mind" {
		t.Errorf("the history does not tell who cancelled and why: %+v", events)
	}
}

// A portal cannot cancel a run that an operator has ordered. Otherwise, the portal could cancel an operator's suspension before
// the suspension takes effect. A portal can cancel its own order, even if an operator has retried the order.
func TestAPortalCancelsNoRunOfAnOperator(t *testing.T) {
	var blocking atomic.Bool
	w := newWorldOf(t, "", func(o *servicetest.Options) {
		o.Around = func(_ string, next http.RoundTripper) http.RoundTripper {
			return roundTripper(func(r *http.Request) (*http.Response, error) {
				if r.Method == http.MethodPatch && blocking.Load() {
					return nil, errors.New("away")
				}
				return next.RoundTrip(r)
			})
		}
	})
	id := idOf(read[api.Run](t, w.call(w.order("made"))), "subscription_id")
	cancel := func(path string) request {
		return request{method: "POST", path: path + "/cancel", portal: w.Merchant, body: `{"why": "x"}`}
	}
	live := func(q request) string {
		t.Helper()
		q.header.Set("Prefer", "respond-async")
		a := w.call(q)
		if a.status != http.StatusAccepted {
			t.Fatalf("got %d %s, want a live run", a.status, a.body)
		}
		return a.header.Get("Location")
	}
	blocking.Store(true)
	theirs := live(w.asOperator(w.change(id, "suspend", "s")))
	w.refused(cancel(theirs), http.StatusForbidden, "run-of-operator")
	w.refused(request{method: "POST", path: theirs + "/cancel", portal: w.Other, body: `{"why": "x"}`}, http.StatusNotFound, "run-not-found")
	blocking.Store(false)
	w.await(theirs, api.RunStateSucceeded)
	w.changes(w.asOperator(w.change(id, "resume", "r")))

	blocking.Store(true)
	own := live(w.change(id, "suspend", "own"))
	if got := w.call(cancel(own)); got.status != http.StatusAccepted {
		t.Fatalf("its own: got %d %s", got.status, got.body)
	}
	w.await(own, api.RunStateCompensated)
	again := w.call(w.admin("POST", own+"/retry", `{"why": "it was wrong"}`))
	if again.status != http.StatusAccepted {
		t.Fatalf("the retry: got %d %s", again.status, again.body)
	}
	if got := w.call(cancel(again.header.Get("Location"))); got.status != http.StatusAccepted {
		t.Fatalf("the merchant cancels its own run after an operator's retry: got %d %s", got.status, got.body)
	}
	w.await(again.header.Get("Location"), api.RunStateCompensated)
}

func TestListingRuns(t *testing.T) {
	w := newWorld(t)
	var paths []string
	for _, key := range []string{"a", "b", "c"} {
		paths = append(paths, w.call(w.order(key)).header.Get("Location"))
	}
	other := w.held(w.ofOther("d"))
	ids := func(q request) []string {
		t.Helper()
		var all []string
		for q.path != "" {
			page := read[api.RunList](t, w.call(q))
			for _, run := range page.Runs {
				all = append(all, "/v1/runs/"+run.ID)
			}
			q.path = ""
			for _, l := range page.Links {
				if l.Rel == "next" {
					q.path = l.Href
				}
			}
		}
		return all
	}
	newestFirst := []string{other, paths[2], paths[1], paths[0]}
	mine := newestFirst[1:]
	operator := func(query string) request { return request{path: "/v1/runs" + query, operator: w.OperatorToken} }
	subscription := idOf(read[api.Run](t, w.call(w.get(paths[1]))), "subscription_id")
	for _, c := range []struct {
		name string
		q    request
		want []string
	}{
		{"all", operator(""), newestFirst},
		{"two a page", operator("?limit=2"), newestFirst},
		{"one a page", operator("?limit=1&state=succeeded"), mine},
		{"a portal's", w.get("/v1/runs"), mine},
		{"a portal's of another merchant", w.get("/v1/runs?merchant=" + w.Other.ID), nil},
		{"of a merchant", operator("?merchant=" + w.Other.ID), []string{other}},
		{"in a state", operator("?state=waiting"), []string{other}},
		{"in two states", operator("?state=waiting&state=succeeded"), newestFirst},
		{"in two states, one a page", operator("?state=waiting&limit=1&state=succeeded"), newestFirst},
		{"in two states of which one is rare", operator("?state=waiting&state=stuck"), []string{other}},
		{"that need attention", operator("?attention=true"), []string{other}},
		{"that need attention, of a portal", w.get("/v1/runs?attention=true"), nil},
		{"that need attention, in two states", operator("?attention=true&state=waiting&state=stuck"), []string{other}},
		{"that need attention, and are stuck", operator("?attention=true&state=stuck"), nil},
		{"that need attention or not", operator("?attention=false&limit=2"), newestFirst},
		{"of a user", operator("?user=" + w.User), newestFirst},
		{"of nobody", operator("?user=nobody"), nil},
		{"of a workflow", operator("?workflow=unsubscribe"), nil},
		{"of a subscription", operator("?object=subscription:" + subscription), []string{paths[1]}},
		{"of two objects", operator("?object=subscription:" + subscription + "&object=customer:" + idOf(read[api.Run](t, w.call(w.get(paths[1]))), "customer_id")), []string{paths[1]}},
		{"of no such object", operator("?object=project:none"), nil},
		{"since the future", operator("?since=2999-01-01T00:00:00Z"), nil},
		{"since the past", operator("?since=" + url.QueryEscape("2000-01-01T00:00:00+01:00")), newestFirst},
		{"after a marker", operator("?marker=" + strings.TrimPrefix(paths[1], "/v1/runs/")), []string{paths[0]}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := ids(c.q); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	for query, parameter := range map[string]string{
		"?limit=0": "limit", "?limit=201": "limit", "?limit=x": "limit", "?limit=1&limit=2": "limit", "?state=gone": "state",
		"?state=waiting&state=gone": "state", "?state=waiting,stuck": "state", "?attention=yes": "attention", "?attention=": "attention",
		"?attention=true&attention=true": "attention", "?state=": "state",
		"?state=stuck&state=stuck&state=stuck&state=stuck&state=stuck&state=stuck&state=stuck&state=stuck": "state",
		"?marker=x": "marker", "?object=customer": "object", "?object=customer:": "object", "?object=Customer:x": "object", "?object=customer:%00": "object", "?since=yesterday": "since", "?user=%00": "user", "?colour=red": "colour", "?merchant=": "merchant",
		"?since=2026-02-30T00:00:00Z": "since", "?state=running;merchant=x": "", "?state=running&merchant=%zz": "",
	} {
		got := w.call(operator(query))
		p := read[api.Problem](t, got)
		if got.status != http.StatusBadRequest || p.InvalidParams == nil || text((*p.InvalidParams)[0].Parameter) != parameter {
			t.Errorf("%s: got %d %s, want 400 about %q", query, got.status, got.body, parameter)
		}
	}
}

func TestTagsOfRuns(t *testing.T) {
	w := newWorld(t)
	path := w.held(w.order("k"))
	first := w.call(w.get(path))
	tag := first.header.Get("ETag")
	q := w.get(path)
	q.header = http.Header{"If-None-Match": {`"x", W/` + tag}}
	if got := w.call(q); got.status != http.StatusNotModified || got.body != "" || tag == "" {
		t.Errorf("the same run: got %d %q with tag %q, want 304", got.status, got.body, tag)
	}
	stale := w.action(path, "retry", `{"why": "x"}`)
	stale.header = http.Header{"If-Match": {`"0"`}}
	if got := w.call(stale); got.status != http.StatusPreconditionFailed {
		t.Errorf("a stale action: got %d %s, want 412", got.status, got.body)
	}
	done := make(chan answer)
	go func() {
		q.path += "?wait=30"
		a, _ := w.try(q)
		done <- a
	}()
	fresh := w.action(path, "compensate", `{"why": "x"}`)
	fresh.header = http.Header{"If-Match": {tag}}
	if got := w.call(fresh); got.status != http.StatusAccepted {
		t.Errorf("a fresh action: got %d %s, want 202", got.status, got.body)
	}
	if got := <-done; got.status != http.StatusOK || got.header.Get("ETag") == tag {
		t.Errorf("the request that waited for a change: got %d with tag %s", got.status, got.header.Get("ETag"))
	}
	w.await(path, api.RunStateCompensated)
	if got := w.call(w.get(path)); got.header.Get("Retry-After") != "" {
		t.Errorf("the answer for an ended run has the Retry-After %s, want none", got.header.Get("Retry-After"))
	}
}

func TestOfSeveralActionsWithOneETagOneIsAccepted(t *testing.T) {
	w := newWorld(t)
	path := w.held(w.order("k"))
	tag := w.call(w.get(path)).header.Get("ETag")
	var all sync.WaitGroup
	var accepted atomic.Int32
	for range 8 {
		all.Go(func() {
			q := w.action(path, "compensate", `{"why": "x"}`)
			q.header = http.Header{"If-Match": {tag}}
			switch a, err := w.try(q); {
			case err == nil && a.status == http.StatusAccepted:
				accepted.Add(1)
			case err != nil || a.status != http.StatusPreconditionFailed:
				t.Errorf("got %d %s, %v; want 202 or 412", a.status, a.body, err)
			}
		})
	}
	all.Wait()
	if got := accepted.Load(); got != 1 {
		t.Errorf("%d actions were accepted, want 1", got)
	}
}

func TestActions(t *testing.T) {
	w := newWorld(t)
	path := w.held(w.order("k"))
	for _, c := range []struct {
		name, action, body string
		want               int
	}{
		{"no reason", "hold", `{}`, 400},
		{"an empty reason", "hold", `{"why": ""}`, 400},
		{"a reason of blanks", "hold", `{"why": " \u200b"}`, 400},
		{"a reason with an escape", "hold", `{"why": "\u001b[2J"}`, 400},
		{"an unknown field", "hold", `{"why": "x", "force": true}`, 400},
		{"a step where none is asked", "retry", `{"why": "x", "step": "scope-token"}`, 400},
		{"skip without a step", "skip", `{"why": "x"}`, 400},
		{"skip of a step that is needed", "skip", `{"why": "x", "step": "create-subscription"}`, 409},
		{"skip of no step", "skip", `{"why": "x", "step": "nothing"}`, 409},
		{"hold of a held run", "hold", `{"why": "x"}`, 409},
		{"compensate", "compensate", `{"why": "x"}`, 202},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := w.call(w.action(path, c.action, c.body)); got.status != c.want {
				t.Errorf("got %d %s, want %d", got.status, got.body, c.want)
			}
		})
	}
	w.await(path, api.RunStateCompensated)
	run := read[api.Run](t, w.call(w.admin("GET", path, "")))
	if !slices.Equal(run.Actions, []string{"retry"}) || run.Cause == nil {
		t.Errorf("afterwards: got actions %q and cause %+v, want retry and a cause", run.Actions, run.Cause)
	}
}

func TestOperatorsTokenIsRemembered(t *testing.T) {
	w := newWorld(t)
	w.call(request{path: "/v1/runs", operator: w.OperatorToken})
	w.upstreams.keystoneDown.Store(true)
	if got := w.call(request{path: "/v1/runs", operator: w.OperatorToken}); got.status != http.StatusOK {
		t.Errorf("while Keystone is down: got %d %s, want 200 for a cached token", got.status, got.body)
	}
}

// The answer to a portal lists only the actions that the portal may request.
func TestActionsAreThoseOfTheCaller(t *testing.T) {
	w := newWorld(t)
	path := w.held(w.order("k"))
	if got := read[api.Run](t, w.call(w.get(path))).Actions; !slices.Equal(got, []string{"cancel"}) {
		t.Errorf("the portal is shown %q, want cancel", got)
	}
	if got := read[api.Run](t, w.call(w.admin("GET", path, ""))).Actions; !slices.Equal(got, []string{"retry", "compensate", "cancel"}) {
		t.Errorf("an operator is shown %q, want retry, compensate and cancel", got)
	}
}

func TestTheRunOfAnIdempotencyKey(t *testing.T) {
	w := newWorld(t)
	run := read[api.Run](t, w.call(w.order("a/key+1")))
	if run.IdempotencyKey == nil || *run.IdempotencyKey != "a/key+1" {
		t.Fatalf("the run has key %v", run.IdempotencyKey)
	}
	other := w.get("")
	other.portal = w.Other
	for _, c := range []struct {
		as     request
		query  string
		status int
		runs   int
	}{
		{w.get(""), "idempotency_key=a/key%2B1", 200, 1},
		{w.get(""), "idempotency_key=b", 200, 0},
		{other, "idempotency_key=a/key%2B1", 200, 0},
		{other, "idempotency_key=a/key%2B1&merchant=" + w.Merchant.ID, 200, 0},
		{w.admin("GET", "", ""), "idempotency_key=a/key%2B1&merchant=" + w.Merchant.ID, 200, 1},
		{w.admin("GET", "", ""), "idempotency_key=a/key%2B1", 400, 0},
		{w.get(""), "idempotency_key=a/key%2B1&state=stuck", 400, 0},
		{w.get(""), "idempotency_key=", 400, 0},
	} {
		c.as.path = "/v1/runs?" + c.query
		a := w.call(c.as)
		if a.status != c.status || a.status == 200 && len(read[api.RunList](t, a).Runs) != c.runs {
			t.Errorf("%s: got %d %s, want %d and %d runs", c.query, a.status, a.body, c.status, c.runs)
		}
	}
}

// An action on a run at rest is applied before the request is answered. If a client then reads the run, it sees the effect of the
// action.
func TestAnActionOnARunAtRestIsAppliedBeforeItsAnswer(t *testing.T) {
	w := newWorld(t)
	for i := range 10 {
		path := w.held(w.order(fmt.Sprint(i)))
		before := w.call(w.get(path)).header.Get("ETag")
		w.steps.close()
		got := w.call(w.action(path, "retry", `{"why": "x"}`))
		run := read[api.Run](t, got)
		if got.status != http.StatusAccepted || run.State != api.RunStateRunning || run.AtRest {
			t.Errorf("got %d, a run that is %s", got.status, run.State)
		}
		if tag := got.header.Get("ETag"); tag == "" || tag == before {
			t.Errorf("the ETag is %s after the action, and was %s before", tag, before)
		}
		w.steps.open()
		w.await(path, api.RunStateSucceeded)
	}
}
