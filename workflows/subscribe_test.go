package workflows_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/store/storetest"
	"github.com/tenantry/tenantry/workflows"
)

func TestSubscribeMakesOneOfEachThing(t *testing.T) {
	onBoth(t, func(t *testing.T, database string) {
		w := newWorld(t, database)
		id := newID()
		o, token := w.order()
		take, stop := w.deps.Handover.Await(id)
		defer stop()
		w.start(id, o, token)
		run := w.until(t, id, over)
		if got := w.things(t, id); run.State != saga.Succeeded || got != whole {
			t.Fatalf("the run made %q, want %q; the run: %s", got, whole, describe(run))
		}
		scoped, ok := take()
		if !ok {
			t.Fatal("no scoped token was handed over")
		}
		seen, err := w.Identity.ValidateToken(t.Context(), scoped)
		tenant := run.Objects[slices.IndexFunc(run.Objects, func(o saga.Object) bool { return o.Step == "create-customer-tenant" })]
		if err != nil || seen.ProjectID != tenant.ID || seen.UserID != o.UserID {
			t.Errorf("the token handed over is for %+v, %v; want one for project %s", seen, err, tenant.ID)
		}
		if _, err := w.Store.Token(t.Context(), id); !errors.Is(err, saga.ErrNoToken) {
			t.Errorf("the used token is still stored: %v", err)
		}
		for _, s := range run.Steps {
			if s.Attempts != 1 {
				t.Errorf("step %s took %d attempts", s.Name, s.Attempts)
			}
		}
	})
}

func TestARefusedPatchIsCompensatedToNothing(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	id := newID()
	w.faults.set(id, "attach-tenant", false, 1, answer(http.StatusBadRequest, nil))
	o, token := w.order()
	w.start(id, o, token)
	run := w.until(t, id, over)
	if got := w.things(t, id); run.State != saga.Compensated || got != "" {
		t.Errorf("left: %q; the run: %s", got, describe(run))
	}
	if run.Cause.Step != "attach-tenant" || run.Cause.Code != "billingstack-refused" || run.Cause.Status != 400 {
		t.Errorf("cause: %+v", run.Cause)
	}
}

func TestAnExistingCustomerIsAdoptedAndLeftAsItWas(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	first := newID()
	o, token := w.order()
	w.start(first, o, token)
	run := w.until(t, first, over)
	customer := result(t, run).CustomerID
	tenant := result(t, run).CustomerTenantID

	// Another user joins the customer, and the run is compensated.
	again, token := w.order()
	again.NewCustomer, again.CustomerID = nil, customer
	failed := newID()
	w.faults.set(failed, "attach-tenant", false, 1, answer(http.StatusBadRequest, nil))
	already := keystone.Assignment{ProjectID: tenant, UserID: again.UserID, RoleID: w.roles[0].ID}
	w.Keystone.Assign(already)
	w.others.Assignments = append(w.others.Assignments, already)
	w.start(failed, again, token)
	if run := w.until(t, failed, over); run.State != saga.Compensated {
		t.Fatalf("the run: %s", describe(run))
	}
	held, err := w.Identity.AssignedRoles(t.Context(), tenant, again.UserID)
	w.ok(err)
	if !slices.Equal(held, []string{w.roles[0].ID}) {
		t.Errorf("the user has the roles %v, want only member", held)
	}
	if got := w.things(t, first); got != whole {
		t.Errorf("the customer's first run left %q, want %q", got, whole)
	}

	// The same order succeeds.
	works := newID()
	w.start(works, again, w.Keystone.IssueToken(again.UserID))
	run = w.until(t, works, over)
	if got := result(t, run); run.State != saga.Succeeded || got.CustomerTenantID != tenant || got.SubscriptionTenantID == "" {
		t.Errorf("result %+v; the run: %s", got, describe(run))
	}
	origins := map[string]saga.Origin{}
	for _, object := range run.Objects {
		origins[object.Step] = object.Origin
	}
	for step, want := range map[string]saga.Origin{
		"create-customer": saga.Adopted, "create-customer-tenant": saga.Adopted, "create-subscription": saga.Own,
		"assign-customer-role/member": saga.Adopted, "assign-customer-role/bs-admin": saga.Own,
	} {
		if origins[step] != want {
			t.Errorf("%s: origin %q, want %q", step, origins[step], want)
		}
	}
}

