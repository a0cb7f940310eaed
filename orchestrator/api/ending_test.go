package api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/service"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
	"github.com/tenantry/tenantry/workflows"
)

// The type `calendar` is an installation with a clock that the test sets forward. The database is SQLite, because SQLite uses the clock of
// the process.
type calendar struct {
	*world
	ahead     atomic.Int64
	resources *resources
	pays      atomic.Bool        // customers have a payment method
	planless  atomic.Bool        // BillingStack has no plans
	assigning chan chan struct{} // if set, an assignment of a role receives a channel from here, and waits until that channel is closed
}

// The method `around` changes the answers of the upstreams: it delays assignments of roles (c.assigning), gives customers a payment
// method (c.pays), and hides all plans (c.planless).
func (c *calendar) around(_ string, next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		answer := ""
		if c.assigning != nil && r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/roles/") {
			select {
			case until := <-c.assigning:
				<-until
			default:
			}
		}
		switch {
		case strings.HasSuffix(r.URL.Path, "/payment_methods") && c.pays.Load():
			answer = `[{"id": "m1", "name": "card"}]`
		case strings.HasSuffix(r.URL.Path, "/plans") && c.planless.Load():
			answer = "[]"
		default:
			return next.RoundTrip(r)
		}
		return &http.Response{
			StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(answer)), Request: r,
		}, nil
	})
}

// The type `resources` is a stand-in for the services of a cloud, with the given resources of each project.
type resources struct {
	of atomic.Pointer[map[string]string]
}

func (r *resources) Empty(ctx context.Context, cloud, projectID string, _ time.Time) (workflows.Emptiness, error) {
	return r.Look(ctx, cloud, projectID)
}

func (r *resources) Look(_ context.Context, _, projectID string) (workflows.Emptiness, error) {
	what, has := (*r.of.Load())[projectID]
	return workflows.Emptiness{Empty: !has, NotEmpty: has, Reasons: strings.Split(what, "\n")}, nil
}

func (r *resources) set(of map[string]string) { r.of.Store(&of) }

func newCalendar(t *testing.T, change ...func(*servicetest.Options)) *calendar {
	return newCalendarOf(t, week, change...)
}

// newCalendarOf returns an installation that keeps the tenant of an ended subscription for the given time, but at least ten minutes.
func newCalendarOf(t *testing.T, keepTenant time.Duration, change ...func(*servicetest.Options)) *calendar {
	c := &calendar{resources: &resources{}}
	c.resources.set(nil)
	c.world = newWorldOf(t, "", slices.Concat(change, []func(*servicetest.Options){func(o *servicetest.Options) {
		before := o.Around
		o.Around = func(upstream string, next http.RoundTripper) http.RoundTripper {
			return before(upstream, c.around(upstream, next))
		}
	}, changed(func(o *service.Options) {
		o.Now = func() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }
		o.Lease, o.Poll, o.Resources, o.KeepTenant = 10_000*time.Hour, 50*time.Millisecond, c.resources, keepTenant
	})})...)
	return c
}

func (c *calendar) step(d time.Duration) { c.ahead.Add(int64(d)) }

// The method `until` waits until the condition is true. The service notices a due follow-up only when it polls.
func (c *calendar) until(what string, is func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatalf("%s: not in time", what)
		}
	}
}

// untilDisabled waits until the tenant of a closed customer is disabled, and the run of the workflow `close` has ended. Ten minutes after
// the end of the run, the tenant is removed. A test must therefore not step the clock before the end of the run.
func (c *calendar) untilDisabled(tenant string) {
	c.t.Helper()
	c.until("the tenant of the customer is disabled", func() bool {
		p, err := c.Identity.Project(c.t.Context(), tenant)
		closing := c.ended("close")
		return err == nil && !p.Enabled && closing != nil && closing.State == saga.Succeeded
	})
}

// The method `ended` returns the newest run of the workflow if it has ended.
func (c *calendar) ended(workflow string) *saga.Run {
	c.t.Helper()
	runs, err := c.Store.Runs(c.t.Context(), saga.Filter{Workflow: workflow, Limit: 1})
	must(c.t, err)
	if len(runs) == 0 || !runs[0].State.Ended() {
		return nil
	}
	return runs[0]
}

func (c *calendar) project(id string) bool {
	c.t.Helper()
	_, err := c.Identity.Project(c.t.Context(), id)
	if err != nil && !errors.Is(err, keystone.ErrNotFound) {
		c.t.Fatal(err)
	}
	return err == nil
}

func (c *calendar) customer(id string) bool {
	c.t.Helper()
	_, err := c.Billing.Customer(c.t.Context(), c.Merchant.ID, id)
	if err != nil && !errors.Is(err, billing.ErrNotFound) {
		c.t.Fatal(err)
	}
	return err == nil
}

