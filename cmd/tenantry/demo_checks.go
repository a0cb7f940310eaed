package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/clouds"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/orchestrator/api/client"
)

// The method `check` prints the statement if ok is true. If ok is false, `check` returns an error with the statement.
func (t *story) check(ok bool, format string, args ...any) error {
	what := fmt.Sprintf(format, args...)
	if !ok {
		return fmt.Errorf("the demo failed, because this statement is not true: %s", what)
	}
	t.line("   ✓ %s", what)
	return nil
}

// everythingIsThere checks that Keystone and BillingStack have all objects of Ann's subscription.
func (t *story) everythingIsThere(ctx context.Context, run client.Run, user, scoped string) error {
	customer, err := t.billing.Customer(ctx, t.merchant.ID, idOf(run, "customer_id"))
	if err != nil {
		return err
	}
	subscribed, err := t.billing.Subscription(ctx, t.merchant.ID, idOf(run, "subscription_id"))
	if err != nil {
		return err
	}
	first, err := t.identity.FindProject(ctx, keystonetest.DefaultDomain, keystone.CustomerTenant(customer.ID))
	if err != nil {
		return err
	}
	second, err := t.identity.FindProject(ctx, keystonetest.DefaultDomain, keystone.SubscriptionTenant(subscribed.ID))
	if err != nil {
		return err
	}
	token, err := t.identity.ValidateToken(ctx, scoped)
	if err != nil {
		return err
	}
	tags := keystone.TenantTags(run.ID, t.merchant.ID, "")
	tagged := func(p keystone.Project) bool {
		return !slices.ContainsFunc(tags, func(tag string) bool { return !p.HasTag(tag) })
	}
	t.line("   customer     %s", customer.ID)
	t.line("   subscription %s\n", subscribed.ID)
	return errors.Join(
		t.check(customer.Name == "Ann", "BillingStack has the customer %s", customer.Name),
		t.check(tagged(first), "Keystone has the tenant bs-customer-… with the tags of the run"),
		t.roles(ctx, first.ID, user, "member", "bs-admin"),
		t.check(subscribed.CustomerID == customer.ID && subscribed.PlanID == t.plans[0].ID, "BillingStack has the subscription to plan \"small\""),
		t.check(tagged(second), "Keystone has the tenant bs-subscription-… with the tags of the run"),
		t.roles(ctx, second.ID, user, "member"),
		t.check(subscribed.ResourceID == second.ID, "the subscription's resource_id is its tenant's id, so usage is billed"),
		t.check(token.ProjectID == first.ID && token.UserID == user, "the scoped token is valid for Ann and the tenant bs-customer-…"),
	)
}

// The method `roles` checks that the user has exactly the named roles on a project.
func (t *story) roles(ctx context.Context, project, user string, names ...string) error {
	want, err := t.identity.Roles(ctx, names)
	if err != nil {
		return err
	}
	ids := make([]string, len(want))
	for i, role := range want {
		ids[i] = role.ID
	}
	slices.Sort(ids)
	got, err := t.identity.AssignedRoles(ctx, project, user)
	if err != nil {
		return err
	}
	return t.check(slices.Equal(got, ids), "on this tenant Ann has exactly the roles %q", names)
}

// oneOfEach checks that the repeated order has created no further run, subscription or tenant.
func (t *story) oneOfEach(ctx context.Context, run client.Run) error {
	subscriptions, err := t.billing.Subscriptions(ctx, t.merchant.ID)
	if err != nil {
		return err
	}
	runs, err := t.operator.ListRunsWithResponse(ctx, &client.ListRunsParams{Merchant: &t.merchant.ID})
	if err != nil {
		return err
	}
	ofOne := runs.JSON200 != nil && len(runs.JSON200.Runs) == 1 && runs.JSON200.Runs[0].ID == run.ID
	tenants, err := t.count(ctx, "projects", url.Values{"tags": {"tenantry"}})
	if err != nil {
		return err
	}
	return t.check(len(subscriptions) == 1 && ofOne && tenants == 2, "there is still only one run, with one subscription and two tenants")
}

// nothingIsLeft checks that a compensated run has removed all objects and role assignments that it created.
func (t *story) nothingIsLeft(ctx context.Context, run client.Run, user string) error {
	_, customer := t.billing.Customer(ctx, t.merchant.ID, idOf(run, "customer_id"))
	_, subscribed := t.billing.Subscription(ctx, t.merchant.ID, idOf(run, "subscription_id"))
	tenants, err := t.count(ctx, "projects", url.Values{"tags": {keystone.RunTag(run.ID)}})
	if err != nil {
		return err
	}
	roles, err := t.count(ctx, "role_assignments", url.Values{"user.id": {user}})
	if err != nil {
		return err
	}
	made := slices.ContainsFunc(run.Objects, func(o client.Object) bool { return o.Kind == "project" && o.RemovedAt != nil })
	return errors.Join(
		t.check(errors.Is(customer, billing.ErrNotFound), "BillingStack has no customer for Bob"),
		t.check(errors.Is(subscribed, billing.ErrNotFound), "BillingStack has no subscription for Bob"),
		t.check(tenants == 0 && made, "Keystone no longer has the run's tenants"),
		t.check(roles == 0, "Bob has no role in Keystone"),
	)
}

// The method `count` lists a collection of Keystone, such as projects, and returns the number of listed objects. The query
// parameters filter the list.
func (t *story) count(ctx context.Context, collection string, where url.Values) (int, error) {
	token, err := clouds.Login(ctx, t.admin())
	if err != nil {
		return 0, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, t.keystoneURL+"/"+collection+"?"+where.Encode(), http.NoBody)
	if err != nil {
		return 0, err
	}
	r.Header.Set("X-Auth-Token", token)
	got, err := exchange(r)
	if err != nil {
		return 0, err
	}
	if got.status != http.StatusOK {
		return 0, fmt.Errorf("listing %s: Keystone answers %d", collection, got.status)
	}
	var answer map[string]any
	if err := got.into(&answer); err != nil {
		return 0, err
	}
	all, _ := answer[collection].([]any)
	return len(all), nil
}

// idOf returns the id with this name from the run's result, or "" if the result has no such id.
func idOf(run client.Run, name string) string {
	id, _ := run.Result[name].(string)
	return id
}