func TestTwoOrdersOfOneCustomerGoOneAfterTheOther(t *testing.T) {
	onBoth(t, func(t *testing.T, database string) {
		w := newWorld(t, database)
		first := newID()
		o, token := w.order()
		w.start(first, o, token)
		customer := result(t, w.until(t, first, over)).CustomerID

		again, token := w.order()
		again.NewCustomer, again.CustomerID = nil, customer
		ids := []string{newID(), newID(), newID()}
		for _, id := range ids {
			w.start(id, again, token)
		}
		var ended time.Time
		for _, id := range ids {
			run := w.until(t, id, over)
			began := run.Step("check").StartedAt
			if run.State != saga.Succeeded || began.Before(ended) {
				t.Errorf("the run began at %v, the previous run ended at %v; the run: %s", began, ended, describe(run))
			}
			ended = *run.EndedAt
		}
		all, err := w.Billing.SubscriptionsOf(t.Context(), w.Merchant.ID, customer)
		w.ok(err)
		if len(all) != 4 {
			t.Errorf("the customer has %d subscriptions, want 4", len(all))
		}
	})
}

func TestAnUnmarkedTenantOfThatNameNeedsAnOperator(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	o, token := w.order()
	o.NewCustomer, o.CustomerID = nil, w.oldCustomer()
	id := newID()
	w.start(id, o, token)
	run := w.until(t, id, func(r *saga.Run) bool { return r.State == saga.Waiting })
	if run.Reason.Kind != saga.WaitsForOperator || run.Reason.Code != "conflict" {
		t.Fatalf("reason: %+v", run.Reason)
	}
	rename := "If it is not this customer's, rename it: openstack project set --name NEW "
	tag := " If it is this customer's, tag it: openstack project set --tag tenantry-merchant-" + w.Merchant.ID + " "
	if detail := run.Reason.Detail; !strings.Contains(detail, rename) || !strings.Contains(detail, tag) {
		t.Errorf("the detail is %q, want %q and %q with the ids", detail, rename, tag)
	}

	adopting := o
	adopting.AdoptUnmarked = true
	w.ok(ask(w, saga.Action{RunID: id, Name: saga.Compensate, Who: "op", Why: "the merchant adopts such tenants now"}))
	w.until(t, id, over)
	id = newID()
	w.start(id, adopting, token)
	if run := w.until(t, id, over); run.State != saga.Succeeded {
		t.Errorf("the run: %s", describe(run))
	}
}

func TestAForeignSubscriptionMakesTheCustomerStay(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	o, token := w.order()
	id := newID()
	w.faults.set(id, "attach-tenant", false, 1, func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		named := o.Named(id)
		byHand, err := w.Billing.EnsureSubscription(t.Context(), w.Merchant.ID, billing.Subscription{
			ID: uuid.NewString(), PlanID: w.Merchant.Plan, CustomerID: named.CustomerID, ResourceID: "by hand",
		})
		if err != nil {
			t.Error(err)
		}
		w.others.Subscriptions = append(w.others.Subscriptions, byHand)
		return answer(http.StatusBadRequest, nil)(next, req)
	})
	w.start(id, o, token)
	run := w.until(t, id, over)
	if run.State != saga.Stuck || run.Reason.Code != "foreign-subscriptions" {
		t.Fatalf("the run: %s", describe(run))
	}
	w.ok(ask(w, saga.Action{RunID: id, Name: saga.SkipStep, Step: "create-customer", Who: "op", Why: "the customer stays"}))
	run = w.until(t, id, func(r *saga.Run) bool { return r.State.Ended() })
	if run.State != saga.Compensated || len(run.LeftBehind) != 1 || run.LeftBehind[0].Kind != "customer" {
		t.Errorf("left behind %+v; the run: %s", run.LeftBehind, describe(run))
	}
}