func (c *calendar) customerTenant(id string) string {
	for _, p := range c.Keystone.Projects() {
		if p.Name == keystone.CustomerTenant(id) {
			return p.ID
		}
	}
	return ""
}

// The method `another` subscribes the customer again.
func (c *calendar) another(customer, key string) sub {
	c.t.Helper()
	q := c.order(key)
	q.body = fmt.Sprintf(`{"plan_id": %q, "customer_id": %q}`, c.Merchant.Plan, customer)
	q.header.Set("X-Subject-Token", c.Keystone.IssueToken(c.User))
	made := c.changes(q)
	return sub{c.world, idOf(made, "subscription_id"), idOf(made, "subscription_tenant_id"), customer}
}

const (
	week   = 7 * 24 * time.Hour
	months = 35 * 24 * time.Hour
)

// When the last of three subscriptions is removed, the customer and the customer's tenant are removed too.
func TestACustomerGoesWithTheLastSubscription(t *testing.T) {
	c := newCalendar(t)
	all := []sub{c.subscribed("k0")}
	customer := all[0].customer
	all = append(all, c.another(customer, "k1"), c.another(customer, "k2"))
	tenant := c.customerTenant(customer)
	for n, s := range all {
		c.changes(c.change(s.id, "unsubscribe", fmt.Sprint("u", n)))
		c.step(week + time.Minute)
		c.until("the tenant is removed", func() bool { return !c.project(s.tenant) && *s.seen().State == "ended" })
		c.step(months + time.Minute)
		c.until("the subscription is gone", func() bool {
			_, err := c.Billing.Subscription(t.Context(), c.Merchant.ID, s.id)
			return errors.Is(err, billing.ErrNotFound)
		})
		if n < 2 {
			c.until("the closing ends", func() bool { r := c.ended("close"); return r != nil && r.State == saga.Succeeded })
			if !c.customer(customer) || !c.project(tenant) {
				t.Fatalf("the customer went with subscription %d of 3", n+1)
			}
		}
	}
	c.until("the customer is gone", func() bool { return !c.customer(customer) })
	c.untilDisabled(tenant)
	c.step(11 * time.Minute)
	c.until("the tenant of the customer is gone", func() bool { return !c.project(tenant) })
	for _, a := range c.Keystone.Assignments() {
		if a.UserID == c.User && a.ProjectID == tenant {
			t.Errorf("a role assignment is left: %+v", a)
		}
	}
	order := c.order("late")
	order.body = fmt.Sprintf(`{"plan_id": %q, "customer_id": %q}`, c.Merchant.Plan, customer)
	order.header.Set("X-Subject-Token", c.Keystone.IssueToken(c.User))
	c.refused(order, 400, "invalid-params")
}

// A tenant that has a resource is not removed. The run of the removal stores the reason, and is listed among the runs that need attention.
// A day later, the removal is tried again. With `force`, an operator removes the tenant, and the result of the run lists the lost
// resources.
func TestATenantThatIsNotEmptyStays(t *testing.T) {
	c := newCalendar(t)
	s := c.subscribed("k")
	c.resources.set(map[string]string{s.tenant: `image has images (1): "disk"`})
	c.changes(c.change(s.id, "unsubscribe", "u"))
	c.step(week + time.Minute)
	c.until("the removal ends", func() bool { return c.ended("remove") != nil })
	run := c.ended("remove")
	if run.State != saga.Compensated || run.Cause.Code != "tenant-not-empty" || !strings.Contains(run.Cause.Detail, `"disk"`) {
		t.Fatalf("the removal: %s %+v", run.State, run.Cause)
	}
	seen := s.seen()
	if *seen.State != "ending" || seen.EndingReason == nil || !c.project(s.tenant) || seen.EndsAt.Before(c.now().Add(23*time.Hour)) {
		t.Errorf("the subscription: %+v", seen)
	}
	listed := read[api.RunList](t, c.call(c.admin("GET", "/v1/runs?attention=true", ""))).Runs
	if !slices.ContainsFunc(listed, func(r api.Run) bool { return r.ID == run.ID }) {
		t.Errorf("the removal is not among the runs that need attention: %+v", listed)
	}

	c.step(24*time.Hour + time.Minute)
	c.until("the removal is tried again", func() bool { r := c.ended("remove"); return r != nil && r.ID != run.ID })

	force := c.asOperator(c.change(s.id, "remove", "forced"))
	force.body = `{"why": "the customer agrees", "force": true}`
	forced := c.changes(force)
	left, _ := forced.Result["left_behind"].([]any)
	if len(left) != 1 || left[0] != `image has images (1): "disk"` || c.project(s.tenant) {
		t.Errorf("the forced removal: %+v", forced.Result)
	}
	if got := *s.seen().State; got != "ended" {
		t.Errorf("the subscription is %s", got)
	}
	c.refused(c.change(s.id, "restore", "r"), 409, "subscription-ended")
}

