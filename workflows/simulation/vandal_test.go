package simulation

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"time"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/workflows"
)

// The type `aftermath` is the plan for the time after the night. A vandal damages the subscriptions of orders directly in the
// upstreams. An operator then repairs these subscriptions. Times are relative to the beginning of the first repairs.
type aftermath struct {
	Damages []damagePlan
	Again   []damagePlan // further damages, after the end of the first repairs and before their follow-ups are due
	Repairs []repairPlan // how the operator starts the repairs: Repairs[N%len(Repairs)] applies to entry N of the plan
	Orders  []orderPlan  // orders about damaged subscriptions, while the first repairs execute; Of is an index like damagePlan.On

	Mishaps   []mishap
	Outages   []outage
	Incidents []incident
}

// The type `damagePlan` is one planned act of the vandal.
type damagePlan struct {
	Kind string // a key of `damages` or `furtherDamages`
	// On and Other are indexes of subscriptions: see world.victims. If the act is not possible for the subscription On, the vandal takes
	// the next subscription. Other is used if the act needs a second subscription.
	On, Other int
}

// The type `repairPlan` says how the operator starts the repair of one finding.
type repairPlan struct {
	At       time.Duration
	Left     bool // the operator does not start the repair while faults happen
	Twice    bool // two requests are sent at once, to two replicas
	Admitted bool // the request is checked before the run is created
}

// newAftermath draws the aftermath of about half of the mixed plans. The result is nil for the other plans.
func newAftermath(p *plan) *aftermath {
	r := rand.New(rand.NewPCG(p.Seed, 0x4a4da1))
	between := func(from, to time.Duration) time.Duration { return from + time.Duration(r.Int64N(int64(to-from))) }
	if r.IntN(2) == 0 {
		return nil
	}
	a := &aftermath{}
	for range 6 + r.IntN(9) {
		d := damagePlan{damageNames[r.IntN(len(damageNames))], r.IntN(8), r.IntN(8)}
		a.Damages = append(a.Damages, d)
		if step := damages[d.Kind].step; step != "" && r.IntN(2) == 0 {
			a.mishap(r, step)
		}
	}
	if r.IntN(2) == 0 {
		a.Again = append(a.Again, damagePlan{"restore the subscription", r.IntN(8), r.IntN(8)})
	}
	for range r.IntN(4) {
		a.Again = append(a.Again, damagePlan{furtherDamageNames[r.IntN(len(furtherDamageNames))], r.IntN(8), r.IntN(8)})
	}
	const busy = 30 * time.Second // all repairs are started within this time
	for range 5 {
		a.Repairs = append(a.Repairs, repairPlan{between(0, busy), r.IntN(6) == 0, r.IntN(4) == 0, r.IntN(2) == 0})
	}
	for range 1 + r.IntN(4) {
		a.Orders = append(a.Orders, orderPlan{
			Trial: changes[nextChange(r, []string{"", workflows.UnsubscribeName, workflows.SuspendName}[r.IntN(3)])], Of: r.IntN(8),
			Plan: r.IntN(plansPerMerchant), At: between(0, busy), AddUser: r.IntN(3) == 0, Patience: between(time.Second, 25*time.Second),
		})
	}
	a.mishap(r, "delete-tenant")
	for range r.IntN(4) {
		m := mishap{To: target(r.IntN(int(targets))), Kind: kind(r.IntN(int(kinds))), For: between(time.Second, 80*time.Second)}
		if m.To == database && m.Kind < crashBefore {
			m.Kind %= unreachable + 1 // errors of the database have no HTTP status
		}
		m.Nth = r.IntN(map[target]int{database: 150, keystoneAPI: 100, billingStack: 40}[m.To])
		a.Mishaps = append(a.Mishaps, m)
	}
	for range max(0, r.IntN(4)-2) {
		from := between(0, busy)
		a.Outages = append(a.Outages, outage{target(r.IntN(int(targets))), from, from + between(time.Second, 3*time.Minute)})
	}
	for range max(0, r.IntN(5)-2) {
		a.Incidents = append(a.Incidents, incident{between(0, busy), r.IntN(p.Replicas), incidentKind(r.IntN(3)), between(time.Second, 40*time.Second)})
	}
	return a
}

