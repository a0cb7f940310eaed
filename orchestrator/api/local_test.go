package api_test

import (
	"cmp"
	"context"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/service"
	"github.com/tenantry/tenantry/store/storetest"
)

// The method `through` sends a request without a credential through a transport, and checks the answer against the OpenAPI
// document.
func (w *world) through(transport http.RoundTripper, q request) answer {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), cmp.Or(q.method, http.MethodGet), "http://local"+q.path, strings.NewReader(q.body))
	must(w.t, err)
	r.Header.Set("Content-Type", "application/json")
	maps.Copy(r.Header, q.header)
	resp, err := transport.RoundTrip(r)
	must(w.t, err)
	body, err := io.ReadAll(resp.Body)
	must(w.t, err)
	must(w.t, resp.Body.Close())
	a := answer{resp.StatusCode, resp.Header, string(body)}
	w.document.check(w.t, q, a)
	return a
}

// The method `local` returns the transport of a service.Local on the database of the world.
func (w *world) local(database string) http.RoundTripper {
	w.t.Helper()
	l, err := service.OpenLocal(w.t.Context(), service.Config{DatabaseURL: database, MaxLiveRuns: 1000}, "ann", zerolog.Nop())
	must(w.t, err)
	w.t.Cleanup(func() { must(w.t, l.Close()) })
	return l
}

// Operators who can open the database have the same rights as operators with a token. The only exception: they cannot retry a compensated
// run.
func TestTheLocalTransport(t *testing.T) {
	onBoth(t, func(t *testing.T, database string) {
		w := newWorldOn(t, database, pollOften)
		local := w.local(database)
		run := w.held(w.order("held"))
		for _, path := range []string{"/v1/runs", "/v1/runs?attention=true", run, run + "/events", "/v1/runs/" + nobody, "/v1/runs?limit=0"} {
			got, want := w.through(local, request{path: path}), w.call(request{path: path, operator: w.OperatorToken})
			if got.status != want.status || withoutOwn(got) != withoutOwn(want) || got.header.Get("ETag") != want.header.Get("ETag") {
				t.Errorf("%s: got %d %s, want %d %s", path, got.status, got.body, want.status, want.body)
			}
		}
		etag := w.through(local, request{path: run}).header.Get("ETag")
		act := func(action, body string, ifMatch ...string) request {
			return request{method: "POST", path: run + "/" + action, body: body, header: http.Header{"If-Match": ifMatch}}
		}
		for _, c := range []struct {
			what   string
			q      request
			status int
			says   string
		}{
			{"no reason", act("compensate", `{"why": " "}`), 400, "the reason is empty"},
			{"no such step", act("skip", `{"why": "x", "step": "nothing"}`), 409, "has no step"},
			{"held again", act("hold", `{"why": "x"}`), 409, "the run is waiting"},
			{"another version", act("compensate", `{"why": "x"}`, `"999"`), 412, "has changed"},
			{"this version", act("compensate", `{"why": "not wanted"}`, etag), 202, run},
			{"an order", w.order("local"), 403, "only a merchant's portal"},
		} {
			if got := w.through(local, c.q); got.status != c.status || !strings.Contains(got.body, c.says) {
				t.Errorf("%s: got %d %s, want %d and %q", c.what, got.status, got.body, c.status, c.says)
			}
		}
		w.await(run, api.RunStateCompensated)
		events, err := w.Store.Events(t.Context(), strings.TrimPrefix(run, "/v1/runs/"), 0, 100)
		must(t, err)
		var who []string
		for _, e := range events {
			if e.Kind == saga.EventAction {
				who = append(who, e.Who+" "+e.Action+" "+e.Why)
			}
		}
		if len(who) != 1 || who[0] != "local:ann compensate not wanted" {
			t.Errorf("the history: got %q", who)
		}
		got := w.through(local, act("retry", `{"why": "after all"}`))
		if got.status != 409 || !strings.Contains(got.body, "/problems/action-refused") || !strings.Contains(got.body, "without --local") {
			t.Errorf("a retry of a compensated run: got %d %s", got.status, got.body)
		}
		if n := w.runs(); n != 1 {
			t.Errorf("there are %d runs, want 1", n)
		}
	})
}

// pollOften shortens the interval between polls, so that the replica soon finds an action that no message announces.
var pollOften = changed(func(o *service.Options) { o.Poll = 20 * time.Millisecond })

// withoutOwn returns the body of an answer without its request id, without the flag --local of commands, without an empty
// subscription_tenant_id, and without the meaning of a run. The real workflow `subscribe`, which service.Local uses, has this meaning. The
// workflow standIn, which the type `world` uses, has no meaning, and always has the field subscription_tenant_id in its result.
func withoutOwn(a answer) string {
	return strings.NewReplacer(
		a.header.Get("X-Openstack-Request-Id"), "req", `,"subscription_tenant_id":""`, "",
		" --local", "", `"means":"The user is not subscribed yet. `, `"means":"`,
	).Replace(a.body)
}

// Only requests through the local transport have a local caller. A request over the network without a credential is refused, even if it
// comes from the same host. A local request whose context has ended is not answered.
func TestTheLocalTransportIsTheOnlyDoor(t *testing.T) {
	w := newWorld(t)
	local := api.LocalTransport(w.Service.Handler, "ann")
	if got := w.through(local, request{path: "/v1/runs"}); got.status != http.StatusOK {
		t.Errorf("in this process: got %d %s", got.status, got.body)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/runs", http.NoBody)
	r.RemoteAddr, r.Host = "127.0.0.1:1", "local"
	out := httptest.NewRecorder()
	w.Service.Handler.ServeHTTP(out, r)
	if out.Code != http.StatusUnauthorized {
		t.Errorf("on loopback, without a credential: got %d %s", out.Code, out.Body)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r = httptest.NewRequestWithContext(ctx, http.MethodGet, "/v1/runs", http.NoBody)
	if resp, err := local.RoundTrip(r); err == nil {
		must(t, resp.Body.Close())
		t.Error("a request whose context has ended was answered")
	}
}

// A replica executes a run, and a local caller sends an action on this run. On SQLite, no message announces the action, so the replica
// finds the action when it polls.
func TestAReplicaFindsALocalAction(t *testing.T) {
	database := storetest.SQLite(t)
	w := newWorldOn(t, database, pollOften)
	w.steps.close()
	run := w.call(w.async("under-way")).header.Get("Location")
	w.await(run, api.RunStateRunning)
	got := w.through(w.local(database), request{method: "POST", path: run + "/hold", body: `{"why": "stop"}`})
	if got.status != http.StatusAccepted {
		t.Fatalf("got %d %s", got.status, got.body)
	}
	watcher := w.Service.Runs.Watch(strings.TrimPrefix(run, "/v1/runs/"))
	defer watcher.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err := watcher.See(ctx, nil, func(r *saga.Run) bool {
		events, err := w.Store.Events(ctx, r.ID, 0, 100)
		must(t, err)
		return !slices.ContainsFunc(events, func(e saga.Event) bool { return e.Kind == saga.EventAction && e.Who == "local:ann" })
	})
	must(t, err)
}
