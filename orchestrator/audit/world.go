package audit

import (
	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
)

// The type `world` contains the objects that were found in Keystone and BillingStack.
type world struct {
	clouds    map[string]*cloudWorld    // by name
	merchants map[string]*merchantWorld // by id

	unread map[Object]bool // objects that could not be read: nothing is reported about them. Only Kind and ID are set.

	customers     map[string]*foundCustomer // by id
	subscriptions map[string]*foundSubscription

	// usage contains the unmatched usage, by the id of the finding. If there is such usage, but it is not reported, the value is nil.
	usage map[string]*foundUsage
}

// The type `cloudWorld` contains the objects that were found in the Keystone of one cloud.
type cloudWorld struct {
	domains  map[string]bool // the ids of the domains whose projects were all read
	asked    map[string]bool // the ids of the domains that the audit has read or tried to read
	projects map[string]*foundProject
	named    map[string][]string // the ids of the projects that have the name of a tenant, by this name
	users    map[string]userState
	userName map[string]string
	roles    map[string]string // names, by id
	// elsewhere contains, by id, the projects that are not in the field `projects` and whose id is the resource_id of a subscription. If
	// Keystone has no such project, the value is nil.
	elsewhere map[string]*keystone.Project
	// inherited are the roles that somebody has on all projects of a domain.
	inherited []keystone.Granted
	admin     map[string]bool // the ids of the roles that are, or imply, role admin

	projectsRead, assignmentsRead, usersRead, rolesRead, impliedRead bool // true if the list was read completely
}

// The type `userState` says whether a user exists. The zero value means that this is not known.
type userState int

const (
	userUnknown userState = iota
	userEnabled
	userDisabled
	userGone
)

type foundProject struct {
	keystone.Project
	grants []given // the role assignments on the project
}

// The type `given` is a role that a user or a group has on a project.
type given struct {
	role, user string
	group      string // empty: the role is given to a user
}

// The type `merchantWorld` contains the properties of one merchant, as the audit has found them.
type merchantWorld struct {
	cloud, domain string // the cloud and the id of the domain with the merchant's tenants
	plans         map[string]bool

	customersRead, subscriptionsRead, plansRead, usageRead bool

	waiting WaitingUsage
}

type foundCustomer struct{ merchant string }

type foundSubscription struct {
	merchant, customer, plan, resource string
}

func newWorld() *world {
	return &world{
		clouds: map[string]*cloudWorld{}, merchants: map[string]*merchantWorld{}, unread: map[Object]bool{},
		customers: map[string]*foundCustomer{}, subscriptions: map[string]*foundSubscription{},
		usage: map[string]*foundUsage{},
	}
}

// The method `cloud` returns the cloudWorld of a cloud. If there is no cloudWorld, `cloud` adds an empty one.
func (w *world) cloud(name string) *cloudWorld {
	c := w.clouds[name]
	if c == nil {
		c = &cloudWorld{
			domains: map[string]bool{}, asked: map[string]bool{}, projects: map[string]*foundProject{}, named: map[string][]string{}, users: map[string]userState{},
			userName: map[string]string{}, roles: map[string]string{}, admin: map[string]bool{}, elsewhere: map[string]*keystone.Project{},
		}
		w.clouds[name] = c
	}
	return c
}

// cloudFound returns the cloudWorld of a cloud. If there is none, the result is empty.
func (w *world) cloudFound(name string) *cloudWorld {
	if c := w.clouds[name]; c != nil {
		return c
	}
	return &cloudWorld{}
}

// merchantFound returns the merchantWorld of a merchant. If there is none, the result is empty.
func (w *world) merchantFound(id string) *merchantWorld {
	if m := w.merchants[id]; m != nil {
		return m
	}
	return &merchantWorld{}
}

// The method `merchant` returns the merchantWorld of a merchant. If there is no merchantWorld, `merchant` adds an empty one.
func (w *world) merchant(id string) *merchantWorld {
	m := w.merchants[id]
	if m == nil {
		m = &merchantWorld{plans: map[string]bool{}}
		w.merchants[id] = m
	}
	return m
}

// addProject adds a project without role assignments. It replaces an earlier version of the project.
func (c *cloudWorld) addProject(p keystone.Project) {
	c.dropProject(p.ID)
	p.ID, p.Name, p.DomainID = canon(p.ID), canon(p.Name), canon(p.DomainID)
	for i, tag := range p.Tags {
		p.Tags[i] = canon(tag)
	}
	c.projects[p.ID] = &foundProject{Project: p}
	if keystone.IsTenantName(p.Name) {
		c.named[p.Name] = append(c.named[p.Name], p.ID)
	}
}

func (c *cloudWorld) dropProject(id string) {
	old := c.projects[id]
	if old == nil {
		return
	}
	delete(c.projects, id)
	same := c.named[old.Name]
	kept := make([]string, 0, len(same))
	for _, other := range same {
		if other != id {
			kept = append(kept, other)
		}
	}
	if c.named[old.Name] = kept; len(kept) == 0 {
		delete(c.named, old.Name)
	}
}

// forgetGrants removes all role assignments.
func (c *cloudWorld) forgetGrants() {
	c.inherited = nil
	for _, p := range c.projects {
		p.grants = nil
	}
}

// addGrant adds a role assignment to its project. If all projects of a domain inherit the role, addGrant adds the assignment to
// c.inherited. The result is false if addGrant has ignored the assignment.
func (c *cloudWorld) addGrant(g keystone.Granted) bool {
	switch p := c.projects[g.ProjectID]; {
	case g.Inherited && g.DomainID != "":
		c.inherited = append(c.inherited, g)
	case p != nil && !g.Inherited:
		p.grants = append(p.grants, given{canon(g.RoleID), canon(g.UserID), canon(g.GroupID)})
	default:
		return false
	}
	return true
}

func (w *world) addSubscription(merchant string, s billing.Subscription) {
	w.subscriptions[canon(s.ID)] = &foundSubscription{
		merchant: canon(merchant), customer: canon(s.CustomerID), plan: canon(s.PlanID), resource: canon(s.ResourceID),
	}
}

// needed returns the ids of the users whose state the comparison needs.
func (c *cloudWorld) needed(l *ledger, cloud string) map[string]bool {
	all := map[string]bool{}
	for _, p := range c.projects {
		for _, g := range p.grants {
			if g.user != "" {
				all[g.user] = true
			}
		}
	}
	for at, t := range l.tenants {
		if at.cloud != cloud || t.gone {
			continue
		}
		for _, r := range t.roles {
			if !r.gone {
				all[r.user] = true
			}
		}
	}
	return all
}

// setAdmins finds the roles that are, or imply, role admin. The argument `implied` maps the id of a role to the ids of the roles that this
// role implies directly.
func (c *cloudWorld) setAdmins(implied map[string][]string) {
	for id, name := range c.roles {
		if keystone.IsAdminRole(name) {
			c.admin[id] = true
		}
	}
	for before := -1; before != len(c.admin); {
		before = len(c.admin)
		for prior, list := range implied {
			for _, id := range list {
				if c.admin[id] {
					c.admin[prior] = true
				}
			}
		}
	}
}