func TestAnExpiredTokenIsNoReasonToFail(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	o, token := w.order()
	w.Keystone.RevokeToken(token)
	id := newID()
	w.start(id, o, token)
	run := w.until(t, id, over)
	if step := run.Step("scope-token"); run.State != saga.Succeeded || step.State != saga.StepSkipped {
		t.Errorf("the run: %s", describe(run))
	}
}

func TestTheServicesOwnCredentialIsNotTheRunsFault(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	admin, err := w.Identity.FindProject(t.Context(), keystonetest.DefaultDomain, "admin")
	w.ok(err)
	o, token := w.order()
	id := newID()
	w.Keystone.EnableProject(admin.ID, false)
	w.start(id, o, token)
	run := w.until(t, id, func(r *saga.Run) bool { return r.State == saga.Waiting && r.Reason.Upstream != "" })
	if run.Reason.Kind != saga.WaitsForUpstream || run.Reason.Code != "keystone-credential-refused" || run.Reason.FixBy != saga.FixByOperator ||
		run.Reason.Upstream != "keystone/default" || run.DueAt == nil || run.DueAt.Sub(run.Reason.At) > 10*time.Second {
		t.Errorf("reason: %+v", run.Reason)
	}
	w.Keystone.EnableProject(admin.ID, true)
	if run := w.until(t, id, over); run.State != saga.Succeeded {
		t.Errorf("the run: %s", describe(run))
	}
}

// If the service's user lacks a permission, an operator must give it. The reason names the role, the user and the project.
func TestAMissingPermissionIsToldWithNames(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	m, err := w.Store.Merchants().Merchant(t.Context(), w.Merchant.ID)
	w.ok(err)
	order, token := w.order()
	q, err := w.deps.AdmitSubscribe(t.Context(), m, order.Asked, token)
	w.ok(err)
	user, err := w.Identity.User(t.Context(), order.UserID)
	w.ok(err)
	w.faults.set(q.ID, "assign-customer-role/member", false, math.MaxInt, forbidden)
	w.accept(q, token)
	run := w.until(t, q.ID, func(r *saga.Run) bool { return r.State == saga.Waiting || over(r) })
	if run.State != saga.Waiting || run.Reason.Code != "keystone-blocked" || run.Reason.FixBy != saga.FixByAdministrator {
		t.Fatalf("the run: %s", describe(run))
	}
	for _, want := range []string{
		fmt.Sprintf("role %q (%s)", w.roles[0].Name, w.roles[0].ID), fmt.Sprintf("user %q (%s)", user.Name, user.ID), `project "bs-customer-`,
		"lacks a permission: identity:injected",
	} {
		if !strings.Contains(run.Reason.Detail, want) {
			t.Errorf("the reason does not contain %s: %s", want, run.Reason.Detail)
		}
	}
	w.faults.lift(q.ID)
	w.ok(ask(w, saga.Action{RunID: q.ID, Name: saga.Retry, Who: "op", Why: "the permission was given"}))
	if run := w.until(t, q.ID, over); run.State != saga.Succeeded {
		t.Errorf("the run: %s", describe(run))
	}
}

func TestADomainTakenFromTheMerchantHoldsTheRun(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	o, token := w.order()
	o.DomainID = w.Keystone.AddDomain("Taken")
	id := newID()
	w.start(id, o, token)
	run := w.until(t, id, func(r *saga.Run) bool { return r.State == saga.Waiting })
	if run.Reason.Kind != saga.WaitsForOperator || run.Reason.Code != "write-guarded" {
		t.Errorf("reason: %+v", run.Reason)
	}
	w.changeMerchant(func(m *merchants.Merchant) { m.Domain = "Taken" })
	w.ok(ask(w, saga.Action{RunID: id, Name: saga.Retry, Who: "op", Why: "the domain is the merchant's again"}))
	if run := w.until(t, id, over); run.State != saga.Succeeded {
		t.Errorf("the run: %s", describe(run))
	}
}

