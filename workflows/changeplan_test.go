package workflows_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/workflows"
)

// newPlan creates one more plan of the merchant, and returns its id.
func (o *outage) newPlan(merchantID string) string {
	o.t.Helper()
	p, err := o.bill.CreatePlan(o.t.Context(), merchantID, billing.Plan{ID: uuid.NewString(), Name: "another"})
	o.ok(err)
	return p.ID
}

// The method `subscribed` makes a subscription, and returns its standing.
func (o *outage) subscribed(began time.Time) workflows.Standing {
	o.t.Helper()
	made := newID()
	o.start(made, o.order())
	o.at(began, time.Minute)
	standing, err := workflows.StandingOf(o.run(made))
	o.ok(err)
	return standing
}

// planOf returns the plan that the subscription has in BillingStack.
func (o *outage) planOf(h workflows.Held) string {
	o.t.Helper()
	s, err := o.bill.Subscription(o.t.Context(), h.MerchantID, h.SubscriptionID)
	o.ok(err)
	return s.PlanID
}

// changePlan starts a run that changes the plan of the subscription.
func (o *outage) changePlan(h workflows.Held, plan string) (id string) {
	o.t.Helper()
	id = newID()
	o.request(workflows.ChangePlanRequest(h, plan, id))
	return id
}

// changedLate starts a run that fails and is compensated. BillingStack executes the run's first request half an hour late.
func (o *outage) changedLate(h workflows.Held, plan string) (id string) {
	o.t.Helper()
	id = newID()
	o.faults.set(id, "change-plan", false, 1<<20, func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		if o.run(id).Step("change-plan").Attempts == 1 {
			return late(30*time.Minute)(next, req)
		}
		return answer(http.StatusBadRequest, nil)(next, req)
	})
	o.request(workflows.ChangePlanRequest(h, plan, id))
	return id
}

// BillingStack executes a request of a compensated run half an hour late. The request changes the plan of a subscription from "small"
// to "large". After the re-check, the subscription must have the plan of the newest succeeded run.
func TestAPlanChangedLateIsPutBackByARecheck(t *testing.T) {
	for name, c := range map[string]struct {
		before, after []string // the plans that succeeded runs set before and after the execution of the late request
		suspended     bool     // the subscription is suspended before the execution of the late request
		want          string
		events        int
	}{
		"no other run":                         {want: "small", events: 1},
		"a run has suspended it":               {suspended: true, want: "small", events: 1},
		"a run has set another plan":           {before: []string{"huge"}, want: "huge", events: 1},
		"a run has set the plan, and one more": {before: []string{"large", "huge"}, want: "huge", events: 1},
		"two runs have changed it and back":    {before: []string{"huge", "small"}, want: "small", events: 1},
		"a run has set the plan":               {before: []string{"huge", "large"}, want: "large"},
		"a run sets the plan afterwards":       {after: []string{"large"}, want: "large"},
		"a run sets another plan afterwards":   {after: []string{"huge"}, want: "huge"},
		"a run sets the old plan afterwards":   {after: []string{"small"}, want: "small"},
	} {
		t.Run(name, func(t *testing.T) {
			inNight(t, func(o *outage, began time.Time) {
				plans := map[string]string{"small": o.plan.ID, "large": o.newPlan(o.merchant.ID), "huge": o.newPlan(o.merchant.ID)}
				h := o.subscribed(began).Held
				failed := o.changedLate(h, plans["large"])
				o.at(began, 10*time.Minute)
				if r := o.run(failed); r.State != saga.Compensated || r.Rechecks == 0 || o.planOf(h) != plans["small"] {
					o.t.Fatalf("the plan is %s; the run: %s", o.planOf(h), describe(r))
				}
				change := func(at time.Duration, names []string) {
					for n, name := range names {
						id := o.changePlan(h, plans[name])
						o.at(began, at+time.Duration(1+n)*time.Minute)
						if r := o.run(id); r.State != saga.Succeeded || o.planOf(h) != plans[name] {
							o.t.Fatalf("the plan is %s; a later run: %s", o.planOf(h), describe(r))
						}
					}
				}
				change(10*time.Minute, c.before)
				if c.suspended {
					o.request(workflows.SuspendRequest(h, newID()))
				}
				o.at(began, 45*time.Minute)
				if o.planOf(h) != plans["large"] {
					o.t.Fatalf("the plan was not changed late; the run: %s", describe(o.run(failed)))
				}
				change(45*time.Minute, c.after)
				o.at(began, 2*time.Hour)
				if got := o.planOf(h); got != plans[c.want] || o.events(failed, saga.EventLateEffect, "") != c.events {
					t.Errorf("the plan is %s, want %s of %v; %d events late-effect, want %d",
						got, c.want, plans, o.events(failed, saga.EventLateEffect, ""), c.events)
				}
				o.at(began, 29*time.Hour)
				if got := o.planOf(h); got != plans[c.want] {
					t.Errorf("after a day the plan is %s, want %s of %v", got, c.want, plans)
				}
			})
		})
	}
}

