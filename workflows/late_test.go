package workflows_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/workflows"
)

// The function `late` is a fault in which the request times out, but the upstream executes the request later. The parameter `by` is
// the time between the sending and the execution of the request.
func late(by time.Duration) happening {
	return func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		var body []byte
		if req.Body != nil {
			body, _ = io.ReadAll(req.Body)
		}
		again := req.Clone(context.WithoutCancel(req.Context()))
		again.Body = io.NopCloser(bytes.NewReader(body))
		time.AfterFunc(by, func() {
			if resp, err := next.RoundTrip(again); err == nil {
				_ = resp.Body.Close()
			}
		})
		return timeOut(next, req)
	}
}

// The method `joining` returns an order in which a new user joins an existing customer. If the argument `tenant` is true, the
// customer has a tenant.
func (o *outage) joining(tenant bool) (order workflows.Order, tenantID string) {
	o.t.Helper()
	c, err := o.bill.EnsureCustomer(o.t.Context(), billing.Customer{
		ID: uuid.NewString(), MerchantID: o.merchant.ID, Name: "old", Currency: "eur", Language: "eng",
	})
	o.ok(err)
	if tenant {
		tenantID = o.cloud.AddProject(keystone.Project{
			Name: "bs-customer-" + c.ID, DomainID: keystonetest.DefaultDomain, Enabled: true,
			Tags: []string{"tenantry-merchant-" + o.merchant.ID},
		})
	}
	return workflows.Order{
		Asked: workflows.Asked{
			MerchantID: o.merchant.ID,
			PlanID:     o.plan.ID,
			CustomerID: c.ID,
		},
		Resolved: workflows.Resolved{
			Cloud:             "default",
			DomainID:          keystonetest.DefaultDomain,
			UserID:            o.cloud.AddUser(keystonetest.User{Name: uuid.NewString(), Password: "pw"}),
			CustomerRoles:     o.roles,
			SubscriptionRoles: o.roles[:1],
			CheckedAt:         time.Now(),
		},
	}, tenantID
}

// The method `failing` starts a run that fails and is compensated. If undo is false, the fault is injected into the first call that
// assigns the role "member". If undo is true, the fault is injected into the first call that revokes this role.
func (o *outage) failing(order workflows.Order, undo bool, happen happening) (id string) {
	id = newID()
	o.faults.set(id, memberStep, undo, 1, happen)
	o.faults.set(id, "scope-token", false, 1<<20, answer(http.StatusBadRequest, nil))
	o.start(id, order)
	return id
}

// madeLate starts a run that fails and is compensated. The upstream executes the first request of the named step half an hour
// late.
func (o *outage) madeLate(order workflows.Order, step string) (id string) {
	id = newID()
	o.faults.set(id, step, false, 2, func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		if req.Method == http.MethodPost && o.run(id).Step(step).Attempts == 1 {
			return late(30*time.Minute)(next, req)
		}
		return answer(http.StatusBadRequest, nil)(next, req)
	})
	o.faults.set(id, "scope-token", false, 1<<20, answer(http.StatusBadRequest, nil))
	o.start(id, order)
	return id
}

// The method `held` starts a run and holds it. The run stays held until the test sends another action.
func (o *outage) held(order workflows.Order) (id string) {
	id = newID()
	o.faults.setReads(id, "check", "billing", 1, timeOut)
	o.start(id, order)
	o.ask(id, saga.Hold)
	return id
}

func (o *outage) ask(id string, action saga.ActionName) {
	o.t.Helper()
	_, err := o.engine.Act(o.t.Context(), saga.Action{RunID: id, Name: action, Who: "op", Why: "because"})
	o.ok(err)
}

// The method `at` waits until the duration `d` has passed since the time `began`.
func (o *outage) at(began time.Time, d time.Duration) {
	time.Sleep(time.Until(began.Add(d)))
	synctest.Wait()
}

func (o *outage) run(id string) *saga.Run {
	o.t.Helper()
	r, err := o.store.Run(o.t.Context(), id)
	o.ok(err)
	return r
}

