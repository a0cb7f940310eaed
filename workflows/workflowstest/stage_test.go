package workflowstest

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/workflows"
)

// The type `stage` simulates runs call by call, and records their events and effects in Seen.
type stage struct {
	Seen

	t           *testing.T
	now         time.Time
	definitions []*saga.Definition
}

func named(name string) string { return uuid.NewSHA1(uuid.Nil, []byte(name)).String() }

var (
	member  = keystone.Role{ID: named("member"), Name: "member"}
	bsAdmin = keystone.Role{ID: named("bs-admin"), Name: "bs-admin"}
)

// The method `tick` advances the clock by a second and returns the new time.
func (s *stage) tick() *time.Time {
	s.now = s.now.Add(time.Second)
	now := s.now
	return &now
}

// The method `accept` starts a run for a new user. If the parameter `customer` is empty, the run creates a customer.
func (s *stage) accept(name, merchant, customer string) *saga.Run {
	o := workflows.Order{
		Asked: workflows.Asked{
			MerchantID: merchant,
			PlanID:     named("plan"),
			CustomerID: customer,
		},
		Resolved: workflows.Resolved{
			Cloud:             "default",
			DomainID:          "default",
			UserID:            named("user " + name),
			CustomerRoles:     []keystone.Role{member, bsAdmin},
			SubscriptionRoles: []keystone.Role{member},
		},
	}
	if customer == "" {
		o.NewCustomer = &workflows.NewCustomer{Name: name}
	}
	return s.start(o.Request(named("run "+name), ""), "key of "+name)
}

// The method `retry` starts a new run that repeats a compensated run.
func (s *stage) retry(name string, of *saga.Run) *saga.Run {
	o := s.order(of)
	r := s.start(o.Request(named("run "+name), ""), of.Key)
	r.RetryOf, of.RetriedBy = of.ID, r.ID
	return r
}

// The method `change` starts a run that changes the plan of another run's subscription.
func (s *stage) change(name string, of *saga.Run, plan string) *saga.Run {
	o := s.order(of)
	q := workflows.ChangePlanRequest(workflows.Held{
		MerchantID: o.MerchantID, CustomerID: o.CustomerID, SubscriptionID: o.SubscriptionID, UserID: o.UserID,
	}, plan, named("run "+name))
	r := s.start(q, "key of "+name)
	r.Steps = []saga.StepRow{{Name: "check", State: saga.StepPending}, {Name: "change-plan", After: []string{"check"}, State: saga.StepPending}}
	return r
}

func (s *stage) start(q saga.Request, key string) *saga.Run {
	input, err := json.Marshal(q.Input)
	if err != nil {
		s.t.Fatal(err)
	}
	r := &saga.Run{
		ID: q.ID, Workflow: q.Workflow, Merchant: q.Merchant, Subject: q.Subject, User: q.User, Key: key, Input: input,
		CreatedAt: *s.tick(), State: saga.Running, HoldsSubject: true, Epoch: 1, Replica: "one",
	}
	for _, step := range [][]string{
		{"check"},
		{"create-customer", "check"},
		{"create-customer-tenant", "create-customer"},
		{"assign-customer-role/member", "create-customer-tenant"},
		{"assign-customer-role/bs-admin", "create-customer-tenant"},
		{"scope-token", "assign-customer-role/member", "assign-customer-role/bs-admin"},
		{"create-subscription", "create-customer"},
		{"create-subscription-tenant", "create-subscription"},
		{"assign-subscription-role/member", "create-subscription-tenant"},
		{"attach-tenant", "create-subscription-tenant"},
	} {
		r.Steps = append(r.Steps, saga.StepRow{
			Name: step[0], After: step[1:], State: saga.StepPending, Optional: step[0] == "scope-token",
		})
	}
	s.Runs = append(s.Runs, r)
	s.tell(r, saga.Event{Kind: saga.EventAccepted})
	return r
}

func (s *stage) order(r *saga.Run) workflows.Order {
	var o workflows.Order
	for _, part := range append([]json.RawMessage{r.Input}, outputs(r)...) {
		if err := json.Unmarshal(part, &o); err != nil {
			s.t.Fatal(err)
		}
	}
	return o
}

func outputs(r *saga.Run) (all []json.RawMessage) {
	for _, row := range r.Steps {
		if len(row.Output) > 0 {
			all = append(all, row.Output)
		}
	}
	return all
}

func (s *stage) tell(r *saga.Run, e saga.Event) {
	r.Seq++
	e.RunID, e.Seq, e.At, e.Epoch = r.ID, r.Seq, *s.tick(), r.Epoch
	s.Events[r.ID] = append(s.Events[r.ID], e)
}

