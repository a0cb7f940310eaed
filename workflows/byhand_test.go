package workflows_test

import (
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/workflows/workflowstest"
)

// The functions below change the upstreams by hand, as an administrator would.

// oldCustomer creates a customer and the customer's tenant by hand, without a run.
func (w *world) oldCustomer(tags ...string) (id string) {
	w.t.Helper()
	c, err := w.Billing.EnsureCustomer(w.t.Context(), billing.Customer{
		ID: uuid.NewString(), MerchantID: w.Merchant.ID, Name: "old", Currency: "eur", Language: "eng",
	})
	w.ok(err)
	p := keystone.Project{Name: "bs-customer-" + c.ID, DomainID: keystonetest.DefaultDomain, Enabled: true, Tags: tags}
	p.ID = w.Keystone.AddProject(p)
	w.byHand.Lock()
	defer w.byHand.Unlock()
	w.others.Customers = append(w.others.Customers, c)
	w.others.Projects = append(w.others.Projects, p)
	return c.ID
}

// The method `admin` makes one request as Keystone's administrator, and returns the body of the answer.
func (w *world) admin(method, path, body string) []byte {
	w.t.Helper()
	token, _ := w.cloudCall("", http.MethodPost, "/v3/auth/tokens", `{"auth":{"identity":{"methods":["password"],"password":{"user":{
		"name":"admin","domain":{"id":"default"},"password":"secret"}}},"scope":{"project":{"name":"admin","domain":{"id":"default"}}}}}`)
	_, answer := w.cloudCall(token.Get("X-Subject-Token"), method, path, body)
	return answer
}

// The method `damage` calls Trial.Damage. The damaged objects are left out of the checks at the end of the test.
func (w *world) damage(trial workflowstest.Trial, g workflowstest.Ground) {
	w.t.Helper()
	refs, err := trial.Damage(w.t.Context(), g, workflowstest.ByHand{
		Keystone: func(method, path, body string) ([]byte, error) { return w.admin(method, path, body), nil }, Billing: w.Billing,
	})
	w.ok(err)
	for _, o := range refs {
		w.ignore(o.Kind, o.ID)
	}
}

// The method `ignore` leaves an object out of the checks at the end of the test.
func (w *world) ignore(kind, id string) {
	w.byHand.Lock()
	defer w.byHand.Unlock()
	w.hurt = append(w.hurt, saga.ObjectRef{Kind: kind, ID: id})
}

func (w *world) cloudCall(token, method, path, body string) (http.Header, []byte) {
	w.t.Helper()
	r := httptest.NewRequestWithContext(w.t.Context(), method, path, strings.NewReader(body))
	r.Header.Set("X-Auth-Token", token)
	r.Header.Set("Content-Type", "application/json")
	answer := httptest.NewRecorder()
	if w.Keystone.ServeHTTP(answer, r); answer.Code >= http.StatusMultipleChoices {
		w.t.Fatalf("%s %s: %d %s", method, path, answer.Code, answer.Body)
	}
	return answer.Header(), answer.Body.Bytes()
}

// deletePlan deletes the merchant's plan in BillingStack.
func (w *world) deletePlan(id string) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodDelete, w.BillingURL+"/merchants/"+w.Merchant.ID+"/plans/"+id, nil)
	w.ok(err)
	answer, err := (&http.Client{Timeout: upstreamTimeout}).Do(r)
	w.ok(err)
	if _ = answer.Body.Close(); answer.StatusCode >= http.StatusMultipleChoices {
		w.t.Fatalf("deleting the plan: %s", answer.Status)
	}
}

// changeMerchant updates the merchant's settings.
func (w *world) changeMerchant(change func(*merchants.Merchant)) {
	w.t.Helper()
	_, err := w.Store.Merchants().Update(w.t.Context(), w.Merchant.ID, func(m *merchants.Merchant) error { change(m); return nil })
	w.ok(err)
}
