package workflowstest

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/usage"
	"github.com/tenantry/tenantry/workflows"
)

// The type `play` is a world with one run of each kind. All runs are at rest, and no invariant is violated.
type play struct {
	*stage

	fresh    *saga.Run // succeeded, created a customer
	joined   *saga.Run // succeeded; another user joined the customer of the run "fresh"
	refused  *saga.Run // compensated, for an existing customer; the user already had the role member
	first    *saga.Run // compensated; the run "second" retried it
	second   *saga.Run // succeeded
	stuck    *saga.Run // stuck, because its customer cannot be removed
	gaveUp   *saga.Run // compensated, but an operator left its customer behind
	held     *saga.Run // waits for an operator
	behind   *saga.Run // waits for the run "held"
	stranger *saga.Run // succeeded, for another merchant
	changed  *saga.Run // succeeded, changed the plan of the subscription of the run "fresh"
	kept     *saga.Run // compensated, should have changed the plan of the subscription of the run "joined"
	posted   *saga.Run // succeeded, posted usage of the subscription of the run "fresh"
	unposted *saga.Run // compensated, should have posted further usage of this subscription
}

var (
	acme, rival = named("ACME"), named("Rival")
	old         = named("old customer")
	oldTenant   = keystone.Project{
		ID: named("old tenant"), Name: "bs-customer-" + old, DomainID: "default", Enabled: true,
		Tags: []string{"tenantry-merchant-" + acme},
	}
	oldMember = keystone.Assignment{ProjectID: oldTenant.ID, UserID: named("user refused"), RoleID: member.ID}
)