func TestASuccessorOfACompensatedRunTakesItsKey(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	o, token := w.order()
	id := newID()
	w.faults.set(id, "attach-tenant", false, 1, answer(http.StatusBadRequest, nil))
	w.start(id, o, token)
	w.until(t, id, over)
	successor, err := w.Service.Runs.Act(t.Context(), saga.Action{RunID: id, Name: saga.Retry, Who: "op", Why: "BillingStack is repaired"})
	w.ok(err)
	run := w.until(t, successor.ID, over)
	if got := w.things(t, successor.ID); run.State != saga.Succeeded || got != whole {
		t.Errorf("the run made %q; the run: %s", got, describe(run))
	}
	byKey, err := w.Store.RunOfKey(t.Context(), w.Merchant.ID, id)
	w.ok(err)
	if byKey.ID != successor.ID {
		t.Errorf("the key belongs to run %s, want %s", byKey.ID, successor.ID)
	}
}

// The method `compensated` starts a run that fails, waits until the run is compensated, and returns the run.
func (w *world) compensated(t *testing.T, o workflows.Order) *saga.Run {
	t.Helper()
	id := newID()
	w.faults.set(id, "attach-tenant", false, 1, answer(http.StatusBadRequest, nil))
	w.start(id, o, w.Keystone.IssueToken(o.UserID))
	run := w.until(t, id, over)
	if run.State != saga.Compensated {
		t.Fatalf("the run: %s", describe(run))
	}
	return run
}

func TestARetryIsANewAcceptance(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	o, _ := w.order()
	run := w.compensated(t, o)
	old := w.roles[1] // bs-admin is created again under another id; the clients have cached the old id
	w.admin(http.MethodDelete, "/v3/roles/"+old.ID, "")
	w.admin(http.MethodPost, "/v3/roles", `{"role":{"name":"bs-admin"}}`)
	w.changeMerchant(func(m *merchants.Merchant) { m.OnFailure, m.AdoptUnmarked = merchants.Hold, true })

	successor, err := w.Service.Runs.Act(t.Context(), saga.Action{RunID: run.ID, Name: saga.Retry, Who: "op", Why: "again"})
	w.ok(err)
	var order workflows.Order
	w.ok(json.Unmarshal(successor.Input, &order))
	i := slices.IndexFunc(order.CustomerRoles, func(r keystone.Role) bool { return r.Name == "bs-admin" })
	if i < 0 || order.CustomerRoles[i].ID == old.ID {
		t.Errorf("the roles are %v, want bs-admin by its new id, not %s", order.CustomerRoles, old.ID)
	}
	if user, err := w.Identity.User(t.Context(), o.UserID); err != nil || order.UserName == "" || order.UserName != user.Name {
		t.Errorf("the user's name is %q, want %q (%v)", order.UserName, user.Name, err)
	}
	if !order.AdoptUnmarked || successor.OnFailure != saga.FailureHolds {
		t.Errorf("adopt_unmarked is %t and on_failure %s, want the merchant's current settings", order.AdoptUnmarked, successor.OnFailure)
	}
	was := o.Asked
	if was.CustomerID = order.CustomerID; !reflect.DeepEqual(order.Asked, was) || order.UserID != o.UserID || successor.Fingerprint != run.Fingerprint {
		t.Errorf("the order is %+v of user %s, want %+v of %s", order.Asked, order.UserID, was, o.UserID)
	}
	if got := w.until(t, successor.ID, over); got.State != saga.Succeeded || got.Step("scope-token").State != saga.StepSkipped {
		t.Errorf("the run: %s", describe(got))
	}
}

