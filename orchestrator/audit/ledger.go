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
)

// ledger is what the runs of this installation should have left. Of the runs about an object, the one that has ended last decides. The runs
// of a subject must be added in the sequence of their ends: see inSequence. Runs are read by their ids, and this is nearly always the same:
// but a run gets its id before it is accepted.
type ledger struct {
	tenants       map[ref]*tenant
	named         map[ref]*tenant // the newest tenant of a name; the id in the key is the domain and the name
	customers     map[string]*customer
	subscriptions map[string]*subscription

	runs     map[string]runInfo
	live     map[string]string // the run that is changing the objects of a subject; by subject
	pending  map[left]string   // the subject of the live run that makes the object
	unclear  map[string]string // the workflow that this release does not know, of a run about the subject; by subject
	subjects map[string]subject
	mixed    map[string]bool // the subjects whose runs were added in another sequence than that of their ends
	left     map[left]string // the compensated run that should not have left the object
	names    map[left]string // the compensated run that may have made a project of this name; the name is in the field id
	waiting  []waitingRun
}

// ref names a project or a user: ids are unique in a cloud.
type ref struct{ cloud, id string }

func (r ref) compare(other ref) int {
	return cmp.Or(cmp.Compare(r.cloud, other.cloud), cmp.Compare(r.id, other.id))
}

// runInfo is what the ledger keeps of a run.
type runInfo struct {
	state    saga.RunState
	merchant string
}

// subject is what the ledger keeps of the runs about a subject.
type subject struct {
	runs  []string  // their ids
	ended time.Time // when the last of them has succeeded
}

// left names an object that a run has made, and that no succeeded run has left.
type left struct{ kind, cloud, id string }

// made is what is known about each object.
type made struct {
	subject  string
	merchant string
	run      string // the newest run about the object
	maker    string // the run that has made the object; empty: it was adopted
	gone     bool   // the newest run has removed it
	missing  bool   // with gone: it was missing when that run removed its tenant
}

func (m *made) isOf(subject string) bool { return m.subject == subject }

// tenant is a project that should be there, or should be gone.
type tenant struct {
	made
	ref
	name, domain string
	disabled     bool
	replaced     bool     // a newer run has made or adopted another project of this name: somebody has deleted or renamed this one
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

// inSequence sorts the runs of a subject by their ends. Those that have not ended are the last.
func inSequence(runs []*saga.Run) {
	end := func(r *saga.Run) int64 {
		if r.EndedAt == nil {
			return math.MaxInt64
		}
		return r.EndedAt.UnixMicro()
	}
	slices.SortStableFunc(runs, func(a, b *saga.Run) int { return cmp.Compare(end(a), end(b)) })
}

// add adds a run that has ended after all runs about its subject so far, or has not ended. The argument all is what the run should have left if it has
// succeeded: see [saga.Expected]. If known is false, this release does not know the run's workflow, and nothing can be said about the
// subject.
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
		for _, e := range all { // when it is known which tenants and roles the run itself has removed
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

// expect takes one object of a succeeded run.
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

// touch notes that the run is the newest one about the object.
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

// replace notes that the tenant is the newest one of its name. If an older one was expected until now, somebody has deleted or renamed it.
// The users should then have their roles on the new tenant, too. If the run says itself that the older one is gone, as a repair that creates
// a tenant does, it also says who has roles.
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

// expectRole takes a role assignment, whose id is PROJECT/USER/ROLE.
func (l *ledger) expectRole(r *saga.Run, e saga.Expected) {
	project, rest, _ := strings.Cut(e.ID, "/")
	user, id, _ := strings.Cut(rest, "/")
	t := l.tenants[ref{e.Cloud, project}]
	if t == nil { // the run does not change the tenant, and an older release has made it
		return
	}
	found := t.role(grant{user, id})
	if found == nil {
		t.roles = append(t.roles, role{grant: grant{canon(user), canon(id)}})
		found = &t.roles[len(t.roles)-1]
	}
	found.name, found.run, found.gone = canon(e.Name), canon(r.ID), e.Gone
}

// role returns what the runs have done with a role of a user; nil: nothing.
func (t *tenant) role(g grant) *role {
	i := slices.IndexFunc(t.roles, func(r role) bool { return r.grant == g })
	if i < 0 {
		return nil
	}
	return &t.roles[i]
}

// canon returns the same text with shared memory: ids, names and tags are in the ledger and in the world many times.
func canon(text string) string { return unique.Make(text).Value() }

// leave notes what a compensated run has made: nothing of it should be left.
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

// cloudOf returns the cloud of an object of a run: the objects of BillingStack are in no cloud.
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

// forget drops all that is known about a subject, so that its runs can be added again.
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

// busy reports whether nothing can be said about the subject now: a run is changing its objects, or this release does not know one of
// its runs.
func (l *ledger) busy(subject string) bool { return l.live[subject] != "" || l.unclear[subject] != "" }

// tenantOf returns the tenant that the subscription should have; nil if there is none, or if it should be gone.
func (l *ledger) tenantOf(s *subscription) *tenant {
	if t := l.tenants[ref{s.cloud, s.tenant}]; t != nil && !t.gone {
		return t
	}
	return nil
}

// values are the values of a repair of the tenant.
func (t *tenant) values() map[string]string {
	return map[string]string{"project_id": t.id, "tenant": t.name, "domain_id": t.domain}
}

// ownValues are the values of a repair that only a project allows that a run has made.
func (t *tenant) ownValues() map[string]string {
	v := t.values()
	v["made_by"] = t.maker
	return v
}

// ended reports whether the tenant is that of a subscription that has ended, and can still be restored: nobody has a role on it.
func (t *tenant) ended() bool {
	return t.disabled && len(t.roles) > 0 && !slices.ContainsFunc(t.roles, func(r role) bool { return !r.gone })
}

// owner returns the customer or the subscription in the name of the tenant: see [keystone.TenantOf].
func (t *tenant) owner() (customerID, subscriptionID string) { return keystone.TenantOf(t.name) }
