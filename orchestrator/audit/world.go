package audit

import (
	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
)

// world is what was found in Keystone and BillingStack.
type world struct {
	clouds    map[string]*cloudWorld    // by name
	merchants map[string]*merchantWorld // by id

	unread map[Object]bool // objects that could not be read alone: nothing is said about them. Only kind and id are set.

	customers     map[string]*foundCustomer // by id
	subscriptions map[string]*foundSubscription
}

// cloudWorld is what was found in the Keystone of one cloud.
type cloudWorld struct {
	domains  map[string]bool // the ids of the domains whose projects were read whole
	asked    map[string]bool // the ids of the domains that were read, or could not be
	projects map[string]*foundProject
	named    map[string][]string // the ids of the projects with a tenant's name
	users    map[string]userState
	userName map[string]string
	roles    map[string]string // names, by id
	// elsewhere has the projects outside of the merchants' domains that subscriptions name; nil: there is no such project.
	elsewhere map[string]*keystone.Project
	// inherited are the roles that somebody has on all projects of a domain.
	inherited []keystone.Granted
	admin     map[string]bool // the ids of the roles that are, or imply, role admin

	projectsRead, assignmentsRead, usersRead, rolesRead, impliedRead bool // whole
}

// userState says whether a user exists. The zero value says that it is not known.
type userState int

const (
	userUnknown userState = iota
	userEnabled
	userDisabled
	userGone
)

type foundProject struct {
	keystone.Project
	grants []given // on the project
}

// given is a role that a user or a group has on a project.
type given struct {
	role, user string
	group      string // empty: the role is given to a user
}

// merchantWorld is what BillingStack has of one merchant.
type merchantWorld struct {
	cloud, domain string // where the merchant's tenants are; the domain's id
	plans         map[string]bool

	customersRead, subscriptionsRead, plansRead bool
}

type foundCustomer struct{ merchant string }

type foundSubscription struct {
	merchant, customer, plan, resource string
}

func newWorld() *world {
	return &world{
		clouds: map[string]*cloudWorld{}, merchants: map[string]*merchantWorld{}, unread: map[Object]bool{},
		customers: map[string]*foundCustomer{}, subscriptions: map[string]*foundSubscription{},
	}
}

// cloud returns what is to be filled with the findings of a cloud.
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

// cloudFound returns what was found in a cloud: nothing if nothing was read.
func (w *world) cloudFound(name string) *cloudWorld {
	if c := w.clouds[name]; c != nil {
		return c
	}
	return &cloudWorld{}
}

// merchantFound returns what was found of a merchant: nothing if nothing was read.
func (w *world) merchantFound(id string) *merchantWorld {
	if m := w.merchants[id]; m != nil {
		return m
	}
	return &merchantWorld{}
}

// merchant returns what is to be filled with the findings of a merchant.
func (w *world) merchant(id string) *merchantWorld {
	m := w.merchants[id]
	if m == nil {
		m = &merchantWorld{plans: map[string]bool{}}
		w.merchants[id] = m
	}
	return m
}

// addProject takes a project, and forgets the role assignments of an older reading.
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

// forgetGrants forgets all role assignments.
func (c *cloudWorld) forgetGrants() {
	c.inherited = nil
	for _, p := range c.projects {
		p.grants = nil
	}
}

// addGrant takes a role assignment if it is on one of the projects, or is inherited by all projects of a domain. The result reports
// whether addGrant has taken it.
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

// setAdmins sets the roles that are, or imply, role admin. The argument implied has the ids of the roles that a role implies directly.
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
