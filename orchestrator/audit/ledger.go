package audit

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
	"unique"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

// The kinds of objects, as runs record them.
const (
	kindCustomer     = "customer"
	kindSubscription = "subscription"
	kindProject      = "project"
	kindAssignment   = "role-assignment"
	kindUser         = "user"
	kindDomain       = "domain"
	kindMeter        = "meter"    // no run records it
	kindMerchant     = "merchant" // no run records it
)

// The type `ledger` contains the objects that should exist after the runs of this installation. If several runs are about an object, the
// ledger contains the result of the run that ended last. The runs of a subject must be added by ascending end time: see inSequence. The
// database returns runs by ascending id. The two sequences rarely differ. They can differ because a run gets its id before it is accepted.
type ledger struct {
	tenants       map[ref]*tenant
	named         map[ref]*tenant // the newest tenant with a name; the id in the key is DOMAIN/NAME
	customers     map[string]*customer
	subscriptions map[string]*subscription

	runs     map[string]runInfo
	live     map[string]string // by subject: the run that is changing the subject's objects, or another reason to report nothing
	pending  map[left]string   // by object: the subject of the live run that makes the object
	unclear  map[string]string // by subject: the workflow of one of the subject's runs, if this release does not know the workflow
	subjects map[string]subject
	mixed    map[string]bool // the subjects whose runs were not added by ascending end time
	left     map[left]string // by object: the compensated run that should have removed the object
	names    map[left]string // by project (the id is the project's name): the compensated run that may have made the project
	waiting  []waitingRun
}

// The type `ref` identifies a project or a user. Ids are unique only within a cloud.
type ref struct{ cloud, id string }

func (r ref) compare(other ref) int {
	return cmp.Or(cmp.Compare(r.cloud, other.cloud), cmp.Compare(r.id, other.id))
}

// The type `runInfo` contains those properties of a run that the ledger keeps.
type runInfo struct {
	state    saga.RunState
	merchant string
}

// The type `subject` describes the runs about a subject.
type subject struct {
	runs  []string  // the ids of the runs
	ended time.Time // the end time of the succeeded run that was added last
}

// The type `left` identifies an object of a compensated run or of a live run. The cloud is empty for BillingStack's objects.
type left struct{ kind, cloud, id string }

// The type `made` contains the properties that all objects in the ledger have.
type made struct {
	subject  string
	merchant string
	run      string // the newest run about the object
	maker    string // the run that has made the object; empty: it was adopted
	gone     bool   // the newest run has removed it
	missing  bool   // the object was missing when the newest run removed the object's tenant; then gone is true, too
}

func (m *made) isOf(subject string) bool { return m.subject == subject }

// tenant is a project that should exist, or that a run has removed.
type tenant struct {
	made
	ref
	name, domain string
	disabled     bool
	replaced     bool     // a newer run has made or adopted another project with this name: somebody has deleted or renamed this project
	marks        []string // its tags
	roles        []role
}

// grant is a role of a user on a tenant.
type grant struct{ user, role string }

type role struct {
	grant
	name string
	run  string // the newest run about the assignment
	gone bool   // the run has revoked it
	was  string // the id of the deleted role that the assignment replaces: see comparison.remade
}

type customer struct {
	made
	id string
}

type subscription struct {
	made
	id, customer, plan, tenant string
	cloud                      string
}

// waitingRun is a run that needs a person.
type waitingRun struct {
	id, workflow, merchant, subject, cloud string
	since                                  time.Time
	code, detail                           string
}

func newLedger() *ledger {
	return &ledger{
		tenants: map[ref]*tenant{}, named: map[ref]*tenant{}, customers: map[string]*customer{}, subscriptions: map[string]*subscription{},
		runs: map[string]runInfo{}, live: map[string]string{}, unclear: map[string]string{}, subjects: map[string]subject{},
		mixed: map[string]bool{},
		left:  map[left]string{}, names: map[left]string{}, pending: map[left]string{},
	}
}

// inSequence sorts the runs of a subject by end time. Runs that have not ended are last.
func inSequence(runs []*saga.Run) {
	end := func(r *saga.Run) int64 {
		if r.EndedAt == nil {
			return math.MaxInt64
		}
		return r.EndedAt.UnixMicro()
	}
	slices.SortStableFunc(runs, func(a, b *saga.Run) int { return cmp.Compare(end(a), end(b)) })
}