// A run stores a limited number of lines about the resources of a tenant.
func TestWhatIsLeftBehindIsBounded(t *testing.T) {
	c := newCalendar(t)
	s := c.subscribed("k")
	c.resources.set(map[string]string{s.tenant: strings.Repeat("a disk\n", 999)})
	c.changes(c.change(s.id, "unsubscribe", "u"))
	c.step(11 * time.Minute)
	force := c.asOperator(c.change(s.id, "remove", "forced"))
	force.body = `{"why": "the customer agrees", "force": true}`
	left, _ := c.changes(force).Result["left_behind"].([]any)
	if len(left) != 101 || left[100] != "and 900 more" {
		t.Errorf("%d lines: %v", len(left), left)
	}
}

// If an ending is held, the tenant is not removed at the due time, and the subscription can be restored. A restored subscription
// has no ending.
func TestAHeldEndingWaits(t *testing.T) {
	c := newCalendar(t)
	s := c.subscribed("k")
	c.changes(c.change(s.id, "unsubscribe", "u"))
	hold := c.asOperator(c.change(s.id, "hold", ""))
	hold.method, hold.header = "PUT", nil
	c.call(hold)
	other := c.another(s.customer, "k2")
	c.changes(c.change(other.id, "unsubscribe", "u2"))
	c.changes(c.change(other.id, "restore", "r2"))
	c.step(week + time.Hour)
	time.Sleep(300 * time.Millisecond) // long enough for some polls
	if c.ended("remove") != nil || !c.project(s.tenant) {
		t.Fatal("a removal has begun although one ending is held and the other subscription is restored")
	}
	c.changes(c.change(s.id, "restore", "r"))
	s.is("restored", "active", true, 1)
	other.is("restored before", "active", true, 1)
}

// The method `now` returns the time of the service.
func (c *calendar) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// If somebody has changed the tenant after the end of the subscription, the tenant is not removed.
func TestWhatKeepsATenant(t *testing.T) {
	for name, k := range map[string]struct {
		change func(*calendar, sub)
		code   saga.Code
	}{
		"somebody has enabled it": {func(c *calendar, s sub) { c.Keystone.EnableProject(s.tenant, true) }, "tenant-enabled"},
		"it has lost its tags":    {func(c *calendar, s sub) { c.Keystone.TagProject(s.tenant, "other") }, "tenant-not-ours"},
		"it has lost the tag of the installation": {func(c *calendar, s sub) {
			p, err := c.Identity.Project(c.t.Context(), s.tenant)
			must(c.t, err)
			c.Keystone.TagProject(s.tenant, slices.DeleteFunc(p.Tags, func(tag string) bool { return strings.HasPrefix(tag, "tenantry-installation-") })...)
		}, "tenant-not-ours"},
		"it has lost the tag of the run that made it": {func(c *calendar, s sub) {
			p, err := c.Identity.Project(c.t.Context(), s.tenant)
			must(c.t, err)
			c.Keystone.TagProject(s.tenant, slices.DeleteFunc(p.Tags, func(tag string) bool { return strings.HasPrefix(tag, "tenantry-run-") })...)
		}, "tenant-not-ours"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCalendar(t)
			s := c.subscribed("k")
			c.changes(c.change(s.id, "unsubscribe", "u"))
			k.change(c, s)
			c.step(week + time.Minute)
			c.until("the removal ends", func() bool { return c.ended("remove") != nil })
			if run := c.ended("remove"); run.State != saga.Compensated || run.Cause.Code != k.code || !c.project(s.tenant) {
				t.Errorf("the removal: %s %+v", run.State, run.Cause)
			}
		})
	}
}