// The method `do` executes the run's steps, and stops before the step `until`. If `until` is empty, `do` executes all steps, and
// the run succeeds.
func (s *stage) do(r *saga.Run, until string) {
	for i := range r.Steps {
		if r.Steps[i].Name == until {
			return
		}
		s.doStep(r, &r.Steps[i])
	}
	s.tell(r, saga.Event{Kind: saga.EventRunSucceeded})
	s.end(r, saga.Succeeded)
}

func (s *stage) end(r *saga.Run, state saga.RunState) {
	r.State, r.EndedAt, r.HoldsSubject, r.Replica, r.Reason = state, s.tick(), false, "", nil
	r.AttentionAt = nil
}

func (s *stage) doStep(r *saga.Run, row *saga.StepRow) {
	row.Attempts++
	row.StartedAt = s.tick()
	if changed := s.effect(s.order(r), row.Name); changed != nil {
		output, err := json.Marshal(changed)
		if err != nil {
			s.t.Fatal(err)
		}
		row.Output = output
	}
	row.State = saga.StepSucceeded
	s.tell(r, saga.Event{Kind: saga.EventSucceeded, Step: row.Name, Attempt: row.Attempts, StartedAt: *row.StartedAt})
	row.EndedAt = s.tick()
	s.keep(r, row.Name)
}

// The method `keep` adds the object of the step to the run's objects.
func (s *stage) keep(r *saga.Run, step string) {
	expected, err := expectedOf(s.definitions, r)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, e := range expected {
		if e.Step == step {
			r.Objects = append(r.Objects, e.Object)
		}
	}
}

// The method `effect` adds the effect of a step to the simulated upstreams, and returns the step's output.
func (s *stage) effect(o workflows.Order, step string) map[string]any {
	tags := []string{"tenantry", "tenantry-run-" + o.RunID, "tenantry-merchant-" + o.MerchantID}
	role := member
	if strings.HasSuffix(step, "bs-admin") {
		role = bsAdmin
	}
	now := &s.Now
	switch family, _, _ := strings.Cut(step, "/"); family {
	case "check":
		return map[string]any{"absent_roles": s.absent(o)}
	case "create-customer":
		if o.NewCustomer != nil {
			now.Customers = append(now.Customers, billing.Customer{ID: o.CustomerID, MerchantID: o.MerchantID, Name: o.NewCustomer.Name})
		}
	case "create-customer-tenant":
		name := "bs-customer-" + o.CustomerID
		if i := slices.IndexFunc(now.Projects, func(p keystone.Project) bool { return p.Name == name }); i >= 0 {
			return map[string]any{"customer_tenant_id": now.Projects[i].ID}
		}
		now.Projects = append(now.Projects, keystone.Project{ID: named(name), Name: name, DomainID: o.DomainID, Enabled: true, Tags: tags})
		return map[string]any{"customer_tenant_id": named(name), "customer_tenant_own": true}
	case "assign-customer-role":
		s.assign(keystone.Assignment{ProjectID: o.CustomerTenantID, UserID: o.UserID, RoleID: role.ID})
	case "create-subscription":
		now.Subscriptions = append(now.Subscriptions, billing.Subscription{
			ID: o.SubscriptionID, PlanID: o.PlanID, CustomerID: o.CustomerID, ResourceID: "pending:" + o.RunID,
		})
	case "create-subscription-tenant":
		name := "bs-subscription-" + o.SubscriptionID
		now.Projects = append(now.Projects, keystone.Project{ID: named(name), Name: name, DomainID: o.DomainID, Enabled: true, Tags: tags})
		return map[string]any{"subscription_tenant_id": named(name), "subscription_tenant_own": true}
	case "assign-subscription-role":
		s.assign(keystone.Assignment{ProjectID: o.SubscriptionTenantID, UserID: o.UserID, RoleID: role.ID})
	case "change-plan":
		i := slices.IndexFunc(now.Subscriptions, func(b billing.Subscription) bool { return b.ID == o.SubscriptionID })
		now.Subscriptions[i].PlanID = o.PlanID
	case "attach-tenant":
		i := slices.IndexFunc(now.Subscriptions, func(b billing.Subscription) bool { return b.ID == o.SubscriptionID })
		now.Subscriptions[i].ResourceID = o.SubscriptionTenantID
	}
	return nil
}

// The method `absent` returns the ids of the customer roles that the user lacks on an existing tenant.
func (s *stage) absent(o workflows.Order) (ids []string) {
	for _, p := range s.Now.Projects {
		for _, r := range o.CustomerRoles {
			a := keystone.Assignment{ProjectID: p.ID, UserID: o.UserID, RoleID: r.ID}
			if p.Name == "bs-customer-"+o.CustomerID && !slices.Contains(s.Now.Assignments, a) {
				ids = append(ids, r.ID)
			}
		}
	}
	return ids
}