// Two requests of compensated runs are executed late. The second run begins after the execution of the first late request. The second
// run therefore finds a plan that no succeeded run has set. The re-checks must not undo each other's work.
func TestTwoPlansChangedLate(t *testing.T) {
	for name, again := range map[string]bool{"to the plan of the late request": true, "back": false} {
		t.Run(name, func(t *testing.T) {
			inNight(t, func(o *outage, began time.Time) {
				small, large := o.plan.ID, o.newPlan(o.merchant.ID)
				h := o.subscribed(began).Held
				o.changedLate(h, large)
				o.at(began, 45*time.Minute)
				if got := o.planOf(h); got != large {
					t.Fatalf("the plan is %s, want %s", got, large)
				}
				second := o.changedLate(h, map[bool]string{true: large, false: small}[again])
				o.at(began, 45*time.Minute+30*time.Second) // before the request times out
				o.ask(second, saga.Compensate)
				o.at(began, 55*time.Minute)
				if r := o.run(second); r.State != saga.Compensated || r.Rechecks == 0 || o.planOf(h) != large {
					t.Fatalf("the plan is %s; the second run: %s", o.planOf(h), describe(r))
				}
				o.at(began, 29*time.Hour)
				if got := o.planOf(h); got != small {
					t.Errorf("the plan is %s, want the original plan %s", got, small)
				}
				if n := o.events(second, saga.EventLateEffect, ""); n != 0 {
					t.Errorf("the second run has changed nothing, but has %d events late-effect", n)
				}
			})
		})
	}
}

// A re-check waits for a live run that will change the plan again.
func TestARecheckOfAPlanWaitsForALiveRun(t *testing.T) {
	inNight(t, func(o *outage, began time.Time) {
		large, huge := o.newPlan(o.merchant.ID), o.newPlan(o.merchant.ID)
		h := o.subscribed(began).Held
		failed := o.changedLate(h, large)
		o.at(began, 40*time.Minute)
		live := newID()
		o.faults.setReads(live, "check", "billing", 1, timeOut)
		o.request(workflows.ChangePlanRequest(h, huge, live))
		o.ask(live, saga.Hold)
		o.at(began, 3*time.Hour)
		if n := o.events(failed, saga.EventUndoAttempt, "claimed-by-a-live-run"); o.planOf(h) != large || n != 1 {
			t.Errorf("the plan is %s, want %s; %d events have the code claimed-by-a-live-run, want one", o.planOf(h), large, n)
		}
		o.ask(live, saga.Retry)
		o.at(began, 29*time.Hour)
		if r := o.run(live); r.State != saga.Succeeded || o.planOf(h) != huge {
			t.Errorf("the plan is %s, want %s; the live run: %s", o.planOf(h), huge, describe(r))
		}
	})
}