// The method `holds` returns the names of the order's customer roles that the order's user has on the tenant.
func (o *outage) holds(order workflows.Order, tenantID string) (names []string) {
	for _, r := range order.CustomerRoles {
		a := keystone.Assignment{ProjectID: tenantID, UserID: order.UserID, RoleID: r.ID}
		if slices.Contains(o.cloud.Assignments(), a) {
			names = append(names, r.Name)
		}
	}
	return names
}

func (o *outage) events(id string, kind saga.EventKind, code string) (n int) {
	for _, e := range o.store.Everything().Events[id] {
		if e.Kind == kind && (code == "" || e.Failure != nil && string(e.Failure.Code) == code) {
			n++
		}
	}
	return n
}

func (o *outage) tenants(order workflows.Order) (n int) {
	for _, p := range o.cloud.Projects() {
		if p.Name == "bs-customer-"+order.CustomerID {
			n++
		}
	}
	return n
}

// inNight executes a story on simulated time. After 30 hours, inNight checks that every run has ended and that no re-checks are
// left.
func inNight(t *testing.T, story func(o *outage, began time.Time)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o, began := newOutage(t, 0), time.Now()
		story(o, began)
		o.at(began, 30*time.Hour)
		for _, r := range o.store.Everything().Runs {
			if r.Rechecks > 0 || !r.State.Ended() {
				t.Errorf("after 30 hours: %d rechecks left, %s", r.Rechecks, describe(r))
			}
		}
	})
}

const (
	memberStep = "assign-customer-role/member"
	tenantStep = "create-customer-tenant"
)

func TestARoleGivenLateIsTakenBackByARecheck(t *testing.T) {
	inNight(t, func(o *outage, began time.Time) {
		order, tenant := o.joining(true)
		id := o.failing(order, false, late(30*time.Minute))
		o.at(began, 45*time.Minute)
		if r := o.run(id); r.State != saga.Compensated || !slices.Equal(o.holds(order, tenant), []string{"member"}) {
			t.Fatalf("the user holds %v; the run: %s", o.holds(order, tenant), describe(r))
		}
		o.at(began, 2*time.Hour)
		if got := o.holds(order, tenant); got != nil || o.events(id, saga.EventLateEffect, "") != 1 {
			t.Errorf("the user still holds %v, there are %d events late-effect; want no role and one event", got, o.events(id, saga.EventLateEffect, ""))
		}
	})
}

func TestWhatARunThatSucceededHasGivenIsLeftByRechecksOfOthers(t *testing.T) {
	inNight(t, func(o *outage, began time.Time) {
		order, tenant := o.joining(true)
		o.failing(order, false, late(30*time.Minute))
		o.at(began, 40*time.Minute)
		next := newID()
		o.start(next, order)
		o.at(began, 29*time.Hour)
		if r := o.run(next); r.State != saga.Succeeded || len(o.holds(order, tenant)) != 2 {
			t.Errorf("the user holds %v; the run: %s", o.holds(order, tenant), describe(r))
		}
	})
}

func TestOnlyWhoWasToHaveTheRoleClaimsIt(t *testing.T) {
	for name, differ := range map[string]func(o *outage, order *workflows.Order){
		"another user": func(o *outage, order *workflows.Order) {
			order.UserID = o.cloud.AddUser(keystonetest.User{Name: uuid.NewString(), Password: "pw"})
		},
		"other roles": func(o *outage, order *workflows.Order) { order.CustomerRoles = o.roles[1:] },
	} {
		t.Run(name, func(t *testing.T) {
			inNight(t, func(o *outage, began time.Time) {
				order, tenant := o.joining(true)
				o.failing(order, false, late(30*time.Minute))
				o.at(began, 40*time.Minute)
				other, next := order, newID()
				differ(o, &other)
				o.start(next, other)
				o.at(began, 50*time.Minute)
				live := o.held(other)
				o.at(began, 28*time.Hour)
				if r := o.run(next); r.State != saga.Succeeded || slices.Contains(o.holds(order, tenant), "member") {
					t.Errorf("the user holds %v; the other run: %s", o.holds(order, tenant), describe(r))
				}
				o.ask(live, saga.Compensate)
			})
		})
	}
}

