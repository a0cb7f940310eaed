package workflowstest

import (
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/workflows"
)

func subscribeTrial() Trial {
	return Trial{
		Define: func(d workflows.Deps) (*saga.Definition, error) { return saga.Define(workflows.Subscribe(d)) },
		Request: func(g Ground) saga.Request {
			o := workflows.Order{
				Asked: workflows.Asked{MerchantID: g.MerchantID, PlanID: g.PlanID, CustomerID: g.CustomerID, AddUser: g.CustomerID != ""},
				Resolved: workflows.Resolved{
					Cloud: g.Cloud, DomainID: g.DomainID, UserID: g.User,
					CustomerRoles: g.Roles, SubscriptionRoles: g.Roles[:1], CheckedAt: g.CheckedAt,
				},
			}
			if g.CustomerID == "" {
				o.NewCustomer = &workflows.NewCustomer{Name: "Customer", Currency: "eur", Language: "eng"}
			}
			return o.Request(g.RunID, "")
		},
		Do: map[string]string{
			"create-customer": Billing, "create-customer-tenant": Keystone, "assign-customer-role/bs-admin": Keystone,
			"scope-token": Exchange, "create-subscription": Billing, "create-subscription-tenant": Keystone,
			"assign-subscription-role/member": Keystone, "attach-tenant": Billing,
		},
		Undo: map[string]string{
			"create-customer": Billing, "create-customer-tenant": Keystone, "create-subscription": Billing,
			"create-subscription-tenant": Keystone,
		},
		Refused: "attach-tenant",
		Reading: "check", Reads: []string{Billing, Keystone},
		Ends: map[string]Ends{
			// The BillingStack client's RemoveCustomer repeats a refused DELETE once.
			"undo create-customer, 409": {Once: string(saga.Compensated), Always: string(saga.Stuck)},
			// If BillingStack answers the PATCH with 404, the subscription does not exist.
			"do attach-tenant, 404": {Once: string(saga.Compensated), Always: string(saga.Compensated)},
		},
		// The step `check` makes a call only for an existing customer. If the run adopts a customer and its tenant, only the role assignments
		// are undone.
		Places: []Place{
			{Step: "check", Call: "GET role_assignments", Adopted: true},
			{Step: "create-customer", Call: "POST customers"},
			{Step: "create-customer-tenant", Call: "POST projects bs-customer"},
			{Step: "assign-customer-role/member", Call: "PUT roles/member on bs-customer"},
			{Step: "assign-customer-role/bs-admin", Call: "PUT roles/bs-admin on bs-customer"},
			{Step: "assign-customer-role/bs-admin", Call: "PUT roles/bs-admin on bs-customer", Adopted: true},
			{Step: "scope-token", Call: "POST tokens"},
			{Step: "create-subscription", Call: "POST subscriptions"},
			{Step: "create-subscription-tenant", Call: "POST projects bs-subscription"},
			{Step: "assign-subscription-role/member", Call: "PUT roles/member on bs-subscription"},
			{Step: "attach-tenant", Call: "PATCH subscriptions"},

			{Undo: true, Step: "assign-subscription-role/member"},
			{Undo: true, Step: "create-subscription-tenant", Call: "DELETE projects bs-subscription"},
			{Undo: true, Step: "create-subscription", Call: "DELETE subscriptions"},
			{Undo: true, Step: "assign-customer-role/member"},
			{Undo: true, Step: "assign-customer-role/member", Call: "DELETE roles/member on bs-customer", Adopted: true},
			{Undo: true, Step: "assign-customer-role/bs-admin"},
			{Undo: true, Step: "assign-customer-role/bs-admin", Call: "DELETE roles/bs-admin on bs-customer", Adopted: true},
			{Undo: true, Step: "create-customer-tenant", Call: "DELETE projects bs-customer"},
			{Undo: true, Step: "create-customer", Call: "DELETE customers"},
		},
	}
}
