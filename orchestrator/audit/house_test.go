package audit

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

const (
	theInstallation = "9b0e6f6a-0000-4000-8000-000000000001"
	otherRun        = "0190ffff-0000-7000-8000-000000000000"
	domain          = "d1"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// The type `house` is a ledger and a world that agree with each other. It has two merchants. Each merchant has three customers, and each
// customer has two subscriptions.
type house struct {
	*comparison

	n        int
	all      []*saga.Run
	used     []foundUsage               // the unmatched usage, sorted
	unbilled WaitingUsage               // of merchant m1
	made     map[string][]saga.Expected // the expected objects, by the id of the run
}

// newHouse returns a house in which an audit finds nothing.
func newHouse() *house {
	h := &house{made: map[string][]saga.Expected{}, comparison: &comparison{
		ledger: newLedger(), world: newWorld(), now: epoch, installation: theInstallation, whole: true,
	}}
	c := h.cloud("default")
	c.domains[domain] = true
	c.projectsRead, c.assignmentsRead, c.usersRead, c.rolesRead, c.impliedRead = true, true, true, true, true
	maps.Copy(c.roles, map[string]string{"r-member": "member", "r-admin": "admin", "r-boss": "boss", "r-reader": "reader"})
	c.setAdmins(map[string][]string{"r-boss": {"r-admin"}, "r-admin": {"r-member"}})
	for _, m := range []string{"m1", "m2"} {
		w := h.merchant(m)
		w.cloud, w.domain, w.plans["plan"], w.plans["plan2"] = "default", domain, true, true
		w.customersRead, w.subscriptionsRead, w.plansRead, w.usageRead = true, true, true, true
		for i := range 3 {
			customer := fmt.Sprintf("%s-c%d", m, i)
			for j := range 2 {
				h.subscribe(m, customer, fmt.Sprintf("%s-s%d", customer, j), j == 0)
			}
		}
	}
	return h
}

// The method `run` adds a run in the given state, and returns the run's id. The argument `all` lists the objects that should exist if the
// run has succeeded.
func (h *house) run(merchant, customer string, state saga.RunState, all []saga.Expected) string {
	h.n++
	id := fmt.Sprintf("0190%04d-0000-7000-8000-000000000000", h.n)
	h.store(&saga.Run{
		ID: id, Workflow: "w", Merchant: merchant, Cloud: "default", Subject: merchant + ":" + customer, State: state, Version: 1,
		EndedAt: new(epoch.Add(time.Duration(h.n-1000) * time.Minute)),
	}, all)
	return id
}

func (h *house) store(r *saga.Run, all []saga.Expected) {
	h.all, h.made[r.ID] = append(h.all, r), all
	h.add(r, all, true)
}

// The method `subscribe` adds a succeeded run that has made a subscription, and adds the objects of the run. If `first` is true, the run
// has also made the customer.
func (h *house) subscribe(merchant, customer, subscription string, first bool) {
	id := fmt.Sprintf("0190%04d-0000-7000-8000-000000000000", h.n+1)
	user := "u-" + customer
	ct, st := "p-"+customer, "p-"+subscription
	origin := saga.Adopted
	if first {
		origin = saga.Own
	}
	marks := keystone.TenantTags(id, merchant, theInstallation)
	customerTenant := expected(kindProject, ct, keystone.CustomerTenant(customer), origin, map[string]string{"domain_id": domain, "enabled": "true"})
	if customerTenant.Marks = []string{keystone.MerchantTag(merchant)}; first {
		customerTenant.Marks = marks
	}
	tenant := expected(kindProject, st, keystone.SubscriptionTenant(subscription), saga.Own, map[string]string{"domain_id": domain, "enabled": "true"})
	tenant.Marks = marks
	h.run(merchant, customer, saga.Succeeded, []saga.Expected{
		expected(kindCustomer, customer, "", origin, map[string]string{"merchant_id": merchant}),
		customerTenant,
		expected(kindSubscription, subscription, "", saga.Own, map[string]string{"plan_id": "plan", "customer_id": customer, "resource_id": st}),
		tenant,
		expected(kindAssignment, ct+"/"+user+"/r-member", "member", origin, nil),
		expected(kindAssignment, st+"/"+user+"/r-member", "member", saga.Own, nil),
	})
	h.world.customers[customer] = &foundCustomer{merchant}
	h.world.subscriptions[subscription] = &foundSubscription{merchant: merchant, customer: customer, plan: "plan", resource: st}
	c := h.cloud("default")
	if first {
		h.makeProject(ct, keystone.CustomerTenant(customer), marks)
		h.give(ct, user, "r-member")
		c.users[user] = userEnabled
	}
	h.makeProject(st, keystone.SubscriptionTenant(subscription), marks)
	h.give(st, user, "r-member")
}

// The method `remakes` adds a run that has made the tenant of customer m1-c0 again, for another user.
func (h *house) remakes(project string) string {
	run := fmt.Sprintf("0190%04d-0000-7000-8000-000000000000", h.n+1)
	tenant := expected(kindProject, project, keystone.CustomerTenant("m1-c0"), saga.Own, map[string]string{"domain_id": domain, "enabled": "true"})
	tenant.Marks = keystone.TenantTags(run, "m1", theInstallation)
	return h.run("m1", "m1-c0", saga.Succeeded, []saga.Expected{tenant, expected(kindAssignment, project+"/u-other/r-member", "member", saga.Own, nil)})
}

// The method `adopt` adds a new customer, and a project that a run has adopted as the customer's tenant.
func (h *house) adopt(project string) {
	h.world.customers["m1-adopted"] = &foundCustomer{"m1"}
	name := keystone.CustomerTenant("m1-adopted")
	h.run("m1", "m1-adopted", saga.Succeeded, []saga.Expected{
		expected(kindCustomer, "m1-adopted", "", saga.Adopted, map[string]string{"merchant_id": "m1"}),
		expected(kindProject, project, name, saga.Adopted, map[string]string{"domain_id": domain, "enabled": "true"}),
	})
	h.makeProject(project, name, nil)
}

func expected(kind, id, name string, origin saga.Origin, fields map[string]string) saga.Expected {
	e := saga.Expected{Object: saga.Object{Kind: kind, ID: id, Name: name, Origin: origin}, Fields: fields}
	if kind == kindProject || kind == kindAssignment {
		e.Cloud = "default"
	}
	return e
}

func gone(kind, id string) saga.Expected {
	e := expected(kind, id, "", "", nil)
	e.Gone = true
	return e
}

func (h *house) makeProject(id, name string, tags []string) {
	h.cloud("default").addProject(keystone.Project{ID: id, Name: name, DomainID: domain, Enabled: true, Tags: slices.Clone(tags)})
}

func (h *house) give(project, user, role string) {
	h.cloud("default").addGrant(keystone.Granted{ProjectID: project, UserID: user, RoleID: role})
}

func (h *house) p(id string) *foundProject { return h.cloud("default").projects[id] }

func (h *house) s(id string) *foundSubscription { return h.world.subscriptions[id] }

// The method `use` adds unmatched usage of merchant m1 that was first and last measured in the hours `first` and `last` before the epoch.
func (h *house) use(u Unmatched, amount string, first, last int) {
	u.MerchantID, u.First, u.Last = "m1", epoch.Add(-time.Duration(first)*time.Hour), epoch.Add(-time.Duration(last)*time.Hour)
	if u.Reason != UsageNoPrice && u.Reason != UsageOther {
		u.Meter, u.Kind, u.Unit = cmp.Or(u.Meter, "cpu"), "cumulative", "ns"
	}
	if u.ProjectID != "" {
		u.Cloud = "default"
	}
	h.used = append(h.used, foundUsage{Unmatched: u, amount: amount})
	h.addUsage(u, amount)
}

// The method `wait` lets usage of merchant m1 wait.
func (h *house) wait(w WaitingUsage) { h.unbilled, h.merchant("m1").waiting = w, w }

// dropUser removes a user with all role assignments, as Keystone does.
func (h *house) dropUser(id string) {
	c := h.cloud("default")
	c.users[id] = userGone
	for _, p := range c.projects {
		p.grants = slices.DeleteFunc(p.grants, func(g given) bool { return g.user == id })
	}
}

// The method `codes` compares, and returns the sorted codes of the findings.
func (h *house) codes() (all []string) {
	for _, f := range h.compare() {
		all = append(all, string(f.Code))
	}
	slices.Sort(all)
	return all
}