// The method `add` adds a run. The argument `all` lists the objects that should exist if the run has succeeded: see
// [saga.Expected]. If `known` is false, this release does not know the run's workflow, and nothing is reported about the subject.
// If a succeeded run that was added earlier has ended later than this run, `add` notes the subject in `mixed`.
func (l *ledger) add(r *saga.Run, all []saga.Expected, known bool) {
	id, name := canon(r.ID), canon(r.Subject)
	l.runs[id] = runInfo{r.State, canon(r.Merchant)}
	of := l.subjects[name]
	of.runs = append(of.runs, id)
	if r.State == saga.Succeeded {
		if r.EndedAt.Before(of.ended) {
			l.mixed[name] = true
		}
		of.ended = *r.EndedAt
	}
	l.subjects[name] = of
	switch {
	case !known:
		l.unclear[r.Subject] = r.Workflow
	case r.State == saga.Succeeded:
		for _, e := range all {
			l.expect(r, e)
		}
		for _, e := range all { // this loop follows the loop above, because `replace` needs the tenants and roles that `expect` has recorded
			l.replace(e)
		}
	case r.State == saga.Compensated:
		l.leave(r, all)
	default:
		l.live[r.Subject] = r.ID
		for _, e := range all {
			if e.ID != "" {
				l.pending[left{e.Kind, cloudOf(e.Kind, e.Cloud), e.ID}] = name
			}
		}
		l.wait(r)
	}
}

// The method `expect` records one object of a succeeded run.
func (l *ledger) expect(r *saga.Run, e saga.Expected) {
	if e.ID == "" {
		return
	}
	switch e.Kind {
	case kindProject:
		l.expectTenant(r, e)
	case kindAssignment:
		l.expectRole(r, e)
	case kindCustomer:
		c := l.customers[e.ID]
		if c == nil {
			c = &customer{id: canon(e.ID)}
			l.customers[c.id] = c
		}
		c.touch(r, e)
	case kindSubscription:
		s := l.subscriptions[e.ID]
		if s == nil {
			s = &subscription{id: canon(e.ID), cloud: canon(r.Cloud)}
			l.subscriptions[s.id] = s
		}
		s.touch(r, e)
		for field, value := range map[string]*string{"plan_id": &s.plan, "customer_id": &s.customer, "resource_id": &s.tenant} {
			if set := e.Fields[field]; set != "" {
				*value = canon(set)
			}
		}
	}
}

// The method `touch` records that the run is the newest run about the object.
func (m *made) touch(r *saga.Run, e saga.Expected) {
	m.subject, m.merchant, m.run, m.gone = canon(r.Subject), canon(r.Merchant), canon(r.ID), e.Gone
	m.missing = e.Gone && e.On != ""
	if e.Origin == saga.Own && !e.Gone {
		m.maker = m.run
	}
}

func (l *ledger) expectTenant(r *saga.Run, e saga.Expected) {
	at := ref{canon(e.Cloud), canon(e.ID)}
	t := l.tenants[at]
	if t == nil || (t.gone || t.replaced) && !e.Gone {
		t = &tenant{ref: at}
		l.tenants[at] = t
	}
	t.touch(r, e)
	if e.Name != "" {
		t.name = canon(e.Name)
	}
	if domain := e.Fields["domain_id"]; domain != "" {
		t.domain = canon(domain)
	}
	if enabled := e.Fields["enabled"]; enabled != "" {
		t.disabled = enabled != "true"
	}
	for _, mark := range e.Marks {
		if !slices.Contains(t.marks, mark) {
			t.marks = append(t.marks, canon(mark))
		}
	}
}

// The method `replace` records that the tenant is the newest tenant with its name. If the ledger has an older tenant with this name,
// somebody has deleted or renamed the older one. Then `replace` marks the older tenant as replaced, and copies the users' roles to the new
// tenant, because the users should have the same roles there. A repair that creates a tenant again is an exception: its run declares that
// the older tenant is gone, and declares the roles on the new tenant. In this case, `replace` copies no roles.
func (l *ledger) replace(e saga.Expected) {
	t := l.tenants[ref{e.Cloud, e.ID}]
	if e.Kind != kindProject || t == nil || t.gone || t.name == "" || t.domain == "" {
		return
	}
	at := ref{t.cloud, t.domain + "/" + t.name}
	old := l.named[at]
	l.named[at] = t
	if old == nil || old.id == t.id || old.gone || old.replaced || old.subject != t.subject {
		return
	}
	old.replaced = true
	for _, r := range old.roles {
		if !r.gone && t.role(r.grant) == nil {
			t.roles = append(t.roles, r)
		}
	}
}

// expectRole records a role assignment. The id of the assignment is PROJECT/USER/ROLE.
func (l *ledger) expectRole(r *saga.Run, e saga.Expected) {
	project, rest, _ := strings.Cut(e.ID, "/")
	user, id, _ := strings.Cut(rest, "/")
	t := l.tenants[ref{e.Cloud, project}]
	if t == nil { // an older release has made the tenant, and this run does not change it
		return
	}
	found := t.role(grant{user, id})
	if found == nil {
		t.roles = append(t.roles, role{grant: grant{canon(user), canon(id)}})
		found = &t.roles[len(t.roles)-1]
	}
	found.name, found.run, found.gone = canon(e.Name), canon(r.ID), e.Gone
}

// The method `role` returns the record of a user's role on the tenant. The result is nil if no run has assigned or revoked the role.
func (t *tenant) role(g grant) *role {
	i := slices.IndexFunc(t.roles, func(r role) bool { return r.grant == g })
	if i < 0 {
		return nil
	}
	return &t.roles[i]
}