// The method `mishap` adds mishaps for one step of the repairs. In half of the cases, the run fails although the step takes effect.
func (a *aftermath) mishap(r *rand.Rand, step string) {
	m := mishap{Order: noOrder, Step: step, For: time.Second + time.Duration(r.IntN(int(79*time.Second)))}
	switch r.IntN(6) {
	case 0, 1, 2: // the first request takes effect late, and the second is refused: the run is compensated
		late, second := m, m
		late.Kind, late.For = lateCommit, time.Minute+time.Duration(r.IntN(int(20*time.Second))) // by then, most clients have given up
		second.Kind, second.Nth = refused400, 1
		a.Mishaps = append(a.Mishaps, late, second)
	case 3:
		m.Kind = refused400 + kind(r.IntN(2))
		a.Mishaps = append(a.Mishaps, m)
	default:
		m.Kind, m.Nth, m.Undo = kind(r.IntN(int(kinds))), max(0, r.IntN(4)-2), r.IntN(4) == 0
		a.Mishaps = append(a.Mishaps, m)
	}
}

// String returns a readable description of the aftermath.
func (a *aftermath) String() string {
	if a == nil {
		return ""
	}
	var s strings.Builder
	_, _ = fmt.Fprintf(&s, "  after the night: damages %+v, then %+v\n  repairs %+v\n", a.Damages, a.Again, a.Repairs)
	for i, o := range a.Orders {
		_, _ = fmt.Fprintf(&s, "  order +%d: %+v\n", i, o)
	}
	for _, m := range a.Mishaps {
		_, _ = fmt.Fprintf(&s, "  %s\n", m)
	}
	_, _ = fmt.Fprintf(&s, "  outages %+v, incidents %+v\n", a.Outages, a.Incidents)
	return s.String()
}

// The type `victim` contains the objects of an order. The vandal may damage these objects.
type victim struct {
	workflows.Standing                       // zero if the order has made no subscription
	run                *saga.Run             // the order's last run
	tenant             *keystone.Project     // the subscription's tenant; nil if it does not exist
	customerTenant     *keystone.Project     // the customer's tenant; nil if it does not exist, or if no run has created it
	row                *billing.Subscription // the subscription in BillingStack; nil if it does not exist
	customer           bool                  // whether the customer exists
}

func (v victim) active() bool {
	return v.State == workflows.SubscriptionActive && v.tenant != nil && v.row != nil
}

// The method `victims` returns the numbers of the orders whose last run belongs to the workflow `subscribe` and has this state.
func (w *world) victims(state saga.RunState) (orders []int) {
	for n, o := range w.plan.Orders {
		if run := w.lastRun(n); o.Of == 0 && run != nil && run.Workflow == workflows.SubscribeName && run.State == state {
			orders = append(orders, n)
		}
	}
	return orders
}

// The method `victim` returns the objects of an order.
func (w *world) victim(order int) (v victim) {
	if v.run = w.lastRun(order); v.run.State != saga.Succeeded {
		return v
	}
	ctx, id := context.Background(), subscriptionOf(v.run)
	latest, err := w.store.Latest(ctx, v.run.Merchant, "subscription", []string{id})
	w.ok(err)
	v.Standing, err = workflows.StandingOf(latest[id])
	w.ok(err)
	for _, p := range w.cloud.Projects() {
		switch {
		case p.ID == v.TenantID:
			v.tenant = &p
		case p.Name == keystone.CustomerTenant(v.CustomerID) && len(keystone.RunsOfTags(p.Tags)) > 0:
			v.customerTenant = &p
		}
	}
	now := w.look()
	if i := slices.IndexFunc(now.Subscriptions, func(s billing.Subscription) bool { return s.ID == id }); i >= 0 {
		v.row = &now.Subscriptions[i]
	}
	v.customer = slices.ContainsFunc(now.Customers, func(c billing.Customer) bool { return c.ID == v.CustomerID })
	return v
}

