package api_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

// The type `rehearsal` prepares the request of a situation. Each situation has its own user, customer and subscription.
type rehearsal struct {
	*calendar
	t   *testing.T
	key string

	user  string
	token string
}

// The method `known` returns an order for an existing customer. The customer's tenant has the tags, and the user has the roles on this
// tenant. If `tags` is nil, the customer has no tenant.
func (r *rehearsal) known(tags []string, roles ...string) request {
	r.t.Helper()
	c, err := r.Billing.EnsureCustomer(r.t.Context(), billing.Customer{
		ID: uuid.NewString(), MerchantID: r.Merchant.ID, Name: "Known", Currency: "nok", Language: "nor",
	})
	must(r.t, err)
	if tags != nil {
		tenant := r.Keystone.AddProject(keystone.Project{Name: keystone.CustomerTenant(c.ID), Tags: tags})
		for _, name := range roles {
			role, err := r.Keystone.Role(name)
			must(r.t, err)
			r.Keystone.Assign(keystone.Assignment{ProjectID: tenant, UserID: r.user, RoleID: role.ID})
		}
	}
	q := r.new()
	q.body = fmt.Sprintf(`{"plan_id": %q, "customer_id": %q}`, r.Merchant.Plan, c.ID)
	return q
}

// The method `new` returns an order for a new customer.
func (r *rehearsal) new() request {
	q := r.order(r.key)
	q.header.Set("X-Subject-Token", r.token)
	return q
}

func adding(q request) request {
	q.body = strings.Replace(q.body, "{", `{"add_user": true, `, 1)
	return q
}

// tenantOf returns the id of the customer's tenant. The order names the customer.
func (r *rehearsal) tenantOf(q request) string {
	for _, p := range r.Keystone.Projects() {
		if id, is := strings.CutPrefix(p.Name, "bs-customer-"); is && strings.Contains(q.body, id) {
			return p.ID
		}
	}
	r.t.Fatal("the customer has no tenant")
	return ""
}

// The method `made` subscribes the user, and then makes the changes, such as "suspend". If the name of a change ends with a star, an
// operator makes the change.
func (r *rehearsal) made(changes ...string) sub {
	r.t.Helper()
	q := r.new()
	q.header.Set("Idempotency-Key", r.key+"-made")
	run := r.changes(q)
	s := sub{r.world, idOf(run, "subscription_id"), idOf(run, "subscription_tenant_id"), idOf(run, "customer_id")}
	for n, name := range changes {
		name, byOperator := strings.CutSuffix(name, "*")
		q := r.change(s.id, name, fmt.Sprint(r.key, "-", n))
		if byOperator {
			q = r.asOperator(q)
		}
		r.changes(q)
	}
	return s
}

// The method `asks` returns the request for an operation on a subscription, such as "suspend". If the name of the operation ends
// with a star, an operator sends the request.
func (r *rehearsal) asks(s sub, name string) request {
	name, byOperator := strings.CutSuffix(name, "*")
	q := r.change(s.id, name, r.key)
	if byOperator {
		return r.asOperator(q)
	}
	return q
}

// The method `tags` reads the tags of a project, and returns the tags for which the function `keep` returns true.
func (r *rehearsal) tags(project string, keep func(tag string) bool) (tags []string) {
	for _, p := range r.Keystone.Projects() {
		for _, tag := range p.Tags {
			if p.ID == project && keep(tag) {
				tags = append(tags, tag)
			}
		}
	}
	return tags
}

func (r *rehearsal) unmark(s sub) {
	r.Keystone.TagProject(s.tenant, r.tags(s.tenant, func(tag string) bool { return !strings.HasPrefix(tag, keystone.DisabledTag("")) })...)
}

// The method `remove` deletes the tenant of a subscription in Keystone, without a run.
func (r *rehearsal) remove(s sub) {
	r.t.Helper()
	run := r.tags(s.tenant, func(tag string) bool { return strings.HasPrefix(tag, "tenantry-run-") })[0]
	_, err := r.Identity.RemoveProject(r.t.Context(), keystone.Project{ID: s.tenant}, run)
	must(r.t, err)
}

// The method `assign` changes Keystone without a run. If `has` is true, `assign` assigns the role member to the user on the tenant
// of a subscription. If `has` is false, `assign` revokes the role.
func (r *rehearsal) assign(s sub, has bool) {
	r.t.Helper()
	role, err := r.Keystone.Role("member")
	must(r.t, err)
	a := keystone.Assignment{ProjectID: s.tenant, UserID: r.user, RoleID: role.ID}
	if has {
		r.Keystone.Assign(a)
	} else {
		r.Keystone.Unassign(a)
	}
}