func TestARecheckComesBackToWhatALiveRunMayClaim(t *testing.T) {
	inNight(t, func(o *outage, began time.Time) {
		order, tenant := o.joining(true)
		id := o.failing(order, false, late(30*time.Minute))
		o.at(began, 40*time.Minute)
		next := o.held(order)
		o.at(began, 26*time.Hour) // the live run delays the last re-check beyond this time
		if got := o.holds(order, tenant); !slices.Contains(got, "member") || o.run(id).Rechecks == 0 {
			t.Errorf("the user holds %v, %d rechecks are left; want role member and a recheck", got, o.run(id).Rechecks)
		}
		if n := o.run(id).Step(memberStep).Undos; n < 20 || n > 30 {
			t.Errorf("%d attempts were made, want one an hour", n)
		}
		if n := o.events(id, saga.EventUndoAttempt, "claimed-by-a-live-run"); n != 1 {
			t.Errorf("%d events have the code claimed-by-a-live-run, want one", n)
		}
		o.ask(next, saga.Compensate)
		o.at(began, 29*time.Hour)
		if got := o.holds(order, tenant); got != nil {
			t.Errorf("the user still holds %v; the runs: %s, %s", got, describe(o.run(id)), describe(o.run(next)))
		}
	})
}

func TestWhatSomebodyGaveByHandIsLeftUnlessAnAttemptWasNeverAnswered(t *testing.T) {
	inNight(t, func(o *outage, began time.Time) {
		order, tenant := o.joining(true)
		id := o.failing(order, true, timeOut)
		o.at(began, 5*time.Minute)
		o.cloud.Assign(keystone.Assignment{ProjectID: tenant, UserID: order.UserID, RoleID: o.roles[0].ID})
		o.at(began, 29*time.Hour)
		if r := o.run(id); r.State != saga.Compensated || !slices.Equal(o.holds(order, tenant), []string{"member"}) {
			t.Errorf("the user holds %v; the run: %s", o.holds(order, tenant), describe(r))
		}
	})
}

func TestATenantMadeLateIsRemovedUnlessARunHasAdoptedIt(t *testing.T) {
	for name, adopt := range map[string]bool{"no run adopts it": false, "a run adopts it": true} {
		t.Run(name, func(t *testing.T) {
			inNight(t, func(o *outage, began time.Time) {
				order, _ := o.joining(false)
				id := o.madeLate(order, tenantStep)
				o.at(began, 40*time.Minute)
				want, next := 0, newID()
				if adopt {
					want = 1
					o.start(next, order)
				}
				o.at(began, 29*time.Hour)
				if got := o.tenants(order); o.run(id).State != saga.Compensated || got != want {
					t.Errorf("%d customer tenants, want %d; the run: %s", got, want, describe(o.run(id)))
				}
				if adopt && o.run(next).State != saga.Succeeded {
					t.Errorf("the run that adopts the tenant: %s", describe(o.run(next)))
				}
			})
		})
	}
}

func TestOnlyACustomersTenantCanBeClaimed(t *testing.T) {
	inNight(t, func(o *outage, began time.Time) {
		order, _ := o.joining(true)
		id := o.madeLate(order, "create-subscription-tenant")
		made := func() bool {
			return slices.ContainsFunc(o.cloud.Projects(), func(p keystone.Project) bool { return p.HasTag("tenantry-run-" + id) })
		}
		o.at(began, 40*time.Minute)
		other := o.held(order)
		if !made() {
			t.Fatalf("the tenant was not made late; the run: %s", describe(o.run(id)))
		}
		o.at(began, 3*time.Hour)
		if made() {
			t.Error("the tenant of a subscription was not removed, though no run claims it")
		}
		o.ask(other, saga.Compensate)
	})
}