func TestACompensatedRunPutsTheOldPlanBack(t *testing.T) {
	for name, c := range map[string]struct {
		meanwhile func(o *outage, h workflows.Held, other string) // a change by somebody else before the undo
		want      string
		code      saga.Code // the code of the reason why the run is stuck; empty if the run is compensated
	}{
		"nothing happens meanwhile": {func(*outage, workflows.Held, string) {}, "small", ""},
		"somebody sets a third plan": {func(o *outage, h workflows.Held, other string) {
			_, err := o.bill.SetPlan(o.t.Context(), h.MerchantID, h.SubscriptionID, other)
			o.ok(err)
		}, "other", ""},
		"somebody deletes the subscription": {func(o *outage, h workflows.Held, _ string) {
			_, err := o.bill.RemoveSubscription(o.t.Context(), h.MerchantID, h.SubscriptionID)
			o.ok(err)
		}, "none", ""},
		"somebody deletes the old plan": {func(o *outage, h workflows.Held, _ string) {
			gone := httptest.NewRecorder()
			o.billing.ServeHTTP(gone, httptest.NewRequest(http.MethodDelete, "/v2/merchants/"+h.MerchantID+"/plans/"+o.plan.ID, http.NoBody))
			if gone.Code != http.StatusNoContent {
				o.t.Fatalf("deleting the plan: %d %s", gone.Code, gone.Body)
			}
		}, "large", "object-gone"},
	} {
		t.Run(name, func(t *testing.T) {
			inNight(t, func(o *outage, began time.Time) {
				plans := map[string]string{"small": o.plan.ID, "large": o.newPlan(o.merchant.ID), "other": o.newPlan(o.merchant.ID), "none": ""}
				h := o.subscribed(began).Held
				id := newID()
				o.faults.set(id, "change-plan", false, 1, func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
					resp, err := doneButRefused(next, req)
					if got := o.planOf(h); got != plans["large"] {
						t.Errorf("after the request, the plan is %s", got)
					}
					c.meanwhile(o, h, plans["other"])
					return resp, err
				})
				o.request(workflows.ChangePlanRequest(h, plans["large"], id))
				o.at(began, 10*time.Minute)
				r := o.run(id)
				if c.code == "" && r.State != saga.Compensated || c.code != "" && (r.State != saga.Stuck || r.Reason.Code != c.code) {
					t.Errorf("the run: %s", describe(r))
				}
				s, _ := o.bill.Subscription(o.t.Context(), h.MerchantID, h.SubscriptionID)
				if s.PlanID != plans[c.want] {
					t.Errorf("the plan is %s, want %s of %v", s.PlanID, c.want, plans)
				}
				if r.State == saga.Stuck {
					_, err := o.engine.Act(o.t.Context(), saga.Action{RunID: id, Name: saga.SkipStep, Step: "change-plan", Who: "op", Why: "it stays"})
					o.ok(err)
				}
			})
		})
	}
}

// The order was checked when it was accepted. Since then, the plan or the subscription has changed.
func TestWhatTheFirstStepOfAPlanChangeRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		order func(o *outage, h workflows.Held) (plan string)
		code  saga.Code
		fixBy saga.FixBy
	}{
		"the plan is gone": {
			func(*outage, workflows.Held) string { return uuid.NewString() }, "plan-gone", saga.FixByMerchant,
		},
		"the plan is another merchant's": {func(o *outage, _ workflows.Held) string {
			other, err := o.bill.CreateMerchant(o.t.Context(), billing.Merchant{ID: uuid.NewString(), Name: "Other", Currency: "eur", Language: "eng"})
			o.ok(err)
			return o.newPlan(other.ID)
		}, "plan-gone", saga.FixByMerchant},
		"the plan is set already": {
			func(o *outage, _ workflows.Held) string { return o.plan.ID }, "plan-unchanged", saga.FixByNobody,
		},
		"the subscription is gone": {func(o *outage, h workflows.Held) string {
			_, err := o.bill.RemoveSubscription(o.t.Context(), h.MerchantID, h.SubscriptionID)
			o.ok(err)
			return o.newPlan(h.MerchantID)
		}, "subscription-not-found", saga.FixByOperator},
	} {
		t.Run(name, func(t *testing.T) {
			inNight(t, func(o *outage, began time.Time) {
				h := o.subscribed(began).Held
				id := o.changePlan(h, c.order(o, h))
				o.at(began, 2*time.Minute)
				r := o.run(id)
				if r.State != saga.Compensated || r.Cause.Code != c.code || r.Cause.FixBy != c.fixBy || r.Step("change-plan").Begun() {
					t.Errorf("got %s; want %s, for %s to fix", describe(r), c.code, c.fixBy)
				}
			})
		})
	}
}

