package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// The codes of gaps.
const (
	GapKeystoneForbidden   = "keystone-forbidden"   // the credential has no permission to read a list
	GapKeystoneUnavailable = "keystone-unavailable" // Keystone has not answered, or not completely
	GapOutOfReach          = "out-of-reach"         // the credential is for another domain
	GapListCut             = "list-cut"             // Keystone has cut a list that cannot be divided
	GapBillingUnavailable  = "billing-unavailable"
	GapMerchantUnknown     = "merchant-unknown" // BillingStack does not have the merchant
	GapWorkflowUnknown     = "workflow-unknown" // this release does not know the workflow of a run
	GapCloudUnknown        = "cloud-unknown"    // the service has no configuration of the cloud, or the cloud has no such domain
	GapTooManyFindings     = "too-many-findings"
	GapTooManyObjects      = "too-many-objects" // a cloud has more objects than an audit keeps in memory
	GapNotShown            = "not-shown"        // the Identity version does not show the objects; such a gap does not make an audit incomplete
)

// The type `reading` is the state of an audit that is being executed.
type reading struct {
	*Auditor
	*ledger
	*world

	scope                  Scope
	endedOnly              bool // runs that have not ended are left out
	maxProjects, maxGrants int  // the maximum numbers of objects of one cloud
	maxUnmatched           int  // the maximum number of entries of unmatched usage that are reported for one merchant

	mu       sync.Mutex                // guards the fields below
	reach    map[string]keystone.Reach // the reach of the credentials, by cloud
	gaps     []Gap
	fault    error // the first error of an upstream
	read     map[string]int
	progress Progress
}

// The method `note` adds a gap. If the audit has a gap with this code, cloud and merchant already, `note` does nothing.
func (r *reading) note(g Gap) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.ContainsFunc(r.gaps, func(known Gap) bool {
		return known.Code == g.Code && known.Cloud == g.Cloud && known.MerchantID == g.MerchantID
	}) {
		return
	}
	if len(r.gaps) < MaxGaps {
		g.Detail = upstream.Clean(g.Detail)
		r.gaps = append(r.gaps, g)
		return
	}
	r.gaps[MaxGaps-1] = Gap{Code: "more", Detail: "more parts could not be assessed"}
}

// The method `missing` returns the code of the first gap that makes an audit incomplete. If there is no such gap, the result is empty.
func (r *reading) missing() string {
	for _, g := range r.gaps {
		if g.Code != GapNotShown {
			return g.Code
		}
	}
	return ""
}

// The method `step` sets the progress of the audit.
func (r *reading) step(phase string, done, total int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.progress = Progress{phase, done, total}
}

// counted adds n to the number of objects of this kind that were read.
func (r *reading) counted(kind string, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.read[kind] += n
}