func TestACustomerMadeLateIsRemovedUnlessARunIsAboutIt(t *testing.T) {
	for action, want := range map[saga.ActionName]bool{saga.Retry: true, saga.Compensate: false} {
		t.Run(string(action), func(t *testing.T) {
			inNight(t, func(o *outage, began time.Time) {
				order, _ := o.joining(false)
				order.CustomerID, order.NewCustomer = "", &workflows.NewCustomer{Name: "Ann", Currency: "eur", Language: "eng"}
				id := o.madeLate(order, "create-customer")
				named := order.Named(id)
				there := func() bool {
					_, err := o.bill.Customer(o.t.Context(), o.merchant.ID, named.CustomerID)
					return err == nil
				}
				o.at(began, 40*time.Minute)
				order.CustomerID, order.NewCustomer = named.CustomerID, nil
				other := o.held(order)
				o.at(began, 3*time.Hour)
				if !there() {
					t.Fatalf("a recheck has removed the customer of a live run; the rechecked run: %s", describe(o.run(id)))
				}
				o.ask(other, action)
				o.at(began, 29*time.Hour)
				if got := o.run(other).State == saga.Succeeded; got != want || there() != want {
					t.Errorf("the customer exists: %t, want %t; the other run: %s", there(), want, describe(o.run(other)))
				}
			})
		})
	}
}

func TestARunWaitsForARecheckThatMayStillTakeSomethingFromIt(t *testing.T) {
	inNight(t, func(o *outage, began time.Time) {
		order, tenant := o.joining(true)
		id := o.failing(order, false, late(30*time.Minute))
		o.at(began, 40*time.Minute)
		var rechecked atomic.Pointer[time.Time]
		o.faults.set(id, memberStep, true, 1, func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
			rechecked.Store(new(time.Now()))
			return late(80*time.Second)(next, req) // within the late window
		})
		for range 7200 {
			if rechecked.Load() != nil {
				break
			}
			time.Sleep(time.Second)
		}
		next := newID()
		o.start(next, order)
		time.Sleep(time.Minute)
		if r := o.run(next); r.Step("check").State == saga.StepSucceeded || r.Step("check").Error.Code != "subject-rechecked" {
			t.Errorf("the next run, a minute after its start: %s; want it to wait with the code subject-rechecked", describe(r))
		}
		o.at(*rechecked.Load(), 10*time.Minute)
		if r := o.run(next); r.State != saga.Succeeded || len(o.holds(order, tenant)) != 2 {
			t.Errorf("the user holds %v; the run: %s", o.holds(order, tenant), describe(r))
		}
	})
}

// A run that suspends a subscription is compensated. Two later runs suspend and resume the subscription. After that, a late request of
// the compensated run disables the tenant. The last run has enabled the tenant, so the re-check must enable the tenant again.
func TestATenantDisabledLateIsEnabledByARecheck(t *testing.T) {
	inNight(t, func(o *outage, began time.Time) {
		made := newID()
		o.start(made, o.order())
		o.at(began, time.Minute)
		standing, err := workflows.StandingOf(o.run(made))
		o.ok(err)
		failed := newID()
		o.faults.set(failed, "disable-tenant", false, 1<<20, func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
			if req.Method == http.MethodPatch && o.run(failed).Step("disable-tenant").Attempts == 1 {
				return late(30*time.Minute)(next, req)
			}
			return answer(http.StatusBadRequest, nil)(next, req)
		})
		o.request(workflows.SuspendRequest(standing.Held, failed))
		o.at(began, 10*time.Minute)
		for n, request := range []func(workflows.Held, string) saga.Request{workflows.SuspendRequest, workflows.ResumeRequest} {
			id := newID()
			o.request(request(standing.Held, id))
			o.at(began, time.Duration(11+n)*time.Minute)
			if r := o.run(id); r.State != saga.Succeeded {
				o.t.Fatalf("a later run: %s", describe(r))
			}
		}
		enabled := func() bool {
			p, err := o.identity.Project(o.t.Context(), standing.TenantID)
			o.ok(err)
			return p.Enabled
		}
		o.at(began, 45*time.Minute)
		if r := o.run(failed); r.State != saga.Compensated || enabled() {
			o.t.Fatalf("the tenant is enabled: %t; the run: %s", enabled(), describe(r))
		}
		o.at(began, 2*time.Hour)
		if !enabled() || o.events(failed, saga.EventLateEffect, "") != 1 {
			o.t.Errorf("the tenant is enabled: %t; %d events late-effect", enabled(), o.events(failed, saga.EventLateEffect, ""))
		}
	})
}
