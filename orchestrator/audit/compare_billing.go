package audit

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tenantry/tenantry/keystone"
)

// compareCustomers reports customers that are gone, that are left over, or that have no tenant.
func (c *comparison) compareCustomers() {
	for id, want := range c.ledger.customers {
		list := listOf(partCustomers, want.merchant)
		about := Finding{MerchantID: want.merchant, CustomerID: id, RunID: want.run, Objects: []Object{object(kindCustomer, id, "")}}
		about.Cloud = c.merchantFound(want.merchant).cloud
		found := c.world.customers[id]
		t := c.customerTenants[id]
		if t != nil {
			about.Cloud = t.cloud
		}
		switch {
		case want.gone && found != nil:
			if found.merchant == want.merchant && !want.missing {
				about.Repair.Action, about.Repair.Values = RemoveCustomer, map[string]string{"customer_id": id}
			}
			c.report(ObjectsLeft, about, want.subject, "", want.left("customer"), kindCustomer, id)
		case want.gone:
		case found == nil:
			c.expects(partCustomers, list, about)
			if t == nil || c.project(t) == nil { // otherwise, compareOwner reports the tenant
				c.report(ObjectsGone, about, want.subject, list, "run "+want.run+" has used the customer, but the merchant no longer has the customer in BillingStack", kindCustomer, id)
			}
		case found.merchant != want.merchant:
			about.Objects = append(about.Objects, object(kindMerchant, found.merchant, ""))
			c.report(CustomerMoved, about, want.subject, "", "BillingStack has the customer under merchant "+found.merchant, kindCustomer, id)
		default:
			c.expects(partCustomers, list, about)
			c.compareCustomerTenant(about, want, t)
		}
	}
	for id, found := range c.world.customers {
		if run := c.left[left{kindCustomer, "", id}]; run != "" && c.ledger.customers[id] == nil {
			about := Finding{Cloud: c.merchantFound(found.merchant).cloud, MerchantID: found.merchant, CustomerID: id, RunID: run, Objects: []Object{object(kindCustomer, id, "")}}
			if c.runs[run].merchant == found.merchant {
				about.Repair.Action, about.Repair.Values = RemoveCustomer, map[string]string{"customer_id": id}
			}
			c.report(ObjectsLeft, about, "", "", "run "+run+" is compensated, but its customer still exists", kindCustomer, id)
		}
	}
}

// The method `left` returns the detail of the finding about a customer or subscription that a run has removed, but that exists in
// BillingStack.
func (m *made) left(kind string) string {
	if m.missing {
		return "the " + kind + " was missing in BillingStack when run " + m.run + " removed its tenant, but the " + kind + " exists again"
	}
	return "run " + m.run + " has deleted the " + kind + ", but BillingStack has it"
}

// compareCustomerTenant reports a customer whose tenant is gone.
func (c *comparison) compareCustomerTenant(about Finding, want *customer, t *tenant) {
	if t == nil {
		return
	}
	list := listOf(partProjects, t.cloud)
	c.expects(partProjects, list, Finding{Cloud: t.cloud, MerchantID: t.merchant, ProjectID: t.id})
	if c.project(t) != nil {
		return
	}
	about.ProjectID, about.Objects = t.id, append(about.Objects, object(kindProject, t.id, t.name))
	omitted := ""
	about.Repair.Action, about.Repair.Values, omitted = c.createTenant(t)
	c.report(CustomerWithoutTenant, about, want.subject, list, "the customer's tenant "+t.name+" does not exist"+omitted, kindCustomer, about.CustomerID)
}