// TestARoleThatWasMadeAnewIsResolvedAgain deletes roles of accepted orders, and creates the roles again under other ids.
func TestARoleThatWasMadeAnewIsResolvedAgain(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	gold, silver := keystone.Role{ID: w.Keystone.AddRole("gold"), Name: "gold"}, keystone.Role{ID: w.Keystone.AddRole("silver"), Name: "silver"}
	remove := func(all ...keystone.Role) {
		for _, r := range all {
			w.admin(http.MethodDelete, "/v3/roles/"+r.ID, "")
		}
	}
	id := newID()
	o, token := w.order()
	o.CustomerRoles, o.SubscriptionRoles = []keystone.Role{gold, w.roles[0], silver}, []keystone.Role{gold}
	remove(gold, silver)
	w.accept(o.Request(id, saga.FailureHolds), token)
	run := w.until(t, id, func(r *saga.Run) bool { return r.AtRest() })
	if run.Reason == nil || run.Reason.Code != "role-gone" || !strings.Contains(run.Reason.Detail, "no longer exists: create a role with this name, then retry the run") {
		t.Fatalf("without the roles: %s", describe(run))
	}
	remade := []string{w.Keystone.AddRole("gold"), w.Keystone.AddRole("silver")}
	w.ok(ask(w, saga.Action{RunID: id, Name: saga.Retry, Who: "op", Why: "the roles exist again"}))
	run = w.until(t, id, over)
	held, err := w.Identity.AssignedRoles(t.Context(), result(t, run).CustomerTenantID, o.UserID)
	w.ok(err)
	want := slices.Sorted(slices.Values(append(remade, w.roles[0].ID)))
	if run.State != saga.Succeeded || !slices.Equal(held, want) {
		t.Errorf("the user has the roles %v, want %v; the run: %s", held, want, describe(run))
	}
}

// A role that is deleted after it was assigned is missing in the scoped token. A retry of the compensated run assigns the new role.
func TestARoleThatIsDeletedAfterItWasAssignedIsNamed(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	id := newID()
	o, token := w.order()
	gone := w.roles[1]
	w.faults.set(id, "scope-token", false, 1, func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		w.admin(http.MethodDelete, "/v3/roles/"+gone.ID, "")
		w.Keystone.AddRole(gone.Name)
		return next.RoundTrip(req)
	})
	w.start(id, o, token)
	run := w.until(t, id, func(r *saga.Run) bool { return r.Step("scope-token").Error != nil })
	failure := run.Step("scope-token").Error
	want := "lacks role " + gone.Name + " (" + gone.ID + ")"
	if failure.Code != "role-missing" || !strings.Contains(failure.Detail, want) ||
		!strings.Contains(failure.Detail, "compensate the run") {
		t.Fatalf("the failure is %+v, want role-missing and %q", failure, want)
	}
	w.ok(ask(w, saga.Action{RunID: id, Name: saga.Compensate, Who: "op", Why: "the role was deleted"}))
	w.until(t, id, over)
	successor, err := w.Service.Runs.Act(t.Context(), saga.Action{RunID: id, Name: saga.Retry, Who: "op", Why: "again"})
	w.ok(err)
	if run = w.until(t, successor.ID, over); run.State != saga.Succeeded {
		t.Errorf("the retry: %s", describe(run))
	}
}

// On an adopted tenant, a run does not assign the new role. If the answer to the assignment were lost, the undo could not revoke the
// role.
func TestARoleThatWasMadeAnewIsResolvedByTheRetryOfACompensatedRun(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	w.changeMerchant(func(m *merchants.Merchant) { m.AdoptUnmarked = true })
	o, token := w.order()
	o.NewCustomer, o.CustomerID, o.AddUser, o.AdoptUnmarked = nil, w.Merchant.Customer, true, true
	w.admin(http.MethodDelete, "/v3/roles/"+w.roles[1].ID, "")
	remade := w.Keystone.AddRole("bs-admin")
	id := newID()
	w.start(id, o, token)
	run := w.until(t, id, over)
	if run.State != saga.Compensated || run.Cause.Code != "role-renewed" ||
		!strings.HasSuffix(run.Cause.Detail, "a new role has this name: wait until the run is compensated, then retry the run") {
		t.Fatalf("the run: %s", describe(run))
	}
	successor, err := w.Service.Runs.Act(t.Context(), saga.Action{RunID: id, Name: saga.Retry, Who: "op", Why: "again"})
	w.ok(err)
	run = w.until(t, successor.ID, over)
	held, err := w.Identity.AssignedRoles(t.Context(), result(t, run).CustomerTenantID, o.UserID)
	w.ok(err)
	if run.State != saga.Succeeded || !slices.Contains(held, remade) {
		t.Errorf("the user has the roles %v; the run: %s", held, describe(run))
	}
}

