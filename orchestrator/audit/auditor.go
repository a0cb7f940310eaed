package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// Options configure an Auditor.
type Options struct {
	Store     Store
	Merchants merchants.Store
	Inventory func(cloud string) (keystone.Inventory, error)
	// FindDomain returns the domain that has this id or name in a cloud: see [keystone.Identity].
	FindDomain func(ctx context.Context, cloud, nameOrID string) (keystone.Domain, error)
	Billing    Billing
	// Expect returns the objects that should exist after a run: see [saga.Definition.Expect]. The result `known` is false if this release
	// does not know the run's workflow.
	Expect       func(*saga.Run) (all []saga.Expected, known bool, err error)
	Unaudited    []string // the names of workflows whose runs are not read: see saga.Workflow.Unaudited
	Installation string
	Domain       string // name or id of the domain of the tenants; a merchant may have another domain
	AllowAdmin   bool   // users may have the role admin
	Replica      string
	Every        time.Duration // the interval between scheduled audits; zero: no scheduled audits
	Now          func() time.Time
	NewID        func() string
	// Begin, if set, is called before each audit. The returned function is called after the audit.
	Begin   func() (end func())
	OnFault func(error)
}

// Billing reads BillingStack: see [billing.Client].
type Billing interface {
	Merchant(ctx context.Context, id string) (billing.Merchant, error)
	Customer(ctx context.Context, merchantID, id string) (billing.Customer, error)
	Subscription(ctx context.Context, merchantID, id string) (billing.Subscription, error)
	Plan(ctx context.Context, merchantID, id string) (billing.Plan, error)
	SubscriptionsOf(ctx context.Context, merchantID, customerID string) ([]billing.Subscription, error)
	EachCustomer(ctx context.Context, merchantID string, take func(billing.Customer)) error
	EachSubscription(ctx context.Context, merchantID string, take func(billing.Subscription)) error
	EachPlanID(ctx context.Context, merchantID string, take func(id string)) error
}

// Auditor executes audits.
type Auditor struct {
	Options
	asked chan struct{} // receives a value when an audit is requested from this replica
}

// NewAuditor returns an Auditor. It executes no audits before Serve or Next is called.
func NewAuditor(o Options) *Auditor { return &Auditor{o, make(chan struct{}, 1)} }

// Request stores a pending audit, which a replica then executes. The argument `by` is the name of the caller. Request returns ErrBusy if
// too many audits are pending.
func (a *Auditor) Request(ctx context.Context, scope Scope, by string) (Audit, error) {
	at := a.Now().UTC().Truncate(time.Microsecond) // databases store times with this precision
	wanted := Audit{ID: a.NewID(), Scope: scope, By: by, CreatedAt: at, State: Pending}
	if err := a.Store.Create(ctx, wanted); err != nil {
		return Audit{}, err
	}
	select {
	case a.asked <- struct{}{}:
	default:
	}
	return wanted, nil
}

// The intervals and time limits of Serve.
const (
	pollInterval = 5 * time.Second  // between two polls for audits that other replicas have stored
	beatInterval = 10 * time.Second // between two heartbeats
	lostAfter    = time.Minute      // time without a heartbeat after which another replica executes the audit
	maxDuration  = 2 * time.Hour    // time limit of one audit
)

// Serve executes audits one after the other, and stores scheduled audits, until ctx ends. If ctx ends during an audit, another replica
// executes the audit again from the beginning. This is safe, because an audit only reads.
func (a *Auditor) Serve(ctx context.Context) {
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	for {
		if err := a.schedule(ctx); err != nil && ctx.Err() == nil {
			a.OnFault(fmt.Errorf("starting an audit: %w", err))
		}
		if err := a.Next(ctx); err != nil && !errors.Is(err, ErrNotFound) && ctx.Err() == nil {
			a.OnFault(fmt.Errorf("executing an audit: %w", err))
		}
		select {
		case <-ctx.Done():
			return
		case <-a.asked:
		case <-poll.C:
		}
	}
}