// The function `canon` returns a text that is equal to its argument. All equal texts that `canon` returns share their memory. This
// saves memory, because the ledger and the world contain the same ids, names and tags many times.
func canon(text string) string { return unique.Make(text).Value() }

// The method `leave` records the objects that a compensated run has made. None of these objects should exist.
func (l *ledger) leave(r *saga.Run, all []saga.Expected) {
	for _, e := range all {
		if e.Origin == saga.Own && !e.Gone && e.ID != "" && e.Kind != kindAssignment {
			l.left[left{e.Kind, e.Cloud, e.ID}] = r.ID
		}
		if e.Kind == kindProject && !e.Gone && e.Origin != saga.Adopted {
			l.names[left{e.Kind, e.Cloud, e.Name}] = r.ID
		}
	}
	for _, o := range r.Objects {
		if o.Origin == saga.Own && o.RemovedAt == nil {
			l.left[left{o.Kind, o.Cloud, o.ID}] = r.ID
		}
	}
	for _, o := range r.LeftBehind {
		if o.ID != "" {
			l.left[left{o.Kind, cloudOf(o.Kind, r.Cloud), o.ID}] = r.ID
		}
	}
}

// cloudOf returns the cloud of a run's object. The result is empty for an object of BillingStack.
func cloudOf(kind, cloud string) string {
	if kind == kindCustomer || kind == kindSubscription {
		return ""
	}
	return cloud
}

func (l *ledger) wait(r *saga.Run) {
	if r.AttentionAt == nil {
		return
	}
	w := waitingRun{id: r.ID, workflow: r.Workflow, merchant: r.Merchant, subject: r.Subject, cloud: r.Cloud, since: *r.AttentionAt}
	if r.Reason != nil {
		w.code, w.detail = string(r.Reason.Code), r.Reason.Detail
	}
	l.waiting = append(l.waiting, w)
}

// The method `forget` removes everything about a subject from the ledger. Then the subject's runs can be added again.
func (l *ledger) forget(subject string) {
	of := func(m made) bool { return m.subject == subject }
	maps.DeleteFunc(l.tenants, func(_ ref, t *tenant) bool { return of(t.made) })
	maps.DeleteFunc(l.named, func(_ ref, t *tenant) bool { return of(t.made) })
	maps.DeleteFunc(l.customers, func(_ string, c *customer) bool { return of(c.made) })
	maps.DeleteFunc(l.subscriptions, func(_ string, s *subscription) bool { return of(s.made) })
	runs := l.subjects[subject].runs
	ofSubject := func(_ left, run string) bool { return slices.Contains(runs, run) }
	maps.DeleteFunc(l.left, ofSubject)
	maps.DeleteFunc(l.names, ofSubject)
	for _, run := range runs {
		delete(l.runs, run)
	}
	maps.DeleteFunc(l.pending, func(_ left, of string) bool { return of == subject })
	delete(l.subjects, subject)
	delete(l.mixed, subject)
	delete(l.live, subject)
	delete(l.unclear, subject)
	l.waiting = slices.DeleteFunc(l.waiting, func(w waitingRun) bool { return w.subject == subject })
}

// The method `busy` reports whether nothing may be reported about the subject. This is the case if a run is changing the subject's
// objects, or if this release does not know the workflow of one of the subject's runs.
func (l *ledger) busy(subject string) bool { return l.live[subject] != "" || l.unclear[subject] != "" }

// busyWith returns the reason why nothing may be reported about a busy subject.
func (l *ledger) busyWith(subject string) string {
	live := l.live[subject]
	if _, isRun := l.runs[live]; isRun {
		return "run " + live + " is changing the objects"
	}
	if live != "" { // see refresh and bounded
		return "the objects were not compared, because of " + live
	}
	return "a run about the objects has the workflow " + l.unclear[subject] + ", which this release does not know"
}

// tenantOf returns the tenant that the subscription should have. If there is none, or if it should be gone, the result is nil.
func (l *ledger) tenantOf(s *subscription) *tenant {
	if t := l.tenants[ref{s.cloud, s.tenant}]; t != nil && !t.gone {
		return t
	}
	return nil
}

// The method `values` returns the values for a repair of the tenant.
func (t *tenant) values() map[string]string {
	return map[string]string{"project_id": t.id, "tenant": t.name, "domain_id": t.domain}
}

// ownValues returns the values for a repair that is possible only if a run has made the project.
func (t *tenant) ownValues() map[string]string {
	v := t.values()
	v["made_by"] = t.maker
	return v
}

// The method `ended` reports whether the tenant belongs to a subscription that has ended and can still be restored. Such a tenant is
// disabled, and all roles on it are revoked.
func (t *tenant) ended() bool {
	return t.disabled && len(t.roles) > 0 && !slices.ContainsFunc(t.roles, func(r role) bool { return !r.gone })
}

// owner returns the customer or the subscription in the name of the tenant: see [keystone.TenantOf].
func (t *tenant) owner() (customerID, subscriptionID string) { return keystone.TenantOf(t.name) }
