package audit

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/explain"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// The type `comparison` compares a ledger with a world. It makes no calls.
type comparison struct {
	*ledger
	*world

	now          time.Time
	installation string
	allowAdmin   bool // users may have the role admin
	scope        Scope
	whole        bool // findings that depend on the runs or the objects of all merchants can be assessed

	customerTenants map[string]*tenant // by the id of the customer
	absences        map[string]*absence
	candidates      []candidate

	suspects map[string]bool // the lists that lacked too many objects in this comparison or an earlier one
	dropped  map[string]bool // the ids of the findings that were left out because their list is suspect
}

// The type `candidate` is a finding that has not been confirmed.
type candidate struct {
	Finding

	subject string // empty: no run is about the object
	absent  string // the list that seems to lack an object; empty: no object seems absent
	needs   []part // the lists that the finding depends on
}

// The type `absence` counts the expected and the absent objects of one list.
type absence struct {
	about            Finding // the cloud or merchant of the list
	expected, absent int
}

// The method `compare` returns the differences, sorted by id. It leaves out a difference if a list that the difference depends on was not
// read completely, or if a run is changing the difference's objects.
func (c *comparison) compare() []candidate {
	c.customerTenants, c.absences, c.candidates = map[string]*tenant{}, map[string]*absence{}, nil
	for _, t := range c.tenants {
		if customerID, _ := t.owner(); customerID != "" && !t.gone && !t.replaced {
			c.customerTenants[customerID] = t
		}
	}
	c.compareCustomers()
	c.compareSubscriptions()
	c.compareProjects()
	c.compareRoles()
	c.compareRuns()
	c.compareUsage()
	c.compareWaiting()
	c.suspect()
	c.candidates = slices.DeleteFunc(c.candidates, func(f candidate) bool {
		return !c.readable(&f.Finding, f.subject, f.needs) || !c.scope.contains(&f.Finding)
	})
	slices.SortFunc(c.candidates, func(a, b candidate) int { return cmp.Compare(a.ID, b.ID) })
	return slices.CompactFunc(c.candidates, func(a, b candidate) bool { return a.ID == b.ID })
}

// contains reports whether the finding is in the scope.
func (s Scope) contains(f *Finding) bool {
	is := func(want, got string) bool { return want == "" || want == got }
	return is(s.MerchantID, f.MerchantID) && is(s.CustomerID, f.CustomerID) && is(s.Cloud, f.Cloud) && is(s.ProjectID, f.ProjectID)
}

// The method `assessed` reports whether the audit can decide if the finding exists. The audit can decide this if it has read
// everything that the finding depends on, and if no run is changing the finding's objects.
func (c *comparison) assessed(f *Finding, subject string) bool {
	if f.Code == SuspectAbsence {
		return c.everythingRead()
	}
	return c.readable(f, subject, needsOf(f))
}

func (c *comparison) readable(f *Finding, subject string, needs []part) bool {
	return (f.Code.ofUsage() || c.settled(f, subject, needs)) && !slices.ContainsFunc(needs, func(p part) bool { return !c.has(p, f) })
}

// The method `settled` reports whether the finding's objects were read, and no run is changing them.
func (c *comparison) settled(f *Finding, subject string, needs []part) bool {
	if subject != "" && c.busy(subject) && f.Code != RunWaits || c.unread[object(kindProject, f.ProjectID, "")] {
		return false
	}
	if slices.ContainsFunc(f.Objects, func(o Object) bool { return o.Kind != kindUser && c.unread[object(o.Kind, o.ID, "")] }) {
		return false
	}
	return !slices.Contains(needs, partUsers) || !c.unread[object(kindUser, f.UserID, "")]
}

// domainRead reports whether all projects in the finding's domain were read. The finding's domain is the domain of the finding's tenant. If
// the tenant's domain is not known, the finding's domain is the domain of the finding's merchant. If the merchant's domain is not known
// either, and the finding's first object is a domain, this object is the finding's domain. Otherwise, domainRead reports whether all
// projects of the cloud were read.
func (c *comparison) domainRead(f *Finding) bool {
	cloud := c.cloudFound(f.Cloud)
	t := c.tenants[ref{f.Cloud, f.ProjectID}]
	if s := c.ledger.subscriptions[f.SubscriptionID]; t == nil && s != nil {
		t = c.tenantOf(s)
	}
	switch {
	case t != nil && t.domain != "":
		return cloud.domains[t.domain]
	case f.MerchantID != "" && c.merchants[f.MerchantID] != nil:
		return cloud.domains[c.merchantFound(f.MerchantID).domain]
	case len(f.Objects) > 0 && f.Objects[0].Kind == kindDomain:
		return cloud.domains[f.Objects[0].ID]
	}
	return cloud.projectsRead
}

