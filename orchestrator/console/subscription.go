package console

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

// plansOnPage is the maximum number of plans that a person can choose from. If there are more, the person types the plan's id.
const plansOnPage = 200

// The type `subscriptionPage` is the content of the page of a subscription.
type subscriptionPage struct {
	objectPage
	typed

	Billed      *client.BilledSubscription
	BilledFault string
	Customer    *client.BilledCustomer
	Plans       []client.Plan
	Choose      bool // the person can choose from all plans
	Tenant      *client.Tenant
	TenantFault string
	Usage       usageView
	Done, Fault string // the result of the last action, or the reason why it was refused
}

// The type `typed` has the person's input for a change of a subscription.
type typed struct {
	Why, PlanID, AddUser string
	Force                bool
}

func typedIn(e echo.Context) typed {
	return typed{
		Why: strings.TrimSpace(e.FormValue("why")), PlanID: strings.TrimSpace(e.FormValue("plan_id")), AddUser: strings.TrimSpace(e.FormValue("add_user")),
		Force: e.FormValue("force") != "",
	}
}

// Can reports whether the person can ask for an action in the present state of the subscription.
func (s subscriptionPage) Can(action string) bool {
	return s.Billed != nil && s.Billed.Actions != nil && slices.Contains(*s.Billed.Actions, action)
}

// Idle reports whether the person can request no change.
func (s subscriptionPage) Idle() bool {
	return s.Billed == nil || s.Billed.Actions == nil || len(*s.Billed.Actions) == 0
}

// State returns the state of the subscription, if Tenantry knows it.
func (s subscriptionPage) State() string {
	if s.Billed == nil {
		return ""
	}
	return plainOf(s.Billed.State)
}

// Ends returns the time at which the removal of the tenant is due.
func (s subscriptionPage) Ends() *moment {
	if s.Billed == nil || s.Billed.EndsAt == nil {
		return nil
	}
	return &moment{*s.Billed.EndsAt, s.Now}
}

// HeldSince returns the time at which the removal of the tenant was held.
func (s subscriptionPage) HeldSince() moment { return moment{s.Billed.EndingHeld.At, s.Now} }

// Plan returns the plan of the subscription, if BillingStack has it.
func (s subscriptionPage) Plan() *client.Plan {
	i := slices.IndexFunc(s.Plans, func(p client.Plan) bool { return s.Billed != nil && p.ID == s.Billed.PlanID })
	if i < 0 {
		return nil
	}
	return &s.Plans[i]
}

// OtherPlans returns the plans that the subscription does not have.
func (s subscriptionPage) OtherPlans() []client.Plan {
	return slices.DeleteFunc(slices.Clone(s.Plans), func(p client.Plan) bool { return s.Billed != nil && p.ID == s.Billed.PlanID })
}

func (c *console) subscription(e echo.Context) error {
	return c.showSubscription(e, http.StatusOK, typed{}, "")
}

// showSubscription answers with the page of a subscription. The parameters are the status, the person's input, and the reason why the input was
// refused.
func (c *console) showSubscription(e echo.Context, status int, t typed, fault string) error {
	api, err := c.asPerson(e)
	if err != nil {
		return err
	}
	ctx := e.Request().Context()
	page := subscriptionPage{typed: t, Fault: fault, Done: changedText[e.QueryParam("done")]}
	if page.objectPage, err = c.object(e, api, "subscription"); err != nil {
		return err
	}
	if page.Billed, page.BilledFault, err = readSubscription(ctx, api, page.Merchant, page.ID); err != nil {
		return err
	}
	if page.Billed != nil {
		if err := page.readRest(ctx, api); err != nil {
			return err
		}
	}
	if page.Usage, err = c.readUsage(e, api, page.Merchant, page.ID, page.Now); err != nil {
		return err
	}
	return c.show(e, status, "subscription", "Subscription "+short(page.ID), page)
}

// readRest reads the objects that the subscription names: its plan, its customer and its tenant.
func (s *subscriptionPage) readRest(ctx context.Context, api *client.ClientWithResponses) (err error) {
	plans, err := api.ListPlansWithResponse(ctx, s.Merchant, &client.ListPlansParams{Limit: new(plansOnPage)})
	if err != nil {
		return err
	}
	list, _, err := partOf(plans.JSON200, plans.HTTPResponse, plans.Body)
	if err != nil {
		return err
	}
	if list != nil {
		s.Plans = list.Plans
		s.Choose = !slices.ContainsFunc(list.Links, func(l client.Link) bool { return l.Rel == "next" })
		slices.SortFunc(s.Plans, func(a, b client.Plan) int { return cmp.Compare(a.Name, b.Name) })
	}
	if s.Customer, _, err = readCustomer(ctx, api, s.Merchant, s.Billed.CustomerID); err != nil {
		return err
	}
	if s.Tenant, s.TenantFault, err = readTenant(ctx, api, s.Billed.ResourceID); err != nil {
		return err
	}
	return nil
}

