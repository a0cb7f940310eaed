package billing

import (
	"context"
	"fmt"
	"net/http"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// Currency returns the currency with the given name, or ErrNotFound.
func (c *Client) Currency(ctx context.Context, name string) (Currency, error) {
	return named(ctx, c, "currency", "/currencies", name, func(found Currency) string { return found.Name })
}

// Language returns the language with the given name, or ErrNotFound.
func (c *Client) Language(ctx context.Context, name string) (Language, error) {
	return named(ctx, c, "language", "/languages", name, func(found Language) string { return found.Name })
}

// CreateCurrency adds an ISO 4217 currency. CreateCurrency succeeds if the currency exists already. An original BillingStack
// server has no currencies at first.
func (c *Client) CreateCurrency(ctx context.Context, name string) error {
	return createNamed(ctx, c, "currency", "/currencies", name)
}

// CreateLanguage adds an ISO 639-2/T language. CreateLanguage succeeds if the language exists already.
func (c *Client) CreateLanguage(ctx context.Context, name string) error {
	return createNamed(ctx, c, "language", "/languages", name)
}

func named[T any](ctx context.Context, c *Client, kind, collection, name string, nameOf func(T) string) (T, error) {
	op := fmt.Sprintf("reading %s %q", kind, upstream.Clean(name))
	var none T
	if err := checkName(op, name); err != nil {
		return none, err
	}
	found, err := read[T](ctx, c, op, collection, []Condition{{Field: "name", Value: name}})
	if err != nil {
		return none, err
	}
	for _, one := range found {
		if nameOf(one) == name {
			return one, nil
		}
	}
	return none, &upstream.Error{Service: Service, Class: upstream.Permanent, Op: op, Err: ErrNotFound}
}

func createNamed(ctx context.Context, c *Client, kind, collection, name string) error {
	op := fmt.Sprintf("creating %s %q", kind, upstream.Clean(name))
	if err := checkName(op, name); err != nil {
		return err
	}
	err := c.call(ctx, request{op: op, method: http.MethodPost, path: collection, body: map[string]string{"name": name}})
	if err == nil {
		return nil
	}
	nameOf := func(found Currency) string { return found.Name } // a language has the same fields as a currency
	if _, lookErr := named(ctx, c, kind, collection, name, nameOf); lookErr == nil {
		return nil
	}
	return err
}

// Merchant returns the merchant with the given id, or ErrNotFound.
func (c *Client) Merchant(ctx context.Context, id string) (Merchant, error) {
	op := fmt.Sprintf("reading merchant %q", upstream.Clean(id))
	if err := checkIDs(op, namedID{"merchant", id}); err != nil {
		return Merchant{}, err
	}
	found, err := find[Merchant](ctx, c, op, "/merchants", id)
	if err == nil && found.ID != id {
		err = &upstream.Error{Service: Service, Class: upstream.Permanent, Op: op, Err: ErrNotFound}
	}
	if err != nil {
		return Merchant{}, err
	}
	return found, nil
}

// CreateMerchant creates a merchant. The call may be repeated if want.ID is set. If want.ID is empty, the server chooses the id.
func (c *Client) CreateMerchant(ctx context.Context, want Merchant) (Merchant, error) {
	return create(ctx, c, creation[Merchant]{
		op: "creating merchant " + upstream.Clean(want.Name), collection: "/merchants", id: want.ID, want: want,
		idOf: func(found Merchant) string { return found.ID },
		same: func(found Merchant) bool { return found == want },
	})
}

// The function `create` calls ensure if the caller has chosen the id, and otherwise posts the object once.
func create[T any](ctx context.Context, c *Client, n creation[T]) (T, error) {
	var none T
	if n.id == "" {
		return n.create(ctx, c)
	}
	if err := checkIDs(n.op, namedID{"new", n.id}); err != nil {
		return none, err
	}
	return n.ensure(ctx, c)
}

func plansOf(merchantID string) string { return "/merchants/" + merchantID + "/plans" }

func productsOf(merchantID string) string { return "/merchants/" + merchantID + "/products" }

// PlanPage lists a part of the merchant's plans with their items, sorted by id. PlanPage returns no plans for an unknown merchant.
func (c *Client) PlanPage(ctx context.Context, merchantID string, p Page) ([]Plan, error) {
	op := fmt.Sprintf("listing the plans of merchant %q", upstream.Clean(merchantID))
	if err := checkIDs(op, namedID{"merchant", merchantID}); err != nil {
		return nil, err
	}
	return page(ctx, c, op, plansOf(merchantID), nil, p, func(plan Plan) string { return plan.ID })
}

// Plan returns the merchant's plan with the given id, or ErrNotFound. Plan filters the list of the merchant's plans, because a
// GET of a plan's URL would also return a plan of another merchant.
func (c *Client) Plan(ctx context.Context, merchantID, id string) (Plan, error) {
	op := fmt.Sprintf("reading plan %q", upstream.Clean(id))
	if err := checkIDs(op, namedID{"merchant", merchantID}, namedID{"plan", id}); err != nil {
		return Plan{}, err
	}
	found, err := find[Plan](ctx, c, op, plansOf(merchantID), id)
	if err == nil && found.ID != id {
		err = &upstream.Error{Service: Service, Class: upstream.Permanent, Op: op, Err: ErrNotFound}
	}
	if err != nil {
		return Plan{}, err
	}
	return found, nil
}

// EachProduct calls the function `take` for each of the merchant's products, while the list is being read. If EachProduct returns an error,
// the list is incomplete, and take may have been called. BillingStack answers with an empty list if it does not have the merchant.
func (c *Client) EachProduct(ctx context.Context, merchantID string, take func(Product)) error {
	op := fmt.Sprintf("listing the products of merchant %q", upstream.Clean(merchantID))
	if err := checkIDs(op, namedID{"merchant", merchantID}); err != nil {
		return err
	}
	return each(ctx, c, op, productsOf(merchantID), nil, take)
}

// CreateProduct creates a product of the merchant. The call may be repeated if want.ID is set. If want.ID is empty, the server
// chooses the id.
func (c *Client) CreateProduct(ctx context.Context, merchantID string, want Product) (Product, error) {
	op := "creating product " + upstream.Clean(want.Name)
	if err := checkIDs(op, namedID{"merchant", merchantID}); err != nil {
		return Product{}, err
	}
	return create(ctx, c, creation[Product]{
		op: op, merchantID: merchantID, collection: productsOf(merchantID), id: want.ID, want: want,
		idOf: func(found Product) string { return found.ID },
		same: func(found Product) bool { return found.Name == want.Name },
	})
}

// CreatePlan creates a plan of the merchant, without items. The call may be repeated if want.ID is set. If want.ID is empty, the
// server chooses the id.
func (c *Client) CreatePlan(ctx context.Context, merchantID string, want Plan) (Plan, error) {
	op := "creating plan " + upstream.Clean(want.Name)
	if err := checkIDs(op, namedID{"merchant", merchantID}); err != nil {
		return Plan{}, err
	}
	want.Items = nil // AddPlanItem adds items
	return create(ctx, c, creation[Plan]{
		op: op, merchantID: merchantID, collection: plansOf(merchantID), id: want.ID, want: want,
		idOf: func(found Plan) string { return found.ID },
		same: func(found Plan) bool { return found.Name == want.Name },
	})
}

// AddPlanItem adds a product to a plan. AddPlanItem succeeds if the plan already has the product.
func (c *Client) AddPlanItem(ctx context.Context, merchantID, planID, productID string) error {
	op := fmt.Sprintf("adding product %q to plan %q", upstream.Clean(productID), upstream.Clean(planID))
	if err := checkIDs(op, namedID{"merchant", merchantID}, namedID{"plan", planID}, namedID{"product", productID}); err != nil {
		return err
	}
	err := c.call(ctx, request{
		op: op, method: http.MethodPut, path: plansOf(merchantID) + "/" + planID + "/items/" + productID,
		item: planID, body: struct{}{},
	})
	if err == nil {
		return nil
	}
	plan, lookErr := c.Plan(ctx, merchantID, planID)
	if lookErr != nil {
		return err
	}
	for _, item := range plan.Items {
		if item.ProductID == productID {
			return nil
		}
	}
	return err
}
