package api_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/service"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
	"github.com/tenantry/tenantry/store/storetest"
)

// If BillingStack's database refuses an order, the answer names the fault that the portal can fix. The answer shows no SQL.
func TestWhatBillingStacksDatabaseRefusesIsTheMerchantsToFix(t *testing.T) {
	for name, c := range map[string]struct {
		collection, text, code, says string
	}{
		"a name that is not storable": {
			"/customers", `UnicodeEncodeError: 'latin-1' codec can't encode character u'\u0141' in position 0`,
			"text-refused", "BillingStack's database cannot store the characters of field name",
		},
		"a name that strict MySQL refuses": {
			"/customers", `(OperationalError) (1366, "Incorrect string value: '\\xC5' for column 'name' at row 1") 'INSERT INTO customer (name) VALUES (%s)' ('canary',)`,
			"text-refused", "BillingStack's database cannot store the characters of field name",
		},
		"a plan that is gone": {
			"/subscriptions", "(IntegrityError) (1452, 'a foreign key constraint fails (`canary`.`subscription`)') 'INSERT INTO subscription (plan_id) VALUES (%s)' ('canary',)",
			"object-gone", "the request refers to an object that does not exist",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorldOf(t, storetest.SQLite(t), func(o *servicetest.Options) {
				o.Around = func(upstream string, next http.RoundTripper) http.RoundTripper {
					return roundTrip(func(req *http.Request) (*http.Response, error) {
						if upstream != service.BillingStack || req.Method != http.MethodPost || !strings.HasSuffix(req.URL.Path, c.collection) {
							return next.RoundTrip(req)
						}
						_ = req.Body.Close()
						return &http.Response{
							StatusCode: http.StatusInternalServerError, ProtoMajor: 1, ProtoMinor: 1, Request: req,
							Header: http.Header{"Content-Type": {"application/json"}},
							Body:   io.NopCloser(strings.NewReader(fmt.Sprintf(`{"faultcode": "Server", "faultstring": %q, "debuginfo": null}`, c.text))),
						}, nil
					})
				}
			})
			tenants := len(w.Keystone.Projects())
			q := w.order("k")
			q.body = strings.ReplaceAll(q.body, "Ada", "Łódź")
			q.header.Set("Prefer", "wait=30")
			got := w.call(q)
			p := read[api.Problem](t, got)
			if got.status != http.StatusConflict || p.Type != "/problems/run-compensated" || p.Code != "subscription-orchestration."+c.code ||
				!strings.Contains(text(p.Detail), c.says) || p.FixBy == nil || *p.FixBy != api.FixByMerchant {
				t.Errorf("got %d %s; want 409 with the code %s, fix_by merchant, and the text %q", got.status, got.body, c.code, c.says)
			}
			path := text(p.Instance)
			for what, q := range map[string]request{
				"the run": w.get(path), "the events": w.get(path + "/events"),
				"the operator's run": {path: path, operator: w.OperatorToken}, "the operator's events": {path: path + "/events", operator: w.OperatorToken},
			} {
				if shown := w.call(q).body; strings.Contains(shown, "canary") || strings.Contains(shown, "INSERT") || !strings.Contains(shown, c.code) {
					t.Errorf("%s: got %s; want the code, and no SQL", what, shown)
				}
			}
			if log := w.Log.String(); strings.Contains(log, "canary") {
				t.Error("the log contains the values of an SQL statement")
			}
			if left := len(w.Keystone.Projects()) - tenants; left != 0 {
				t.Errorf("the order left %d tenants", left)
			}
		})
	}
}

// The text of the problem user-not-of-customer explains the field add_user. The text depends on the cause: the customer has no
// tenant, or the user has no role.
func TestAUserWhoIsNotOfTheCustomerIsToldWhy(t *testing.T) {
	w := newWorld(t)
	q := w.order("role")
	q.header.Set("X-Subject-Token", w.Keystone.IssueToken(w.Keystone.AddUser(keystonetest.User{Name: "eve"})))
	q.body = fmt.Sprintf(`{"plan_id": %q, "customer_id": %q}`, w.Merchant.Plan, w.Merchant.Customer)
	noRole := read[api.Problem](t, w.refused(q, http.StatusForbidden, "user-not-of-customer"))

	bare, err := w.Billing.EnsureCustomer(t.Context(), billing.Customer{ID: uuid.NewString(), MerchantID: w.Merchant.ID, Name: "Bare"})
	must(t, err)
	q.header.Set("Idempotency-Key", "tenant")
	q.body = fmt.Sprintf(`{"plan_id": %q, "customer_id": %q}`, w.Merchant.Plan, bare.ID)
	noTenant := read[api.Problem](t, w.refused(q, http.StatusForbidden, "user-not-of-customer"))
	const add = `; to add another user to the customer, send "add_user": true`
	for got, want := range map[string]string{
		text(noRole.Detail):   "the user has no role on the customer's tenant" + add,
		text(noTenant.Detail): "the customer has no tenant yet, so the user has no role on it" + add,
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
