package audit

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/explain"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

// The method `project` returns the project of a tenant, as the audit has found it. If the audit has not found the project, the
// result is nil.
func (c *comparison) project(t *tenant) *foundProject { return c.cloudFound(t.cloud).projects[t.id] }

// compareProjects compares the projects in the clouds with the tenants in the ledger.
func (c *comparison) compareProjects() {
	for name, cloud := range c.clouds {
		for id, p := range cloud.projects {
			if t := c.tenants[ref{name, id}]; t != nil && t.replaced {
				continue // nothing is reported: the project may have been renamed, and then only some lists contain it
			} else if t != nil && !t.gone {
				c.compareTenant(t, p)
			} else if keystone.IsTenantName(p.Name) || t != nil {
				c.strangeProject(name, p, t)
			}
		}
	}
}

// The method `about` returns a Finding with the ids and objects that all findings about a tenant have.
func (c *comparison) about(t *tenant, p *foundProject) Finding {
	f := Finding{
		Cloud: t.cloud, MerchantID: t.merchant, ProjectID: t.id, RunID: t.run, Objects: []Object{object(kindProject, t.id, t.name)},
	}
	if p != nil {
		f.Objects[0] = projectObject(&p.Project)
	}
	f.CustomerID, f.SubscriptionID = t.owner()
	if s := c.ledger.subscriptions[f.SubscriptionID]; s != nil {
		f.CustomerID = s.customer
	}
	return f
}

// compareTenant compares a tenant that should exist.
func (c *comparison) compareTenant(t *tenant, p *foundProject) {
	about := c.about(t, p)
	if p.Name != t.name {
		f := about
		f.Repair.Advice = explain.Command("openstack", "project", "set", "--name", t.name, t.id)
		c.report(TenantRenamed, f, t.subject, "", fmt.Sprintf("the project is named %q, and should be named %s", p.Name, t.name), t.id)
	}
	c.compareEnabled(about, t, p)
	c.compareOwner(about, t)
	c.compareTags(about, t, p)
}

func (c *comparison) compareEnabled(about Finding, t *tenant, p *foundProject) {
	switch {
	case !p.Enabled && !t.disabled && c.ownerless(t): // compareOwner reports the tenant
	case !p.Enabled && !t.disabled:
		if t.maker != "" { // only the owner of an adopted tenant may enable or disable it
			about.Repair.Action, about.Repair.Values = EnableProject, t.ownValues()
		}
		about.Repair.Advice = explain.Command("openstack", "project", "set", "--enable", t.id)
		detail := "the project is disabled"
		if by := p.DisabledBy(); len(by) > 0 {
			detail += ", with the mark of run " + strings.Join(by, ", ")
		}
		c.report(TenantDisabled, about, t.subject, "", detail, t.id)
	case p.Enabled && t.disabled:
		if t.maker != "" {
			about.Repair.Action, about.Repair.Values = DisableProject, t.ownValues()
		}
		about.Repair.Advice = explain.Command("openstack", "project", "set", "--disable", t.id)
		c.report(TenantEnabled, about, t.subject, "", "the project is enabled, but run "+t.run+" has disabled it", t.id)
	}
}

// ownerless reports whether BillingStack lacks the customer or the subscription of the tenant, although no run has deleted this
// customer or subscription.
func (c *comparison) ownerless(t *tenant) bool {
	customerID, subscriptionID := t.owner()
	wantCustomer, wantSubscription := c.ledger.customers[customerID], c.ledger.subscriptions[subscriptionID]
	return wantCustomer != nil && !wantCustomer.gone && c.world.customers[customerID] == nil ||
		wantSubscription != nil && !wantSubscription.gone && c.world.subscriptions[subscriptionID] == nil
}

