package simulation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/audit"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/workflows"
	"github.com/tenantry/tenantry/workflows/workflowstest"
)

// The method `repairAll` simulates the aftermath. The operator first repairs while faults happen. The operator then audits and repairs
// again, without faults, until nothing is left that Tenantry can repair.
func (w *world) repairAll(a *aftermath) {
	late := 2 * time.Minute // wait for all late requests, which could otherwise create removed objects again
	if w.plan.rechecksNeeded() {
		late = 21 * time.Hour
	}
	w.until(late, func() bool { return false })
	w.vandalize(a.Damages, damages)
	found := w.repairSome(a, w.examine())
	w.faults, w.touched = nobody, nil
	for round := 1; w.driver.restless == ""; round++ {
		plan := w.makePlan(found)
		plan.Entries = slices.DeleteFunc(plan.Entries, func(e audit.PlanEntry) bool { return w.hopeless[e.FindingID] })
		if len(plan.Entries) == 0 {
			w.settle(found)
			return
		}
		if round > maxRounds {
			w.violate("repairs come to an end", "", fmt.Sprintf("in round %d, the plan still has %+v", round, plan.Entries))
			return
		}
		w.replicas = []*replica{w.startReplica(0)}
		for _, e := range plan.Entries {
			w.order(plan.ID, e, repairPlan{Admitted: true})
		}
		w.until(time.Minute, func() bool { return false })
		w.comesToRest()
		w.night(nil)
		for _, e := range plan.Entries { // a refusal with CodeFindingChanged is not final: another repair may have changed the values
			if code := w.refusal(plan.ID, &e); code != "" && code != workflows.CodeFindingChanged {
				w.hopeless[e.FindingID] = true
			}
		}
		found = w.judge(plan, found)
	}
}

// maxRounds is the maximum number of rounds without faults. After these rounds, there must be nothing left to repair.
const maxRounds = 6

// The function `nobody` returns the fate of each call when no faults happen.
func nobody(call, bool) fate { return fine }

// repairSome starts repairs of the findings of an audit, while faults happen. It returns the outcome of a new audit after the repairs.
func (w *world) repairSome(a *aftermath, found audit.Outcome) audit.Outcome {
	plan := w.makePlan(found)
	last := w.beginFaults(a)
	for i := range w.plan.Replicas {
		w.replicas = append(w.replicas, w.startReplica(w.plan.ClockError[i]))
	}
	for n, e := range plan.Entries {
		if how := a.Repairs[n%len(a.Repairs)]; !how.Left {
			w.order(plan.ID, e, how)
			last = max(last, how.At)
		}
	}
	if on := w.victims(saga.Succeeded); len(on) > 0 {
		for i, o := range a.Orders {
			w.expect(len(w.plan.Orders)+i, w.orderAbout(on[o.Of%len(on)], o))
			last = max(last, o.At)
		}
	}
	w.until(last+time.Second, func() bool { return false })
	w.calm = true
	w.comesToRest()
	found = w.judge(plan, found)
	w.touched = w.vandalize(a.Again, furtherDamages)
	w.night(nil)
	return w.judge(plan, found)
}

// beginFaults schedules the faults of the aftermath, and returns the time of the last fault.
func (w *world) beginFaults(a *aftermath) (last time.Duration) {
	faults := &plan{Mishaps: a.Mishaps, Outages: a.Outages}
	w.faults, w.calm = faults.fates(time.Now()), false
	clear(w.driver.nth)
	clear(w.driver.writes)
	for _, i := range a.Incidents {
		w.driver.after(nil, i.At, "incident", func() { w.befall(i.Replica, i.Kind, i.For) })
		last = max(last, i.At+i.For)
	}
	for _, o := range a.Outages {
		last = max(last, o.To)
	}
	return last
}

// orderAbout completes the order o so that it changes the subscription of the order n. If o.AddUser is true and the order n is for an
// existing customer, the result is instead an order for a new subscription of this customer.
func (w *world) orderAbout(n int, o orderPlan) orderPlan {
	of := w.plan.Orders[n]
	o.Of, o.Merchant, o.User = n+1, of.Merchant, of.User
	if o.AddUser && of.Customer > 0 {
		o.Trial, o.Of, o.Customer = 0, 0, of.Customer
	}
	return o
}

