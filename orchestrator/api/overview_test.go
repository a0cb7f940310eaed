package api_test

import (
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/service"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
)

// An operator sees runs that wait for an upstream, the open circuit of the upstream, and the replica.
func TestTheOverview(t *testing.T) {
	onBoth(t, func(t *testing.T, database string) {
		w := newWorldOn(t, database)
		overview := func() api.Overview { return read[api.Overview](t, w.call(w.admin("GET", "/v1/overview", ""))) }
		w.Service.CheckDependencies(t.Context())
		o := overview()
		if o.Status != api.ReadinessOK || len(o.Checks) != 5 || len(o.LiveRuns) != 0 || len(o.Replicas) != 1 || o.Replicas[0].ID != o.ReplicaID ||
			!o.Replicas[0].LeaseUntil.After(o.At) || o.DueFollowUps.Count+o.HeldFollowUps.Count+o.Attention != 0 {
			t.Errorf("at rest: %+v", o)
		}
		for _, c := range o.Circuits {
			if c.Open || c.Since != nil || c.Upstream != "billingstack" && c.Upstream != "keystone/default" {
				t.Errorf("at rest: %+v", c)
			}
		}
		w.steps.close()
		q := w.order("k")
		q.header.Set("Prefer", "respond-async")
		id := read[api.Run](t, w.call(q)).ID
		w.call(w.admin("POST", "/v1/runs/"+id+"/hold", `{"why": "so that it waits"}`))
		w.steps.open()
		deadline := time.Now().Add(time.Minute)
		// The overview counts the runs that need attention before it reads the live runs.
		for o = overview(); len(o.LiveRuns) != 1 || o.LiveRuns[0].Reason == nil || o.Attention == 0; o = overview() {
			if time.Now().After(deadline) {
				t.Fatalf("the run is not held: %+v", o.LiveRuns)
			}
		}
		if r := o.LiveRuns[0]; r.State != api.RunStateWaiting || *r.Reason != api.ReasonKindOperator || r.Executing || r.Due || r.Runs != 1 || o.Attention != 1 {
			t.Errorf("a held run: %+v, attention %d", r, o.Attention)
		}
		w.upstreams.keystoneDown.Store(true)
		for open := false; !open; {
			w.Service.CheckDependencies(t.Context())
			o = overview()
			for _, c := range o.Circuits {
				open = open || c.Open && c.Upstream == "keystone/default" && c.Since != nil && c.NextTrialAt.After(*c.Since) && strings.Contains(text(c.Cause), "503")
			}
			if time.Now().After(deadline) {
				t.Fatalf("the circuit does not open: %+v", o.Circuits)
			}
		}
		if o.Status != api.ReadinessDegraded {
			t.Errorf("while Keystone is down: %s", o.Status)
		}
	})
}

func TestTheOverviewIsForOperators(t *testing.T) {
	w := newWorld(t)
	if got := w.call(request{path: "/v1/overview", portal: w.Merchant}); got.status != http.StatusForbidden {
		t.Errorf("a portal: got %d %s", got.status, got.body)
	}
	if got := w.call(request{path: "/v1/overview"}); got.status != http.StatusUnauthorized {
		t.Errorf("nobody: got %d %s", got.status, got.body)
	}
}

func TestTheSettingsAreForOperators(t *testing.T) {
	w := newWorld(t, func(o *servicetest.Options) {
		before := o.Change
		o.Change = func(o *service.Options) {
			before(o)
			o.Settings = []service.Setting{
				{Key: "domain", Variable: "TENANTRY_DOMAIN", Value: "customers", Source: service.SourceFile, File: "tenantry.yaml:1", Default: "default", Meaning: "m"},
				{Key: "lease", Variable: "TENANTRY_LEASE", Value: "10s", Source: service.SourceDefault, Default: "10s", Meaning: "m"},
			}
		}
	})
	want := []api.Setting{
		{Key: "domain", Variable: "TENANTRY_DOMAIN", Value: "customers", Source: api.SettingByFile, File: new("tenantry.yaml:1"), Default: "default", Meaning: "m"},
		{Key: "lease", Variable: "TENANTRY_LEASE", Value: "10s", Source: api.SettingByDefault, Default: "10s", Meaning: "m"},
	}
	if got := read[api.SettingList](t, w.call(w.admin("GET", "/v1/settings", ""))); !reflect.DeepEqual(got.Settings, want) {
		t.Errorf("got %+v, want %+v", got.Settings, want)
	}
	if got := w.call(request{path: "/v1/settings", portal: w.Merchant}); got.status != http.StatusForbidden || strings.Contains(got.body, "customers") {
		t.Errorf("a portal: got %d %s", got.status, got.body)
	}
	if got := w.call(request{path: "/v1/settings"}); got.status != http.StatusUnauthorized {
		t.Errorf("nobody: got %d %s", got.status, got.body)
	}
}
