package audit

import (
	"fmt"
	"strings"

	"github.com/tenantry/tenantry/keystone"
)

// namedTenants returns the projects that have the name of the subscription's tenant, in the domain of the merchant.
func (c *comparison) namedTenants(m *merchantWorld, subscriptionID string) (ids []string) {
	cloud := c.cloudFound(m.cloud)
	for _, id := range cloud.named[keystone.SubscriptionTenant(subscriptionID)] {
		if m.domain == "" || cloud.projects[id].DomainID == m.domain {
			ids = append(ids, id)
		}
	}
	return ids
}

// tenantFor returns the cloud and the id of the tenant whose usage should be billed to a subscription. If the subscription has no
// tenant, the id is empty.
func (c *comparison) tenantFor(id string, found *foundSubscription) (cloud, project string) {
	if want := c.ledger.subscriptions[id]; want != nil {
		if t := c.tenantOf(want); t != nil {
			return t.cloud, t.id
		}
		return want.cloud, ""
	}
	m := c.merchantFound(found.merchant)
	if named := c.namedTenants(m, id); len(named) == 1 {
		return m.cloud, named[0]
	}
	return m.cloud, ""
}

// compareResources reports the subscriptions whose resource_id is not the id of their tenant.
func (c *comparison) compareResources() {
	sharing := map[string][]string{} // the ids of the subscriptions, by resource_id
	for id, found := range c.world.subscriptions {
		sharing[found.resource] = append(sharing[found.resource], id)
	}
	for id, found := range c.world.subscriptions {
		want := c.ledger.subscriptions[id]
		cloud, project := c.tenantFor(id, found)
		switch {
		case c.left[left{kindSubscription, "", id}] != "", want != nil && want.gone: // the only finding is ObjectsLeft
		case project == "" && want != nil: // the subscription has ended: it keeps its last resource for the last bill
		case project == "" && len(sharing[found.resource]) < 2: // it is not known which resource is right
		case project != found.resource:
			c.wrongResource(id, found, cloud, project, sharing[found.resource])
		}
	}
}

// wrongResource reports a subscription whose resource_id is not the id of its tenant.
func (c *comparison) wrongResource(id string, found *foundSubscription, cloud, project string, sharing []string) {
	about := Finding{
		Cloud: cloud, MerchantID: found.merchant, CustomerID: found.customer, SubscriptionID: id, ProjectID: project,
		Objects: []Object{object(kindSubscription, id, "")},
	}
	subject := c.pending[left{kindSubscription, "", id}]
	if want := c.ledger.subscriptions[id]; want != nil {
		about.RunID, about.MerchantID, about.CustomerID, subject = want.run, want.merchant, want.customer, want.subject
	}
	exists := c.cloudFound(cloud).projects[project] != nil
	switch {
	case exists:
		about.Repair.Advice = resourceAdvice(id, project)
	case project != "":
		about.Repair.Advice = "create the subscription's tenant again: that also sets the resource_id"
	}
	if exists && c.ledger.subscriptions[id] != nil {
		about.Repair.Action = SetResource
		about.Repair.Values = map[string]string{"subscription_id": id, "resource_id": project, "old_resource_id": found.resource}
	}
	code, detail := c.resourceCode(found, cloud, sharing)
	if code == "" {
		return
	}
	absent := ""
	if code == ResourceNoProject && c.ledger.subscriptions[id] != nil {
		absent = listOf(partProjects, cloud)
	}
	if code != ResourcePlaceholder {
		about.Objects = append(about.Objects, object(kindProject, found.resource, ""))
	}
	c.report(code, about, subject, absent, detail, id)
	if code == ResourceShared { // the lists of the other merchants are not needed: both subscriptions were seen
		c.needing(partSubscriptions, partProjects)
	}
}

// resourceCode returns the code and the detail of the finding about a subscription's wrong resource. If it is not known what is
// wrong, the code is empty.
func (c *comparison) resourceCode(found *foundSubscription, cloud string, sharing []string) (Code, string) {
	r := found.resource
	if r == "" || strings.HasPrefix(r, "pending") || !keystone.ValidID(r) {
		return ResourcePlaceholder, fmt.Sprintf("the resource_id %q is not the id of a project", r)
	}
	p := c.cloudFound(cloud).projects[r]
	if p == nil {
		return c.elsewhere(found, cloud)
	}
	owner, merchant := c.ownerOf(cloud, p)
	switch {
	case merchant != "" && merchant != found.merchant:
		return ResourceOfOtherMerchant, fmt.Sprintf("the resource_id names tenant %s of merchant %s", p.Name, merchant)
	case owner != "" && c.bills(owner, r):
		return ResourceShared, fmt.Sprintf("the resource_id names tenant %s, which is billed to subscription %s, too", p.Name, owner)
	case owner != "":
		return ResourceOfOtherSubscription, fmt.Sprintf("the resource_id names tenant %s of subscription %s", p.Name, owner)
	case len(sharing) > 1:
		return ResourceShared, fmt.Sprintf("the resource_id names project %s, as %d other subscriptions do", p.Name, len(sharing)-1)
	}
	return ResourceForeignProject, fmt.Sprintf("the resource_id names project %s, which is not a subscription's tenant", p.Name)
}

// bills reports whether the subscription's resource_id is the id `resource`.
func (c *comparison) bills(subscriptionID, resource string) bool {
	s := c.world.subscriptions[subscriptionID]
	return s != nil && s.resource == resource
}

// ownerOf returns the subscription that has the project as its tenant, and the merchant of the project. A result is empty if it is not
// known.
func (c *comparison) ownerOf(cloud string, p *foundProject) (subscriptionID, merchant string) {
	name := p.Name
	if t := c.tenants[ref{cloud, p.ID}]; t != nil {
		name, merchant = t.name, t.merchant
	}
	customerID, subscriptionID := keystone.TenantOf(name)
	if merchant != "" {
		return subscriptionID, merchant
	}
	if s := c.world.subscriptions[subscriptionID]; s != nil {
		return subscriptionID, s.merchant
	}
	if customer := c.world.customers[customerID]; customer != nil {
		return subscriptionID, customer.merchant
	}
	if tags := keystone.MerchantsOfTags(p.Tags); len(tags) == 1 {
		merchant = tags[0]
	}
	return subscriptionID, merchant
}

// The method `elsewhere` returns the code and the detail of a finding about a subscription. Call `elsewhere` if the audit has listed no
// project whose id is the subscription's resource_id. If the audit has not looked for such a project elsewhere, the code is empty.
func (c *comparison) elsewhere(found *foundSubscription, cloud string) (Code, string) {
	p, looked := c.cloudFound(cloud).elsewhere[found.resource]
	switch {
	case !looked:
		return "", ""
	case p == nil:
		return ResourceNoProject, fmt.Sprintf("the resource_id %q names no project", found.resource)
	case !c.cloudFound(cloud).domains[p.DomainID]:
		return ResourceInForeignDomain, fmt.Sprintf("the resource_id names project %s of domain %s", p.Name, p.DomainID)
	}
	return ResourceForeignProject, fmt.Sprintf("the resource_id names project %s, which is not a subscription's tenant", p.Name)
}