func newPlay(t *testing.T) *play {
	t.Helper()
	others := func() Outside {
		return Outside{
			Projects:      []keystone.Project{oldTenant, {ID: named("admin"), Name: "admin", DomainID: "default"}},
			Assignments:   []keystone.Assignment{oldMember},
			Customers:     []billing.Customer{{ID: old, MerchantID: acme, Name: "old"}},
			Subscriptions: []billing.Subscription{{ID: named("old subscription"), CustomerID: old, ResourceID: "by hand"}},
		}
	}
	definitions, err := Definitions(workflows.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	p := &play{stage: &stage{t: t, now: time.Unix(1e9, 0), definitions: definitions, Seen: Seen{
		Events: map[string][]saga.Event{}, Now: others(), Others: others(),
		Secrets: []string{"canary-password"}, Texts: map[string]string{"log": "nothing to see"},
	}}}

	p.fresh = p.accept("fresh", acme, "")
	p.do(p.fresh, "")
	p.joined = p.accept("joined", acme, p.order(p.fresh).CustomerID)
	p.do(p.joined, "")

	p.refused = p.accept("refused", acme, old)
	p.do(p.refused, "attach-tenant")
	p.turnBack(p.refused, "attach-tenant")
	p.undo(p.refused, "")

	p.first = p.accept("first", acme, "")
	p.do(p.first, "create-subscription-tenant")
	p.turnBack(p.first, "create-subscription-tenant")
	p.undo(p.first, "")
	p.second = p.retry("second", p.first)
	p.do(p.second, "")

	p.stuck = p.accept("stuck", acme, "")
	p.do(p.stuck, "attach-tenant")
	p.turnBack(p.stuck, "attach-tenant")
	p.undo(p.stuck, "create-customer")
	p.stick(p.stuck)

	p.gaveUp = p.accept("gave up", acme, "")
	p.do(p.gaveUp, "attach-tenant")
	p.turnBack(p.gaveUp, "attach-tenant")
	p.undo(p.gaveUp, "create-customer")
	p.stick(p.gaveUp)
	p.tell(p.gaveUp, saga.Event{Kind: saga.EventAction, Action: "skip", Step: "create-customer"})
	p.gaveUp.Step("create-customer").State = saga.StepSkipped
	p.gaveUp.LeftBehind = []saga.LeftBehind{{Step: "create-customer", Kind: "customer", ID: p.order(p.gaveUp).CustomerID}}
	p.tell(p.gaveUp, saga.Event{Kind: saga.EventCompensated})
	p.end(p.gaveUp, saga.Compensated)

	p.held = p.accept("held", acme, old)
	p.do(p.held, "create-customer-tenant")
	p.held.State, p.held.Replica, p.held.Reason = saga.Waiting, "", waitsFor(saga.WaitsForOperator)
	p.held.AttentionAt = new(p.held.UpdatedAt)
	p.behind = p.accept("behind", acme, old)
	p.behind.State, p.behind.Replica, p.behind.HoldsSubject = saga.Waiting, "", false
	p.behind.WaitsFor, p.behind.Reason = p.held.ID, waitsFor(saga.WaitsForPredecessor)

	p.stranger = p.accept("stranger", rival, "")
	p.do(p.stranger, "")

	p.changed = p.change("changed", p.fresh, named("dearer"))
	p.do(p.changed, "")
	p.kept = p.change("kept", p.joined, named("dearer"))
	p.do(p.kept, "change-plan")
	p.turnBack(p.kept, "change-plan")
	p.undo(p.kept, "")
	p.bill()

	for _, r := range []*saga.Run{p.fresh, p.fresh, p.second, p.stranger} {
		p.Answers = append(p.Answers, p.answer(r))
	}
	return p
}

// The method `stick` makes the run stuck: the undo of create-customer is refused permanently.
func (s *stage) stick(r *saga.Run) {
	row := r.Step("create-customer")
	row.State, row.Undos = saga.StepUndoFailed, 1
	s.tell(r, saga.Event{Kind: saga.EventUndoAttempt, Step: row.Name, Attempt: 1, StartedAt: *s.tick()})
	s.tell(r, saga.Event{Kind: saga.EventUndoFailed, Step: row.Name, Attempt: 1})
	s.tell(r, saga.Event{Kind: saga.EventStuck, Step: row.Name})
	r.State, r.Replica, r.Reason = saga.Stuck, "", waitsFor(saga.WaitsForOperator)
	r.AttentionAt = new(r.UpdatedAt)
}

func waitsFor(kind saga.ReasonKind) *saga.Reason {
	return &saga.Reason{Kind: kind, Failure: saga.Failure{Code: "refused", Detail: "an operator must look", FixBy: saga.FixByOperator}}
}

func (s *stage) answer(r *saga.Run) Answer {
	return Answer{
		Merchant: r.Merchant, Key: r.Key, Run: r.ID, Final: true, Status: 201,
		Body: []byte(`{"id":"` + r.ID + `","tenant":"bs-customer-` + s.order(r).CustomerID + `"}`),
	}
}

func (s *stage) project(id string) *keystone.Project {
	i := slices.IndexFunc(s.Now.Projects, func(p keystone.Project) bool { return p.ID == id })
	return &s.Now.Projects[i]
}

func (s *stage) subscription(r *saga.Run) *billing.Subscription {
	id := s.order(r).SubscriptionID
	i := slices.IndexFunc(s.Now.Subscriptions, func(b billing.Subscription) bool { return b.ID == id })
	return &s.Now.Subscriptions[i]
}

func (s *stage) event(r *saga.Run, kind saga.EventKind) *saga.Event {
	i := slices.IndexFunc(s.Events[r.ID], func(e saga.Event) bool { return e.Kind == kind })
	return &s.Events[r.ID][i]
}

// The method `object` returns the object that the run has stored for the step.
func (s *stage) object(r *saga.Run, step string) *saga.Object {
	i := slices.IndexFunc(r.Objects, func(o saga.Object) bool { return o.Step == step })
	return &r.Objects[i]
}

func (s *stage) again(r *saga.Run, steps ...string) {
	for _, step := range steps {
		s.effect(s.order(r), step)
	}
}

// leaveTenant creates the customer tenant of the run gaveUp, and a role assignment on this tenant. It also adds the tenant and the
// given objects to the run's left_behind.
func (p *play) leaveTenant(on ...saga.Expected) {
	for _, step := range []string{"create-customer-tenant", "assign-customer-role/member"} {
		p.again(p.gaveUp, step)
		p.object(p.gaveUp, step).RemovedAt = nil
	}
	ids := []saga.LeftBehind{{Kind: project, ID: p.order(p.gaveUp).CustomerTenantID}}
	for _, e := range on {
		ids = append(ids, saga.LeftBehind{Kind: e.Kind, ID: e.ID})
	}
	for _, left := range ids {
		left.Step = "create-customer-tenant"
		p.gaveUp.LeftBehind = append(p.gaveUp.LeftBehind, left)
	}
}

func TestARoleMayStayOnATenantThatWasLeftBehind(t *testing.T) {
	p := newPlay(t)
	expected, err := expectedOf(p.definitions, p.gaveUp)
	if err != nil {
		t.Fatal(err)
	}
	p.leaveTenant(slices.DeleteFunc(expected, func(e saga.Expected) bool { return e.Step != "assign-customer-role/member" })...)
	for _, b := range Check(p.Seen) {
		t.Error(b)
	}
}

func TestNothingIsBrokenInAGoodWorld(t *testing.T) {
	for _, b := range Check(newPlay(t).Seen) {
		t.Error(b)
	}
}

// In this world, no run has a key, because no portal has ordered a run.
func TestNothingIsBrokenInAWorldWithoutKeys(t *testing.T) {
	p := newPlay(t)
	p.keyless()
	for _, b := range Check(p.Seen) {
		t.Error(b)
	}
}

// The method `keyless` removes the keys of all runs, and the answers to portals.
func (p *play) keyless() {
	p.Answers = nil
	for _, r := range p.Runs {
		r.Key = ""
	}
}

func TestWhatIsBrokenIsNamed(t *testing.T) {
	for _, c := range []struct {
		invariant, how string
		breakIt        func(p *play)
	}{
		{"one-chain", "a key has a second run", func(p *play) { p.stuck.Key = p.gaveUp.Key }},
		{"one-chain", "two runs retry the same run", func(p *play) { p.joined.RetryOf = p.first.ID }},
		{"one-chain", "a succeeded run is retried", func(p *play) { p.joined.RetryOf, p.joined.Key = p.fresh.ID, p.fresh.Key }},

		{"one-each", "a second project with the run's tag", func(p *play) {
			second := *p.project(p.order(p.fresh).SubscriptionTenantID)
			second.ID, second.DomainID = named("a second"), "another"
			p.Now.Projects = append(p.Now.Projects, second)
		}},
		{"one-each", "a second subscription, whose id the server chose", func(p *play) {
			second := *p.subscription(p.joined)
			second.ID, second.ResourceID = named("a second"), "pending:"+p.joined.ID
			p.Now.Subscriptions = append(p.Now.Subscriptions, second)
		}},
		{"one-each", "both runs of a key have a customer", func(p *play) { p.again(p.first, "create-customer") }},
		{"one-each", "a run without a key and its retry have a customer", func(p *play) {
			p.keyless()
			p.again(p.first, "create-customer")
		}},
		{"one-chain", "two runs retry the same run without a key", func(p *play) {
			p.keyless()
			p.joined.RetryOf = p.first.ID
		}},

		{"succeeded-whole", "the subscription is gone", func(p *play) {
			p.Now.Subscriptions = slices.DeleteFunc(p.Now.Subscriptions, func(s billing.Subscription) bool {
				return s.ID == p.order(p.fresh).SubscriptionID
			})
		}},
		{"succeeded-whole", "the subscription is still pending", func(p *play) {
			p.subscription(p.fresh).ResourceID = "pending:" + p.fresh.ID
		}},
		{"succeeded-whole", "another plan", func(p *play) { p.subscription(p.joined).PlanID = named("dearer") }},
		{"succeeded-whole", "the plan before the last change", func(p *play) { p.subscription(p.fresh).PlanID = named("plan") }},
		{"succeeded-whole", "a tenant is disabled", func(p *play) { p.project(p.order(p.second).CustomerTenantID).Enabled = false }},
		{"succeeded-whole", "the mark is gone", func(p *play) { p.project(p.order(p.second).CustomerTenantID).Tags = nil }},
		{"succeeded-whole", "the customer is gone", func(p *play) {
			p.Now.Customers = slices.DeleteFunc(p.Now.Customers, func(c billing.Customer) bool { return c.ID == p.order(p.second).CustomerID })
		}},
		{"succeeded-whole", "a role is missing", func(p *play) {
			o := p.order(p.joined)
			g := keystone.Assignment{ProjectID: o.CustomerTenantID, UserID: o.UserID, RoleID: bsAdmin.ID}
			p.Now.Assignments = slices.DeleteFunc(p.Now.Assignments, func(a keystone.Assignment) bool { return a == g })
		}},
		{"succeeded-whole", "a step is not done", func(p *play) { p.fresh.Step("scope-token").State = saga.StepUnknown }},

		{"compensated-clean", "a customer is left", func(p *play) { p.again(p.first, "create-customer") }},
		{"compensated-clean", "a tenant appeared late", func(p *play) { p.again(p.first, "create-customer-tenant") }},
		{"compensated-clean", "a subscription is left", func(p *play) { p.again(p.refused, "create-subscription") }},
		{"compensated-clean", "a role is left on the adopted tenant", func(p *play) { p.again(p.refused, "assign-customer-role/bs-admin") }},
		{"compensated-clean", "a changed plan is left", func(p *play) { p.subscription(p.joined).PlanID = named("dearer") }},
		{"compensated-clean", "more is left than an operator left behind", func(p *play) { p.again(p.gaveUp, "create-customer-tenant") }},
		{"compensated-clean", "a role on a tenant that an operator left behind is not listed", func(p *play) { p.leaveTenant() }},

		{"adopted-untouched", "a tenant was disabled", func(p *play) { p.project(oldTenant.ID).Enabled = false }},
		{"adopted-untouched", "a tenant was tagged", func(p *play) {
			p.project(oldTenant.ID).Tags = []string{"tenantry-merchant-" + acme, "tenantry"}
		}},
		{"adopted-untouched", "a role that the user had before is gone", func(p *play) {
			p.Now.Assignments = slices.DeleteFunc(p.Now.Assignments, func(a keystone.Assignment) bool { return a == oldMember })
		}},
		{"adopted-untouched", "a customer is gone", func(p *play) { p.Now.Customers = p.Now.Customers[1:] }},
		{"adopted-untouched", "a subscription was attached", func(p *play) { p.Now.Subscriptions[0].ResourceID = named("x") }},

		{"no-orphan", "a tenant of an unknown run", func(p *play) {
			o := workflows.Order{
				Asked: workflows.Asked{
					NewCustomer: &workflows.NewCustomer{},
					MerchantID:  acme,
				},
				Resolved: workflows.Resolved{
					DomainID: "default",
				},
			}.Named(named("lost"))
			p.effect(o, "create-customer-tenant")
		}},
		{"no-orphan", "a customer whose id no run chose", func(p *play) {
			p.Now.Customers = append(p.Now.Customers, billing.Customer{ID: named("lost"), MerchantID: acme})
		}},
		{"no-orphan", "a subscription whose id no run chose", func(p *play) {
			p.Now.Subscriptions = append(p.Now.Subscriptions, billing.Subscription{ID: named("lost"), CustomerID: old})
		}},
		{"no-orphan", "a plan that no run chose", func(p *play) { p.subscription(p.fresh).PlanID = named("free") }},
		{"no-orphan", "a customer at another merchant", func(p *play) { p.Now.Customers[1].MerchantID = rival }},

		{"no-surprise-role", "another user has a role", func(p *play) {
			p.assign(keystone.Assignment{ProjectID: p.order(p.fresh).CustomerTenantID, UserID: named("somebody"), RoleID: member.ID})
		}},
		{"no-surprise-role", "the user has a role that was not ordered", func(p *play) {
			o := p.order(p.fresh)
			p.assign(keystone.Assignment{ProjectID: o.SubscriptionTenantID, UserID: o.UserID, RoleID: bsAdmin.ID})
		}},

		{"ledger-true", "a run did not store a role on its own tenant", func(p *play) {
			p.fresh.Objects = slices.DeleteFunc(p.fresh.Objects, func(o saga.Object) bool { return o.Step == "assign-subscription-role/member" })
		}},
		{"ledger-true", "a role that exists is stored as removed", func(p *play) { p.object(p.joined, "assign-customer-role/bs-admin").RemovedAt = &p.now }},
		{"ledger-true", "the tenant is removed, but not its roles", func(p *play) {
			p.object(p.first, "assign-customer-role/member").RemovedAt = nil
		}},
		{"ledger-true", "a removed customer is stored as existing", func(p *play) { p.object(p.first, "create-customer").RemovedAt = nil }},
		{"ledger-true", "two runs own a role", func(p *play) {
			p.second.Objects = append(p.second.Objects, *p.object(p.fresh, "assign-customer-role/member"))
		}},

		{"closed-under-after", "a step began before its predecessor ended", func(p *play) {
			early := p.fresh.Step("create-customer").StartedAt.Add(-time.Millisecond)
			p.fresh.Step("create-customer-tenant").StartedAt = &early
		}},
		{"closed-under-after", "the predecessor of a step never succeeded", func(p *play) {
			p.event(p.first, saga.EventSucceeded).Kind = saga.EventAttempt
		}},
		{"closed-under-after", "a succeeded step was done again", func(p *play) {
			p.tell(p.fresh, saga.Event{Kind: saga.EventUnknown, Step: "create-customer", Attempt: 2})
		}},

		{"no-do-after-undo", "a Do ends after an undo", func(p *play) {
			p.tell(p.stuck, saga.Event{Kind: saga.EventSucceeded, Step: "attach-tenant", Attempt: 2})
		}},
		{"no-do-after-undo", "a Do begins after the run turned back", func(p *play) {
			p.turnBack(p.held, "create-customer-tenant")
			p.tell(p.held, saga.Event{Kind: saga.EventUnknown, Step: "create-subscription", Attempt: 2, StartedAt: *p.tick()})
		}},
		{"no-do-after-undo", "an undo of a run that goes forward", func(p *play) {
			p.tell(p.fresh, saga.Event{Kind: saga.EventUndone, Step: "create-customer", Attempt: 1})
		}},

		{"one-outcome", "an attempt was not stored", func(p *play) { p.fresh.Step("attach-tenant").Attempts = 0 }},
		{"one-outcome", "two outcomes of one attempt", func(p *play) {
			p.tell(p.fresh, saga.Event{Kind: saga.EventUnknown, Step: "attach-tenant", Attempt: 1})
		}},

		{"epochs", "a replica wrote after it had lost its lease", func(p *play) {
			p.fresh.Epoch = 2
			p.tell(p.fresh, saga.Event{Kind: saga.EventTakenOver})
			p.fresh.Epoch = 1
			p.tell(p.fresh, saga.Event{Kind: saga.EventWaiting})
			p.fresh.Epoch = 2
		}},
		{"epochs", "an event is lost", func(p *play) { p.Events[p.fresh.ID] = slices.Delete(p.Events[p.fresh.ID], 2, 3) }},
		{"epochs", "the last event is lost", func(p *play) { p.fresh.Seq++ }},

		{"delete-intended", "an adopted tenant is deleted", func(p *play) {
			p.Removals = append(p.Removals, Removal{Kind: "project", ID: oldTenant.ID, Tags: oldTenant.Tags, Run: p.refused.ID})
		}},
		{"delete-intended", "a role that the user had before is revoked", func(p *play) {
			p.Removals = append(p.Removals, Removal{Kind: "role-assignment", ID: assignmentID(oldMember)})
		}},
		{"delete-intended", "a run that is not compensating deletes", func(p *play) {
			p.Removals = append(p.Removals, Removal{Kind: "customer", ID: p.order(p.fresh).CustomerID})
		}},
		{"delete-intended", "a run deletes an object of another run", func(p *play) { p.Removals[0].Run = p.first.ID }},
		{"delete-intended", "the deletion was stored only after it was made", func(p *play) {
			p.Removals[0].At = p.event(p.refused, saga.EventCompensating).At.Add(-time.Millisecond)
		}},
		{"delete-intended", "the step's undo was not stored", func(p *play) { p.refused.Step("create-subscription").Undos = 0 }},

		{"one-at-a-time", "the second began before the first ended", func(p *play) {
			early := p.fresh.EndedAt.Add(-time.Millisecond)
			p.joined.Steps[0].StartedAt = &early
		}},
		{"one-at-a-time", "the waiting run has begun", func(p *play) { p.behind.Steps[0].StartedAt = p.tick() }},

		{"ends-or-waits", "stuck, and nobody is told", func(p *play) { p.stuck.AttentionAt = nil }},
		{"ends-or-waits", "held, and somebody is told later", func(p *play) { p.held.AttentionAt = new(p.held.UpdatedAt.Add(time.Second)) }},
		{"ends-or-waits", "waits for an upstream, and nobody is told", func(p *play) {
			p.held.Reason, p.held.DueAt, p.held.AttentionAt = waitsFor(saga.WaitsForUpstream), &p.now, nil
		}},
		{"ends-or-waits", "waits for a retry, and somebody is told too late", func(p *play) {
			p.held.Reason, p.held.DueAt = waitsFor(saga.WaitsForRetry), &p.now
			p.held.AttentionAt = new(p.held.UpdatedAt.Add(saga.Patience + 1))
		}},
		{"ends-or-waits", "ended, and somebody is told", func(p *play) { p.fresh.AttentionAt = &p.now }},
		{"ends-or-waits", "it has neither an operator nor a due time", func(p *play) { p.held.Reason.Kind = saga.WaitsForRetry }},
		{"ends-or-waits", "it waits without a reason", func(p *play) { p.held.Reason = nil }},
		{"ends-or-waits", "it does not say who can fix it", func(p *play) { p.stuck.Reason.FixBy = "" }},
		{"ends-or-waits", "a stuck run has released its subject", func(p *play) { p.stuck.HoldsSubject = false }},
		{"ends-or-waits", "it waits for a run that has ended", func(p *play) { p.behind.WaitsFor = p.refused.ID }},
		{"ends-or-waits", "an ended run holds its subject", func(p *play) { p.fresh.HoldsSubject = true }},
		{"ends-or-waits", "an ended run is leased", func(p *play) { p.gaveUp.Replica = "one" }},
		{"ends-or-waits", "a recheck is never made", func(p *play) { p.refused.Rechecks = 2 }},
		{"ends-or-waits", "it is running, but not due", func(p *play) { p.held.State, p.held.Reason = saga.Running, nil }},

		{"same-answer", "another body", func(p *play) { p.Answers[1].Body = []byte("{}") }},
		{"same-answer", "another status", func(p *play) { p.Answers[1].Status = 409 }},
		{"same-answer", "another key's run", func(p *play) { p.Answers[0].Run = p.joined.ID }},

		{"own-merchant", "another merchant's run", func(p *play) { p.Answers[0].Merchant = rival }},
		{"own-merchant", "another merchant's customer", func(p *play) { p.Answers[3].Body = []byte(`["bs-customer-` + old + `"]`) }},

		{"usage-posted", "a row of a succeeded posting is missing", func(p *play) { p.unbill(0) }},
		{"usage-posted", "BillingStack has a row twice", func(p *play) { p.Now.Usage = append(p.Now.Usage, *p.billed(0)) }},
		{"usage-posted", "BillingStack has other numbers, and the run does not report this", func(p *play) {
			p.output(p.posted, map[string]any{"posted": map[string]bool{"1": true}})
		}},
		{"usage-posted", "the run reports a difference, and there is none", func(p *play) {
			p.output(p.posted, map[string]any{"differs": map[string]string{p.Rows[0].ID: differing, p.Rows[1].ID: differing}})
		}},
		{"usage-posted", "a posted number has changed", func(p *play) { p.billed(0).Value = new(3.0) }},
		{"adopted-untouched", "usage that differs from a row was overwritten", func(p *play) { p.billed(1).Value = new(2.0) }},
		{"no-orphan", "usage whose id no posting has", func(p *play) {
			second := *p.billed(0)
			second.ID = named("a second")
			p.Now.Usage = append(p.Now.Usage, second)
		}},
		{"usage-recorded", "a row is recorded as posted, and BillingStack does not have it", func(p *play) {
			p.Rows[3].Run = p.unposted.ID
		}},
		{"usage-recorded", "a difference is not recorded", func(p *play) { p.Rows[1].Differs = "" }},
		{"usage-recorded", "a difference is recorded, and there is none", func(p *play) { p.Rows[0].Differs = differing }},
		{"usage-recorded", "a row that is not recorded was posted with other numbers", func(p *play) { p.billed(2).Value = new(3.0) }},
		{"usage-awaited", "the follow-up of a failed posting is gone", func(p *play) { p.FollowUps = nil }},
		{"usage-awaited", "the follow-up of a failed posting lacks a row", func(p *play) {
			rest := workflows.Posting{ID: p.FollowUps[0].ID, Rows: []usage.Row{p.Rows[2].Row}}
			input, err := json.Marshal(rest)
			if err != nil {
				p.t.Fatal(err)
			}
			p.FollowUps[0].Input = json.RawMessage(input)
		}},
		{"usage-awaited", "the follow-up of a failed posting has no reason", func(p *play) { p.FollowUps[0].Reason = nil }},
		{"usage-awaited", "a posting that failed after its last row was posted is forgotten", func(p *play) {
			p.Now.Usage = append(p.Now.Usage, p.Rows[3].Usage())
			p.Rows[2].Run, p.Rows[3].Run, p.FollowUps = p.posted.ID, p.posted.ID, nil
		}},

		{"no-secret", "in a text", func(p *play) { p.Texts["log"] = `time="now" password="canary-password"` }},
		{"no-secret", "in an event", func(p *play) { p.event(p.stuck, saga.EventStuck).Why = "said canary-password" }},
		{"no-secret", "in a step's output", func(p *play) { p.fresh.Steps[0].Output = []byte(`{"description":"canary-password"}`) }},

		{"decodable", "an input is not an order", func(p *play) { p.fresh.Input = []byte("[]") }},
	} {
		t.Run(c.invariant+"/"+c.how, func(t *testing.T) {
			p := newPlay(t)
			c.breakIt(p)
			found := Check(p.Seen)
			if !slices.ContainsFunc(found, func(b Broken) bool { return b.Invariant == c.invariant }) {
				t.Errorf("found %v, want %s among them", found, c.invariant)
			}
		})
	}
}

func TestATenantThatCameLateMayBeAnotherRunsByThen(t *testing.T) {
	p := newPlay(t)
	bare := billing.Customer{ID: named("bare customer"), MerchantID: acme}
	p.Now.Customers, p.Others.Customers = append(p.Now.Customers, bare), append(p.Others.Customers, bare)
	late := p.accept("late", acme, bare.ID)
	p.do(late, "create-customer-tenant")
	p.turnBack(late, "create-customer-tenant")
	p.undo(late, "")
	p.again(late, "create-customer-tenant")
	p.project(named("bs-customer-" + bare.ID)).ID = named("the late one") // Keystone chooses the id
	if found := Check(p.Seen); len(found) != 1 || found[0].Invariant != "compensated-clean" {
		t.Errorf("before another run has adopted the late tenant: %v, want compensated-clean", found)
	}
	p.do(p.accept("adopter", acme, bare.ID), "")
	for _, b := range Check(p.Seen) {
		t.Error(b)
	}
}

func TestARemovedProjectHadTheTagsOfARunOfTheInstallation(t *testing.T) {
	r := &saga.Run{ID: "remover", Steps: []saga.StepRow{{Name: "delete-tenant", Attempts: 1}}}
	gone := saga.Expected{Gone: true, Object: saga.Object{Step: "delete-tenant", Kind: project, ID: "p"}}
	for _, c := range []struct {
		tags   []string
		broken int
	}{
		{[]string{"tenantry-run-maker", "tenantry-installation-i"}, 0},
		{[]string{"tenantry-run-maker", "tenantry-installation-another"}, 1},
		{[]string{"tenantry-run-unknown", "tenantry-installation-i"}, 1},
		{[]string{}, 1},
		{nil, 0}, // the tags are not known
	} {
		v := &view{
			Seen: Seen{
				Installation: "i",
				Removals:     []Removal{{Kind: project, ID: "p", Tags: c.tags, Run: r.ID, Step: "delete-tenant"}},
			},
			byID: map[string]*saga.Run{"maker": {ID: "maker"}},
		}
		v.add(ordered{r, []saga.Expected{gone}})
		broken := 0
		deleteIntended(v, func(string, string, ...string) { broken++ })
		if broken != c.broken {
			t.Errorf("tags %q: %d violations, want %d", c.tags, broken, c.broken)
		}
	}
}

func TestARoleThatWasLostMayHaveTwoOwnersOrBeMissing(t *testing.T) {
	role := saga.Object{Kind: roleAssignment, ID: "p/u/r", Origin: saga.Own}
	for _, lost := range [][]saga.ObjectRef{nil, {{Kind: roleAssignment, ID: role.ID}}} {
		v := &view{Seen: Seen{Runs: []*saga.Run{{ID: "1", Objects: []saga.Object{role}}, {ID: "2", Objects: []saga.Object{role}}}, Lost: lost}}
		for _, r := range v.Runs {
			v.add(ordered{run: r})
		}
		for _, now := range [][]thing{{{kind: roleAssignment, id: role.ID}}, nil} {
			v.now = indexed(now)
			broken := 0
			ledgerTrue(v, func(string, string, ...string) { broken++ })
			if (broken > 0) != (lost == nil) {
				t.Errorf("with Lost %v and Now %v: %d violations, want violations only if Lost is empty", lost, now, broken)
			}
		}
	}
}