// createTenant returns the repair that creates a tenant again, with the roles that users had on it. The action is empty if one of these
// reasons prevents the creation: the tenant's subscription has ended, another project has the tenant's name, the tenant's domain is not
// known, or the tenant had too many roles. The result `omitted` names the roles that the repair does not assign again. It is a text for the
// end of the finding's detail.
func (c *comparison) createTenant(t *tenant) (action RepairAction, values map[string]string, omitted string) {
	cloud := c.cloudFound(t.cloud)
	taken := slices.ContainsFunc(cloud.named[t.name], func(id string) bool { return cloud.projects[id].DomainID == t.domain })
	if t.ended() || taken || t.domain == "" {
		return "", nil, ""
	}
	v := map[string]string{"tenant": t.name, "domain_id": t.domain, "old_project_id": t.id, "enabled": strconv.FormatBool(!t.disabled)}
	var roles, others []string
	for _, r := range c.wanted(t) {
		switch {
		case cloud.users[r.user] == userGone:
		case cloud.admin[r.role] && !c.allowAdmin, !keystone.ValidID(r.name):
			others = append(others, cmp.Or(r.name, r.role)+" of user "+c.userName(t.cloud, r.user))
		default:
			roles = append(roles, r.user+"/"+r.role+"/"+r.name)
		}
	}
	if len(roles) > maxRoleValues {
		return "", nil, ""
	}
	slices.Sort(roles)
	for i, r := range roles {
		v[fmt.Sprintf("%s%03d", RoleValue, i+1)] = r
	}
	return CreateTenant, v, omittedRoles(others)
}

// maxOmitted is the maximum number of omitted roles that the detail of a finding names.
const maxOmitted = 10