// The method `schedule` stores the audit of the current interval. It stores nothing if a replica has already stored this audit, or if the
// last scheduled audit has not ended. The id of a scheduled audit is computed from the installation and the interval. So if several
// replicas try to store the audit of an interval, only the first replica succeeds.
func (a *Auditor) schedule(ctx context.Context) error {
	if a.Every <= 0 {
		return nil
	}
	slot := a.Now().Truncate(a.Every)
	last, err := a.Store.Audits(ctx, "", 1)
	if err != nil || len(last) > 0 && last[0].By == Scheduled && !last[0].State.Ended() {
		return err
	}
	err = a.Store.Create(ctx, Audit{ID: scheduledID(a.Installation, slot), By: Scheduled, CreatedAt: a.Now(), State: Pending})
	if errors.Is(err, ErrExists) || errors.Is(err, ErrBusy) {
		return nil
	}
	return err
}

// scheduledID returns the id of the scheduled audit of an interval. Like other ids, it sorts by time.
func scheduledID(installation string, slot time.Time) string {
	id := uuid.NewSHA1(findingNamespace, fmt.Appendf(nil, "%s %d", installation, slot.UnixMicro()))
	ms := max(slot.UnixMilli(), 0)
	for i := range 6 {
		id[i] = byte(ms >> (8 * (5 - i))) //nolint:gosec // the lowest 8 bits are wanted
	}
	id[6] = id[6]&0x0f | 0x70
	return id.String()
}

// Next executes the next audit. It returns ErrNotFound if there is no audit to execute.
func (a *Auditor) Next(ctx context.Context) error {
	now := a.Now()
	audit, err := a.Store.Take(ctx, a.Replica, now, now.Add(-lostAfter))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, maxDuration)
	defer cancel()
	if a.Begin != nil {
		defer a.Begin()()
	}
	r := a.newReading(audit.Scope)
	stop := r.beat(ctx, cancel, audit.ID)
	var outcome Outcome
	err = safely(func() (err error) {
		outcome, err = r.execute(ctx, audit)
		return err
	})
	stop()
	if err != nil {
		if ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return ctx.Err() // another replica executes the audit again
		}
		outcome = Outcome{Audit: audit}
		outcome.Audit.State, outcome.Audit.Failure = Failed, upstream.Clean(err.Error())
	}
	outcome.Audit.EndedAt = new(a.Now())
	finish, cancelFinish := context.WithTimeout(context.WithoutCancel(ctx), finishTime)
	defer cancelFinish()
	return errors.Join(err, a.Store.Finish(finish, a.Replica, outcome))
}

// finishTime is the time limit for storing the end of an audit.
const finishTime = 2 * time.Minute

// The function `safely` calls f, and returns a panic as an error. Otherwise, a panic would end the process. Another replica would then
// take over the audit, and its process would end, too.
func safely(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("the audit panicked: %v", v)
		}
	}()
	return f()
}

func (a *Auditor) newReading(scope Scope) *reading {
	return &reading{
		Auditor: a, ledger: newLedger(), world: newWorld(), scope: scope, maxProjects: maxProjects, maxGrants: maxGrants,
		maxUnmatched: maxUnmatched, read: map[string]int{}, reach: map[string]keystone.Reach{},
	}
}

// Examine executes an audit without storing it.
func (a *Auditor) Examine(ctx context.Context, scope Scope) (Outcome, error) {
	return a.newReading(scope).execute(ctx, Audit{Scope: scope})
}

// The method `beat` stores a heartbeat at intervals, until the returned function is called. If another replica has taken over the audit,
// `beat` cancels the audit's context.
func (r *reading) beat(ctx context.Context, cancel func(), auditID string) (stop func()) {
	ctx, end := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(beatInterval)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			r.mu.Lock()
			progress := r.progress
			r.mu.Unlock()
			switch err := r.Store.Beat(ctx, auditID, r.Replica, r.Now(), progress); {
			case errors.Is(err, ErrLost):
				cancel()
				return
			case err != nil && ctx.Err() == nil:
				r.OnFault(fmt.Errorf("storing the progress of audit %s: %w", auditID, err))
			}
		}
	}()
	return func() { end(); <-done }
}

