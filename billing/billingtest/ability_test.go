package billingtest_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/billing/billingtest"
	"github.com/tenantry/tenantry/billing/server"
	"github.com/tenantry/tenantry/store"
	"github.com/tenantry/tenantry/store/storetest"
)

// The client finds out the version of BillingStack without a write. A server that does not refuse a malformed id gets no POST.
func TestAbilitiesAreSeenWithoutAWrite(t *testing.T) {
	records, err := store.Open(t.Context(), storetest.SQLite(t), make([]byte, store.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = records.Close() })
	if _, err := records.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	empty := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			t.Errorf("%s %s was sent to a server that refuses nothing", r.Method, r.URL)
		}
		_, _ = w.Write([]byte("[]"))
	})
	for name, c := range map[string]struct {
		handler              http.Handler
		version              string
		subscriptions, usage billing.Ability
	}{
		"released v2":                {billingtest.NewQuirkServer(billingtest.Options{Unrepaired: true}), "/v2", billing.Unable, billing.Unable},
		"released v2 behind a queue": {billingtest.NewQuirkServer(billingtest.Options{Unrepaired: true, Queue: true}), "/v2", billing.Unable, billing.Unable},
		"repaired v2":                {billingtest.NewQuirkServer(billingtest.Options{}), "/v2", billing.Able, billing.Able},
		"repaired v2 behind a queue": {billingtest.NewQuirkServer(billingtest.Options{Queue: true}), "/v2", billing.Able, billing.Able},
		"v1":                         {billingtest.NewQuirkServer(billingtest.Options{V1: true}), "/v1", billing.Able, billing.Unable},
		"embedded":                   {server.New(records.Billing(), func(r *http.Request, err error) { t.Errorf("%s: %v", r.URL, err) }), "/v2", billing.Able, billing.Able},
		"another server":             {empty, "/v2", billing.Unknown, billing.Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(c.handler)
			defer srv.Close()
			client, err := billing.New(billing.Config{URL: srv.URL + c.version})
			if err != nil {
				t.Fatal(err)
			}
			got, text, err := client.MayCreateSubscriptions(t.Context())
			if err != nil || got != c.subscriptions || (got == billing.Unable) != strings.Contains(text, "create_subscription()") {
				t.Errorf("subscriptions: got %v %q, %v; want %v", got, text, err, c.subscriptions)
			}
			if got, text, err := client.MayCreateUsage(t.Context()); err != nil || got != c.usage || (got == billing.Unable) != (text != "") {
				t.Errorf("usage: got %v %q, %v; want %v", got, text, err, c.usage)
			}
			if quirks, ok := c.handler.(*billingtest.QuirkServer); ok && quirks.Count("subscription")+quirks.Count("usage") > 0 {
				t.Error("an object was stored")
			}
			srv.Close()
			if got, _, err := client.MayCreateUsage(t.Context()); err == nil || got != billing.Unknown {
				t.Errorf("without a server: got %v, %v", got, err)
			}
		})
	}
}
