package api_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/audit"
	"github.com/tenantry/tenantry/orchestrator/service"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
)

func TestTheSchemaOfAnOrderAllowsOneKindOfCustomer(t *testing.T) {
	schema := newWorld(t).document.schema(t, "SubscribeRequest")
	const id = "9b351268-22c6-4cf9-922f-7a5db1c1a27b"
	for fields, fits := range map[string]bool{
		``:                              false,
		`, "customer_id": "` + id + `"`: true,
		`, "customer": {"name": "Ada"}`: true,
		`, "customer": {"name": "Ada"}, "customer_id": "` + id + `"`: false,
	} {
		var value any
		must(t, json.Unmarshal([]byte(`{"plan_id": "`+id+`"`+fields+`}`), &value))
		if err := schema.VisitJSON(value, openapi3.EnableJSONSchema2020()); (err == nil) != fits {
			t.Errorf("%s: got %v, want it to fit: %t", fields, err, fits)
		}
	}
}

// The method `bodies` returns the examples of the operation's request body, by their names.
func (c *contract) bodies(t *testing.T, operationID string) map[string]any {
	t.Helper()
	for _, item := range c.doc.Paths.Map() {
		for _, o := range item.Operations() {
			if o.OperationID == operationID {
				return examplesOf(o)
			}
		}
	}
	t.Fatalf("there is no operation %s", operationID)
	return nil
}

func examplesOf(o *openapi3.Operation) map[string]any {
	all := map[string]any{}
	if o.RequestBody == nil {
		return all
	}
	content := o.RequestBody.Value.Content.Get("application/json")
	if content.Example != nil {
		all["example"] = content.Example
	}
	for name, example := range content.Examples {
		all[name] = example.Value.Value
	}
	return all
}

func TestEachExampleFitsItsSchema(t *testing.T) {
	doc := newWorld(t).document.doc
	seen := 0
	fits := func(where string, schema *openapi3.SchemaRef, example any) {
		if example == nil {
			return
		}
		seen++
		if err := schema.Value.VisitJSON(example, openapi3.EnableJSONSchema2020()); err != nil {
			t.Errorf("%s: the example %v does not fit: %v", where, example, err)
		}
	}
	for path, item := range doc.Paths.Map() {
		for method, o := range item.Operations() {
			examples := examplesOf(o)
			for name, example := range examples {
				fits(method+" "+path+" "+name, o.RequestBody.Value.Content.Get("application/json").Schema, example)
			}
			if o.RequestBody != nil && len(examples) == 0 {
				t.Errorf("%s %s has no example", method, path)
			}
			for _, p := range slices.Concat(item.Parameters, o.Parameters) {
				fits(method+" "+path+" "+p.Value.Name, p.Value.Schema, p.Value.Example)
			}
			for status, response := range o.Responses.Map() {
				for name, h := range response.Value.Headers {
					fits(method+" "+path+" "+status+" "+name, h.Value.Schema, h.Value.Example)
				}
			}
		}
	}
	for name, schema := range doc.Components.Schemas {
		fits(name, schema, schema.Value.Example)
	}
	if seen < 20 {
		t.Errorf("only %d examples were checked", seen)
	}
}

// The type `broken` makes upstreams refuse some calls.
type broken struct {
	gate      chan struct{} // BillingStack creates no subscription until this channel is closed
	open      atomic.Bool   // if true, `gate` is ignored
	refuses   atomic.Bool   // BillingStack refuses to attach a tenant
	keepsAway atomic.Bool   // Keystone refuses to remove a project
}