// subscriptionsOnPage is the number of subscriptions on a page.
const subscriptionsOnPage = 50

// The type `subscriptionList` is the content of the page with subscriptions.
type subscriptionList struct {
	Portal          bool
	Query, Merchant string // the filter, as it was typed
	Merchants       []client.Merchant
	Subscriptions   []client.BilledSubscription
	Nothing         string // why the list is empty
	First, Next     string // the addresses of the other pages
}

func (c *console) subscriptions(e echo.Context) error {
	api, err := c.asPerson(e)
	if err != nil {
		return err
	}
	p, _ := personOf(e)
	ctx, q := e.Request().Context(), e.QueryParams()
	list := subscriptionList{Portal: p.Portal(), Query: typedQuery(q.Get("q")), Merchant: cmp.Or(p.Merchant, typedQuery(q.Get("merchant")))}
	if match := tenantName.FindStringSubmatch(list.Query); match != nil {
		list.Query = match[2]
	}
	if list.Query != "" && !dashedID.MatchString(list.Query) {
		list.Nothing = "Search by the id of a subscription, by the id of a customer, or by the name of a tenant."
	}
	if !list.Portal {
		if err := list.readMerchants(ctx, api); err != nil {
			return err
		}
	}
	switch {
	case list.Nothing != "":
		return c.show(e, http.StatusOK, "subscriptions", "Subscriptions", list)
	case list.Query != "":
		to, merchant, err := findSubscription(ctx, api, list.Query, list.Merchant)
		if err != nil {
			return err
		}
		if to != "" {
			return e.Redirect(http.StatusSeeOther, to)
		}
		list.Merchant = cmp.Or(list.Merchant, merchant)
	}
	if list.Merchant == "" {
		list.Nothing = "Choose a merchant, or search by an id."
		return c.show(e, http.StatusOK, "subscriptions", "Subscriptions", list)
	}
	params := client.ListSubscriptionsParams{Limit: new(subscriptionsOnPage)}
	if list.Query != "" {
		params.Customer = &list.Query
	}
	if marker := q.Get("marker"); marker != "" {
		params.Marker, list.First = &marker, withoutMarker(e.Request().URL)
	}
	answer, err := api.ListSubscriptionsWithResponse(ctx, list.Merchant, &params)
	if err != nil {
		return err
	}
	page, err := answered(answer.JSON200, err, answer.HTTPResponse, answer.Body)
	if err != nil {
		return err
	}
	list.Subscriptions, list.Next, list.Nothing = page.Subscriptions, nextPage(e.Request().URL, page.Links), "There is no subscription."
	return c.show(e, http.StatusOK, "subscriptions", "Subscriptions", list)
}

// readMerchants reads the merchants that an operator can choose from. If there is only one, it is chosen.
func (l *subscriptionList) readMerchants(ctx context.Context, api *client.ClientWithResponses) error {
	answer, err := api.ListMerchantsWithResponse(ctx, &client.ListMerchantsParams{Limit: new(200)})
	if err != nil {
		return err
	}
	all, err := answered(answer.JSON200, err, answer.HTTPResponse, answer.Body)
	if err != nil {
		return err
	}
	l.Merchants = all.Merchants
	slices.SortFunc(l.Merchants, func(a, b client.Merchant) int { return cmp.Compare(a.Name, b.Name) })
	if len(l.Merchants) == 1 {
		l.Merchant = l.Merchants[0].MerchantID
	}
	return nil
}

// findSubscription returns the address of the page of the subscription with this id. If there is no such subscription, but a customer with this
// id, findSubscription returns the customer's merchant.
func findSubscription(ctx context.Context, api *client.ClientWithResponses, id, merchant string) (page, of string, err error) {
	for _, kind := range []string{"subscription", "customer"} {
		answer, err := api.ListRunsWithResponse(ctx, &client.ListRunsParams{Object: &[]string{kind + ":" + id}, Limit: new(1)})
		if err != nil {
			return "", "", err
		}
		list, err := answered(answer.JSON200, err, answer.HTTPResponse, answer.Body)
		switch {
		case err != nil:
			return "", "", err
		case len(list.Runs) > 0 && kind == "subscription":
			return objectPath(kind, id), "", nil
		case len(list.Runs) > 0:
			return "", list.Runs[0].MerchantID, nil
		}
	}
	if merchant == "" {
		return "", "", nil
	}
	found, _, err := readSubscription(ctx, api, merchant, id)
	if found == nil {
		return "", "", err
	}
	return objectPath("subscription", id) + "?merchant=" + url.QueryEscape(merchant), "", nil
}
