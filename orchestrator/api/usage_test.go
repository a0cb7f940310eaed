package api_test

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/service"
	"github.com/tenantry/tenantry/orchestrator/usage"
)

// meterKey creates a meter key for the default cloud.
func (w *world) meterKey() portal {
	w.t.Helper()
	key, secret, err := usage.NewKey(rand.Reader, merchants.DefaultCloud, time.Now())
	must(w.t, err)
	must(w.t, w.Store.Usage().CreateMeterKey(w.t.Context(), key))
	return portal{Key: key.Key, Secret: secret}
}

// The method `posts` returns a post of Ceilometer.
func (w *world) posts(key portal, body string) request {
	return request{method: http.MethodPost, path: "/v1/usage/ceilometer", portal: key, body: body, header: http.Header{}}
}

// The function `sampleOf` returns a sample of a project, as Ceilometer sends it.
func sampleOf(project, volume string) string {
	return fmt.Sprintf(`{"name": "vcpus", "type": "gauge", "unit": "vcpu", "volume": %s, "user_id": null, "project_id": %q, "resource_id": "vm",
		"timestamp": %q, "resource_metadata": {"display_name": "ü", "memory": NaN}, "source": "openstack", "id": %q, "monotonic_time": null}`,
		volume, project, time.Now().UTC().Format("2006-01-02T15:04:05.000000"), uuid.NewString())
}

func TestCeilometerPostsSamples(t *testing.T) {
	onBoth(t, func(t *testing.T, database string) {
		w := newWorldOf(t, database)
		tenant := w.subscribed("s").tenant
		key := w.meterKey()
		first := sampleOf(tenant, "2")
		body := "[" + first + "," + sampleOf(tenant, "1e-3") + "," + sampleOf("stranger", "5") + "," + sampleOf(tenant, "NaN") + "]"
		for range 2 {
			a := w.call(w.posts(key, body))
			if got := read[api.SamplesReceipt](t, a); a.status != http.StatusAccepted || got != (api.SamplesReceipt{Samples: 3, Apart: 1}) {
				t.Errorf("%d %s", a.status, a.body)
			}
		}
		added, err := w.Store.Usage().Add(t.Context(), time.Now(), usage.Batch{})
		if err != nil || added != (usage.Added{}) {
			t.Errorf("an empty batch: %+v, %v", added, err)
		}
		for _, events := range []string{`[{"message_id": "m", "event_type": "e", "traits": []}]`, `[]`} {
			if a := w.call(w.posts(key, events)); a.status != http.StatusAccepted {
				t.Errorf("%s: %d %s", events, a.status, a.body)
			}
		}
		if log := w.Log.String(); !strings.Contains(log, "ceilometer with key "+key.Key) || strings.Contains(log, key.Secret) {
			t.Error("the log does not name the key, or contains the secret")
		}
	})
}

func TestOnlyAMeterKeySendsSamples(t *testing.T) {
	w := newWorldOf(t, "")
	key := w.meterKey()
	w.refused(w.posts(w.Merchant, "[]"), http.StatusUnauthorized, "credentials-invalid")
	w.refused(w.posts(portal{Key: key.Key, Secret: key.Secret + "x"}, "[]"), http.StatusUnauthorized, "credentials-invalid")
	w.refused(w.posts(portal{Key: "tm_none", Secret: key.Secret}, "[]"), http.StatusUnauthorized, "credentials-invalid")
	w.refused(w.posts(portal{}, "[]"), http.StatusUnauthorized, "credentials-required")
	w.refused(w.asOperator(w.posts(portal{}, "[]")), http.StatusForbidden, "forbidden")
	for _, q := range []request{w.get("/v1/runs"), w.order("k"), w.registration("k", "grace", "correct horse")} {
		q.portal = key
		w.refused(q, http.StatusUnauthorized, "credentials-invalid")
	}
	revoked := w.meterKey()
	_, err := w.Store.Usage().RevokeMeterKey(t.Context(), revoked.Key, time.Now())
	must(t, err)
	w.refused(w.posts(revoked, "[]"), http.StatusUnauthorized, "credentials-invalid")
}