// readAll reads the runs, Keystone and BillingStack. It returns an error if the database cannot be read, because then nothing can be
// compared. If a part of Keystone or BillingStack cannot be read, readAll adds a gap.
func (r *reading) readAll(ctx context.Context) error {
	all, err := r.merchantsOf(ctx)
	if err != nil {
		return err
	}
	r.step("reading the runs, Keystone and BillingStack", 0, 0)
	domains := r.domainsOf(ctx, all)
	readings := []func() error{
		func() error { return r.readLedger(ctx) },
		func() error { r.readBilling(ctx, all); return nil },
	}
	for name, ids := range domains {
		cloud := r.cloud(name)
		readings = append(readings, func() error { r.readCloud(ctx, name, cloud, ids); return nil })
	}
	var group sync.WaitGroup
	faults := make([]error, len(readings))
	for i, read := range readings {
		group.Go(func() { faults[i] = safely(read) })
	}
	group.Wait()
	if err := errors.Join(faults...); err != nil {
		return err
	}
	r.readRest(ctx)
	for _, m := range all {
		if err := r.readWaiting(ctx, m.ID); err != nil {
			return err
		}
		if err := r.readUnmatched(ctx, m.ID); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// readScope reads everything that an audit of the scope needs.
func (r *reading) readScope(ctx context.Context) error {
	if r.scope.CustomerID == "" && r.scope.ProjectID == "" {
		return r.readAll(ctx)
	}
	return r.readOne(ctx)
}

// merchantsOf returns the merchants in the scope.
func (r *reading) merchantsOf(ctx context.Context) (all []merchants.Merchant, err error) {
	err = merchants.Each(ctx, r.Merchants, "", func(m merchants.Merchant) {
		if (r.scope.MerchantID == "" || r.scope.MerchantID == m.ID) && (r.scope.Cloud == "" || r.scope.Cloud == m.Cloud) {
			all = append(all, m)
		}
	})
	return all, err
}

// readLedger adds the runs in the scope to the ledger.
func (r *reading) readLedger(ctx context.Context) error {
	unknown := map[string]bool{}
	err := r.Store.EachRun(ctx, RunFilter{MerchantID: r.scope.MerchantID, Except: r.Unaudited}, func(run *saga.Run) error {
		r.counted("run", 1)
		r.addRun(run, unknown)
		return nil
	})
	for _, subject := range slices.Sorted(maps.Keys(r.mixed)) {
		if err == nil {
			_, err = r.readSubject(ctx, subject)
		}
	}
	for workflow := range unknown {
		r.note(Gap{Code: GapWorkflowUnknown, Detail: "this release does not know workflow " + workflow})
	}
	return err
}

func (r *reading) addRun(run *saga.Run, unknown map[string]bool) {
	if r.endedOnly && !run.State.Ended() {
		return
	}
	all, known, err := r.Expect(run)
	if err != nil { // nothing is reported about the run's subject
		r.note(Gap{Code: GapWorkflowUnknown, MerchantID: run.Merchant, Detail: err.Error()})
		known = false
	}
	if !known {
		unknown[run.Workflow] = true
	}
	r.add(run, all, known)
}

// domainsOf returns the ids of the domains with the merchants' tenants, by cloud. It also stores the cloud and the domain of each
// merchant.
func (r *reading) domainsOf(ctx context.Context, all []merchants.Merchant) map[string][]string {
	domains := map[string][]string{}
	for _, m := range all {
		here := r.merchant(m.ID)
		here.cloud = m.Cloud
		if _, err := r.Inventory(m.Cloud); err != nil {
			r.note(Gap{Code: GapCloudUnknown, Cloud: m.Cloud, MerchantID: m.ID, Detail: err.Error()})
			continue
		}
		name := cmp.Or(m.Domain, r.Domain)
		domain, err := r.FindDomain(ctx, m.Cloud, name)
		if err != nil {
			code := GapKeystoneUnavailable
			if errors.Is(err, keystone.ErrNotFound) || errors.Is(err, keystone.ErrAmbiguous) {
				code = GapCloudUnknown
			} else if errors.Is(err, keystone.ErrForbidden) {
				code = GapKeystoneForbidden
			}
			r.note(Gap{Code: code, Cloud: m.Cloud, MerchantID: m.ID, Detail: fmt.Sprintf("domain %s of the merchant: %v", name, err)})
			domains[m.Cloud] = append(domains[m.Cloud], "") // the cloud cannot be read completely
			continue
		}
		here.domain = domain.ID
		if !slices.Contains(domains[m.Cloud], domain.ID) {
			domains[m.Cloud] = append(domains[m.Cloud], domain.ID)
		}
	}
	return domains
}

// gapOf adds the gap for a part of a cloud that could not be read.
func (r *reading) gapOf(cloud string, err error) {
	code := GapKeystoneUnavailable
	if errors.Is(err, keystone.ErrForbidden) {
		code = GapKeystoneForbidden
	}
	r.failed(err)
	r.note(Gap{Code: code, Cloud: cloud, Detail: err.Error()})
}

// The method `failed` stores the first error of an upstream. It ignores an error that says that the credential has no permission.
func (r *reading) failed(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fault == nil && !errors.Is(err, keystone.ErrForbidden) {
		r.fault = err
	}
}

// readRest reads the objects that are known only because other objects refer to them: the users with roles, and the projects that are known
// only from the resource_id of a subscription.
func (r *reading) readRest(ctx context.Context) {
	for at, t := range r.tenants {
		if !t.gone && (r.scope.Cloud == "" || r.scope.Cloud == at.cloud) {
			r.cloud(at.cloud) // the cloud may be a former cloud of a merchant
		}
	}
	for name, c := range r.clouds {
		inventory, err := r.Inventory(name)
		if err != nil {
			r.note(Gap{Code: GapCloudUnknown, Cloud: name, Detail: err.Error()})
			continue
		}
		if former := r.formerDomains(name, c); len(former) > 0 {
			c.forgetGrants()
			r.readCloud(ctx, name, c, former)
		}
		r.step("reading the users of cloud "+name, 0, 0)
		r.readUsers(ctx, name, c, inventory)
	}
	for id, s := range r.world.subscriptions {
		r.lookForResource(ctx, id, s)
	}
}

// formerDomains returns the domains that contain tenants, but are no longer the domain of a merchant.
func (r *reading) formerDomains(name string, c *cloudWorld) (former []string) {
	for at, t := range r.tenants {
		if at.cloud == name && !t.gone && t.domain != "" && !c.asked[t.domain] && !slices.Contains(former, t.domain) {
			former = append(former, t.domain)
		}
	}
	return former
}

// lookForResource reads the project whose id is a subscription's resource_id. It reads nothing if this project is the subscription's
// tenant, or if the subscription should have no tenant.
func (r *reading) lookForResource(ctx context.Context, id string, s *foundSubscription) {
	want := r.ledger.subscriptions[id]
	if want != nil && (r.tenantOf(want) == nil || want.tenant == s.resource) {
		return
	}
	m := r.merchant(s.merchant)
	if want == nil && len(r.cloud(m.cloud).named[keystone.SubscriptionTenant(id)]) == 0 {
		return // it is not known which project is right
	}
	if r.cloud(m.cloud).domains[m.domain] {
		r.lookFor(ctx, m.cloud, s.resource)
	}
}
