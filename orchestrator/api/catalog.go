package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/workflows"
)

// Billing is a read-only client of BillingStack. Each method reads the objects of one merchant, and returns billing.ErrNotFound for
// the objects of other merchants.
type Billing interface {
	Merchant(ctx context.Context, id string) (billing.Merchant, error)
	PlanPage(ctx context.Context, merchantID string, p billing.Page) ([]billing.Plan, error)
	EachProduct(ctx context.Context, merchantID string, take func(billing.Product)) error
	SubscriptionPage(ctx context.Context, merchantID, customerID string, p billing.Page) ([]billing.Subscription, error)
	Subscription(ctx context.Context, merchantID, id string) (billing.Subscription, error)
	Customer(ctx context.Context, merchantID, id string) (billing.Customer, error)
}

// catalogKinds are the problem types that only the operations of this file return.
var (
	catalogKinds         = []kind{subscriptionNotFound, customerNotFound}
	subscriptionNotFound = kind{"subscription-not-found", http.StatusNotFound, false}
	customerNotFound     = kind{"customer-not-found", http.StatusNotFound, false}
)

// ListPlans lists a page of the plans of a merchant.
func (s *server) ListPlans(c echo.Context, merchantID string, p ListPlansParams) error {
	merchant, err := s.merchantOf(c, merchantID)
	if err != nil {
		return err
	}
	limit, page := pageOf(p.Limit, p.Marker)
	plans, err := s.Billing.PlanPage(c.Request().Context(), merchant.ID, page)
	if err != nil {
		return err
	}
	shown := plans[:min(limit, len(plans))]
	prices, err := s.productPrices(c.Request().Context(), merchant.ID, shown)
	if err != nil {
		return err
	}
	answer := PlanList{Plans: []Plan{}}
	for _, p := range shown {
		answer.Plans = append(answer.Plans, viewPlan(p, prices))
	}
	next := ""
	if len(plans) > limit {
		next = plans[limit-1].ID
	}
	answer.Links = pageLinks(c, next)
	return answerJSON(c, http.StatusOK, answer)
}

// productPrices returns the prices of products, by the id of the product. The result contains a product if an item of the plans with this
// product has no price of its own. BillingStack stores prices with a product, and can store other prices with the item of a plan.
func (s *server) productPrices(ctx context.Context, merchantID string, plans []billing.Plan) (map[string][]any, error) {
	prices := map[string][]any{}
	for _, p := range plans {
		for _, i := range p.Items {
			if len(i.Pricing) == 0 {
				prices[i.ProductID] = nil
			}
		}
	}
	if len(prices) == 0 {
		return nil, nil
	}
	err := s.Billing.EachProduct(ctx, merchantID, func(p billing.Product) {
		if _, wanted := prices[p.ID]; wanted {
			prices[p.ID] = p.Pricing
		}
	})
	return prices, err
}

// viewPlan returns a plan as the API shows it. An item without a pricing shows the pricing of its product.
func viewPlan(p billing.Plan, prices map[string][]any) Plan {
	view := Plan{
		ID: p.ID, Name: p.Name, Title: some(p.Title), Description: some(p.Description), Items: []PlanItem{},
	}
	if len(p.Properties) > 0 {
		view.Properties = &p.Properties
	}
	for _, i := range p.Items {
		item := PlanItem{ProductID: i.ProductID, Name: some(i.Name), Title: some(i.Title), Description: some(i.Description)}
		pricing, of := []any(i.Pricing), PricingOfItem
		if len(pricing) == 0 {
			pricing, of = prices[i.ProductID], PricingOfProduct
		}
		if len(pricing) > 0 {
			item.Pricing, item.PricingOf = &pricing, &of
		}
		view.Items = append(view.Items, item)
	}
	return view
}

// pageOf returns the maximum number of objects in the answer, and the page to read. The page to read has one more object, which shows
// whether there is a next page.
func pageOf(limit *int, marker *string) (int, billing.Page) {
	n := defaultRuns
	if limit != nil {
		n = *limit
	}
	return n, billing.Page{After: valueOf(marker), Limit: n + 1}
}

// ListSubscriptions lists a page of the merchant's subscriptions. If the request names a customer, the list has only this customer's
// subscriptions.
func (s *server) ListSubscriptions(c echo.Context, merchantID string, p ListSubscriptionsParams) error {
	merchant, err := s.merchantOf(c, merchantID)
	if err != nil {
		return err
	}
	limit, page := pageOf(p.Limit, p.Marker)
	found, err := s.Billing.SubscriptionPage(c.Request().Context(), merchant.ID, valueOf(p.Customer), page)
	if err != nil {
		return err
	}
	shown := found[:min(limit, len(found))]
	known, err := s.standings(c, merchant.ID, shown...)
	if err != nil {
		return err
	}
	answer := SubscriptionList{Subscriptions: []BilledSubscription{}}
	for _, one := range shown {
		answer.Subscriptions = append(answer.Subscriptions, known.view(callerOf(c), one))
	}
	next := ""
	if len(found) > limit {
		next = found[limit-1].ID
	}
	answer.Links = pageLinks(c, next)
	return answerJSON(c, http.StatusOK, answer)
}

