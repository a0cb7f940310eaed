package stories_test

import (
	"fmt"
	"net/http"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
)

// The variable `damages` contains the changes that are made to subscriptions without Tenantry. Each function makes one kind of change,
// and adds the findings that the audit must report.
var damages = []func(*audited){
	func(a *audited) { a.openstack("subscription-without-tenant", "project delete %s", a.one().tenant) },
	func(a *audited) { a.openstack("customer-without-tenant", "project delete %s", a.one().customerTenant) },
	func(a *audited) { a.openstack("tenant-disabled", "project set --disable %s", a.one().tenant) },
	func(a *audited) { a.openstack("tenant-disabled", "project set --disable %s", a.one().customerTenant) },
	func(a *audited) { // the tenant of a suspended subscription is enabled
		s := a.one()
		a.insist(a.url, a.toldTo(s, "suspend"))
		a.openstack("tenant-enabled", "project set --enable %s", s.tenant)
	},
	func(a *audited) { // the tenant of an ended subscription is enabled
		s := a.one()
		a.insist(a.url, a.toldTo(s, "unsubscribe"))
		a.openstack("tenant-enabled", "project set --enable %s", s.tenant)
	},
	func(a *audited) {
		a.openstack("tenant-renamed", "project set --name renamed-%s %s", uuid.NewString()[:8], a.one().tenant)
	},
	func(a *audited) {
		a.openstack("tenant-duplicate", "project create --domain %s bs-subscription-%s", a.otherDomain, a.one().id)
	},
	func(a *audited) {
		a.openstack("tenant-without-subscription", "project create --domain %s bs-subscription-%s", a.domain, uuid.NewString())
	},
	func(a *audited) {
		a.openstack("tenant-without-customer", "project create --domain %s bs-customer-%s", a.domain, uuid.NewString())
	},
	func(a *audited) {
		s := a.one()
		a.openstack("role-missing", "role remove --project %s --user %s member", s.tenant, s.user)
	},
	func(a *audited) {
		a.openstack("role-extra-user", "role add --project %s --user %s reader", a.one().tenant, a.user)
	},
	func(a *audited) { // the subscriber has an additional role
		s := a.one()
		a.openstack("role-extra-user", "role add --project %s --user %s reader", s.customerTenant, s.user)
	},
	func(a *audited) {
		a.openstack("role-extra-group", "role add --project %s --group %s reader", a.one().tenant, a.group)
	},
	func(a *audited) {
		someone := a.made("users", "user", map[string]any{"name": uuid.NewString(), "domain_id": a.cloud.domain})
		a.openstack("role-extra-inherited", "role add --domain %s --user %s --inherited reader", a.domain, someone)
	},
	func(a *audited) { // changes the database, because no call can do this: when Keystone deletes a user, it also deletes the user's roles
		a.inKeystone = append(a.inKeystone, fmt.Sprintf("INSERT INTO assignment (type, actor_id, target_id, role_id, inherited) "+
			"SELECT 'UserProject', '%032x', '%s', id, 0 FROM role WHERE name = 'reader'", len(a.inKeystone)+1, a.one().tenant))
		a.expect("role-of-deleted-user")
	},
	func(a *audited) { a.openstack("role-of-disabled-user", "user set --disable %s", a.one().user) },
	func(a *audited) { a.openstack("subscriber-gone", "user delete %s", a.one().user) },
	func(a *audited) {
		a.openstack("role-admin", "role add --project %s --user %s admin", a.one().tenant, a.user)
	},
	func(a *audited) {
		a.openstack("tag-missing", "project set --remove-tag tenantry %s", a.one().tenant)
	},
	func(a *audited) {
		a.openstack("tag-other-merchant", "project set --tag tenantry-merchant-%s %s", a.other.ID, a.one().tenant)
	},
	func(a *audited) {
		a.openstack("tag-unknown-run", "project set --tag tenantry-run-%s %s", uuid.NewString(), a.one().tenant)
	},
	func(a *audited) {
		_, err := a.billing.RemoveSubscription(a.t.Context(), a.merchant.ID, a.one().id)
		a.ok(err)
		a.expect("tenant-without-subscription")
	},
	func(a *audited) { // the subscription and the customer are deleted
		s := a.one()
		_, err := a.billing.RemoveSubscription(a.t.Context(), a.merchant.ID, s.id)
		a.ok(err)
		_, err = a.billing.RemoveCustomer(a.t.Context(), a.merchant.ID, s.customer, nil)
		a.ok(err)
		a.expect("tenant-without-subscription")
		a.expect("tenant-without-customer")
	},
	func(a *audited) { // the subscription and its tenant are deleted
		s := a.one()
		_, err := a.billing.RemoveSubscription(a.t.Context(), a.merchant.ID, s.id)
		a.ok(err)
		a.openstack("objects-gone", "project delete %s", s.tenant)
	},
	func(a *audited) { a.bills("resource-placeholder", a.one(), "pending:"+uuid.NewString()) },
	func(a *audited) { a.bills("resource-no-project", a.one(), "0123456789abcdef0123456789abcdef") },
	func(a *audited) { // each of two subscriptions has the tenant of the other as its resource
		one, two := a.one(), a.one()
		a.bills("resource-of-other-subscription", one, two.tenant)
		a.bills("resource-of-other-subscription", two, one.tenant)
	},
	func(a *audited) { a.bills("resource-of-other-merchant", a.one(), a.othersTenant()) },
	func(a *audited) { a.bills("resource-in-foreign-domain", a.one(), a.foreign) },
	func(a *audited) {
		s := a.one()
		a.bills("resource-foreign-project", s, s.customerTenant)
	},
	func(a *audited) { a.bills("resource-shared", a.one(), a.one().tenant) },
	func(a *audited) { // a compensated run has left a project
		left := a.compensated()
		a.openstack("objects-left", "project create --domain %s --tag tenantry --tag tenantry-run-%s --tag tenantry-merchant-%s --tag tenantry-installation-%s bs-subscription-%s",
			a.domain, left.ID, a.merchant.ID, a.installation(), left.Result["subscription_id"])
	},
	func(a *audited) { // changes the database, because no call can do this: BillingStack refuses to delete a plan that has subscriptions
		plan, err := a.billing.CreatePlan(a.t.Context(), a.merchant.ID, billing.Plan{ID: uuid.NewString(), Name: "short-lived"})
		a.ok(err)
		a.insist(a.url, a.change("change-plan-"+plan.ID, a.one().id, "change-plan", fmt.Sprintf(`{"why": "a test", "plan_id": %q}`, plan.ID)))
		a.inBilling = append(a.inBilling, fmt.Sprintf("DELETE FROM billing_plans WHERE id = '%s'", plan.ID))
		a.expect("plan-gone")
	},
	func(a *audited) {
		a.patch(a.one(), "plan_id", a.newPlan.ID)
		a.expect("plan-differs")
	},
	func(a *audited) {
		a.patch(a.one(), "customer_id", a.one().customer)
		a.expect("subscription-moved")
	},
}

