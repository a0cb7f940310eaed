package workflowstest

import (
	"fmt"
	"slices"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

// oneChain: the runs of one idempotency key follow each other, each the only retry of a compensated one.
func oneChain(v *view, broken report) {
	first, retries := map[[2]string]string{}, map[string]string{}
	for _, r := range v.Runs {
		if r.RetryOf == "" {
			key := [2]string{r.Merchant, r.Key}
			if first[key] != "" {
				broken(r.ID, "its idempotency key has made a run before", first[key])
			}
			first[key] = r.ID
			continue
		}
		if retries[r.RetryOf] != "" {
			broken(r.ID, "what it repeats was repeated before", r.RetryOf, retries[r.RetryOf])
		}
		retries[r.RetryOf] = r.ID
		before := v.byID[r.RetryOf]
		switch {
		case before == nil:
			broken(r.ID, "what it repeats does not exist", r.RetryOf)
		case before.State != saga.Compensated:
			broken(r.ID, fmt.Sprintf("what it repeats is %s", before.State), before.ID)
		case before.Merchant != r.Merchant || before.Key != r.Key:
			broken(r.ID, "what it repeats has another key", before.ID)
		}
	}
}

// oneEach: an idempotency key has at most one of each thing, but for what an operator left behind.
func oneEach(v *view, broken report) {
	type slot struct{ merchant, key, step string }
	var slots []slot
	filled := map[slot][]string{}
	for _, x := range v.ordered {
		for _, t := range v.made(x) {
			if x.leftBehind(t) {
				continue
			}
			s := slot{x.run.Merchant, x.run.Key, t.step}
			if filled[s] == nil {
				slots = append(slots, s)
			}
			filled[s] = append(filled[s], t.String())
		}
	}
	for _, s := range slots {
		if len(filled[s]) > 1 {
			broken("", fmt.Sprintf("key %q of merchant %s has made more than one with %s", s.key, s.merchant, s.step), filled[s]...)
		}
	}
}

// succeededWhole: a succeeded run has done all its steps, and gave its user the plan, two usable tenants and the roles.
func succeededWhole(v *view, broken report) {
	for _, x := range v.ordered {
		if x.run.State != saga.Succeeded {
			continue
		}
		fault := func(detail string, objects ...string) { broken(x.run.ID, "it succeeded, but "+detail, objects...) }
		for i := range x.run.Steps {
			if s := &x.run.Steps[i]; !s.Done() {
				fault(fmt.Sprintf("a step is %s", s.State), s.Name)
			}
		}
		v.customerWhole(x, fault)
		v.subscriptionWhole(x, fault)
		v.tenantWhole(x, x.customerTenant(), x.order.CustomerTenantID, x.order.CustomerTenantOwn, fault)
		v.tenantWhole(x, x.subscriptionTenant(), x.order.SubscriptionTenantID, x.order.SubscriptionTenantOwn, fault)
		for _, g := range x.grants() {
			if s := x.run.Step(g.step); s != nil && s.State == saga.StepSkipped {
				continue
			}
			if !slices.Contains(v.Now.Assignments, g.Assignment) {
				fault("the user lacks the role of "+g.step, assignmentID(g.Assignment))
			}
		}
	}
}

// complaint says what a run lacks.
type complaint func(detail string, objects ...string)

func (v *view) customerWhole(x ordered, fault complaint) {
	i := slices.IndexFunc(v.Now.Customers, func(c billing.Customer) bool { return c.ID == x.order.CustomerID })
	switch {
	case i < 0:
		fault("its customer is not there", x.order.CustomerID)
	case v.Now.Customers[i].MerchantID != x.order.MerchantID:
		fault("its customer is another merchant's", x.order.CustomerID)
	}
}

func (v *view) subscriptionWhole(x ordered, fault complaint) {
	id := x.order.SubscriptionID
	i := slices.IndexFunc(v.Now.Subscriptions, func(s billing.Subscription) bool { return s.ID == id })
	if i < 0 {
		fault("its subscription is not there", id)
		return
	}
	s := v.Now.Subscriptions[i]
	if s.PlanID != x.order.PlanID || s.CustomerID != x.order.CustomerID {
		fault("its subscription is of another plan or customer", id, s.PlanID, s.CustomerID)
	}
	if s.ResourceID != x.order.SubscriptionTenantID {
		fault("its subscription is not attached to its tenant", id, s.ResourceID)
	}
}

func (v *view) tenantWhole(x ordered, name, id string, own bool, fault complaint) {
	i := slices.IndexFunc(v.Now.Projects, func(p keystone.Project) bool { return p.ID == id })
	if i < 0 {
		fault("a tenant is not there", name, id)
		return
	}
	p := v.Now.Projects[i]
	switch {
	case p.Name != name || p.DomainID != x.order.DomainID:
		fault("a tenant has another name or domain", p.Name, p.DomainID)
	case !p.Enabled:
		fault("a tenant is disabled", name)
	case own && !p.HasTag(x.runTag()), !p.HasTag(x.merchantTag()) && !x.order.AdoptUnmarked:
		fault("a tenant lacks its mark", name)
	}
}

// compensatedClean: of a compensated run nothing is left but what an operator left behind, or another run has adopted.
func compensatedClean(v *view, broken report) {
	for _, x := range v.ordered {
		if x.run.State != saga.Compensated {
			continue
		}
		for _, t := range v.made(x) {
			if !x.leftBehind(t) && !v.adopted(x, t) {
				broken(x.run.ID, "it is compensated, but there is", t.String())
			}
		}
		for _, g := range x.grants() {
			if slices.Contains(v.Now.Assignments, g.Assignment) && !v.stands(g.Assignment) {
				broken(x.run.ID, "it is compensated, but there is", "role assignment "+assignmentID(g.Assignment))
			}
		}
	}
}

// adopted tells whether the thing is the customer tenant of another run that is not compensated.
func (v *view) adopted(x ordered, t thing) bool {
	return has(v.ordered, func(y ordered) bool {
		return y.run != x.run && y.run.State != saga.Compensated && y.order.CustomerTenantID == t.id
	})
}

// stands tells whether the assignment is somebody else's, or of a run that is not compensated, or was left behind.
func (v *view) stands(a keystone.Assignment) bool {
	return slices.Contains(v.Others.Assignments, a) || has(v.ordered, func(x ordered) bool {
		return has(x.grants(), func(g grant) bool {
			return g.Assignment == a &&
				(x.run.State != saga.Compensated || x.leftBehind(thing{"role-assignment", assignmentID(a), g.step}) ||
					x.leftTenant(a.ProjectID))
		})
	})
}

// leftTenant tells whether an operator left the tenant behind, with all that is on it.
func (x ordered) leftTenant(id string) bool {
	return has(x.run.LeftBehind, func(l saga.LeftBehind) bool {
		return l.ID == id || l.ID == "" && (l.Step == "create-customer-tenant" && id == x.order.CustomerTenantID ||
			l.Step == "create-subscription-tenant" && id == x.order.SubscriptionTenantID)
	})
}