// The newest run about the subscription has changed the plan, but not the state. The standing still names the older run that left
// the subscription in this state.
func TestAChangeOfThePlanLeavesTheStateAsItWas(t *testing.T) {
	inNight(t, func(o *outage, began time.Time) {
		made := o.subscribed(began)
		large := o.newPlan(o.merchant.ID)
		standing := func() workflows.Standing {
			runs, err := o.store.Latest(o.t.Context(), o.merchant.ID, "subscription", []string{made.SubscriptionID})
			o.ok(err)
			s, err := workflows.StandingOf(runs[made.SubscriptionID])
			o.ok(err)
			return s
		}
		same := func(got, want workflows.Standing) {
			t.Helper()
			if got.State != want.State || got.RunID != want.RunID || got.SubscriptionID != want.SubscriptionID || got.TenantID != want.TenantID ||
				!slices.Equal(got.Roles, want.Roles) || (got.Suspension == nil) != (want.Suspension == nil) ||
				got.Suspension != nil && *got.Suspension != *want.Suspension {
				t.Errorf("got %+v, want %+v", got, want)
			}
		}
		change := func(at time.Duration, plan string) {
			id := o.changePlan(made.Held, plan)
			if o.at(began, at); o.run(id).State != saga.Succeeded {
				t.Fatalf("the change: %s", describe(o.run(id)))
			}
		}
		change(2*time.Minute, large)
		same(standing(), made)
		suspend := newID()
		o.request(workflows.SuspendRequest(made.Held, suspend))
		o.at(began, 3*time.Minute)
		suspended := standing()
		if suspended.State != workflows.SubscriptionSuspended || suspended.RunID != suspend {
			t.Fatalf("suspended: got %+v", suspended)
		}
		change(4*time.Minute, o.plan.ID)
		same(standing(), suspended)
		change(5*time.Minute, large)
		same(standing(), suspended)
		o.request(workflows.ResumeRequest(made.Held, newID()))
		o.at(began, 6*time.Minute)
		if got := standing(); got.State != workflows.SubscriptionActive || got.Suspension != nil {
			t.Errorf("resumed: got %+v", got)
		}
	})
}

// oneRun is a ledger in which the field `run` is the newest run of every subscription.
type oneRun struct{ run *saga.Run }

// Latest implements [workflows.Ledger].
func (r oneRun) Latest(_ context.Context, _, _ string, ids []string) (map[string]*saga.Run, error) {
	return map[string]*saga.Run{ids[0]: r.run}, nil
}

// Runs implements [workflows.Ledger].
func (oneRun) Runs(context.Context, saga.Filter) ([]*saga.Run, error) { return nil, nil }

// Run implements [workflows.Ledger].
func (r oneRun) Run(context.Context, string) (*saga.Run, error) { return r.run, nil }

func TestWhichStatesAllowAChangeOfThePlan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, began := newOutage(t, 0), time.Now()
		was, large := o.subscribed(began), o.newPlan(o.merchant.ID)
		for state, want := range map[workflows.SubscriptionState]saga.Code{
			"active": "", "suspended": "", "ending": "", "ended": "subscription-ended", "sold": "subscription-sold",
		} {
			was.State = state
			input, err := json.Marshal(workflows.ChangePlan{Held: was.Held, PlanID: o.plan.ID, Was: &was})
			o.ok(err)
			d := workflows.Deps{Billing: o.bill, NewID: newID, Ledger: oneRun{&saga.Run{Workflow: workflows.ChangePlanName, Input: input}}}
			q, err := d.AdmitChangePlan(t.Context(), merchants.Merchant{ID: o.merchant.ID}, was.SubscriptionID, large, false)
			refused, _ := errors.AsType[*workflows.AdmissionError](err)
			switch {
			case want == "" && (err != nil || q.Input.(workflows.ChangePlan).PlanID != large):
				t.Errorf("%s: got %+v, %v", state, q, err)
			case want != "" && (refused == nil || refused.Code != want):
				t.Errorf("%s: got %v, want %s", state, err, want)
			}
		}
	})
}