// The type `situation` is a request, with the expected text of its dry run. The run of the request must have the outcome that the
// dry run predicts.
type situation struct {
	name    string
	prepare func(r *rehearsal) request
	want    string
}

// TestADryRunSaysWhatTheRunDoes sends each request as a dry run and then as an order.
func TestADryRunSaysWhatTheRunDoes(t *testing.T) {
	c := newCalendar(t)
	outcomes := map[string]bool{}
	for n, s := range slices.Concat(orders, switches, plans, ends, removals) {
		t.Run(s.name, func(t *testing.T) {
			r := &rehearsal{calendar: c, t: t, key: fmt.Sprint("k", n)}
			r.user = c.Keystone.AddUser(keystonetest.User{Name: uuid.NewString(), Password: "pw"})
			r.token = c.Keystone.IssueToken(r.user)
			q := s.prepare(r)
			defer c.planless.Store(false)
			got := c.rehearse(t, q)
			if got != s.want {
				t.Errorf("got  %s\nwant %s", got, s.want)
			}
			for word := range strings.FieldsSeq(got) {
				outcomes[word] = true
			}
		})
	}
	for _, outcome := range []saga.DryOutcome{
		saga.WouldCreate, saga.WouldChange, saga.WouldRemove, saga.WouldAdopt, saga.OnlyReads, saga.NothingToDo, saga.WouldSkip, saga.NotReached,
	} {
		if !outcomes[string(outcome)] {
			t.Errorf("no step is %s", outcome)
		}
	}
}

// The method `ours` returns tags. The merchant's runs may adopt a tenant that has these tags.
func (r *rehearsal) ours() []string { return []string{keystone.MerchantTag(r.Merchant.ID)} }

var unmarked = []string{"somebody's"}

var orders = []situation{
	{"a new customer", (*rehearsal).new, "succeeded: nothing-to-do would-create would-create would-create would-create would-create would-create would-create would-create would-change"},
	{"a customer with all", func(r *rehearsal) request {
		return r.known(r.ours(), "member", "bs-admin")
	}, "succeeded: only-reads would-adopt would-adopt would-adopt would-adopt would-create would-create would-create would-create would-change"},
	{"a customer whose user lacks a role", func(r *rehearsal) request {
		return r.known(r.ours(), "member")
	}, "succeeded: only-reads would-adopt would-adopt would-adopt would-create would-create would-create would-create would-create would-change"},
	{"a customer and another user", func(r *rehearsal) request {
		return adding(r.known(r.ours()))
	}, "succeeded: only-reads would-adopt would-adopt would-create would-create would-create would-create would-create would-create would-change"},
	{"a customer without tenant", func(r *rehearsal) request {
		return adding(r.known(nil))
	}, "succeeded: only-reads would-adopt would-create would-create would-create would-create would-create would-create would-create would-change"},
	{"a user without a role", func(r *rehearsal) request { return r.known(r.ours()) }, "403 user-not-of-customer"},
	{"a foreign tenant", func(r *rehearsal) request {
		return r.known(unmarked, "member")
	}, "waiting: only-reads would-adopt conflict(conflict) not-reached not-reached not-reached would-create would-create would-create would-change"},
	{"a disabled tenant", func(r *rehearsal) request {
		q := r.known(r.ours(), "member")
		r.Keystone.EnableProject(r.tenantOf(q), false)
		return q
	}, "waiting: only-reads would-adopt conflict(tenant-disabled) not-reached not-reached not-reached would-create would-create would-create would-change"},
	{"a foreign tenant that may be adopted", func(r *rehearsal) request {
		path := "/v1/merchants/" + r.Merchant.ID
		r.call(r.admin(http.MethodPatch, path, `{"adopt_unmarked": true}`))
		r.t.Cleanup(func() { r.call(r.admin(http.MethodPatch, path, `{"adopt_unmarked": false}`)) })
		return r.known(unmarked, "member")
	}, "succeeded: only-reads would-adopt would-adopt would-adopt would-create would-create would-create would-create would-create would-change"},
	{"no plan", func(r *rehearsal) request { r.planless.Store(true); return r.new() }, "400 invalid-params"},
	{"a plan that is gone", func(r *rehearsal) request {
		q := r.new()
		q.body = strings.Replace(q.body, r.Merchant.Plan, uuid.NewString(), 1)
		return q
	}, "400 invalid-params"},
	{"a user who is logged out", func(r *rehearsal) request {
		r.Keystone.RevokeToken(r.token)
		return r.new()
	}, "401 user-token-invalid"},
}

