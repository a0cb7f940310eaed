package audit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

// Confirm checks whether the repair of an entry is still needed, and whether the entry's values are still the same. If so, the result
// `changed` is empty. Otherwise, `changed` is the reason why the repair must not be executed. The argument `subject` is the subject of the
// entry's run. Confirm reads the runs of the subject. With a separate request for each object, it reads the objects that the entry is
// about. It then compares as an audit does.
//
// Confirm considers only runs that have ended. A run that has not ended may be the repair itself, or may wait for the repair. If
// another run of the subject may be executing, the caller must call Confirm again after that run has ended.
//
// Confirm returns an error if an upstream or the database cannot be read. Then it is not known whether the repair is needed.
func (a *Auditor) Confirm(ctx context.Context, e PlanEntry, subject string) (changed string, err error) {
	suspect, err := a.suspicions(ctx)
	if err != nil {
		return "", err
	}
	if suspect.forbid(&e) {
		return "a list of Keystone or BillingStack seems to be incomplete (finding " + string(SuspectAbsence) + "): nothing is created or removed until the finding is resolved", nil
	}
	r := a.newReading(Scope{})
	r.endedOnly = true
	c, err := r.readAgain(ctx, &e, subject)
	if err != nil {
		return "", err
	}
	if c == nil {
		return "merchant " + e.MerchantID + " no longer exists in Tenantry or in BillingStack", nil
	}
	changed = c.changed(&e)
	if gap := r.missing(); gap != "" && changed != "" {
		changed = "it is not known whether the difference still exists, because not everything could be read (" + gap + ")"
	}
	return changed, nil
}

// readAgain reads everything that the entry's finding depends on. The result is nil if the merchant no longer exists.
func (r *reading) readAgain(ctx context.Context, e *PlanEntry, subject string) (*comparison, error) {
	m, err := r.Merchants.Merchant(ctx, e.MerchantID)
	if errors.Is(err, merchants.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r.prepare(ctx, m)
	if r.merchant(m.ID).customersRead {
		err = r.readPlanned(ctx, e, subject)
	} else if r.fault == nil {
		return nil, ctx.Err()
	}
	if err = errors.Join(err, r.fault); err != nil {
		return nil, err
	}
	return &comparison{
		ledger: r.ledger, world: r.world, now: r.Now(), installation: r.Installation, allowAdmin: r.AllowAdmin, whole: true,
	}, ctx.Err()
}

func (r *reading) readPlanned(ctx context.Context, e *PlanEntry, subject string) error {
	if _, err := r.readSubject(ctx, subject); err != nil {
		return err
	}
	r.keep(e)
	if e.Cloud != "" {
		r.readCloudAlone(ctx, e.Cloud)
	}
	for _, t := range r.tenants { // a tenant may be in a former domain of the merchant
		if t.domain != "" {
			r.cloud(t.cloud).domains[t.domain] = true
		}
	}
	if domain := e.Values["domain_id"]; domain != "" {
		r.cloud(e.Cloud).domains[domain] = true
	}
	if err := r.readObjects(ctx, subject); err != nil {
		return err
	}
	for _, o := range e.Objects {
		known := r.subjectOf(e.Cloud, o) != ""
		if !known && (o.Kind == kindProject || o.Kind == kindSubscription || o.Kind == kindCustomer) {
			if err := r.readStranger(ctx, stranger{o, e.Cloud, e.MerchantID}); err != nil {
				return err
			}
		}
	}
	return r.readTags(ctx)
}

// The method `keep` removes the subject's objects from the ledger, except the objects that the entry is about. A customer may have many
// subscriptions, and Confirm does not read all of them.
func (l *ledger) keep(e *PlanEntry) {
	maps.DeleteFunc(l.tenants, func(at ref, t *tenant) bool {
		customerID, subscriptionID := t.owner()
		own := subscriptionID == e.SubscriptionID && (subscriptionID != "" || customerID == e.CustomerID)
		return !own && at.id != e.ProjectID
	})
	maps.DeleteFunc(l.subscriptions, func(id string, _ *subscription) bool { return id != e.SubscriptionID })
	maps.DeleteFunc(l.customers, func(id string, _ *customer) bool { return id != e.CustomerID })
}

// maxTags is the maximum number of runs that readTags reads. A limit is necessary, because everybody who may change a project can add any
// tags to it.
const maxTags = 1000

// readTags reads the runs whose ids are in the tags of the projects. A run that readTags does not find is unknown to this installation. An
// audit of everything reads all runs, and does not need readTags.
func (r *reading) readTags(ctx context.Context) error {
	var ids []string
	for _, c := range r.clouds {
		for _, p := range c.projects {
			ids = append(ids, keystone.RunsOfTags(p.Tags)...)
		}
	}
	slices.Sort(ids)
	asked := 0
	for _, id := range slices.Compact(ids) {
		if _, known := r.runs[id]; known {
			continue
		}
		if asked++; asked > maxTags {
			r.note(Gap{Code: GapTooManyObjects, Detail: fmt.Sprintf("the tags of the tenants name more than %d other runs", maxTags)})
			r.runs[id] = runInfo{} // treated as known, because the audit has not looked for the run
			continue
		}
		err := r.Store.EachRun(ctx, RunFilter{ID: id}, func(run *saga.Run) error {
			r.runs[canon(run.ID)] = runInfo{run.State, canon(run.Merchant)}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// readTagsOfScope calls readTags if the audit has not read all runs.
func (r *reading) readTagsOfScope(ctx context.Context) error {
	if r.scope.All() {
		return nil
	}
	return r.readTags(ctx)
}

// The method `changed` checks whether the comparison still results in this entry. If so, `changed` returns an empty string. Otherwise, it
// returns the reason.
func (c *comparison) changed(e *PlanEntry) string {
	reason := "there is nothing to repair any more"
	for _, found := range c.compare() {
		now, repairable := entryOf(&found.Finding)
		switch {
		case repairable && now.same(e):
			return ""
		case repairable && now.FindingID == e.FindingID:
			reason = "values have changed since the repair was planned: " + e.differences(now)
		case found.ID == e.FindingID:
			reason = "Tenantry can no longer repair the difference: the finding says what a person has to do"
		}
	}
	return reason
}

// The method `differences` returns the names of the values that differ. The result does not contain the values themselves: a merchant can
// read the text, and the values may be about other merchants.
func (e *PlanEntry) differences(now PlanEntry) string {
	var names []string
	for name, differs := range map[string]bool{
		"action": e.Action != now.Action, "merchant_id": e.MerchantID != now.MerchantID, "cloud": e.Cloud != now.Cloud,
	} {
		if differs {
			names = append(names, name)
		}
	}
	all := maps.Clone(e.Values)
	maps.Copy(all, now.Values)
	for name := range all {
		if e.Values[name] != now.Values[name] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}