// othersTenant creates a subscription of the other merchant and the subscription's tenant, and returns the tenant. No run creates these
// objects.
func (a *audited) othersTenant() string {
	id := uuid.NewString()
	tenant := a.made("projects", "project", map[string]any{"name": "bs-subscription-" + id, "domain_id": a.otherDomain})
	customer, err := a.billing.EnsureCustomer(a.t.Context(), billing.Customer{ID: uuid.NewString(), MerchantID: a.other.ID, Name: "Joe"})
	a.ok(err)
	_, err = a.billing.EnsureSubscription(a.t.Context(), a.other.ID, billing.Subscription{
		ID: id, PlanID: a.otherPlan.ID, CustomerID: customer.ID, ResourceID: tenant, ResourceType: "tenant",
	})
	a.ok(err)
	return tenant
}

// The method `compensated` places an order that fails, and returns the compensated run.
func (a *audited) compensated() run {
	a.refuse.Store(true)
	defer a.refuse.Store(false)
	final := a.insist(a.url, a.portal(order{key: uuid.NewString(), token: a.newToken()}))
	if final.Status != http.StatusConflict {
		a.t.Fatalf("the run is not compensated: %s", final.Body)
	}
	return a.until(a.url, final.Run, "compensated")
}

// The method `bills` sets the resource_id of a subscription. The audit must report a finding with the code.
func (a *audited) bills(code string, s subscribed, resource string) {
	a.patch(s, "resource_id", resource)
	a.expect(code)
}