// If a customer is still used, the closing of the customer's only subscription removes the subscription, but not the customer. The result
// of the run contains the reason.
func TestWhatKeepsACustomer(t *testing.T) {
	for name, k := range map[string]struct {
		change func(*calendar, sub)
		why    string
	}{
		"another subscription": {func(c *calendar, s sub) { c.another(s.customer, "second") }, "the customer has subscription"},
		"a payment method":     {func(c *calendar, _ sub) { c.pays.Store(true) }, "the customer has payment method"},
		"an image in its tenant": {func(c *calendar, s sub) {
			c.resources.set(map[string]string{c.customerTenant(s.customer): "image has images (1)"})
		}, "is not proven empty: image has images (1)"},
		"a tenant without our tags": {func(c *calendar, s sub) { c.Keystone.TagProject(c.customerTenant(s.customer), "other") }, "has lost Tenantry's tags"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCalendar(t)
			s := c.subscribed("k")
			c.changes(c.change(s.id, "unsubscribe", "u"))
			k.change(c, s) // an order about the customer need not wait for the ending
			c.step(week + time.Minute)
			c.until("the tenant is removed", func() bool { return !c.project(s.tenant) && c.ended("remove") != nil })
			c.step(months + time.Minute)
			c.until("the closing ends", func() bool { return c.ended("close") != nil })
			run := c.ended("close")
			result := read[api.Run](t, c.call(c.admin("GET", "/v1/runs/"+run.ID, ""))).Result
			if run.State != saga.Succeeded || !strings.Contains(fmt.Sprint(result["kept"]), k.why) {
				t.Errorf("the closing: %s %+v, result %v", run.State, run.Cause, result)
			}
			if _, err := c.Billing.Subscription(t.Context(), c.Merchant.ID, s.id); !errors.Is(err, billing.ErrNotFound) {
				t.Errorf("the subscription: %v", err)
			}
			if p, err := c.Identity.Project(t.Context(), c.customerTenant(s.customer)); !c.customer(s.customer) || err != nil || !p.Enabled {
				t.Errorf("the customer is there: %t; its tenant: %+v, %v", c.customer(s.customer), p, err)
			}
		})
	}
}

// If somebody has changed the customer or the resource of a subscription in BillingStack, the subscription is not removed.
func TestAChangedSubscriptionIsNotClosed(t *testing.T) {
	c := newCalendar(t)
	s := c.subscribed("k")
	c.changes(c.change(s.id, "unsubscribe", "u"))
	c.step(week + time.Minute)
	c.until("the tenant is removed", func() bool { return !c.project(s.tenant) && c.ended("remove") != nil })
	_, err := c.Billing.SetResource(t.Context(), c.Merchant.ID, s.id, "another-project")
	must(t, err)
	c.step(months + time.Minute)
	c.until("the closing ends", func() bool { return c.ended("close") != nil })
	if run := c.ended("close"); run.State != saga.Compensated || run.Cause.Code != "subscription-changed" {
		t.Errorf("the closing: %s %+v", run.State, run.Cause)
	}
	if _, err := c.Billing.Subscription(t.Context(), c.Merchant.ID, s.id); err != nil {
		t.Errorf("the subscription: %v", err)
	}
}

// A subscription whose plan is gone can be restored only after its plan was changed.
func TestASubscriptionWhosePlanIsGoneIsNotRestored(t *testing.T) {
	c := newCalendar(t)
	s := c.subscribed("k")
	c.changes(c.change(s.id, "unsubscribe", "u"))
	c.planless.Store(true)
	c.refused(c.change(s.id, "restore", "r1"), 409, "plan-gone")
	c.planless.Store(false)
	c.changes(c.change(s.id, "restore", "r2"))
	s.is("restored", "active", true, 1)
}

// The removal becomes due while a restore is in progress. The removal waits for the end of the restore, reads the subscription
// again, and removes nothing.
func TestARemovalThatAwaitsARestoreRemovesNothing(t *testing.T) {
	c := newCalendarOf(t, time.Second) // a short time: the removal must be due before the service gives up the restore (24 hours)
	s := c.subscribed("k")
	c.changes(c.change(s.id, "unsubscribe", "u"))
	release := make(chan struct{})
	c.assigning = make(chan chan struct{}, 1)
	c.assigning <- release
	restore := c.change(s.id, "restore", "r")
	restore.header.Set("Prefer", "respond-async")
	c.call(restore)
	c.until("the restore is in progress", func() bool { return len(c.assigning) == 0 })
	c.step(11 * time.Minute)
	c.until("the removal waits", func() bool {
		runs, err := c.Store.Runs(t.Context(), saga.Filter{Workflow: "remove", Limit: 1})
		must(t, err)
		return len(runs) == 1 && runs[0].WaitsFor != ""
	})
	close(release)
	c.until("the removal ends", func() bool { return c.ended("remove") != nil })
	if run := c.ended("remove"); run.State != saga.Compensated || run.Cause.Code != "subscription-not-ending" {
		t.Errorf("the removal: %s %+v", run.State, run.Cause)
	}
	s.is("restored", "active", true, 1)
	time.Sleep(300 * time.Millisecond) // long enough for some polls
	runs, err := c.Store.Runs(t.Context(), saga.Filter{Workflow: "remove", Limit: 9})
	if must(t, err); len(runs) != 1 {
		t.Errorf("%d runs were started for the ending that is gone", len(runs))
	}
}