// compareOwner reports a tenant whose customer or subscription is absent from BillingStack: see ownerless.
func (c *comparison) compareOwner(about Finding, t *tenant) {
	customerID, subscriptionID := t.owner()
	if t.maker != "" && !t.ended() { // adopted tenants are not removed; the tenant of an ended subscription is removed without a repair
		about.Repair.Action, about.Repair.Values = RemoveTenant, t.ownValues()
	}
	if want := c.ledger.customers[customerID]; want != nil && !want.gone && c.world.customers[customerID] == nil {
		about.Objects = append(about.Objects, object(kindCustomer, customerID, ""))
		c.reportNeeding([]part{partProjects, partCustomers}, TenantWithoutCustomer, about, t.subject, listOf(partCustomers, t.merchant),
			"run "+want.run+" has used the customer, but the merchant no longer has the customer in BillingStack", t.id)
	}
	if want := c.ledger.subscriptions[subscriptionID]; want != nil && !want.gone && c.world.subscriptions[subscriptionID] == nil {
		about.Objects = append(about.Objects, object(kindSubscription, subscriptionID, ""))
		c.reportNeeding([]part{partProjects, partSubscriptions}, TenantWithoutSubscription, about, t.subject, listOf(partSubscriptions, t.merchant),
			"run "+want.run+" has used the subscription, but the merchant no longer has the subscription in BillingStack", t.id)
	}
}

// compareTags reports missing and wrong tags of a tenant. If several tags are missing or wrong, it reports only the most severe fault.
func (c *comparison) compareTags(about Finding, t *tenant, p *foundProject) {
	if len(t.marks) == 0 {
		return
	}
	foreign := slices.DeleteFunc(keystone.MerchantsOfTags(p.Tags), func(m string) bool { return m == t.merchant })
	unknown := slices.DeleteFunc(keystone.RunsOfTags(p.Tags), func(run string) bool { _, known := c.runState(run); return known })
	missing := slices.DeleteFunc(slices.Clone(t.marks), p.HasTag)
	about.Repair.Advice = tagAdvice(t.id, missing, foreign, unknown)
	if len(foreign)+len(unknown)+len(missing) == 0 {
		return
	}
	if t.maker != "" {
		about.Repair.Action, about.Repair.Values = TagProject, t.ownValues()
		about.Repair.Values["add"], about.Repair.Values["remove"] = strings.Join(missing, ","), strings.Join(wrongTags(foreign, unknown), ",")
	}
	switch {
	case len(foreign) > 0:
		c.report(TagOtherMerchant, about, t.subject, "", "the project has the tag of merchant "+strings.Join(foreign, ", "), t.id)
	case len(unknown) > 0 && c.whole:
		c.report(TagUnknownRun, about, t.subject, "", "the project has the tag of run "+strings.Join(unknown, ", ")+", which this installation does not know", t.id)
	case len(missing) > 0:
		c.report(TagMissing, about, t.subject, "", "the project lacks the tag "+strings.Join(missing, ", "), t.id)
	}
}

// tagAdvice returns the command that adds the missing tags to a project, and removes the wrong tags from it.
func tagAdvice(id string, missing, foreignMerchants, unknownRuns []string) string {
	words := []string{"openstack", "project", "set"}
	for _, tag := range missing {
		words = append(words, "--tag", tag)
	}
	for _, tag := range wrongTags(foreignMerchants, unknownRuns) {
		words = append(words, "--remove-tag", tag)
	}
	return explain.Command(append(words, id)...)
}

func wrongTags(foreignMerchants, unknownRuns []string) (tags []string) {
	for _, merchant := range foreignMerchants {
		tags = append(tags, keystone.MerchantTag(merchant))
	}
	for _, run := range unknownRuns {
		tags = append(tags, keystone.RunTag(run))
	}
	return tags
}