func TestARetryThatCannotBeAcceptedChangesNothing(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	for name, c := range map[string]struct {
		change func(o workflows.Order, m *merchants.Merchant)
		code   saga.Code
		fixBy  saga.FixBy
	}{
		"the user is gone": {func(o workflows.Order, _ *merchants.Merchant) { w.admin(http.MethodDelete, "/v3/users/"+o.UserID, "") }, "user-gone", saga.FixByMerchant},
		"the user is disabled": {func(o workflows.Order, _ *merchants.Merchant) {
			w.admin(http.MethodPatch, "/v3/users/"+o.UserID, `{"user":{"enabled":false}}`)
		}, "user-disabled", saga.FixByOperator},
		"the merchant is disabled": {func(_ workflows.Order, m *merchants.Merchant) { m.Disable(time.Now()) }, "merchant-disabled", saga.FixByOperator},
		"the cloud is another":     {func(_ workflows.Order, m *merchants.Merchant) { m.Cloud = "elsewhere" }, "cloud-changed", saga.FixByOperator},
		"the domain is another":    {func(_ workflows.Order, m *merchants.Merchant) { m.Domain = w.Keystone.AddDomain("Other") }, "domain-changed", saga.FixByOperator},
		"a role is not there":      {func(_ workflows.Order, m *merchants.Merchant) { m.CustomerRoles = []string{"nobody"} }, "configuration-fault", saga.FixByOperator},
		"the plan is not there":    {func(o workflows.Order, _ *merchants.Merchant) { w.deletePlan(o.PlanID) }, "plan-gone", saga.FixByMerchant},
	} {
		t.Run(name, func(t *testing.T) {
			plan, err := w.Billing.CreatePlan(t.Context(), w.Merchant.ID, billing.Plan{ID: uuid.NewString(), Name: name})
			w.ok(err)
			w.Merchant.Plan = plan.ID
			o, _ := w.order()
			run := w.compensated(t, o)
			var before merchants.Merchant
			w.changeMerchant(func(m *merchants.Merchant) { before = *m; c.change(o, m) })
			defer w.changeMerchant(func(m *merchants.Merchant) { *m = before })
			successor, err := w.Service.Runs.Act(t.Context(), saga.Action{RunID: run.ID, Name: saga.Retry, Who: "op", Why: "again"})
			refused, ok := errors.AsType[*saga.RetryRefusedError](err)
			if successor != nil || !ok || refused.Code != c.code || refused.FixBy != c.fixBy {
				t.Errorf("got %v, %#v; want a refusal with code %s and fixBy %s", successor, err, c.code, c.fixBy)
			}
			byKey, err := w.Store.RunOfKey(t.Context(), w.Merchant.ID, run.Key)
			w.ok(err)
			if byKey.ID != run.ID || byKey.RetriedBy != "" {
				t.Errorf("the key belongs to run %s, retried by %q", byKey.ID, byKey.RetriedBy)
			}
		})
	}
}

func TestNoTwoStepsWriteOneField(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	o, token := w.order()
	id := newID()
	w.start(id, o, token)
	run := w.until(t, id, over)
	writer := map[string]string{}
	for _, s := range run.Steps {
		for _, field := range fields(t, s.Output) {
			if writer[field] != "" {
				t.Errorf("steps %s and %s both write %s", writer[field], s.Name, field)
			}
			writer[field] = s.Name
		}
	}
	if len(writer) == 0 {
		t.Error("no step wrote anything")
	}
}

func ask(w *world, v saga.Action) error {
	_, err := w.Service.Runs.Act(w.t.Context(), v)
	return err
}

func result(t *testing.T, run *saga.Run) workflows.Result {
	t.Helper()
	d, err := saga.Define(workflows.Subscribe(workflows.Deps{}))
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := d.Result(run)
	if err != nil {
		t.Fatal(err)
	}
	return decode[workflows.Result](t, encoded)
}
