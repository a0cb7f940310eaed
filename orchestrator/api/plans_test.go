package api_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
)

// A plan shows the prices of its items. An item without prices shows the prices of its product.
func TestPlansShowThePricesOfItemsAndProducts(t *testing.T) {
	var lists []string
	w := newWorldOf(t, "", func(o *servicetest.Options) {
		o.Around = func(_ string, next http.RoundTripper) http.RoundTripper {
			return roundTrip(func(r *http.Request) (*http.Response, error) {
				if strings.HasSuffix(r.URL.Path, "/products") {
					lists = append(lists, r.URL.Path)
				}
				return next.RoundTrip(r)
			})
		}
	})
	product := func(name string, pricing ...any) string {
		p, err := w.Billing.CreateProduct(t.Context(), w.Merchant.ID, billing.Product{ID: uuid.NewString(), Name: name, Pricing: pricing})
		must(t, err)
		return p.ID
	}
	price := func(text string) any { return map[string]any{"type": "fixed", "price": text} }
	own, ofProduct, free := product("own", price("1.50")), product("of product", price("0.25"), price("0.20")), product("free")
	other, err := w.Billing.CreateProduct(t.Context(), w.Other.ID, billing.Product{ID: uuid.NewString(), Name: "other", Pricing: []any{price("9")}})
	must(t, err)
	item := func(id, body string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPut,
			w.BillingURL+"/merchants/"+w.Merchant.ID+"/plans/"+w.Merchant.Plan+"/items/"+id, strings.NewReader(body))
		must(t, err)
		r.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(r)
		must(t, err)
		text, err := io.ReadAll(resp.Body)
		must(t, err)
		if must(t, resp.Body.Close()); resp.StatusCode != http.StatusOK {
			t.Fatalf("adding the item: %d %s", resp.StatusCode, text)
		}
	}
	shown := func() map[string]api.PlanItem {
		all := map[string]api.PlanItem{}
		a := w.call(w.get("/v1/merchants/" + w.Merchant.ID + "/plans"))
		for _, p := range read[api.PlanList](t, a).Plans {
			for _, i := range p.Items {
				all[i.ProductID] = i
			}
		}
		return all
	}
	item(own, `{"pricing": [{"type": "fixed", "price": "2.00"}]}`)
	if got := shown()[own]; got.Pricing == nil || fmt.Sprint(*got.Pricing) != "[map[price:2.00 type:fixed]]" || *got.PricingOf != api.PricingOfItem {
		t.Errorf("an item with prices: %+v", got)
	}
	if len(lists) > 0 {
		t.Errorf("every item has prices, but the service has read the products: %v", lists)
	}
	item(ofProduct, `{}`)
	item(free, `{}`)
	got := shown()
	if i := got[ofProduct]; i.Pricing == nil || fmt.Sprint(*i.Pricing) != "[map[price:0.25 type:fixed] map[price:0.20 type:fixed]]" ||
		*i.PricingOf != api.PricingOfProduct {
		t.Errorf("an item without prices: %+v", i)
	}
	if i := got[free]; i.Pricing != nil || i.PricingOf != nil || valueOf(i.Name) != "free" {
		t.Errorf("a product without prices: %+v", i)
	}
	if len(got) != 3 || len(lists) != 1 || got[other.ID].ProductID != "" {
		t.Errorf("the items are %+v, and the lists of products %v", got, lists)
	}
}