var switches = []situation{
	{"suspend", func(r *rehearsal) request { return r.asks(r.made(), "suspend") }, "succeeded: only-reads would-change"},
	{"suspend again", func(r *rehearsal) request { return r.asks(r.made("suspend"), "suspend") }, "409 subscription-suspended"},
	{"suspend again, an operator", func(r *rehearsal) request {
		return r.asks(r.made("suspend"), "suspend*")
	}, "succeeded: only-reads nothing-to-do"},
	{"suspend without tenant", func(r *rehearsal) request {
		s := r.made()
		r.remove(s)
		return r.asks(s, "suspend")
	}, "409 tenant-gone"},
	{"suspend a disabled tenant", func(r *rehearsal) request {
		s := r.made()
		r.Keystone.EnableProject(s.tenant, false)
		return r.asks(s, "suspend")
	}, "409 tenant-disabled"},
	{"suspend a foreign tenant", func(r *rehearsal) request {
		s := r.made()
		r.Keystone.TagProject(s.tenant)
		return r.asks(s, "suspend")
	}, "409 tenant-not-ours"},
	{"suspend what has ended", func(r *rehearsal) request {
		return r.asks(r.made("unsubscribe"), "suspend")
	}, "409 subscription-ending"},
	{"resume", func(r *rehearsal) request { return r.asks(r.made("suspend"), "resume") }, "succeeded: only-reads would-change"},
	{"resume an operator's", func(r *rehearsal) request { return r.asks(r.made("suspend*"), "resume") }, "403 suspended-by-operator"},
	{"resume what somebody has enabled", func(r *rehearsal) request {
		s := r.made("suspend")
		r.Keystone.EnableProject(s.tenant, true)
		return r.asks(s, "resume")
	}, "succeeded: only-reads would-change"},
	{"resume what somebody has resumed", func(r *rehearsal) request {
		s := r.made("suspend")
		r.Keystone.EnableProject(s.tenant, true)
		r.unmark(s)
		return r.asks(s, "resume")
	}, "succeeded: only-reads nothing-to-do"},
	{"resume what somebody has disabled", func(r *rehearsal) request {
		s := r.made("suspend")
		r.unmark(s)
		return r.asks(s, "resume")
	}, "409 tenant-disabled"},
}

var plans = []situation{
	{"change-plan", func(r *rehearsal) request {
		return r.changePlan(r.made().id, r.newPlan(r.Merchant.ID), r.key)
	}, "succeeded: only-reads would-change"},
	{"change-plan of what has ended", func(r *rehearsal) request {
		return r.changePlan(r.made("unsubscribe").id, r.newPlan(r.Merchant.ID), r.key)
	}, "succeeded: only-reads would-change"},
	{"change-plan to the same", func(r *rehearsal) request {
		return r.changePlan(r.made().id, r.Merchant.Plan, r.key)
	}, "409 plan-unchanged"},
	{"change-plan to another's", func(r *rehearsal) request {
		return r.changePlan(r.made().id, r.newPlan(r.Other.ID), r.key)
	}, "400 invalid-params"},
	{"change-plan to what somebody has set", func(r *rehearsal) request {
		s, plan := r.made(), r.newPlan(r.Merchant.ID)
		_, err := r.Billing.SetPlan(r.t.Context(), r.Merchant.ID, s.id, plan)
		must(r.t, err)
		return r.changePlan(s.id, plan, r.key)
	}, "succeeded: only-reads nothing-to-do"},
}