// strangeProject compares a project that is not in the ledger, or that a run has removed. If a run has removed the project, the
// argument t is the removed tenant. Otherwise, the project has the name of a tenant, and t is nil.
func (c *comparison) strangeProject(cloud string, p *foundProject, t *tenant) {
	about := Finding{Cloud: cloud, ProjectID: p.ID, Objects: []Object{projectObject(&p.Project)}}
	about.CustomerID, about.SubscriptionID = keystone.TenantOf(p.Name)
	if tags := keystone.MerchantsOfTags(p.Tags); len(tags) == 1 {
		about.MerchantID = tags[0]
	}
	if t != nil {
		about.MerchantID, about.RunID = t.merchant, t.run
		if t.maker != "" && p.Name == t.name {
			about.Repair.Action, about.Repair.Values = RemoveTenant, t.ownValues()
		}
		c.report(ObjectsLeft, about, t.subject, "", "run "+t.run+" has removed the project, but Keystone has it", kindProject, p.ID)
		return
	}
	if run, live := c.compensated(cloud, p); run != "" || live {
		if !live {
			about.RunID, about.MerchantID = run, c.runs[run].merchant
			if c.madeBy(run, cloud, p) {
				about.Repair.Action, about.Repair.Values = RemoveTenant, map[string]string{
					"project_id": p.ID, "tenant": p.Name, "domain_id": p.DomainID, "made_by": run,
				}
			}
			c.report(ObjectsLeft, about, "", "", "run "+run+" is compensated, but its project still exists", kindProject, p.ID)
		}
		return
	}
	if ours := keystone.InstallationsOfTags(p.Tags); len(ours) > 0 && !slices.Contains(ours, c.installation) {
		return // it belongs to another installation
	}
	c.withoutOwner(about, p)
}

// The method `compensated` returns the run that has made the project, if this run is compensated or has not ended. Otherwise, the result
// `run` is empty. The result `live` is true if the run has not ended.
func (c *comparison) compensated(cloud string, p *foundProject) (run string, live bool) {
	if run := c.left[left{kindProject, cloud, p.ID}]; run != "" {
		return run, false
	}
	for _, id := range keystone.RunsOfTags(p.Tags) {
		state, known := c.runState(id)
		switch {
		case known && !state.Ended():
			return id, true
		case state == saga.Compensated:
			return id, false
		}
	}
	return "", false
}

// madeBy reports whether the run has made the project. The tags alone do not show this, because anybody can copy a tag. The project must
// also have the name of a project that the run may have made.
func (c *comparison) madeBy(run, cloud string, p *foundProject) bool {
	return p.HasTag(keystone.RunTag(run)) && p.HasTag(keystone.InstallationTag(c.installation)) && c.names[left{kindProject, cloud, p.Name}] == run
}

// withoutOwner compares a project that has the name of a tenant. It reports the project if the customer or subscription in the
// name does not exist, or has another tenant.
func (c *comparison) withoutOwner(about Finding, p *foundProject) {
	var merchant string
	var own *tenant
	subject := ""
	if s := c.world.subscriptions[about.SubscriptionID]; s != nil {
		merchant, about.CustomerID = s.merchant, s.customer
		if want := c.ledger.subscriptions[about.SubscriptionID]; want != nil {
			own, subject = c.tenantOf(want), want.subject
		}
	} else if customer := c.world.customers[about.CustomerID]; customer != nil && about.SubscriptionID == "" {
		merchant, own = customer.merchant, c.customerTenants[about.CustomerID]
	}
	switch {
	case merchant == "" && about.SubscriptionID == "":
		c.report(TenantWithoutCustomer, about, "", "", "no merchant has the customer in the project's name", p.ID)
	case merchant == "":
		c.report(TenantWithoutSubscription, about, "", "", "no merchant has the subscription in the project's name", p.ID)
	case own != nil && own.id != p.ID && c.project(own) != nil:
		about.MerchantID, about.Objects = merchant, append(about.Objects, object(kindProject, own.id, own.name))
		c.report(TenantDuplicate, about, subject, "", "this project has the same name as the tenant, which is project "+own.id, p.ID)
	default:
		c.compareStrangeTags(about, merchant, subject, p)
	}
}

// compareStrangeTags reports wrong tags of a tenant that no run has made or adopted.
func (c *comparison) compareStrangeTags(about Finding, merchant, subject string, p *foundProject) {
	foreign := slices.DeleteFunc(keystone.MerchantsOfTags(p.Tags), func(m string) bool { return m == merchant })
	about.MerchantID = merchant
	switch runs := keystone.RunsOfTags(p.Tags); {
	case len(foreign) > 0:
		c.report(TagOtherMerchant, about, subject, "", "the project has the tag of merchant "+strings.Join(foreign, ", "), p.ID)
	case len(runs) > 0 && c.whole:
		c.report(TagUnknownRun, about, subject, "", "the project has the tag of run "+strings.Join(runs, ", ")+", but this run has not made the project", p.ID)
	}
}