// The method `makePlan` stores the findings of an audit, and makes a plan of all their repairs.
func (w *world) makePlan(found audit.Outcome) audit.Plan {
	w.findings = map[string]audit.Finding{}
	for _, f := range found.Seen {
		f.Status = audit.New
		w.findings[f.ID] = f
	}
	w.planned++
	plan, err := w.auditor().Plan(context.Background(), audit.Filter{}, "op")
	w.ok(err)
	plan.Entries = slices.DeleteFunc(plan.Entries, func(e audit.PlanEntry) bool { // repairs cannot handle the stranger's subscriptions
		about, err := w.store.Run(context.Background(), e.RunID)
		w.ok(err)
		return about.Workflow == workflowstest.StrangerName && (e.Action == audit.CreateTenant || e.Action == audit.SetResource)
	})
	return plan
}

// The method `order` schedules the requests that start a repair.
func (w *world) order(planID string, e audit.PlanEntry, how repairPlan) {
	for twin := range map[bool]int{false: 1, true: 2}[how.Twice] {
		w.driver.mu.Lock()
		w.open++
		w.driver.mu.Unlock()
		name := fmt.Sprintf("repair of %s %d", e.FindingID, twin)
		w.driver.after(nil, how.At, name, func() { go w.repair(name, planID, e, how.Admitted) })
	}
}

// The method `repair` repeats the request for a repair until it has an answer.
func (w *world) repair(name, planID string, e audit.PlanEntry, admitted bool) {
	defer func() {
		w.driver.mu.Lock()
		defer w.driver.mu.Unlock()
		w.open--
	}()
	for try := 1; !w.isOver(); try++ {
		if w.tryToRepair(fmt.Sprint(name, " try ", try), planID, e, admitted) {
			return
		}
		w.driver.sleep(min(time.Duration(try)*3*time.Second, time.Minute)+w.driver.latency(name, try, "again"), name+" again")
	}
}

// tryToRepair sends one request to one of the replicas. It returns true if the run of the repair exists, or if the repair is refused.
func (w *world) tryToRepair(who, planID string, e audit.PlanEntry, admitted bool) bool {
	if len(w.replicas) == 0 {
		return false
	}
	r := w.replicas[w.driver.chance(who, "via")%uint64(len(w.replicas))]
	if r.dead || r.hasEnded() {
		return false
	}
	ctx, cancel := context.WithTimeout(context.WithValue(context.Background(), actorKey{}, who), 20*time.Second)
	defer cancel()
	r.awaitTurn(who)
	defer r.admitted(who)
	key := workflows.RepairKey(planID, e.FindingID)
	if _, err := r.engine.RunOfKey(ctx, e.MerchantID, key); !errors.Is(err, saga.ErrNotFound) {
		return err == nil
	}
	about, err := r.engine.Run(ctx, e.RunID)
	if err != nil {
		return false
	}
	q := workflows.RepairRequest(planID, e, about.Subject, "")
	if admitted {
		q, err = r.deps.AdmitRepair(ctx, planID, e)
		if refused, ok := errors.AsType[*workflows.AdmissionError](err); ok {
			w.driver.remark("%s is refused: %v", who, refused)
			w.driver.mu.Lock()
			defer w.driver.mu.Unlock()
			w.refused[key] = refused.Code
			return true
		}
	} else {
		q.ID = r.newID()
	}
	if err != nil {
		return false
	}
	q.Key, q.Fingerprint, q.Who, q.Why = key, key, "op", "repair"
	_, err = r.engine.Start(ctx, q)
	return err == nil || errors.Is(err, saga.ErrKeyUsed)
}

// runsOf returns the runs of an entry: the repair, and the removal that follows it. A run that does not exist is nil.
func (w *world) runsOf(planID string, e *audit.PlanEntry) (repair, removal *saga.Run) {
	for _, r := range w.store.Everything().Runs {
		switch {
		case r.Workflow != workflows.RepairName:
		case r.Key == workflows.RepairKey(planID, e.FindingID):
			repair = r
		case r.Doubles == "repair "+planID+" "+e.FindingID+" removal":
			removal = r
		}
	}
	return repair, removal
}

