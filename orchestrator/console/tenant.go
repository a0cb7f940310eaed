package console

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/api/client"
)

// The type `tenantPage` is the content of the page of a tenant. A tenant belongs to a customer or to a subscription.
type tenantPage struct {
	objectPage

	Tenant       *client.Tenant
	TenantFault  string
	Customer     *client.BilledCustomer
	Subscription *client.BilledSubscription
	BilledFault  string
}

func (c *console) tenant(e echo.Context) error {
	api, err := c.asPerson(e)
	if err != nil {
		return err
	}
	var page tenantPage
	if page.objectPage, err = c.object(e, api, "project"); err != nil {
		return err
	}
	ctx := e.Request().Context()
	if page.Tenant, page.TenantFault, err = readTenant(ctx, api, page.ID); err != nil {
		return err
	}
	switch customer, subscription := keystone.TenantOf(page.Name()); {
	case customer != "":
		page.Customer, page.BilledFault, err = readCustomer(ctx, api, page.Merchant, customer)
	case subscription != "":
		page.Subscription, page.BilledFault, err = readSubscription(ctx, api, page.Merchant, subscription)
	}
	if err != nil {
		return err
	}
	return c.show(e, http.StatusOK, "tenant", "Tenant "+short(page.ID), page)
}

// Name returns the name of the tenant in Keystone, or the name that a run has recorded.
func (p tenantPage) Name() string {
	if p.Tenant != nil && p.Tenant.Name != nil {
		return *p.Tenant.Name
	}
	for _, one := range p.Entries {
		if one.Kind == "project" && one.ID == p.ID && one.Name != nil {
			return *one.Name
		}
	}
	return ""
}
