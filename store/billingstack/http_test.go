package billingstack_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/tenantry/tenantry/store/billingstack"
)

const (
	bsMerchant     = "f47f51dd-e7db-47e2-bdb1-83935a50cf87"
	bsOther        = "00000000-e7db-47e2-bdb1-83935a50cf87"
	bsPlan         = "9b351268-22c6-4cf9-922f-7a5db1c1a27b"
	bsProduct      = "0f064e39-3b83-464a-ab23-b5354f656ff5"
	bsCustomer     = "4afa6af7-0c5d-467c-8b18-db57ba1bfabc"
	bsSubscription = "ee56f128-ea7a-4ca1-a8fe-f0614c4bf2b2"
	bsNobody       = "11111111-2222-4333-8444-555555555555"
)

// The type `exchange` is an HTTP request and the expected answer. If want is empty, the test accepts any body.
type exchange struct {
	method, path, body string
	status             int
	want               string
}

func (e exchange) run(t *testing.T, base string) {
	t.Helper()
	path := strings.NewReplacer("{m}", bsMerchant, "{o}", bsOther, "{plan}", bsPlan, "{product}", bsProduct,
		"{customer}", bsCustomer, "{subscription}", bsSubscription, "{nobody}", bsNobody)
	req, err := http.NewRequestWithContext(t.Context(), e.method, base+path.Replace(e.path), strings.NewReader(path.Replace(e.body)))
	if err != nil {
		t.Fatal(err)
	}
	if e.body != "" {
		req.Header.Set("Content-Type", "application/json; charset=utf-8")
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != e.status {
		t.Errorf("%s %s %.200s: got %d %s, want %d", e.method, e.path, e.body, resp.StatusCode, text, e.status)
		return
	}
	if e.want == "" {
		return
	}
	var got, want any
	if err := json.Unmarshal([]byte(path.Replace(e.want)), &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%s %s: got %s, want %s", e.method, e.path, text, path.Replace(e.want))
	}
}

// The variable `seed` is a list of requests that create two merchants. The first merchant has a plan with one product, and a
// customer who subscribes to the plan.
var seed = []exchange{
	{"POST", "/merchants", `{"id": "{m}", "name": "M", "currency": "nok", "language": "nor"}`, 202, `{"id": "{m}", "name": "M", "currency": "nok", "language": "nor"}`},
	{"POST", "/merchants", `{"id": "{o}", "name": "O", "currency": "nok", "language": "nor"}`, 202, ""},
	{"POST", "/merchants/{m}/products", `{"id": "{product}", "name": "vcpus", "title": "vCPU"}`, 202, `{"id": "{product}", "name": "vcpus", "title": "vCPU", "description": null, "properties": {}, "pricing": []}`},
	{"POST", "/merchants/{m}/plans", `{"id": "{plan}", "name": "P", "properties": {"random": 1}}`, 202, `{"id": "{plan}", "name": "P", "title": null, "description": null, "properties": {"random": 1}, "items": []}`},
	{"PUT", "/merchants/{m}/plans/{plan}/items/{product}", `{"pricing": [{"type": "fixed", "price": 0.5}]}`, 200, `{"plan_id": "{plan}", "product_id": "{product}", "title": null, "description": null, "pricing": [{"type": "fixed", "price": 0.5}]}`},
	{"POST", "/merchants/{m}/customers", `{"id": "{customer}", "name": "Customer X"}`, 202, `{"id": "{customer}", "merchant_id": "{m}", "name": "Customer X", "currency": null, "language": null, "contact_info": []}`},
	{"POST", "/merchants/{m}/subscriptions", `{"id": "{subscription}", "plan_id": "{plan}", "customer_id": "{customer}", "resource_id": "pending"}`, 202, `{"id": "{subscription}", "plan_id": "{plan}", "customer_id": "{customer}", "resource_id": "pending", "resource_type": null, "billing_day": null, "payment_method_id": null}`},
}

func TestEmbeddedBillingStackAnswersAsDocumented(t *testing.T) {
	onBoth(t, func(t *testing.T, base string) {
		plan := `{"id": "{plan}", "name": "P", "title": null, "description": null, "properties": {"random": 1}, "items": [
			{"plan_id": "{plan}", "product_id": "{product}", "name": "vcpus", "title": "vCPU", "description": null, "pricing": [{"type": "fixed", "price": 0.5}]}]}`
		for _, e := range append(seed, []exchange{
			{"GET", "/currencies/nok", "", 200, `{"name": "nok", "title": "Norwegian Krone"}`},
			{"GET", "/languages?q.field=name&q.value=nor", "", 200, `[{"name": "nor", "title": "Norwegian"}]`},
			{"GET", "/currencies/zzz", "", 404, `{"faultcode": "Client", "faultstring": "zzz", "debuginfo": null}`},
			{"POST", "/currencies", `{"name": "NOK"}`, 409, ""},
			{"POST", "/currencies", `{"name": "zzz"}`, 400, ""},
			{"GET", "/merchants/{m}/plans", "", 200, "[" + plan + "]"},
			{"GET", "/merchants/{m}/plans/{plan}", "", 200, plan},
			{"GET", "/merchants/{o}/plans", "", 200, "[]"},
			{"GET", "/merchants/{nobody}/plans", "", 200, "[]"},
			{"GET", "/merchants/{m}/customers/{nobody}", "", 404, `{"faultcode": "Client", "faultstring": "{nobody}", "debuginfo": null}`},
			{"GET", "/merchants/{m}/customers/7", "", 404, ""},
			{"GET", "/merchants/7/customers", "", 400, ""},

			// A merchant cannot read, change or use the objects of another merchant.
			{"GET", "/merchants/{o}/plans/{plan}", "", 404, ""},
			{"GET", "/merchants/{o}/customers/{customer}", "", 404, ""},
			{"PATCH", "/merchants/{o}/customers/{customer}", `{"name": "stolen"}`, 404, ""},
			{"PATCH", "/merchants/{o}/subscriptions/{subscription}", `{"resource_id": "stolen"}`, 404, ""},
			{"DELETE", "/merchants/{o}/subscriptions/{subscription}", "", 404, ""},
			{"DELETE", "/merchants/{o}/plans/{plan}/items/{product}", "", 404, ""},
			{"PUT", "/merchants/{o}/plans/{plan}/items/{product}", "{}", 404, ""},
			{"POST", "/merchants/{o}/subscriptions", `{"plan_id": "{plan}", "customer_id": "{customer}", "resource_id": "x"}`, 400, ""},
			{"POST", "/merchants/{o}/usage", `{"subscription_id": "{subscription}", "product_id": "{product}"}`, 400, ""},

			// Conflicts: the id of a new object is already in use, or an object cannot be deleted because another object refers to
			// it.
			{"POST", "/merchants/{m}/customers", `{"id": "{customer}", "name": "Customer X"}`, 409, ""},
			{"POST", "/merchants/{o}/customers", `{"id": "{customer}", "name": "Customer X"}`, 409, ""},
			{"PUT", "/merchants/{m}/plans/{plan}/items/{product}", "{}", 409, ""},
			{"DELETE", "/merchants/{m}/customers/{customer}", "", 409, ""},
			{"DELETE", "/merchants/{m}/plans/{plan}", "", 409, ""},
			{"DELETE", "/merchants/{m}/products/{product}", "", 409, ""},
			{"DELETE", "/merchants/{m}", "", 409, ""},

			// References to missing objects.
			{"POST", "/merchants/{nobody}/customers", `{"name": "x"}`, 400, `{"faultcode": "Client", "faultstring": "there is no merchant \"{nobody}\"", "debuginfo": null}`},
			{"POST", "/merchants/{m}/subscriptions", `{"plan_id": "{nobody}", "customer_id": "{customer}", "resource_id": "x"}`, 400, ""},
			{"PATCH", "/merchants/{m}/subscriptions/{subscription}", `{"plan_id": "{nobody}"}`, 400, ""},
			{"POST", "/merchants/{m}/usage", `{"subscription_id": "{nobody}", "product_id": "{product}"}`, 400, ""},

			// An update changes only the fields in its body; null clears a field; an id cannot be changed.
			{"PATCH", "/merchants/{m}/plans/{plan}", `{"title": "T", "properties": {"more": "x"}}`, 200, strings.NewReplacer(`"title": null, "description": null, "properties": {"random": 1}`, `"title": "T", "description": null, "properties": {"random": 1, "more": "x"}`).Replace(plan)},
			{"PATCH", "/merchants/{m}/plans/{plan}", `{"title": null}`, 200, strings.Replace(plan, `"random": 1`, `"random": 1, "more": "x"`, 1)},
			{"PATCH", "/merchants/{m}/plans/{plan}", `{"id": "{nobody}"}`, 400, ""},
			{"PATCH", "/merchants/{m}/customers/{customer}", `{"merchant_id": "{o}"}`, 400, ""},
			{"PATCH", "/merchants/{m}/customers/{customer}", `{"id": "{customer}", "merchant_id": "{m}", "currency": "nok", "contact_info": []}`, 200, `{"id": "{customer}", "merchant_id": "{m}", "name": "Customer X", "currency": "nok", "language": null, "contact_info": []}`},
			{"PATCH", "/merchants/{m}/customers/{customer}", `{"currency": null}`, 200, `{"id": "{customer}", "merchant_id": "{m}", "name": "Customer X", "currency": null, "language": null, "contact_info": []}`},
			{"PATCH", "/merchants/{m}/subscriptions/{subscription}", `{"resource_id": null}`, 400, ""},
			{"PATCH", "/merchants/{m}/subscriptions/{subscription}", `{}`, 200, `{"id": "{subscription}", "plan_id": "{plan}", "customer_id": "{customer}", "resource_id": "pending", "resource_type": null, "billing_day": null, "payment_method_id": null}`},
			{"PATCH", "/merchants/{m}/plans/{plan}/items/{product}", `{"title": "Item"}`, 200, `{"plan_id": "{plan}", "product_id": "{product}", "title": "Item", "description": null, "pricing": [{"type": "fixed", "price": 0.5}]}`},
			{"PATCH", "/merchants/{m}/plans/{plan}/items/{nobody}", `{"title": "Item"}`, 404, ""},

			// Filters.
			{"GET", "/merchants/{m}/customers?q.field=name&q.op=like&q.value=%25mer+x", "", 200, `[{"id": "{customer}", "merchant_id": "{m}", "name": "Customer X", "currency": null, "language": null, "contact_info": []}]`},
			{"GET", "/merchants/{m}/customers?q.field=name&q.op=eq&q.value=Customer+X&q.field=id&q.op=ne&q.value={customer}", "", 200, "[]"},
			{"GET", "/merchants/{m}/customers?q.field=name&q.op=lt&q.value=Customer+X", "", 200, "[]"},
			{"GET", "/merchants/{m}/subscriptions?q.field=customer&q.value={nobody}", "", 200, "[]"},
			{"GET", "/merchants/{m}/customers?q.field=currency&q.value=nok", "", 400, ""},
			{"GET", "/merchants/{m}/customers?q.field=id&q.value=7", "", 400, ""},
			{"GET", "/merchants/{m}/customers?q.field=id", "", 400, ""},
			{"GET", "/merchants/{m}/customers?q.field=name&q.op=nlike&q.value=x", "", 400, ""},
			{"GET", "/merchants/{m}/customers?limit=1", "", 400, ""},

			// Invalid request bodies.
			{"POST", "/merchants/{m}/customers", "", 415, ""},
			{"POST", "/merchants/{m}/customers", "null", 400, ""},
			{"POST", "/merchants/{m}/customers", "[]", 400, ""},
			{"POST", "/merchants/{m}/customers", "{", 400, ""},
			{"POST", "/merchants/{m}/customers", `{"name": "x", "name": "y"}`, 400, ""},
			{"POST", "/merchants/{m}/customers", `{"name": "x", "other": "y"}`, 400, ""},
			{"POST", "/merchants/{m}/customers", `{"name": 5}`, 400, ""},
			{"POST", "/merchants/{m}/customers", `{"name": null}`, 400, ""},
			{"POST", "/merchants/{m}/customers", `{"name": ""}`, 400, ""},
			{"POST", "/merchants/{m}/customers", `{"name": "a\u0000b"}`, 400, ""},
			{"POST", "/merchants/{m}/customers", `{"name": "` + strings.Repeat("é", 61) + `"}`, 400, ""},
			{"POST", "/merchants/{m}/customers", `{"name": "` + strings.Repeat("x", 113<<10) + `"}`, 413, ""},
			{"POST", "/merchants/{m}/customers", `{"name": "x", "id": "4AFA6AF7-0C5D-467C-8B18-DB57BA1BFABC"}`, 400, ""},
			{"POST", "/merchants/{m}/customers", `{"name": "x", "currency": "zzz"}`, 400, ""},
			{"POST", "/merchants/{m}/plans", `{"name": "x", "items": []}`, 400, ""},
			{"POST", "/merchants/{m}/plans", `{"name": "x", "properties": {"a": {}}}`, 400, ""},
			{"POST", "/merchants/{m}/subscriptions", `{"plan_id": "{plan}", "customer_id": "{customer}"}`, 400, ""},
			{"POST", "/merchants/{m}/subscriptions", `{"plan_id": "{plan}", "customer_id": "{customer}", "resource_id": "x", "billing_day": 32}`, 400, ""},
			{"POST", "/merchants/{m}/usage", `{"subscription_id": "{subscription}", "product_id": "{product}", "start_timestamp": "today"}`, 400, ""},

			// The answer to an unknown route is not JSON, so that a client does not confuse a wrong URL with a missing object.
			{"PUT", "/merchants/{m}/customers/{customer}", "{}", 404, ""},
			{"DELETE", "/merchants/{m}/customers/", "", 404, ""},
			{"GET", "/merchants/{m}/nothing", "", 404, ""},

			// An object can be deleted after all objects that refer to it are deleted. Usage remains after its subscription is
			// deleted.
			{"POST", "/merchants/{m}/usage", `{"id": "{nobody}", "subscription_id": "{subscription}", "product_id": "{product}", "value": 2, "start_timestamp": "2013-03-19T05:53:40"}`, 202, ""},
			{"DELETE", "/merchants/{m}/subscriptions/{subscription}", "", 204, ""},
			{"DELETE", "/merchants/{m}/subscriptions/{subscription}", "", 404, ""},
			{"DELETE", "/merchants/{m}/customers/{customer}", "", 204, ""},
			{"DELETE", "/merchants/{m}/plans/{plan}/items/{product}", "", 204, ""},
			{"DELETE", "/merchants/{m}/plans/{plan}", "", 204, ""},
			{"DELETE", "/merchants/{m}/products/{product}", "", 204, ""},
			{"GET", "/merchants/{m}/usage", "", 200, `[{"id": "{nobody}", "merchant_id": "{m}", "subscription_id": "{subscription}", "product_id": "{product}", "measure": null, "value": 2, "price": null, "total": null, "start_timestamp": "2013-03-19T05:53:40", "end_timestamp": null}]`},
			{"DELETE", "/merchants/{m}/usage/{nobody}", "", 204, ""},
			{"DELETE", "/merchants/{m}", "", 204, ""},
			{"GET", "/merchants", "", 200, `[{"id": "{o}", "name": "O", "currency": "nok", "language": "nor"}]`},
		}...) {
			e.run(t, base)
		}
	})
}

func TestUpdatesAtOnceLoseNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, base string) {
		for _, e := range seed {
			e.run(t, base)
		}
		var wg sync.WaitGroup
		properties := []string{`"random": 1`}
		for i := range 20 {
			property := fmt.Sprintf(`"k%d": %d`, i, i)
			properties = append(properties, property)
			wg.Go(func() {
				exchange{"PATCH", "/merchants/{m}/products/{product}", `{"properties": {` + property + `}}`, 200, ""}.run(t, base)
			})
		}
		wg.Wait()
		exchange{"GET", "/merchants/{m}/products/{product}", "", 200, `{"id": "{product}", "name": "vcpus", "title": "vCPU", "description": null, "pricing": [], "properties": {` + strings.Join(properties[1:], ",") + `}}`}.run(t, base)
	})
}

func TestLists(t *testing.T) {
	previous := billingstack.SetChunk(4)
	t.Cleanup(func() { billingstack.SetChunk(previous) })
	onBoth(t, func(t *testing.T, base string) {
		for _, e := range seed[:1] {
			e.run(t, base)
		}
		want := make([]string, 10)
		for i := range want {
			// Each new customer has a lower id and name than the previous customer. Therefore the test fails if the list is sorted
			// by id or name.
			want[i] = fmt.Sprintf(`{"id": "0000000%d-e7db-47e2-bdb1-83935a50cf87", "merchant_id": "{m}", "name": "c%d", "currency": null, "language": null, "contact_info": []}`, 9-i, 9-i)
			exchange{"POST", "/merchants/{m}/customers", want[i], 202, want[i]}.run(t, base)
		}
		exchange{"GET", "/merchants/{m}/customers", "", 200, "[" + strings.Join(want, ",") + "]"}.run(t, base)
	})
}