// The method `execute` reads the objects in the scope, compares them, and returns the outcome of the audit.
func (r *reading) execute(ctx context.Context, audit Audit) (Outcome, error) {
	if err := r.readScope(ctx); err != nil {
		return Outcome{}, err
	}
	if err := r.readTagsOfScope(ctx); err != nil {
		return Outcome{}, err
	}
	c := &comparison{
		ledger: r.ledger, world: r.world, now: r.Now(), installation: r.Installation, allowAdmin: r.AllowAdmin,
		scope: r.scope, whole: r.scope.All(),
	}
	stored, err := r.stored(ctx)
	if err != nil {
		return Outcome{}, err
	}
	found, err := r.confirm(ctx, c.compare, stored)
	if err != nil {
		return Outcome{}, err
	}
	outcome := Outcome{Audit: audit, Resolved: r.resolved(c, stored, found)}
	slices.SortFunc(found, func(x, y candidate) int {
		return cmp.Or(slices.Index(Severities, x.Severity)-slices.Index(Severities, y.Severity), cmp.Compare(x.ID, y.ID))
	})
	if len(found) > maxFindings {
		r.note(Gap{Code: GapTooManyFindings, Detail: fmt.Sprintf("%d findings: only the %d most severe findings are stored", len(found), maxFindings)})
		found = found[:maxFindings]
	}
	accepted := map[string]*Finding{}
	for i := range stored {
		if stored[i].Status == Accepted {
			accepted[stored[i].ID] = &stored[i]
		}
	}
	outcome.Audit.Found = map[string]int{}
	for i := range found {
		outcome.Seen = append(outcome.Seen, found[i].Finding)
		if f := accepted[found[i].ID]; f == nil || !f.staysAccepted(found[i].Severity, r.Now()) {
			outcome.Audit.Found[string(found[i].Severity)]++
		}
	}
	outcome.Audit.State, outcome.Audit.Gaps, outcome.Audit.Read = Complete, r.gaps, r.read
	if r.missing() != "" {
		outcome.Audit.State = Incomplete
	}
	return outcome, nil
}

// maxFindings is the maximum number of findings that an audit stores.
const maxFindings = 50_000

// The method `stored` returns the stored findings in the scope that are open or accepted.
func (r *reading) stored(ctx context.Context) (all []Finding, err error) {
	f := Filter{
		Statuses: []Status{New, Known, Accepted}, MerchantID: r.scope.MerchantID, CustomerID: r.scope.CustomerID,
		Cloud: r.scope.Cloud, ProjectID: r.scope.ProjectID, Limit: 500,
	}
	err = r.eachFinding(ctx, f, func(found *Finding) { all = append(all, *found) })
	return all, err
}

// The method `resolved` returns the ids of the stored findings that are resolved: the audit has assessed these findings, and has
// not seen them again.
func (r *reading) resolved(c *comparison, stored []Finding, found []candidate) (ids []string) {
	seen := map[string]bool{}
	for i := range found {
		seen[found[i].ID] = true
	}
	for i := range stored {
		f := &stored[i]
		_, there := c.usage[f.ID] // true if the usage of the finding exists, even if it is not reported
		if !seen[f.ID] && !there && c.assessed(f, r.subjectOfFinding(f)) && !c.suspected(f) {
			ids = append(ids, f.ID)
		}
	}
	return ids
}

// subjectOfFinding returns the subject of a stored finding. If no run is about the finding's objects, the result is empty.
func (r *reading) subjectOfFinding(f *Finding) string {
	for _, o := range []Object{
		{Kind: kindCustomer, ID: f.CustomerID}, {Kind: kindSubscription, ID: f.SubscriptionID}, {Kind: kindProject, ID: f.ProjectID},
	} {
		if subject := r.subjectOf(f.Cloud, o); subject != "" {
			return subject
		}
	}
	return ""
}
