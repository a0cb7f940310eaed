package api_test

import (
	"fmt"
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
	"github.com/tenantry/tenantry/orchestrator/audit"
	"github.com/tenantry/tenantry/orchestrator/service"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
)

// Ceilometer sends samples of a meter that no product has, of a product without a price, and of a customer's tenant. An audit reports them, and
// an accepted finding stays accepted.
func TestAnAuditFindsUnmatchedUsage(t *testing.T) {
	var ahead atomic.Int64
	w := newWorldOf(t, "", changed(func(o *service.Options) {
		o.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	}))
	s := w.subscribed("s")
	product, err := w.Billing.CreateProduct(t.Context(), w.Merchant.ID, billing.Product{ID: uuid.NewString(), Name: "cpu"})
	must(t, err)
	must(t, w.Billing.AddPlanItem(t.Context(), w.Merchant.ID, w.Merchant.Plan, product.ID))
	hour := time.Now().UTC().Truncate(time.Hour).Add(time.Hour)
	used := func(meter, project string) string {
		return fmt.Sprintf(`{"name": %q, "type": "delta", "unit": "u", "volume": 2.5, "project_id": %q, "resource_id": "vm", "timestamp": %q,
			"source": "openstack", "id": %q}`, meter, project, hour.Add(time.Minute).Format("2006-01-02T15:04:05.000000"), uuid.NewString())
	}
	customerTenant := (&calendar{world: w}).customerTenant(s.customer)
	ahead.Store(int64(time.Until(hour.Add(76 * time.Minute)))) // 16 minutes after the end of the hour
	body := "[" + strings.Join([]string{used("cpu", s.tenant), used("image", s.tenant), used("image", customerTenant), used("cpu", customerTenant)}, ",") + "]"
	if a := w.call(w.posts(w.meterKey(), body)); a.status != http.StatusAccepted {
		t.Fatalf("%d %s", a.status, a.body)
	}
	w.waitFor("the usage is billed", func() bool {
		return len(read[api.UnmatchedUsageList](t, w.call(w.get("/v1/merchants/"+w.Merchant.ID+"/usage/unmatched"))).Unmatched) == 4
	})

	a, open := w.audited()
	in := ", in the hour " + hour.Format(time.RFC3339)
	want := []string{
		"info usage-unmatched project:" + customerTenant + ": a customer's tenant was used, and such a tenant has no subscription (no-subscription): meters cpu, image" + in,
		"low usage-unmatched meter:image: the usage is not billed, because no product of the merchant has this meter (no-product): meter image (delta, u)" + in,
		"medium usage-unpriced subscription:" + s.id + ": the usage was posted without a price, because the product has no fixed price (unpriced): 2.5 of product cpu" + in,
	}
	var got []string
	accepted := ""
	for _, f := range open {
		got = append(got, fmt.Sprintf("%s %s %s:%s: %s", f.Severity, f.Code, f.Objects[0].Kind, f.Objects[0].ID, f.Detail))
		if f.Severity == audit.Low {
			accepted = f.ID
		}
	}
	slices.Sort(got)
	if a.State != audit.Complete || !slices.Equal(got, want) {
		t.Fatalf("the audit is %s %v, and found\n%s\nwant\n%s", a.State, a.Gaps, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	path := "/v1/findings/" + accepted
	f := read[api.Finding](t, w.call(w.admin("PUT", path+"/acceptance", `{"why": "we sell no images"}`)))
	if f.Status != api.FindingAccepted || f.Code != string(audit.UsageUnmatched) || *f.MerchantID != w.Merchant.ID || f.Repair.Action != nil {
		t.Errorf("the accepted finding is %+v", f)
	}
	a, open = w.audited()
	f = read[api.Finding](t, w.call(w.admin("GET", path, "")))
	if f.Status != api.FindingAccepted || f.LastAuditID != a.ID || len(open) != 2 || open[0].Status != audit.Known || a.Found["low"] != 0 || a.Found["medium"] != 1 {
		t.Errorf("after another audit, the finding is %+v, and %d findings are open: %v", f, len(open), a.Found)
	}
}

// BillingStack answers with a list of plans that is too long. After a day, an audit reports that the usage waits, and why. When the list can be
// read, the usage is billed, and the next audit resolves the finding.
func TestAnAuditFindsUsageThatWaits(t *testing.T) {
	var ahead atomic.Int64
	var long atomic.Bool
	long.Store(true)
	w := newWorldOf(t, "", changed(func(o *service.Options) {
		o.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	}), func(o *servicetest.Options) {
		o.Around = func(upstream string, next http.RoundTripper) http.RoundTripper {
			return roundTrip(func(req *http.Request) (*http.Response, error) {
				if upstream != service.BillingStack || !strings.HasSuffix(req.URL.Path, "/plans") || req.URL.RawQuery != "" || !long.Load() {
					return next.RoundTrip(req)
				}
				_ = req.Body.Close()
				return &http.Response{
					StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, Request: req,
					Body: io.NopCloser(strings.NewReader(`[{"properties": "` + strings.Repeat("x", 9<<20) + `"}]`)),
				}, nil
			})
		}
	})
	s := w.subscribed("s")
	product, err := w.Billing.CreateProduct(t.Context(), w.Merchant.ID, billing.Product{ID: uuid.NewString(), Name: "vcpus"})
	must(t, err)
	must(t, w.Billing.AddPlanItem(t.Context(), w.Merchant.ID, w.Merchant.Plan, product.ID))
	if a := w.call(w.posts(w.meterKey(), "["+strings.ReplaceAll(sampleOf(s.tenant, "7"), `"gauge"`, `"delta"`)+"]")); a.status != http.StatusAccepted {
		t.Fatalf("%d %s", a.status, a.body)
	}
	waits := func() (found []audit.Finding) {
		_, open := w.audited()
		for _, f := range open {
			if f.Code == audit.UsageWaiting {
				found = append(found, f)
			}
		}
		return found
	}
	ahead.Add(int64(2 * time.Hour)) // the hour is over
	const failure = "an element of the list is longer than 8388608 bytes"
	w.waitFor("the catalog cannot be read", func() bool { return strings.Contains(w.Log.String(), failure) })
	if found := waits(); len(found) > 0 {
		t.Errorf("after two hours, an audit finds %+v", found)
	}
	ahead.Add(int64(24 * time.Hour))
	found := waits()
	if len(found) != 1 {
		t.Fatalf("after a day, an audit finds %+v", found)
	}
	path := "/v1/findings/" + found[0].ID
	f := read[api.Finding](t, w.call(w.admin(http.MethodGet, path, "")))
	if f.Status != api.FindingNew || string(f.Severity) != "high" || text(f.MerchantID) != w.Merchant.ID || !strings.Contains(f.Detail, "; not billed yet: 1 hour of tenants; the last failure, at ") ||
		!strings.Contains(f.Detail, failure) {
		t.Errorf("the finding is %+v", f)
	}

	long.Store(false)
	ahead.Add(int64(2 * time.Minute))
	usagePath := "/v1/merchants/" + w.Merchant.ID + "/subscriptions/" + s.id + "/usage?from=" + time.Now().UTC().Add(-2*time.Hour).Format(time.RFC3339)
	w.waitFor("the usage is billed", func() bool { return len(read[api.UsageList](t, w.call(w.get(usagePath))).Rows) == 1 })
	if found := waits(); len(found) > 0 {
		t.Errorf("after the usage was billed, an audit finds %+v", found)
	}
	if f := read[api.Finding](t, w.call(w.admin(http.MethodGet, path, ""))); f.Status != api.FindingResolved {
		t.Errorf("after the usage was billed, the finding is %s", f.Status)
	}
}
