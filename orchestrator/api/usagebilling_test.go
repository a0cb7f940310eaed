package api_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/service"
)

// The merchant creates a product after the usage of its meter could not be billed, and changes the price of another one. An operator lets the hour
// be billed again.
func TestUsageIsBilledAfterItsProductWasCreated(t *testing.T) {
	var ahead atomic.Int64
	w := newWorldOf(t, "", changed(func(o *service.Options) {
		o.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	}))
	sell := func(name string, price float64) (id string) {
		t.Helper()
		p, err := w.Billing.CreateProduct(t.Context(), w.Merchant.ID, billing.Product{
			ID: uuid.NewString(), Name: name, Pricing: []any{map[string]any{"type": "fixed", "price": price}},
		})
		must(t, err)
		must(t, w.Billing.AddPlanItem(t.Context(), w.Merchant.ID, w.Merchant.Plan, p.ID))
		return p.ID
	}
	cpu := sell("cpu", 0.1)
	s := w.subscribed("s")
	hour := time.Now().UTC().Truncate(time.Hour).Add(time.Hour)
	used := func(meter string) string {
		return fmt.Sprintf(`{"name": %q, "type": "delta", "unit": "u", "volume": 2.5, "project_id": %q, "resource_id": "vm", "timestamp": %q,
			"source": "openstack", "id": %q}`, meter, s.tenant, hour.Add(time.Minute).Format("2006-01-02T15:04:05.000000"), uuid.NewString())
	}
	ahead.Store(int64(time.Until(hour.Add(76 * time.Minute)))) // 16 minutes after the end of the hour
	if a := w.call(w.posts(w.meterKey(), "["+used("cpu")+","+used("image")+"]")); a.status != http.StatusAccepted {
		t.Fatalf("%d %s", a.status, a.body)
	}
	unmatched := func() (texts []string) {
		for _, u := range read[api.UnmatchedUsageList](t, w.call(w.get("/v1/merchants/"+w.Merchant.ID+"/usage/unmatched"))).Unmatched {
			texts = append(texts, string(u.Reason)+" "+u.Meter)
		}
		return texts
	}
	w.waitFor("the usage is billed", func() bool { return slices.Equal(unmatched(), []string{"no-product image"}) })

	query := "?from=" + hour.Format(time.RFC3339) + "&to=" + hour.Add(time.Hour).Format(time.RFC3339)
	rowsAre := func(want ...string) {
		t.Helper()
		var got []string
		w.waitFor(fmt.Sprint("the rows ", want), func() bool {
			got = nil
			for _, r := range read[api.UsageList](t, w.call(w.get("/v1/merchants/"+w.Merchant.ID+"/subscriptions/"+s.id+"/usage"+query))).Rows {
				got = append(got, fmt.Sprintf("%s %s %s %s", r.Product, r.Value, *r.Total, r.State))
			}
			slices.Sort(got)
			return slices.Equal(got, want)
		})
	}
	rowsAre("cpu 2.5 0.25 posted")
	sell("image", 2)
	products := func() (texts []string) {
		t.Helper()
		for _, u := range read[api.UsageList](t, w.call(w.get("/v1/merchants/"+w.Merchant.ID+"/subscriptions/"+s.id+"/usage"+query))).Usage {
			texts = append(texts, u.Meter+" "+text(u.BilledAs))
		}
		return texts
	}
	if got := products(); !slices.Equal(got, []string{"cpu cpu", "image "}) {
		t.Errorf("before, the usage is billed as %q", got)
	}
	path := "/v1/merchants/" + w.Merchant.ID + "/usage/billing"
	body := func(from, to time.Time, more string) string {
		return fmt.Sprintf(`{"from": %q, "to": %q%s}`, from.Format(time.RFC3339), to.Format(time.RFC3339), more)
	}
	const why = `, "why": "the product image was created"`
	again := func(more string) {
		t.Helper()
		a := w.call(w.admin(http.MethodPost, path, body(hour, hour.Add(time.Hour), why+more)))
		got := read[api.UsageBilling](t, a)
		if a.status != http.StatusAccepted || got.Hours != 1 || got.Projects != 1 || got.NextFrom != nil || !got.From.Equal(hour) || !got.To.Equal(hour.Add(time.Hour)) {
			t.Errorf("got %d %s", a.status, a.body)
		}
		ahead.Add(int64(2*time.Minute + time.Second))
		w.waitFor("the usage is billed again", func() bool {
			waiting, err := w.Store.Usage().Billable(t.Context(), time.Now().Add(time.Duration(ahead.Load())), 10)
			must(t, err)
			return len(waiting) == 0
		})
		if got := unmatched(); len(got) > 0 {
			t.Errorf("unmatched are %q", got)
		}
	}
	change, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, w.BillingURL+"/merchants/"+w.Merchant.ID+"/products/"+cpu,
		strings.NewReader(`{"pricing": [{"type": "fixed", "price": 0.3}]}`))
	must(t, err)
	change.Header.Set("Content-Type", "application/json")
	changed, err := http.DefaultClient.Do(change)
	must(t, err)
	must(t, changed.Body.Close())
	if changed.StatusCode != http.StatusOK {
		t.Fatalf("the price was not changed: %d", changed.StatusCode)
	}
	for range 2 { // the second call posts nothing
		again("")
		rowsAre("cpu 2.5 0.25 posted", "image 2.5 5 posted")
	}
	for range 2 { // the price of now
		again(`, "current": true`)
		rowsAre("cpu -2.5 -0.25 posted", "cpu 2.5 0.25 posted", "cpu 2.5 0.75 posted", "image 2.5 5 posted")
	}
	again("")
	rowsAre("cpu -2.5 -0.25 posted", "cpu 2.5 0.25 posted", "cpu 2.5 0.75 posted", "image 2.5 5 posted")
	if got := products(); !slices.Equal(got, []string{"cpu cpu", "image image"}) {
		t.Errorf("the usage is billed as %q", got)
	}
	stored, err := w.Billing.Usage(t.Context(), w.Merchant.ID)
	must(t, err)
	if len(stored) != 4 {
		t.Errorf("BillingStack has %d usages", len(stored))
	}
	if log := w.Log.String(); !strings.Contains(log, `"why":"the product image was created"`) || !strings.Contains(log, `"message":"usage is billed again"`) {
		t.Error("the log does not have the reason")
	}

	for what, wrong := range map[string]struct{ body, detail string }{
		"a range of 32 days":      {body(hour.Add(-32*24*time.Hour), hour, why), "by at most 31 days"},
		"a range without hours":   {body(hour, hour, why), "the time must be before"},
		"a range that ends first": {body(hour.Add(time.Hour), hour, why), "the time must be before"},
		"the future":              {body(hour, hour.Add(1000*time.Hour), why), "31 days"},
		"the near future":         {body(hour, hour.Add(30*24*time.Hour), why), "the time is in the future"},
		"an impossible date":      {strings.Replace(body(hour, hour, why), hour.Format("2006-01-02"), "2026-02-30", 1), "wanted: a time"},
		"no time":                 {`{"from": "yesterday", "to": "today"` + why + `}`, "wanted: a time"},
		"no reason":               {body(hour, hour.Add(time.Hour), ""), "why"},
		"a blank reason":          {body(hour, hour.Add(time.Hour), `, "why": " "`), "the reason is empty"},
		"no subscription":         {body(hour, hour.Add(time.Hour), why+`, "subscription_id": "x"`), "subscription_id"},
		"an unknown field":        {body(hour, hour.Add(time.Hour), why+`, "plan": "x"`), "plan"},
	} {
		if a := w.refused(w.admin(http.MethodPost, path, wrong.body), http.StatusBadRequest, "invalid-params"); !strings.Contains(a.body, wrong.detail) {
			t.Errorf("%s: got %s", what, a.body)
		}
	}
	good := body(hour, hour.Add(time.Hour), why)
	for _, portal := range []portal{w.Merchant, w.Other} {
		w.refused(request{method: http.MethodPost, path: path, portal: portal, body: good}, http.StatusForbidden, "forbidden")
	}
	w.refused(request{method: http.MethodPost, path: path, body: good}, http.StatusUnauthorized, "credentials-required")
	w.refused(w.admin(http.MethodPost, "/v1/merchants/"+nobody+"/usage/billing", good), http.StatusNotFound, "merchant-not-found")
	other := read[api.UsageBilling](t, w.call(w.admin(http.MethodPost, path, body(hour, hour.Add(time.Hour), why+`, "subscription_id": "`+nobody+`"`))))
	if other.Hours != 0 || other.Projects != 0 {
		t.Errorf("an unknown subscription: got %+v", other)
	}
}