func omittedRoles(all []string) string {
	if len(all) == 0 {
		return ""
	}
	slices.Sort(all)
	named := all[:min(len(all), maxOmitted)]
	text := "; a repair that creates the tenant again does not assign these roles: " + strings.Join(named, ", ")
	if more := len(all) - len(named); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// compareSubscriptions reports subscriptions that are gone, that are left over, or that differ from their orders.
func (c *comparison) compareSubscriptions() {
	for id, want := range c.ledger.subscriptions {
		found := c.world.subscriptions[id]
		about := Finding{
			Cloud: want.cloud, MerchantID: want.merchant, CustomerID: want.customer, SubscriptionID: id, RunID: want.run,
			Objects: []Object{object(kindSubscription, id, "")},
		}
		switch {
		case want.gone && found != nil:
			if found.merchant == want.merchant && !want.missing {
				about.Repair.Action, about.Repair.Values = RemoveSubscription, map[string]string{"subscription_id": id, "resource_id": found.resource}
			}
			c.report(ObjectsLeft, about, want.subject, "", want.left("subscription"), kindSubscription, id)
		case want.gone:
		case found == nil:
			c.subscriptionGone(about, want)
		default:
			c.expects(partSubscriptions, listOf(partSubscriptions, want.merchant), Finding{MerchantID: want.merchant})
			c.compareSubscription(about, want, found)
		}
	}
	for id, found := range c.world.subscriptions {
		if c.ledger.subscriptions[id] == nil {
			c.strangeSubscription(id, found)
		}
	}
	c.compareResources()
}

func (c *comparison) subscriptionGone(about Finding, want *subscription) {
	list := listOf(partSubscriptions, want.merchant)
	c.expects(partSubscriptions, list, Finding{MerchantID: want.merchant})
	if t := c.tenantOf(want); t != nil && c.project(t) != nil {
		return // compareOwner reports the tenant
	}
	if customer := c.ledger.customers[want.customer]; customer != nil && c.world.customers[want.customer] == nil {
		return // compareCustomers reports the customer
	}
	c.report(ObjectsGone, about, want.subject, list, "run "+want.run+" has used the subscription, but the merchant no longer has the subscription in BillingStack", kindSubscription, about.SubscriptionID)
}

// compareSubscription compares the fields of a subscription that a run has made.
func (c *comparison) compareSubscription(about Finding, want *subscription, found *foundSubscription) {
	id := about.SubscriptionID
	switch {
	case found.customer != want.customer || found.merchant != want.merchant && !c.moved(want.customer):
		detail := fmt.Sprintf("the subscription belongs to customer %s of merchant %s, but should belong to customer %s", found.customer, found.merchant, want.customer)
		c.report(SubscriptionMoved, about, want.subject, "", detail, id)
	case c.moved(want.customer): // the plan is not compared: the other merchant has other plans
	case c.merchantFound(found.merchant).plansRead && !c.merchantFound(found.merchant).plans[found.plan]:
		c.planGone(about, want.subject, found)
	case found.plan != want.plan:
		about.Objects = append(about.Objects, object("plan", found.plan, ""))
		about.Repair.Advice = fmt.Sprintf("tenantry subscriptions change-plan %s --merchant %s --plan PLAN --why ...", id, want.merchant)
		c.report(PlanDiffers, about, want.subject, "", fmt.Sprintf("the subscription has plan %s, and should have plan %s", found.plan, want.plan), id)
	}
	t := c.tenantOf(want)
	if t == nil {
		return
	}
	list := listOf(partProjects, t.cloud)
	c.expects(partProjects, list, Finding{Cloud: t.cloud, MerchantID: t.merchant, ProjectID: t.id})
	if c.project(t) != nil {
		return
	}
	about.ProjectID, about.Objects = t.id, append(about.Objects, object(kindProject, t.id, t.name))
	omitted := ""
	if about.Repair.Action, about.Repair.Values, omitted = c.createTenant(t); about.Repair.Action != "" {
		about.Repair.Values["subscription_id"], about.Repair.Values["old_resource_id"] = id, found.resource
	}
	detail := "the subscription's tenant " + t.name + " does not exist" + omitted
	if others := c.cloudFound(t.cloud).named[t.name]; len(others) > 0 {
		detail += "; project " + others[0] + " has the tenant's name"
	}
	c.report(SubscriptionWithoutTenant, about, want.subject, list, detail, kindSubscription, id)
}

// The method `moved` reports whether the customer's merchant in BillingStack differs from the customer's merchant in the ledger.
func (c *comparison) moved(customerID string) bool {
	want, found := c.ledger.customers[customerID], c.world.customers[customerID]
	return want != nil && found != nil && want.merchant != found.merchant
}

func (c *comparison) planGone(about Finding, subject string, found *foundSubscription) {
	about.Objects = append(about.Objects, object("plan", found.plan, ""))
	about.Repair.Advice = fmt.Sprintf("tenantry subscriptions change-plan %s --merchant %s --plan PLAN --why ...", about.SubscriptionID, about.MerchantID)
	c.report(PlanGone, about, subject, "", "the merchant no longer has plan "+found.plan, about.SubscriptionID)
}

// strangeSubscription compares a subscription that is not in the ledger.
func (c *comparison) strangeSubscription(id string, found *foundSubscription) {
	m := c.merchantFound(found.merchant)
	about := Finding{
		Cloud: m.cloud, MerchantID: found.merchant, CustomerID: found.customer, SubscriptionID: id,
		Objects: []Object{object(kindSubscription, id, "")},
	}
	subject := c.pending[left{kindSubscription, "", id}]
	if customer := c.ledger.customers[found.customer]; customer != nil && subject == "" {
		subject = customer.subject
	}
	if run := c.left[left{kindSubscription, "", id}]; run != "" {
		about.RunID = run
		if c.runs[run].merchant == found.merchant {
			about.Repair.Action, about.Repair.Values = RemoveSubscription, map[string]string{"subscription_id": id, "resource_id": found.resource}
		}
		c.report(ObjectsLeft, about, subject, "", "run "+run+" is compensated, but its subscription still exists", kindSubscription, id)
		return
	}
	if m.plansRead && !m.plans[found.plan] {
		c.planGone(about, subject, found)
	}
	if len(c.namedTenants(m, id)) == 0 && c.cloudFound(m.cloud).projects[found.resource] == nil {
		f := c.report(SubscriptionWithoutTenant, about, subject, "",
			"no run has made the subscription, and it has no tenant", kindSubscription, id)
		f.Severity = Low
	}
}