// The method `has` reports whether the list p was read completely in the finding's cloud or for the finding's merchant.
func (c *comparison) has(p part, f *Finding) bool {
	cloud, merchant := c.cloudFound(f.Cloud), c.merchantFound(f.MerchantID)
	switch p {
	case partProjects:
		return c.domainRead(f)
	case partAssignments:
		return cloud.assignmentsRead
	case partUsers:
		return cloud.usersRead
	case partRoles:
		return cloud.rolesRead
	case partImplied:
		return cloud.impliedRead
	case partCustomers:
		return merchant.customersRead
	case partSubscriptions:
		return merchant.subscriptionsRead
	case partPlans:
		return merchant.plansRead
	case partUsage:
		return merchant.usageRead
	case partRuns:
		return c.whole
	case partMerchants:
		return c.whole && !slices.ContainsFunc(c.all(), func(m *merchantWorld) bool { return !m.customersRead || !m.subscriptionsRead })
	}
	return false
}

// everythingRead reports whether all runs, projects, role assignments, customers and subscriptions were read.
func (c *comparison) everythingRead() bool {
	for _, cloud := range c.clouds {
		if !cloud.projectsRead || !cloud.assignmentsRead {
			return false
		}
	}
	return c.has(partMerchants, &Finding{})
}

func (c *comparison) all() (all []*merchantWorld) {
	for _, m := range c.merchants {
		all = append(all, m)
	}
	return all
}

// The method `report` adds a finding. The argument `about` contains the ids of the finding's objects. The argument `absent` is the list
// that seems to lack an object, or is empty. The code, the cloud and the argument `key` identify the finding: if they are the same in two
// audits, the finding has the same id.
func (c *comparison) report(code Code, about Finding, subject, absent, detail string, key ...string) *Finding {
	about.Code = code
	return c.reportNeeding(needsOf(&about), code, about, subject, absent, detail, key...)
}

// reportNeeding adds a finding as the method `report` does. The argument `needs` contains the lists that the finding depends on.
// Call reportNeeding if these lists differ from the lists of the finding's code.
func (c *comparison) reportNeeding(needs []part, code Code, about Finding, subject, absent, detail string, key ...string) *Finding {
	f := about
	texts, _ := explain.Finding(string(code)) // TestEachCodeHasAnEntry checks that each code has an entry
	f.Code, f.Severity, f.Detail, f.Affected = code, rules[code].severity, detail, texts.Means
	f.ID = findingID(code, append([]string{f.Cloud}, key...)...)
	if f.Repair.Advice == "" && len(texts.Do) > 0 {
		f.Repair.Advice = texts.Do[0].Text
	}
	for _, value := range f.Repair.Values {
		if upstream.Clean(value) != value { // the stored value would differ from this value
			f.Repair = Repair{Advice: f.Repair.Advice}
			break
		}
	}
	if absent != "" && c.readable(&f, subject, needs) {
		c.lacks(absent, f)
	}
	c.candidates = append(c.candidates, candidate{f, subject, absent, needs})
	return &c.candidates[len(c.candidates)-1].Finding
}

// The method `needing` sets the lists that the last reported finding depends on.
func (c *comparison) needing(needs ...part) { c.candidates[len(c.candidates)-1].needs = needs }

// findingNamespace is the namespace of the ids of findings.
var findingNamespace = uuid.MustParse("6f1c9d1e-5b3c-4f0f-9f43-0d6c4a1b7a52")

func findingID(code Code, key ...string) string {
	return uuid.NewSHA1(findingNamespace, []byte(string(code)+"\x00"+strings.Join(key, "\x00"))).String()
}