// The type `damage` is a kind of act of the vandal.
type damage struct {
	// The function `do` changes, removes or creates objects of the victim v. It reports whether this was possible.
	do func(w *world, v, other victim) bool
	// The field `step` is a step of the repair. It is empty if the damage cannot be repaired.
	step string
	// If the field `of` is set, the victim's run has this state. Otherwise, the victim's run has succeeded.
	of saga.RunState
}

// The variable `damages` contains the damages that happen before the operator makes a plan.
var damages = map[string]damage{
	"delete the tenant":  {step: "create-tenant", do: func(w *world, v, _ victim) bool { return w.deleteProject(v.tenant) }},
	"disable the tenant": {step: "enable-project", do: func(w *world, v, _ victim) bool { return v.active() && w.enable(v.tenant, false) }},
	"enable the tenant":  {step: "disable-project", do: func(w *world, v, _ victim) bool { return w.enable(v.tenant, true) }},
	"rename the tenant":  {do: func(w *world, v, _ victim) bool { return w.rename(v.tenant) }},
	"drop a tag":         {step: "tag-project", do: func(w *world, v, _ victim) bool { return w.untag(v.tenant, "tenantry") }},
	"drop the run's tag": {step: "tag-project", do: func(w *world, v, _ victim) bool { return w.untag(v.tenant, keystone.RunTag(v.run.ID)) }},
	"drop the installation's tag": {step: "tag-project", do: func(w *world, v, _ victim) bool {
		return w.untag(v.tenant, keystone.InstallationTag(installation))
	}},
	"tag of another merchant": {step: "tag-project", do: func(w *world, v, other victim) bool {
		return v.tenant != nil && w.tag(v.tenant, append(slices.Clone(v.tenant.Tags), keystone.MerchantTag(other.run.Merchant))...)
	}},
	"revoke the role": {step: "assign-role/member", do: func(w *world, v, _ victim) bool {
		if !v.active() || len(v.Roles) == 0 {
			return false
		}
		return w.revoke(keystone.Assignment{ProjectID: v.TenantID, UserID: v.UserID, RoleID: v.Roles[0].ID})
	}},
	"revoke a role on the customer's tenant": {step: "assign-role/member", do: func(w *world, v, _ victim) bool {
		for _, a := range w.cloud.Assignments() {
			if v.customer && v.customerTenant != nil && a.ProjectID == v.customerTenant.ID && a.RoleID == w.roles[0].ID {
				return w.revoke(a)
			}
		}
		return false
	}},
	"give a role": {step: "revoke-role/bs-admin", do: func(w *world, v, _ victim) bool { return w.give(v.tenant, v.UserID, w.roles[1].ID) }},
	"give a role to another user": {step: "revoke-role/member", do: func(w *world, v, other victim) bool {
		return other.run.User != v.UserID && w.give(v.tenant, other.run.User, w.roles[0].ID)
	}},
	"lose the resource": {step: "set-resource", do: func(w *world, v, _ victim) bool { return v.active() && w.setResource(v, "pending:lost") }},
	"bill another tenant": {step: "set-resource", do: func(w *world, v, other victim) bool {
		return v.active() && other.tenant != nil && v.SubscriptionID != other.SubscriptionID && w.setResource(v, other.TenantID)
	}},
	"delete the subscription": {step: "disable-project", do: func(w *world, v, _ victim) bool { return w.deleteSubscription(v) }},
	"delete a subscription":   {step: "delete-tenant", do: func(w *world, v, _ victim) bool { return w.deleteSubscription(v) }},
	"delete the customer": {step: "delete-tenant", do: func(w *world, v, _ victim) bool {
		old := slices.ContainsFunc(w.before.Customers, func(c billing.Customer) bool { return c.ID == v.CustomerID })
		if old || v.customerTenant == nil || !w.deleteSubscription(v) {
			return false
		}
		removed, err := w.direct.RemoveCustomer(context.Background(), v.MerchantID, v.CustomerID, nil)
		return err == nil && removed && w.deleted("customer", v.CustomerID)
	}},
	"delete the customer's tenant": {step: "create-tenant", do: func(w *world, v, _ victim) bool { return w.deleteProject(v.customerTenant) }},
	"disable the customer's tenant": {step: "enable-project", do: func(w *world, v, _ victim) bool {
		return v.customer && w.enable(v.customerTenant, false)
	}},
	"bring the customer back":     {step: "delete-customer", do: func(w *world, v, _ victim) bool { return w.bringBack(v, false) }},
	"bring the subscription back": {step: "delete-subscription", do: func(w *world, v, _ victim) bool { return w.bringBack(v, true) }},
	"bring a project back": {step: "delete-tenant", of: saga.Compensated, do: func(w *world, v, _ victim) bool {
		w.cloud.AddProject(keystone.Project{ // as if a request took effect days late
			Name: keystone.SubscriptionTenant(subscriptionOf(v.run)), Tags: keystone.TenantTags(v.run.ID, v.run.Merchant, installation),
		})
		return true
	}},
	"replace the tenant": {do: func(w *world, v, _ victim) bool { // a foreign project with the same name and tags replaces the tenant
		return w.deleteProject(v.tenant) && w.strange(keystone.Project{Name: v.tenant.Name, Tags: v.tenant.Tags})
	}},
	// A foreign project gets the name of a tenant, and the tags of another tenant.
	"copy the tags": {of: saga.Compensated, do: func(w *world, v, other victim) bool {
		return other.tenant != nil && w.strange(keystone.Project{Name: keystone.SubscriptionTenant(subscriptionOf(v.run)), Tags: other.tenant.Tags})
	}},
}