// The method `refusal` returns the error code of the repair, or of the run that removes the extra object later. If neither was refused or
// has failed, the result is empty.
func (w *world) refusal(planID string, e *audit.PlanEntry) saga.Code {
	repair, removal := w.runsOf(planID, e)
	switch {
	case repair == nil:
		return w.refused[workflows.RepairKey(planID, e.FindingID)]
	case repair.State == saga.Compensated:
		return repair.Cause.Code
	case removal != nil && removal.State == saga.Compensated:
		return removal.Cause.Code
	}
	return ""
}

// The method `judge` audits the world after the repairs of a plan, and compares the new findings with the previous findings.
func (w *world) judge(plan audit.Plan, before audit.Outcome) audit.Outcome {
	after := w.examine()
	seen := map[string]*audit.Finding{}
	for i := range after.Seen {
		seen[after.Seen[i].ID] = &after.Seen[i]
	}
	for i := range plan.Entries {
		e := &plan.Entries[i]
		f := seen[e.FindingID]
		if other := slices.IndexFunc(after.Seen, func(f audit.Finding) bool { return isOfResource(&f, e.SubscriptionID) }); f == nil &&
			other >= 0 && e.Action == audit.SetResource {
			f = &after.Seen[other]
		}
		w.judgeRepair(plan, e, f)
	}
	for _, id := range slices.Sorted(maps.Keys(seen)) {
		f := seen[id]
		known := slices.ContainsFunc(before.Seen, func(k audit.Finding) bool {
			return k.ID == f.ID || isOfResource(&k, f.SubscriptionID) && isOfResource(f, k.SubscriptionID)
		})
		// If an order has created the lost tenant of a customer again, the customer's other users do not have their roles on the new tenant.
		known = known || f.Code == audit.RoleMissing && slices.ContainsFunc(before.Seen, func(k audit.Finding) bool {
			return k.Code == audit.CustomerWithoutTenant && k.CustomerID == f.CustomerID
		})
		known = known || w.isTwin(f.ProjectID)
		strange := slices.ContainsFunc(w.strangers, func(p keystone.Project) bool { return p.ID == f.ProjectID })
		if again := w.touched[w.subjectOf(f.RunID)] || f.RunID == "" && len(w.touched) > 0; !known && !strange && !again {
			w.violate("repairs make no findings", f.RunID, fmt.Sprintf("%+v", f))
		}
	}
	return after
}

// isTwin reports whether a late request has created the project. A run's first request to create a tenant got no answer. The run
// repeated the request, and this created the tenant. Then the vandal renamed or deleted the tenant. The name was free again, and the
// first request took effect.
func (w *world) isTwin(projectID string) bool {
	gone := slices.Concat(w.renamed, w.lost)
	return slices.ContainsFunc(w.cloud.Projects(), func(p keystone.Project) bool {
		return p.ID == projectID && slices.ContainsFunc(keystone.RunsOfTags(p.Tags), func(run string) bool {
			r, err := w.store.Run(context.Background(), run)
			return err == nil && slices.ContainsFunc(r.Objects, func(o saga.Object) bool {
				return o.Name == p.Name && o.ID != p.ID && slices.Contains(gone, saga.ObjectRef{Kind: o.Kind, ID: o.ID})
			})
		})
	})
}

// isOfResource reports whether the finding is about the resource_id of the subscription. Findings about one wrong resource_id can have
// different codes.
func isOfResource(f *audit.Finding, subscriptionID string) bool {
	return strings.HasPrefix(string(f.Code), "resource-") && f.SubscriptionID == subscriptionID
}