func (b *broken) around(name string, next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		answer := func(status int, body string) (*http.Response, error) {
			return &http.Response{
				StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Request: r, Header: http.Header{"Content-Type": {"application/json"}},
				Body: io.NopCloser(strings.NewReader(body)),
			}, nil
		}
		stack, path := name == service.BillingStack, r.URL.Path
		switch {
		case stack && !b.open.Load() && r.Method == http.MethodPost && strings.HasSuffix(path, "/subscriptions"):
			select {
			case <-b.gate:
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		case stack && b.refuses.Load() && r.Method != http.MethodGet && r.Method != http.MethodPost && r.Method != http.MethodDelete:
			return answer(http.StatusBadRequest, `{"faultcode": "Client", "faultstring": "no", "debuginfo": null}`)
		case !stack && b.keepsAway.Load() && r.Method == http.MethodDelete && strings.Contains(path, "/projects/"):
			return answer(http.StatusForbidden, `{"error": {"code": 403, "title": "Forbidden", "message": "no"}}`)
		}
		return next.RoundTrip(r)
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestEachExampleIsAccepted sends the example bodies to a server that has the objects named in them.
func TestEachExampleIsAccepted(t *testing.T) {
	b := &broken{gate: make(chan struct{})}
	b.open.Store(true)
	x, executesAudits := executedAudits(t, nil)
	w := newWorldOf(t, "", func(o *servicetest.Options) { o.Around = b.around }, executesAudits)
	w.Keystone.AddDomain("customers")
	sent := 0
	send := func(operationID, name string, q request, want int) answer {
		t.Helper()
		example := w.document.bodies(t, operationID)[name]
		text, err := json.Marshal(example)
		must(t, err)
		sent++
		q.method, q.body = cmp.Or(q.method, http.MethodPost), string(text)
		a := w.call(q)
		if example == nil || a.status != want {
			t.Fatalf("the example %s of %s: got %d %s, want %d", name, operationID, a.status, a.body, want)
		}
		return a
	}
	idIn := func(operationID, name, field string) string {
		body, _ := w.document.bodies(t, operationID)[name].(map[string]any)
		return fmt.Sprint(body[field])
	}

	_, err := w.Billing.CreatePlan(t.Context(), w.Merchant.ID, billing.Plan{ID: idIn("subscribe", "newCustomer", "plan_id"), Name: "small"})
	must(t, err)
	known := idIn("subscribe", "knownCustomer", "customer_id")
	_, err = w.Billing.EnsureCustomer(t.Context(), billing.Customer{ID: known, MerchantID: w.Merchant.ID, Name: "Ada", Currency: "nok", Language: "nor"})
	must(t, err)
	tenant := w.Keystone.AddProject(keystone.Project{Name: keystone.CustomerTenant(known), Tags: []string{keystone.MerchantTag(w.Merchant.ID)}})
	member, err := w.Keystone.Role("member")
	must(t, err)
	w.Keystone.Assign(keystone.Assignment{ProjectID: tenant, UserID: w.User, RoleID: member.ID})
	first := send("subscribe", "newCustomer", w.order("new"), http.StatusCreated)
	send("subscribe", "knownCustomer", w.order("known"), http.StatusCreated)
	visitor := w.order("visitor")
	visitor.header.Del("X-Subject-Token")
	send("subscribe", "newUser", visitor, http.StatusCreated)
	send("postSamples", "example", w.posts(w.meterKey(), ""), http.StatusAccepted)
	of := idOf(read[api.Run](t, first), "subscription_id")
	send("suspendSubscription", "example", w.change(of, "suspend", "suspend"), http.StatusCreated)
	send("resumeSubscription", "example", w.change(of, "resume", "resume"), http.StatusCreated)
	_, err = w.Billing.CreatePlan(t.Context(), w.Merchant.ID, billing.Plan{ID: idIn("changePlan", "example", "plan_id"), Name: "large"})
	must(t, err)
	send("registerUser", "example", w.registration("registered", "", ""), http.StatusCreated)
	send("logIn", "example", w.login("", ""), http.StatusCreated)
	send("changePlan", "example", w.change(of, "change-plan", "change-plan"), http.StatusCreated)
	send("unsubscribeSubscription", "example", w.change(of, "unsubscribe", "unsubscribe"), http.StatusCreated)
	hold := w.asOperator(w.change(of, "hold", ""))
	hold.method, hold.header = http.MethodPut, nil
	send("holdSubscription", "example", hold, http.StatusOK)
	send("removeSubscription", "example", w.asOperator(w.change(of, "remove", "remove")), http.StatusConflict) // it is too early
	send("restoreSubscription", "example", w.change(of, "restore", "restore"), http.StatusCreated)
	uuids := regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}`)
	for name, h := range w.document.doc.Components.Responses["Subscribed"].Value.Headers {
		got, want := first.header.Get(name), h.Value.Example
		if want != nil && uuids.ReplaceAllString(got, "ID") != uuids.ReplaceAllString(fmt.Sprint(want), "ID") {
			t.Errorf("the header %s: got %s, unlike the example %s", name, got, want)
		}
	}

	act := func(operationID, action, run string) {
		t.Helper()
		send(operationID, "example", request{path: run + "/" + action, operator: w.OperatorToken}, http.StatusAccepted)
	}
	started := func(key string) string {
		q := w.order(key)
		q.header.Set("Prefer", "respond-async")
		return w.call(q).header.Get("Location")
	}
	b.open.Store(false)
	held, compensated, cancelled := started("is-held"), started("is-compensated"), started("is-cancelled")
	act("holdRun", "hold", held)
	act("compensateRun", "compensate", compensated)
	act("cancelRun", "cancel", cancelled)
	b.open.Store(true)
	close(b.gate)
	w.call(request{path: held + "?wait=30", operator: w.OperatorToken})
	act("retryRun", "retry", held)
	b.refuses.Store(true)
	b.keepsAway.Store(true)
	stuck := w.order("is-stuck")
	stuck.header.Set("Prefer", "wait=30")
	act("skipStep", "skip", w.call(stuck).header.Get("Location"))
	b.keepsAway.Store(false)

	merchant := idIn("createMerchant", "example", "merchant_id")
	_, err = w.Billing.CreateMerchant(t.Context(), billing.Merchant{ID: merchant, Name: "Cloud Shop", Currency: "nok", Language: "nor"})
	must(t, err)
	send("createMerchant", "example", request{path: "/v1/merchants", operator: w.OperatorToken}, http.StatusCreated)
	send("billUsageAgain", "example", request{path: "/v1/merchants/" + merchant + "/usage/billing", operator: w.OperatorToken}, http.StatusAccepted)
	send("updateMerchant", "example", request{method: http.MethodPatch, path: "/v1/merchants/" + merchant, operator: w.OperatorToken}, http.StatusOK)

	for _, name := range []string{"all", "merchant", "project"} {
		send("createAudit", name, w.admin("POST", "/v1/audits", ""), http.StatusAccepted)
	}
	x.end(audit.Outcome{Seen: someFindings()[:1]})
	send("acceptFinding", "example", w.admin("PUT", "/v1/findings/"+findingID(1)+"/acceptance", ""), http.StatusOK)

	examples := 0
	for _, item := range w.document.doc.Paths.Map() {
		for _, o := range item.Operations() {
			if !slices.Contains([]string{"createRepairPlan", "approveRepairs", "applyRepairs"}, o.OperationID) { // TestTheExamplesOfRepairs sends them
				examples += len(examplesOf(o))
			}
		}
	}
	if sent != examples {
		t.Errorf("%d examples were sent, but the document has %d", sent, examples)
	}
}