var ends = []situation{
	{"unsubscribe", func(r *rehearsal) request {
		return r.asks(r.made(), "unsubscribe")
	}, "succeeded: only-reads would-remove would-change"},
	{"unsubscribe while suspended", func(r *rehearsal) request {
		return r.asks(r.made("suspend"), "unsubscribe")
	}, "succeeded: only-reads would-remove nothing-to-do"},
	{"unsubscribe again", func(r *rehearsal) request {
		return r.asks(r.made("unsubscribe"), "unsubscribe")
	}, "409 subscription-ending"},
	{"unsubscribe without tenant", func(r *rehearsal) request {
		s := r.made()
		r.remove(s)
		return r.asks(s, "unsubscribe")
	}, "succeeded: only-reads nothing-to-do nothing-to-do"},
	{"unsubscribe with a disabled tenant", func(r *rehearsal) request {
		s := r.made()
		r.Keystone.EnableProject(s.tenant, false)
		return r.asks(s, "unsubscribe")
	}, "succeeded: only-reads would-remove nothing-to-do"},
	{"unsubscribe without the role", func(r *rehearsal) request {
		s := r.made()
		r.assign(s, false)
		return r.asks(s, "unsubscribe")
	}, "succeeded: only-reads nothing-to-do would-change"},
	{"unsubscribe without the subscriber", func(r *rehearsal) request {
		s := r.made()
		r.Keystone.RemoveUser(r.user)
		return r.asks(s, "unsubscribe")
	}, "succeeded: only-reads nothing-to-do would-change"},
	{"unsubscribe from a foreign tenant", func(r *rehearsal) request {
		s := r.made()
		r.Keystone.TagProject(s.tenant)
		return r.asks(s, "unsubscribe")
	}, "409 tenant-not-ours"},

	{"restore", func(r *rehearsal) request {
		return r.asks(r.made("unsubscribe"), "restore")
	}, "succeeded: only-reads would-create would-change"},
	{"restore what is active", func(r *rehearsal) request { return r.asks(r.made(), "restore") }, "409 subscription-not-ending"},
	{"restore a suspension", func(r *rehearsal) request {
		return r.asks(r.made("suspend", "unsubscribe"), "restore")
	}, "succeeded: only-reads would-create nothing-to-do"},
	{"restore without the subscriber", func(r *rehearsal) request {
		s := r.made("unsubscribe")
		r.Keystone.RemoveUser(r.user)
		return r.asks(s, "restore")
	}, "succeeded: only-reads would-skip would-change"},
	{"restore for another user", func(r *rehearsal) request {
		q := r.asks(r.made("unsubscribe"), "restore")
		q.body = fmt.Sprintf(`{"why": "a test", "add_user": %q}`, r.User)
		return q
	}, "succeeded: only-reads would-create would-change"},
	{"restore for nobody", func(r *rehearsal) request {
		q := r.asks(r.made("unsubscribe"), "restore")
		q.body = `{"why": "a test", "add_user": "nobody"}`
		return q
	}, "400 invalid-params"},
	{"restore with the role", func(r *rehearsal) request {
		s := r.made("unsubscribe")
		r.assign(s, true)
		return r.asks(s, "restore")
	}, "succeeded: only-reads would-adopt would-change"},
	{"restore a tenant that somebody has disabled", func(r *rehearsal) request {
		s := r.made()
		r.Keystone.EnableProject(s.tenant, false)
		r.changes(r.change(s.id, "unsubscribe", r.key+"-u"))
		return r.asks(s, "restore")
	}, "compensated: only-reads would-create conflict(tenant-disabled)"},
	{"restore without tenant", func(r *rehearsal) request {
		s := r.made("unsubscribe")
		r.remove(s)
		return r.asks(s, "restore")
	}, "409 tenant-gone"},
	{"restore without plan", func(r *rehearsal) request {
		s := r.made("unsubscribe")
		r.planless.Store(true)
		return r.asks(s, "restore")
	}, "409 plan-gone"},
}

// settledEnding returns a subscription that ended so long ago that its tenant may be removed.
func (r *rehearsal) settledEnding() sub {
	s := r.made("unsubscribe")
	r.step(11 * time.Minute)
	return s
}

var removals = []situation{
	{"remove", func(r *rehearsal) request {
		return r.asks(r.settledEnding(), "remove*")
	}, "succeeded: only-reads only-reads would-remove"},
	{"remove early", func(r *rehearsal) request { return r.asks(r.made("unsubscribe"), "remove*") }, "409 tenant-not-settled"},
	{"remove as a portal", func(r *rehearsal) request { return r.asks(r.settledEnding(), "remove") }, "403 forbidden"},
	{"remove what is active", func(r *rehearsal) request { return r.asks(r.made(), "remove*") }, "409 subscription-not-ending"},
	{"remove a tenant that is gone", func(r *rehearsal) request {
		s := r.settledEnding()
		r.remove(s)
		return r.asks(s, "remove*")
	}, "succeeded: only-reads nothing-to-do nothing-to-do"},
	{"remove a tenant that somebody has enabled", func(r *rehearsal) request {
		s := r.settledEnding()
		r.Keystone.EnableProject(s.tenant, true)
		return r.asks(s, "remove*")
	}, "409 tenant-enabled"},
	{"remove a foreign tenant", func(r *rehearsal) request {
		s := r.settledEnding()
		r.Keystone.TagProject(s.tenant)
		return r.asks(s, "remove*")
	}, "409 tenant-not-ours"},
	{"remove a tenant that is not empty", func(r *rehearsal) request {
		s := r.settledEnding()
		r.resources.set(map[string]string{s.tenant: `image has images (1): "disk"`})
		return r.asks(s, "remove*")
	}, "compensated: only-reads conflict(tenant-not-empty) not-reached"},
	{"remove by force", func(r *rehearsal) request {
		s := r.settledEnding()
		r.resources.set(map[string]string{s.tenant: `image has images (1): "disk"`})
		q := r.asks(s, "remove*")
		q.body = `{"why": "a test", "force": true}`
		return q
	}, "succeeded: only-reads only-reads would-remove"},
}
