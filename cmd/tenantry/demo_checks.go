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
	"github.com/tenantry/tenantry/keystone/keystonetest"
	v3 "github.com/tenantry/tenantry/keystone/v3"
	"github.com/tenantry/tenantry/orchestrator/api/client"
)

// check prints a statement about what was read back. It returns an error if the statement is not true.
func (t *story) check(ok bool, format string, args ...any) error {
	what := fmt.Sprintf(format, args...)
	if !ok {
		return fmt.Errorf("the demo failed, as this is not true: %s", what)
	}
	t.line("   ✓ %s", what)
	return nil
}

// everythingIsThere checks what Keystone and BillingStack have.
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
		t.check(customer.Name == "Ann", "BillingStack has the customer, whose name is %s", customer.Name),
		t.check(tagged(first), "Keystone has the tenant bs-customer-…, with the run's tags"),
		t.roles(ctx, first.ID, user, "member", "bs-admin"),
		t.check(subscribed.CustomerID == customer.ID && subscribed.PlanID == t.plans[0].ID, "BillingStack has the subscription of the plan small"),
		t.check(tagged(second), "Keystone has the tenant bs-subscription-…, with the run's tags"),
		t.roles(ctx, second.ID, user, "member"),
		t.check(subscribed.ResourceID == second.ID, "the subscription's resource_id is that tenant: usage is billed"),
		t.check(token.ProjectID == first.ID && token.UserID == user, "the scoped token is valid, Ann's, and for the tenant bs-customer-…"),
	)
}

// roles checks that the user has exactly these roles on a project.
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
	return t.check(slices.Equal(got, ids), "there Ann has the roles %q and no other", names)
}

// oneOfEach checks that there is still one of each thing.
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
	return t.check(len(subscriptions) == 1 && ofOne && tenants == 2, "there is still one run, one subscription, and its two tenants")
}

// nothingIsLeft checks that a compensated run has removed all that it made.
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
		t.check(tenants == 0 && made, "Keystone has neither tenant any more"),
		t.check(roles == 0, "Bob has no role anywhere"),
	)
}

// count returns the number of objects in a collection of Keystone's.
func (t *story) count(ctx context.Context, collection string, where url.Values) (int, error) {
	token, err := v3.Login(ctx, t.admin())
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

// idOf returns an id in a run's result, or "" if it is not known.
func idOf(run client.Run, name string) string {
	id, _ := run.Result[name].(string)
	return id
}