func (s *stage) assign(a keystone.Assignment) {
	if !slices.Contains(s.Now.Assignments, a) {
		s.Now.Assignments = append(s.Now.Assignments, a)
	}
}

// turnBack makes the step fail permanently. The run then compensates.
func (s *stage) turnBack(r *saga.Run, step string) {
	row := r.Step(step)
	row.Attempts++
	row.StartedAt = s.tick()
	row.State = saga.StepFailed
	r.Cause = &saga.Failure{Code: "refused", Detail: "no", FixBy: saga.FixByNobody, Step: step}
	s.tell(r, saga.Event{Kind: saga.EventAttempt, Step: step, Attempt: row.Attempts, StartedAt: *row.StartedAt, Failure: r.Cause})
	s.tell(r, saga.Event{Kind: saga.EventStepFailed, Step: step, Attempt: row.Attempts, Failure: r.Cause})
	s.tell(r, saga.Event{Kind: saga.EventCompensating, Step: step, Failure: r.Cause})
	r.State = saga.Compensating
}

// The method `undo` undoes the run's steps, the last step first, and stops before the step `until`. If `until` is empty, `undo`
// undoes all steps, and the run is compensated.
func (s *stage) undo(r *saga.Run, until string) {
	o := s.order(r)
	for i := len(r.Steps) - 1; i >= 0; i-- {
		row := &r.Steps[i]
		if row.Name == until {
			return
		}
		if !row.Begun() || row.Name == "check" || row.Name == "scope-token" || row.Name == "attach-tenant" {
			continue
		}
		row.Undos++
		row.UndoneAt = s.tick()
		s.remove(o, r, row.Name)
		row.State = saga.StepUndone
		s.tell(r, saga.Event{Kind: saga.EventUndone, Step: row.Name, Attempt: row.Undos, StartedAt: *row.UndoneAt})
	}
	s.tell(r, saga.Event{Kind: saga.EventCompensated})
	s.end(r, saga.Compensated)
}

// The method `remove` removes the effect of a step from the simulated upstreams, and records the removal.
func (s *stage) remove(o workflows.Order, r *saga.Run, step string) {
	gone := Removal{At: *s.tick(), Run: r.ID, Step: step}
	now := &s.Now
	switch step {
	case "create-customer":
		if o.NewCustomer == nil {
			return
		}
		gone.Kind, gone.ID = "customer", o.CustomerID
		now.Customers = slices.DeleteFunc(now.Customers, func(c billing.Customer) bool { return c.ID == gone.ID })
	case "create-subscription":
		gone.Kind, gone.ID = "subscription", o.SubscriptionID
		now.Subscriptions = slices.DeleteFunc(now.Subscriptions, func(b billing.Subscription) bool { return b.ID == gone.ID })
	case "create-customer-tenant", "create-subscription-tenant":
		gone.Kind, gone.ID = "project", o.SubscriptionTenantID
		if step == "create-customer-tenant" {
			gone.ID = o.CustomerTenantID
		}
		i := slices.IndexFunc(now.Projects, func(p keystone.Project) bool { return p.ID == gone.ID })
		if i < 0 || !now.Projects[i].HasTag("tenantry-run-"+r.ID) {
			return
		}
		gone.Tags = now.Projects[i].Tags
		now.Projects = slices.Delete(now.Projects, i, i+1)
		now.Assignments = slices.DeleteFunc(now.Assignments, func(a keystone.Assignment) bool { return a.ProjectID == gone.ID })
	default:
		a := keystone.Assignment{ProjectID: o.CustomerTenantID, UserID: o.UserID, RoleID: member.ID}
		if strings.HasSuffix(step, "bs-admin") {
			a.RoleID = bsAdmin.ID
		}
		if !strings.HasPrefix(step, "assign-customer-role") || o.CustomerTenantOwn || !slices.Contains(o.AbsentRoles, a.RoleID) {
			return
		}
		gone.Kind, gone.ID = "role-assignment", assignmentID(a)
		now.Assignments = slices.DeleteFunc(now.Assignments, func(b keystone.Assignment) bool { return a == b })
	}
	s.Removals = append(s.Removals, gone)
	for i := range r.Objects {
		if o := &r.Objects[i]; o.Kind == gone.Kind && o.ID == gone.ID || strings.HasPrefix(o.ID, gone.ID+"/") {
			o.RemovedAt = &gone.At
		}
	}
}