// GetSubscription shows a subscription of the merchant.
func (s *server) GetSubscription(c echo.Context, merchantID, subscriptionID string) error {
	merchant, err := s.merchantOf(c, merchantID)
	if err != nil {
		return err
	}
	found, err := s.Billing.Subscription(c.Request().Context(), merchant.ID, subscriptionID)
	if errors.Is(err, billing.ErrNotFound) {
		return refuse(subscriptionNotFound, "there is no such subscription")
	}
	if err != nil {
		return err
	}
	known, err := s.standings(c, merchant.ID, found)
	if err != nil {
		return err
	}
	return answerJSON(c, http.StatusOK, known.view(callerOf(c), found))
}

// The type `known` contains the standings and the endings of subscriptions, by id.
type known struct {
	standings map[string]workflows.Standing
	endings   map[string]saga.FollowUp
}

// The method `standings` returns the standings and the endings of subscriptions.
func (s *server) standings(c echo.Context, merchantID string, of ...billing.Subscription) (k known, err error) {
	var ids, ending []string
	for _, one := range of {
		ids = append(ids, one.ID)
	}
	if k.standings, err = s.Admit.Standings(c.Request().Context(), merchantID, ids); err != nil {
		return k, err
	}
	for id, standing := range k.standings {
		if standing.State == workflows.SubscriptionEnding {
			ending = append(ending, id)
		}
	}
	if len(ending) > 0 {
		k.endings, err = s.Admit.Endings(c.Request().Context(), merchantID, ending)
	}
	return k, err
}

// The method `view` converts a billing.Subscription to the BilledSubscription of the API.
func (k known) view(w caller, s billing.Subscription) BilledSubscription {
	view := BilledSubscription{
		ID: s.ID, PlanID: s.PlanID, CustomerID: s.CustomerID, ResourceID: s.ResourceID, ResourceType: some(s.ResourceType),
		BillingDay: s.BillingDay, PaymentMethodID: s.PaymentMethodID,
	}
	var actions []string
	if standing, made := k.standings[s.ID]; made {
		actions = standing.Changes(w.merchant == nil)
		view.State, view.RunID = some(SubscriptionState(standing.State)), some(standing.RunID)
		view.SuspendedByOperator = some(standing.Suspension != nil && standing.Suspension.ByOperator)
	}
	if ending, is := k.endings[s.ID]; is {
		view.EndsAt = &ending.DueAt
		if ending.Reason != nil {
			view.EndingReason = viewFailure(ending.Reason)
		}
		if h := ending.Hold; h != nil {
			view.EndingHeld = &EndingHold{At: h.At, Who: h.Who, Why: h.Why}
		}
		switch {
		case w.merchant != nil:
		case ending.Hold != nil:
			actions = append(actions, "hold", "release")
		default:
			actions = append(actions, "hold")
		}
	}
	view.Actions = list(actions)
	return view
}

// GetCustomer shows a customer of the merchant.
func (s *server) GetCustomer(c echo.Context, merchantID, customerID string) error {
	merchant, err := s.merchantOf(c, merchantID)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	found, err := s.Billing.Customer(ctx, merchant.ID, customerID)
	if errors.Is(err, billing.ErrNotFound) {
		return refuse(customerNotFound, "there is no such customer")
	}
	if err != nil {
		return err
	}
	tenant, err := s.customerTenant(ctx, merchant.ID, customerID)
	if err != nil {
		return err
	}
	return answerJSON(c, http.StatusOK, BilledCustomer{
		ID: found.ID, Name: found.Name, Currency: some(found.Currency), Language: some(found.Language), TenantID: some(tenant),
	})
}

// To find the customer's tenant, the API reads the customer's runs. runsOfCustomer is the number of runs that are read at once, and
// maxRunsOfCustomer is the maximum number of all runs that are read.
const (
	runsOfCustomer    = 50
	maxRunsOfCustomer = 1000
)

// customerTenant returns the id of the customer's tenant that the newest run has recorded. If no run has recorded a tenant, the result is
// empty.
func (s *server) customerTenant(ctx context.Context, merchantID, customerID string) (id string, err error) {
	filter := saga.Filter{Merchant: merchantID, Objects: []saga.ObjectRef{{Kind: "customer", ID: customerID}}, Limit: runsOfCustomer}
	for range maxRunsOfCustomer / runsOfCustomer {
		runs, err := s.Runs.Runs(ctx, filter)
		if err != nil {
			return "", err
		}
		for _, r := range runs {
			for _, o := range r.Objects {
				if o.Kind == "project" && o.Name == keystone.CustomerTenant(customerID) {
					return o.ID, nil
				}
			}
		}
		if len(runs) < runsOfCustomer {
			break
		}
		filter.Before = runs[len(runs)-1].ID
	}
	return "", nil
}