// The variable `furtherDamages` contains the damages to tenants that a repair has disabled. The damages happen before these tenants are
// removed.
var furtherDamages = map[string]damage{
	"enable the tenant":        {do: func(w *world, v, _ victim) bool { return w.enable(v.tenant, true) }},
	"hand the tenant over":     {do: func(w *world, v, _ victim) bool { return w.untag(v.tenant, keystone.InstallationTag(installation)) }},
	"take the tenant":          {do: func(w *world, v, _ victim) bool { return w.untag(v.tenant, keystone.RunTag(v.run.ID)) }},
	"restore the subscription": {do: func(w *world, v, _ victim) bool { return w.restoreRow(v) }},
	"delete the tenant":        {do: func(w *world, v, _ victim) bool { return w.deleteProject(v.tenant) }},
	"rename the tenant":        {do: func(w *world, v, _ victim) bool { return w.rename(v.tenant) }},
	"give a role":              {do: func(w *world, v, _ victim) bool { return w.give(v.tenant, v.UserID, w.roles[1].ID) }},
}

var damageNames, furtherDamageNames = slices.Sorted(maps.Keys(damages)), slices.Sorted(maps.Keys(furtherDamages))

// The method `vandalize` executes the planned damages, and returns the subjects of the victims.
func (w *world) vandalize(all []damagePlan, how map[string]damage) (subjects map[string]bool) {
	subjects = map[string]bool{}
	succeeded, compensated := w.victims(saga.Succeeded), w.victims(saga.Compensated)
	for _, d := range all {
		on := succeeded
		if how[d.Kind].of == saga.Compensated {
			on = compensated
		}
		for i := range on {
			v := w.victim(on[(d.On+i)%len(on)])
			if len(succeeded) > 0 && how[d.Kind].do(w, v, w.victim(succeeded[d.Other%len(succeeded)])) {
				w.driver.note("the vandal: %s of run %s (subscription %s, tenant %s)", d.Kind, v.run.ID, v.SubscriptionID, v.TenantID)
				subjects[v.run.Subject] = true
				break
			}
		}
	}
	return subjects
}

// The method `deleted` notes that the vandal has deleted an object.
func (w *world) deleted(kind, id string) bool {
	w.lost = append(w.lost, saga.ObjectRef{Kind: kind, ID: id})
	return true
}

func (w *world) revoke(a keystone.Assignment) bool {
	w.cloud.Unassign(a)
	w.seen.Lost = append(w.seen.Lost, saga.ObjectRef{Kind: "role-assignment", ID: a.ProjectID + "/" + a.UserID + "/" + a.RoleID})
	return true
}

