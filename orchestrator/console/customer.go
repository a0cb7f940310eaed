package console

import (
	"net/http"
	"net/url"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

// The type `customerPage` is the content of the page of a customer.
type customerPage struct {
	objectPage

	Billed             *client.BilledCustomer
	BilledFault        string
	Subscriptions      []client.BilledSubscription
	SubscriptionsFault string
	MoreSubscriptions  string // the address of the list of all subscriptions, if there are more
	Tenant             *client.Tenant
	TenantFault        string
}

func (c *console) customer(e echo.Context) error {
	api, err := c.asPerson(e)
	if err != nil {
		return err
	}
	var page customerPage
	if page.objectPage, err = c.object(e, api, "customer"); err != nil {
		return err
	}
	ctx := e.Request().Context()
	if page.Billed, page.BilledFault, err = readCustomer(ctx, api, page.Merchant, page.ID); err != nil {
		return err
	}
	if page.Billed != nil {
		if page.Tenant, page.TenantFault, err = readTenant(ctx, api, plainOf(page.Billed.TenantID)); err != nil {
			return err
		}
	}
	answer, err := api.ListSubscriptionsWithResponse(ctx, page.Merchant, &client.ListSubscriptionsParams{Customer: &page.ID, Limit: new(subscriptionsOnPage)})
	if err != nil {
		return err
	}
	list, fault, err := partOf(answer.JSON200, answer.HTTPResponse, answer.Body)
	if err != nil {
		return err
	}
	if page.SubscriptionsFault = fault; list != nil {
		page.Subscriptions = list.Subscriptions
		for _, link := range list.Links {
			if link.Rel == "next" {
				page.MoreSubscriptions = Path + "/subscriptions?" + url.Values{"merchant": {page.Merchant}, "q": {page.ID}}.Encode()
			}
		}
	}
	return c.show(e, http.StatusOK, "customer", "Customer "+short(page.ID), page)
}
