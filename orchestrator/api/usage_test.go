package api_test

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/merchants"
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