func (w *world) deleteProject(p *keystone.Project) bool {
	return p != nil && w.byAdmin(http.MethodDelete, "/v3/projects/"+p.ID, "") && w.deleted("project", p.ID)
}

func (w *world) rename(p *keystone.Project) bool {
	if p == nil || !w.byAdmin(http.MethodPatch, "/v3/projects/"+p.ID, `{"project": {"name": "bs-subscription-renamed"}}`) {
		return false
	}
	w.renamed = append(w.renamed, saga.ObjectRef{Kind: "project", ID: p.ID})
	return true
}

// byAdmin makes a request as an administrator of Keystone. The request does not pass through the driver.
func (w *world) byAdmin(method, path, body string) bool {
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	req.Header.Set("X-Auth-Token", w.serviceToken())
	req.Header.Set("Content-Type", "application/json")
	answer := httptest.NewRecorder()
	w.cloud.ServeHTTP(answer, req)
	return answer.Code < http.StatusMultipleChoices
}

func (w *world) enable(p *keystone.Project, enabled bool) bool {
	if p == nil || p.Enabled == enabled {
		return false
	}
	w.cloud.EnableProject(p.ID, enabled)
	return true
}

func (w *world) tag(p *keystone.Project, tags ...string) bool {
	slices.Sort(tags)
	w.cloud.TagProject(p.ID, slices.Compact(tags)...)
	return true
}

func (w *world) untag(p *keystone.Project, tag string) bool {
	return p != nil && p.HasTag(tag) && w.tag(p, slices.DeleteFunc(slices.Clone(p.Tags), func(t string) bool { return t == tag })...)
}

func (w *world) give(p *keystone.Project, user, role string) bool {
	if p == nil || user == "" {
		return false
	}
	w.cloud.Assign(keystone.Assignment{ProjectID: p.ID, UserID: user, RoleID: role})
	return true
}

func (w *world) setResource(v victim, resource string) bool {
	_, err := w.direct.SetResource(context.Background(), v.MerchantID, v.SubscriptionID, resource)
	return err == nil
}

func (w *world) deleteSubscription(v victim) bool {
	if v.row == nil {
		return false
	}
	_, err := w.direct.RemoveSubscription(context.Background(), v.MerchantID, v.SubscriptionID)
	return err == nil && w.deleted("subscription", v.SubscriptionID)
}

// bringBack creates BillingStack objects again after a run has removed them.
func (w *world) bringBack(v victim, subscription bool) bool {
	if v.State != workflows.SubscriptionEnded || v.tenant != nil || v.row != nil || !subscription && v.customer {
		return false
	}
	ctx := context.Background()
	_, err := w.direct.EnsureCustomer(ctx, billing.Customer{ID: v.CustomerID, MerchantID: v.MerchantID, Name: "back", Currency: "eur", Language: "eng"})
	if err != nil || !subscription {
		return err == nil
	}
	return w.restoreRow(v)
}

// restoreRow creates the subscription again, if BillingStack does not have it.
func (w *world) restoreRow(v victim) bool {
	if v.SubscriptionID == "" || v.row != nil {
		return false
	}
	_, err := w.direct.EnsureSubscription(context.Background(), v.MerchantID, billing.Subscription{
		ID: v.SubscriptionID, CustomerID: v.CustomerID, PlanID: w.planOf(v.MerchantID), ResourceID: v.TenantID, ResourceType: "tenant",
	})
	if err == nil {
		w.lost = slices.DeleteFunc(w.lost, func(o saga.ObjectRef) bool { return o.ID == v.SubscriptionID })
	}
	return err == nil
}

// planOf returns the first plan of a merchant.
func (w *world) planOf(merchantID string) string {
	i := slices.IndexFunc(w.sellers, func(s seller) bool { return s.id == merchantID })
	return w.sellers[i].plan
}

// The method `strange` creates a foreign project. No run may change or remove this project.
func (w *world) strange(p keystone.Project) bool {
	p.ID = w.cloud.AddProject(p)
	i := slices.IndexFunc(w.cloud.Projects(), func(other keystone.Project) bool { return other.ID == p.ID })
	w.strangers = append(w.strangers, w.cloud.Projects()[i])
	return true
}