func TestAPostThatIsNotJSONIsRefused(t *testing.T) {
	w := newWorldOf(t, "")
	key := w.meterKey()
	for _, body := range []string{"hello", "{", " ", `"text`} {
		w.refused(w.posts(key, body), http.StatusBadRequest, "body-malformed")
	}
	w.refused(w.posts(key, "["+strings.Repeat(" ", 1_000_000)+"]"), http.StatusRequestEntityTooLarge, "body-too-large")
	plain := w.posts(key, "[]")
	plain.header.Set("Content-Type", "text/plain")
	w.refused(plain, http.StatusUnsupportedMediaType, "content-type-unsupported")
}

// The usage of a subscription is cut where its plan and its state change, and late samples change it.
func TestTheUsageOfASubscription(t *testing.T) {
	var ahead atomic.Int64
	w := newWorldOf(t, "", changed(func(o *service.Options) {
		o.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	}))
	hour := time.Now().UTC().Truncate(time.Hour)
	at := func(d time.Duration) string { return hour.Add(d).Format("2006-01-02T15:04:05.000000") }
	large := w.newPlan(w.Merchant.ID)
	prices := map[string]any{w.Merchant.Plan: map[string]any{"type": "fixed", "price": 0.1}, large: map[string]any{"type": "volume"}}
	for plan, price := range prices { // two products of one name
		product, err := w.Billing.CreateProduct(t.Context(), w.Merchant.ID, billing.Product{ID: uuid.NewString(), Name: "cpu", Pricing: []any{price}})
		must(t, err)
		must(t, w.Billing.AddPlanItem(t.Context(), w.Merchant.ID, plan, product.ID))
	}
	ahead.Store(int64(time.Until(hour.Add(10 * time.Minute)))) // the time is now ten minutes past the hour
	s := w.subscribed("s")
	key := w.meterKey()
	cpu := func(d time.Duration, volume int) string {
		return fmt.Sprintf(`{"name": "cpu", "type": "cumulative", "unit": "ns", "volume": %d, "project_id": %q, "resource_id": "vm", "timestamp": %q,
			"source": "openstack", "id": %q}`, volume, s.tenant, at(d), uuid.NewString())
	}
	post := func(samples ...string) {
		t.Helper()
		if a := w.call(w.posts(key, "["+strings.Join(samples, ",")+"]")); a.status != http.StatusAccepted {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	path := "/v1/merchants/" + w.Merchant.ID + "/subscriptions/" + s.id + "/usage"
	usageIs := func(what string, want ...string) {
		t.Helper()
		query := "?from=" + hour.Format(time.RFC3339) + "&to=" + hour.Add(24*time.Hour).Format(time.RFC3339)
		var got []string
		w.waitFor(what, func() bool {
			got = nil
			for _, u := range read[api.UsageList](t, w.call(w.get(path+query))).Usage {
				got = append(got, fmt.Sprintf("%s %s%s %s %s", u.From.Sub(hour).Round(time.Minute), u.Amount, u.Unit, u.State, map[bool]string{true: "old", false: "new"}[u.PlanID == w.Merchant.Plan]))
			}
			return slices.Equal(got, want)
		})
	}
	rowsAre := func(what string, want ...string) {
		t.Helper()
		query := "?from=" + hour.Format(time.RFC3339) + "&to=" + hour.Add(24*time.Hour).Format(time.RFC3339)
		w.waitFor(what, func() bool {
			var got, books []string
			stored, err := w.Billing.Usage(t.Context(), w.Merchant.ID)
			must(t, err)
			for _, r := range read[api.UsageList](t, w.call(w.get(path+query))).Rows {
				total := "-"
				if r.Total != nil {
					total = *r.Total
				}
				got = append(got, fmt.Sprintf("%s #%d %s %s %s %s", r.From.Sub(hour).Round(time.Minute), r.Revision, r.Product, r.Value, total, r.State))
				for _, u := range stored {
					if u.ID == r.ID && u.ProductID == r.ProductID && u.SubscriptionID == s.id && strconv.FormatFloat(*u.Value, 'g', -1, 64) == r.Value {
						books = append(books, u.ID)
					}
				}
			}
			return slices.Equal(got, want) && len(books) == len(want) && len(stored) == len(want)
		})
	}
	post(cpu(11*time.Minute, 100), cpu(20*time.Minute, 110), cpu(50*time.Minute, 150), cpu(65*time.Minute, 180))
	ahead.Add(int64(20 * time.Minute))
	w.changes(w.changePlan(s.id, large, "plan"))
	ahead.Add(int64(10 * time.Minute))
	w.changes(w.change(s.id, "suspend", "suspend"))
	if got := read[api.UsageList](t, w.call(w.get(path))); len(got.Usage) != 0 {
		t.Errorf("the hour is not over, but its usage is %+v", got)
	}
	ahead.Add(int64(96 * time.Minute)) // 16 minutes after the end of the second hour
	usageIs("the usage is computed", "0s 0ns  new", "10m0s 10ns active old", "30m0s 0ns active new", "40m0s 40ns suspended new", "1h0m0s 30ns suspended new")
	rowsAre("the usage is posted", "10m0s #0 cpu 10 1 posted", "40m0s #0 cpu 40 - posted", "1h0m0s #0 cpu 30 - posted")
	post(cpu(35*time.Minute, 130))
	usageIs("a late sample changes the usage", "0s 0ns  new", "10m0s 10ns active old", "30m0s 20ns active new", "40m0s 20ns suspended new", "1h0m0s 30ns suspended new")
	ahead.Add(int64(11 * time.Minute))
	rowsAre("the difference is posted", "10m0s #0 cpu 10 1 posted", "30m0s #0 cpu 20 - posted", "40m0s #0 cpu 40 - posted", "40m0s #1 cpu -20 - posted",
		"1h0m0s #0 cpu 30 - posted")
	unmatched := w.get("/v1/merchants/" + w.Merchant.ID + "/usage/unmatched")
	list := read[api.UnmatchedUsageList](t, w.call(unmatched)).Unmatched
	if len(list) != 1 || list[0].Reason != "unpriced" || list[0].Meter != "cpu" || *list[0].SubscriptionID != s.id || *list[0].Amount != "70" ||
		!list[0].FirstHour.Equal(hour) || !list[0].LastHour.Equal(hour.Add(time.Hour)) {
		t.Errorf("unmatched: %+v", list)
	}
	unmatched.portal = w.Other
	w.refused(unmatched, http.StatusNotFound, "merchant-not-found")
	w.refused(w.get("/v1/merchants/"+w.Merchant.ID+"/usage/unmatched?marker=-1"), http.StatusBadRequest, "invalid-params")
	if refused := w.call(w.get("/v1/merchants/" + w.Merchant.ID + "/usage/unmatched?marker=1000001")); !strings.Contains(refused.body, "at most 1000000") {
		t.Errorf("a large marker: got %s", refused.body)
	}
	w.refused(w.get(path+"?from="+hour.Add(-8*24*time.Hour).Format(time.RFC3339)), http.StatusBadRequest, "invalid-params")
	w.refused(w.get(path+"?from="+hour.Add(24*time.Hour).Format(time.RFC3339)), http.StatusBadRequest, "invalid-params")
	other := w.get(path)
	other.portal = w.Other
	w.refused(other, http.StatusNotFound, "merchant-not-found")
	w.refused(w.get("/v1/merchants/"+w.Merchant.ID+"/subscriptions/"+nobody+"/usage"), http.StatusNotFound, "subscription-not-found")
}