// judgeRepair checks one repair after all its runs have ended. The argument f is the finding in the audit after the repair. If this
// audit does not have the finding, f is nil.
func (w *world) judgeRepair(plan audit.Plan, e *audit.PlanEntry, f *audit.Finding) {
	repair, removal := w.runsOf(plan.ID, e)
	switch {
	case repair == nil || w.touched[repair.Subject]:
	case removal != nil && removal.State == saga.Compensated:
		if f == nil && !w.changedSince(removal) {
			w.violate("refused removals keep findings", removal.ID, "the run is compensated, but the finding is gone: "+e.Detail)
		}
	case repair.State == saga.Succeeded:
		awaitsRemoval := e.Action == audit.RemoveTenant && removal == nil
		if f != nil && !awaitsRemoval {
			w.violate("repairs resolve findings", repair.ID, "the run has succeeded, but the finding is still there: "+string(f.Code)+": "+f.Detail)
		}
	case w.marked(repair):
		w.violate("compensated repairs change nothing", repair.ID, "a project still has the mark of the run")
	case begun(repair) && !w.changedSince(repair):
		// A compensated repair keeps the changes of these actions.
		stays := []audit.RepairAction{audit.TagProject, audit.EnableProject, audit.RevokeRole, audit.SetResource}
		if f == nil && !slices.Contains(stays, e.Action) || f != nil && !maps.Equal(f.Repair.Values, e.Values) && e.Action != audit.TagProject {
			w.violate("compensated repairs change nothing", repair.ID, fmt.Sprintf("the finding was %s with %v, and is now %+v", e.Code, e.Values, f))
		}
	}
}

// subjectOf returns the subject of a run. If there is no such run, the result is empty.
func (w *world) subjectOf(runID string) string {
	if r, err := w.store.Run(context.Background(), runID); err == nil {
		return r.Subject
	}
	return ""
}

// The method `marked` reports whether a project has the tag with which the run marks disabled tenants.
func (w *world) marked(r *saga.Run) bool {
	return slices.ContainsFunc(w.cloud.Projects(), func(p keystone.Project) bool { return p.HasTag(keystone.DisabledTag(r.ID)) })
}

// The function `begun` reports whether any step of the run has begun. The step `check` does not count.
func begun(r *saga.Run) bool {
	return slices.ContainsFunc(r.Steps, func(s saga.StepRow) bool { return s.Name != "check" && s.Attempts > 0 })
}

// changedSince reports whether another run may have changed the objects of the repair.
func (w *world) changedSince(repair *saga.Run) bool {
	return slices.ContainsFunc(w.store.Everything().Runs, func(r *saga.Run) bool {
		if r.Subject != repair.Subject || r.State != saga.Succeeded || !r.EndedAt.After(repair.CreatedAt) {
			return false
		}
		others := []audit.RepairAction{audit.AssignRole, audit.RevokeRole, audit.EnableProject, audit.DisableProject, audit.TagProject}
		action := actionOf(r)
		return action == actionOf(repair) || !slices.Contains(others, action)
	})
}

// actionOf returns the action of a repair. For a run of another workflow, the result is empty.
func actionOf(r *saga.Run) audit.RepairAction {
	var o workflows.Repair
	_ = json.Unmarshal(r.Input, &o)
	return o.Entry.Action
}

// The method `settle` checks the world after the last repairs. The projects that the vandal has created must be unchanged. The checker
// ignores the objects that are still damaged.
func (w *world) settle(found audit.Outcome) {
	w.seen.ByHand = slices.Clone(w.lost)
	for _, p := range w.strangers {
		w.seen.ByHand = append(w.seen.ByHand, saga.ObjectRef{Kind: "project", ID: p.ID})
		i := slices.IndexFunc(w.cloud.Projects(), func(now keystone.Project) bool { return now.ID == p.ID })
		if i < 0 || !slices.Equal(w.cloud.Projects()[i].Tags, p.Tags) || !w.cloud.Projects()[i].Enabled {
			w.violate("strangers stay", "", "the foreign project "+p.ID+" was changed or removed")
		}
	}
	for _, f := range found.Seen {
		for _, o := range f.Objects {
			w.seen.ByHand = append(w.seen.ByHand, saga.ObjectRef{Kind: o.Kind, ID: o.ID})
		}
	}
	for _, o := range w.leftOver {
		w.seen.ByHand = append(w.seen.ByHand, saga.ObjectRef{Kind: o.Kind, ID: o.ID})
	}
	for _, f := range w.store.Everything().FollowUps {
		if f.Reason != nil { // the subscription waits for a person
			w.seen.ByHand = append(w.seen.ByHand, saga.ObjectRef{Kind: "subscription", ID: f.ID})
		}
	}
	w.broken = append(w.broken, w.check()...)
}
