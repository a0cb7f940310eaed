package api_test

import (
	"io"
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
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
)

// The released v2 of the original BillingStack stores no usage. The run that posts usage waits for an operator, and names the administrator of
// BillingStack. After the repair and a retry, each row is in BillingStack once. The test sets the clock forward, and SQLite uses this clock.
func TestABillingStackThatStoresNoUsageIsRepaired(t *testing.T) {
	var repaired atomic.Bool
	var ahead atomic.Int64
	w := newWorldOf(t, "", changed(func(o *service.Options) {
		o.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	}), withoutUsage(&repaired))
	for _, name := range []string{"requests", "traffic"} {
		p, err := w.Billing.CreateProduct(t.Context(), w.Merchant.ID, billing.Product{
			ID: uuid.NewString(), Name: name, Pricing: []any{map[string]any{"type": "fixed", "price": 0.05}},
		})
		must(t, err)
		must(t, w.Billing.AddPlanItem(t.Context(), w.Merchant.ID, w.Merchant.Plan, p.ID))
	}
	s := w.subscribed("s")
	delta := func(meter, volume string) string {
		return strings.NewReplacer(`"vcpus"`, `"`+meter+`"`, `"gauge"`, `"delta"`).Replace(sampleOf(s.tenant, volume))
	}
	if a := w.call(w.posts(w.meterKey(), "["+delta("requests", "7")+","+delta("traffic", "2")+"]")); a.status != http.StatusAccepted {
		t.Fatalf("%d %s", a.status, a.body)
	}
	ahead.Add(int64(2 * time.Hour)) // the hour is over, and its usage is computed and billed

	var waiting api.Run
	w.waitFor("the run needs an operator", func() bool {
		for _, r := range read[api.RunList](t, w.call(w.admin(http.MethodGet, "/v1/runs?attention=true", ""))).Runs {
			if r.Workflow == "post-usage" {
				waiting = r
			}
		}
		return waiting.ID != ""
	})
	r := waiting.Reason
	if waiting.State != api.RunStateWaiting || r == nil || r.Kind != "operator" || r.Code != "usage-broken" || r.FixBy != api.FixByAdministrator {
		t.Fatalf("the run is %s, because %+v", waiting.State, r)
	}
	rows := func() (all []api.UsageRow) {
		path := "/v1/merchants/" + w.Merchant.ID + "/subscriptions/" + s.id + "/usage"
		return read[api.UsageList](t, w.call(w.get(path))).Rows
	}
	for _, row := range rows() {
		if row.State != api.UsageRowStateWaiting {
			t.Errorf("before the repair, the row is %+v", row)
		}
	}

	repaired.Store(true)
	if a := w.call(w.action("/v1/runs/"+waiting.ID, "retry", `{"why": "BillingStack is repaired"}`)); a.status != http.StatusAccepted {
		t.Fatalf("the retry: got %d %s", a.status, a.body)
	}
	w.await("/v1/runs/"+waiting.ID, api.RunStateSucceeded)
	found, err := w.Billing.Usage(t.Context(), w.Merchant.ID)
	must(t, err)
	var posted, stored []string
	for _, row := range rows() {
		if row.State != api.UsageRowStatePosted || text(row.RunID) != waiting.ID {
			t.Errorf("after the retry, the row is %+v", row)
		}
		posted = append(posted, row.ID)
	}
	for _, u := range found {
		stored = append(stored, u.ID)
	}
	slices.Sort(posted)
	slices.Sort(stored)
	if len(posted) != 2 || !slices.Equal(posted, stored) {
		t.Errorf("BillingStack has the usage %q, and the API shows the rows %q", stored, posted)
	}
}

// withoutUsage lets BillingStack answer a POST of usage as the released v2 does, until it is repaired.
func withoutUsage(repaired *atomic.Bool) func(*servicetest.Options) {
	return func(o *servicetest.Options) {
		before := o.Around
		o.Around = func(upstream string, next http.RoundTripper) http.RoundTripper {
			return before(upstream, roundTrip(func(req *http.Request) (*http.Response, error) {
				if repaired.Load() || upstream != service.BillingStack || req.Method != http.MethodPost || !strings.HasSuffix(req.URL.Path, "/usage") {
					return next.RoundTrip(req)
				}
				_ = req.Body.Close()
				return &http.Response{
					StatusCode: http.StatusInternalServerError, ProtoMajor: 1, ProtoMinor: 1, Request: req,
					Header: http.Header{"Content-Type": {"application/json; charset=UTF-8"}},
					Body: io.NopCloser(strings.NewReader(
						`{"faultcode": "Server", "faultstring": "create_usage() takes exactly 3 arguments (4 given)", "debuginfo": null}`)),
				}, nil
			}))
		}
	}
}