// The method `expects` counts an object that should be in a list. It does nothing if the list was not read. The method `lacks` counts an
// object that is absent from a list.
func (c *comparison) expects(p part, list string, about Finding) {
	if c.has(p, &about) {
		c.count(list, about).expected++
	}
}

func (c *comparison) lacks(list string, about Finding) { c.count(list, about).absent++ }

func (c *comparison) count(list string, about Finding) *absence {
	a := c.absences[list]
	if a == nil {
		a = &absence{about: about}
		c.absences[list] = a
	}
	return a
}

// The limits of absences. A list is suspect if the number of its absent objects exceeds both limits.
const (
	suspectShare  = 10 // percent of the expected objects
	suspectNumber = 20
)

// The method `suspect` finds the lists that lack too many objects. It replaces all absences of such a list by one finding.
func (c *comparison) suspect() {
	if c.suspects == nil {
		c.suspects, c.dropped = map[string]bool{}, map[string]bool{}
	}
	for list, a := range c.absences {
		if a.absent > suspectNumber && a.absent*100 > a.expected*suspectShare {
			c.suspects[list] = true
		}
	}
	c.candidates = slices.DeleteFunc(c.candidates, func(f candidate) bool {
		if c.suspects[f.absent] {
			c.dropped[f.ID] = true
		}
		return c.suspects[f.absent]
	})
	for list := range c.suspects {
		a := c.absences[list]
		if a == nil {
			continue
		}
		detail := fmt.Sprintf("%d of %d objects seem to be absent from the list of %s: none of these absences is reported",
			a.absent, a.expected, list)
		about := Finding{Cloud: a.about.Cloud, MerchantID: a.about.MerchantID}
		if strings.HasSuffix(list, " of "+about.Cloud) { // the list of a cloud has the objects of all merchants
			about.MerchantID = ""
		}
		c.report(SuspectAbsence, about, "", "", detail, list)
	}
}

// The method `suspected` is called for a stored finding that the audit did not find again. If a list of the finding's cloud or merchant is
// suspect, the finding may still exist, and `suspected` returns true.
func (c *comparison) suspected(f *Finding) bool {
	if f.Code.ofUsage() {
		return false
	}
	if c.dropped[f.ID] {
		return true
	}
	for list := range c.suspects {
		if strings.HasSuffix(list, " of "+f.MerchantID) || strings.HasSuffix(list, " of "+f.Cloud) {
			return true
		}
	}
	return false
}

// listOf returns the name of a list. The name is the list's key in the map `absences`.
func listOf(p part, of string) string { return string(p) + " of " + of }

// compareRuns reports the runs that have waited too long for a person.
func (c *comparison) compareRuns() {
	for _, w := range c.waiting {
		if c.now.Sub(w.since) < waitsTooLong {
			continue
		}
		about := Finding{Cloud: w.cloud, MerchantID: w.merchant, RunID: w.id, Objects: []Object{{Kind: "run", ID: w.id, Name: w.workflow}}}
		about.CustomerID = c.customerOf(w.subject)
		about.Repair.Advice = "tenantry runs show " + w.id
		c.report(RunWaits, about, w.subject, "", fmt.Sprintf("a run of workflow %s has waited for a person since %s: %s", w.workflow,
			w.since.UTC().Format(time.RFC3339), cmp.Or(w.detail, w.code)), w.id)
	}
}

// waitsTooLong is the time after which a run that waits for a person, or usage that waits to be billed, is reported.
const waitsTooLong = 24 * time.Hour

// customerOf returns the id of the customer that the runs of a subject have made or adopted. The result is empty if there is no such
// customer.
func (c *comparison) customerOf(subject string) string {
	for id, known := range c.ledger.customers {
		if known.subject == subject {
			return id
		}
	}
	return ""
}

// runState returns the state of a run. The second result is false if the ledger does not contain the run.
func (c *comparison) runState(id string) (saga.RunState, bool) {
	run, known := c.runs[id]
	return run.state, known
}

// The function `object` returns an entry for Finding.Objects.
func object(kind, id, name string) Object { return Object{Kind: kind, ID: id, Name: name} }

// projectObject returns the entry for a project in Finding.Objects.
func projectObject(p *keystone.Project) Object { return object(kindProject, p.ID, p.Name) }
