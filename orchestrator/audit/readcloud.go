package audit

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// readCloud reads the projects, role assignments and roles of a cloud. If a project is created after the projects were read, its role
// assignments are ignored. The next audit compares them.
func (r *reading) readCloud(ctx context.Context, name string, c *cloudWorld, domains []string) {
	inventory, err := r.Inventory(name)
	if err != nil {
		return // the caller has added a gap
	}
	reach, err := r.reachOf(ctx, name, inventory)
	if err != nil {
		r.gapOf(name, err)
		return
	}
	if len(reach.NotShown) > 0 {
		r.note(Gap{Code: GapNotShown, Cloud: name, Detail: "this Identity version does not show " + strings.Join(reach.NotShown, ", ")})
	}
	c.projectsRead = c.projectsRead || len(c.asked) == 0
	full := false
	for _, domain := range domains {
		c.asked[domain] = true
		if domain == "" {
			c.projectsRead = false
			continue
		}
		if reach.DomainID != "" && reach.DomainID != domain {
			r.note(Gap{Code: GapOutOfReach, Cloud: name, Detail: "the credential is for domain " + reach.DomainID + ", and cannot see domain " + domain})
			c.projectsRead = false
			continue
		}
		prefix := keystone.TenantPrefix
		if reach.DomainID != "" { // this credential cannot look for a renamed tenant by its id
			prefix = ""
		}
		whole, err := inventory.EachProject(ctx, domain, prefix, func(p keystone.Project) {
			if keystone.IsTenantName(p.Name) || len(keystone.RunsOfTags(p.Tags)) > 0 {
				if full = full || len(c.projects) >= r.maxProjects; !full {
					c.addProject(p)
				}
			}
		})
		switch {
		case full:
			r.note(Gap{Code: GapTooManyObjects, Cloud: name, Detail: fmt.Sprintf("the cloud has more than %d tenants", r.maxProjects)})
			c.projectsRead = false
		case err != nil:
			r.gapOf(name, err)
			c.projectsRead = false
		case !whole:
			r.note(Gap{Code: GapListCut, Cloud: name, Detail: "Keystone has cut the list of the projects of domain " + domain})
			c.projectsRead = false
		default:
			c.domains[domain] = true
		}
	}
	r.counted(kindProject, len(c.projects))
	r.readAssignments(ctx, name, c, inventory)
	r.readRoles(ctx, name, c, inventory)
}

// The maximum numbers of objects that an audit keeps for one cloud. At these limits, an audit needs about 1 GiB of memory.
const (
	maxProjects = 300_000
	maxGrants   = 3_000_000
)

// readAssignments reads the role assignments of a cloud, and keeps the assignments on tenants.
func (r *reading) readAssignments(ctx context.Context, name string, c *cloudWorld, inventory keystone.Inventory) {
	read, kept := 0, 0
	err := inventory.EachAssignment(ctx, keystone.AssignmentFilter{}, func(g keystone.Granted) {
		read++
		if kept < r.maxGrants && c.addGrant(g) {
			kept++
		}
	})
	c.assignmentsRead = err == nil && kept < r.maxGrants
	switch {
	case err != nil:
		r.gapOf(name, err)
	case !c.assignmentsRead:
		r.note(Gap{Code: GapTooManyObjects, Cloud: name, Detail: fmt.Sprintf("the tenants of the cloud have more than %d role assignments", r.maxGrants)})
	}
	r.counted(kindAssignment, read)
}

// reachOf returns and stores the reach of the credential for a cloud.
func (r *reading) reachOf(ctx context.Context, name string, inventory keystone.Inventory) (keystone.Reach, error) {
	reach, err := inventory.Reach(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reach[name] = reach
	return reach, err
}

func (r *reading) readRoles(ctx context.Context, name string, c *cloudWorld, inventory keystone.Inventory) {
	roles, err := inventory.AllRoles(ctx)
	if err != nil {
		r.gapOf(name, err)
		return
	}
	for _, role := range roles {
		c.roles[role.ID] = role.Name
	}
	c.setAdmins(nil)
	c.rolesRead = true
	implied, err := inventory.Implied(ctx)
	if err != nil {
		r.gapOf(name, err)
		return
	}
	c.setAdmins(implied)
	c.impliedRead = true
}

// readUsers reads the users that have roles on tenants, or should have roles there. It lists the users of the merchants' domains, and
// reads each remaining user with a request of its own. A user counts as absent only if this request does not find the user.
func (r *reading) readUsers(ctx context.Context, name string, c *cloudWorld, inventory keystone.Inventory) {
	needed := c.needed(r.ledger, name)
	c.usersRead = true
	for domain := range c.domains {
		if len(needed) < fewUsers {
			break
		}
		_, err := inventory.EachUser(ctx, domain, func(u keystone.User) {
			if needed[u.ID] {
				c.setUser(u)
			}
		})
		if err != nil {
			r.gapOf(name, err)
			c.usersRead = false
			return
		}
	}
	for id := range needed {
		if c.users[id] != userUnknown {
			continue
		}
		if err := r.readUser(ctx, c, inventory, id); err != nil {
			r.gapOf(name, err)
			if !errors.Is(err, keystone.ErrForbidden) {
				c.usersRead = false
				return
			}
		}
	}
	r.counted("user", len(needed))
}

// fewUsers is the minimum number of users for which an audit lists all users of a domain. Fewer users are read one by one, because the
// list takes longer.
const fewUsers = 50

// readUser reads one user.
func (r *reading) readUser(ctx context.Context, c *cloudWorld, inventory keystone.Inventory, id string) error {
	u, err := inventory.User(ctx, id)
	switch {
	case err == nil:
		c.setUser(u)
	case errors.Is(err, keystone.ErrNotFound):
		c.users[id] = userGone
	default:
		delete(c.users, id)
		r.unread[object(kindUser, id, "")] = true
		return err
	}
	delete(r.unread, object(kindUser, id, ""))
	return nil
}

func (c *cloudWorld) setUser(u keystone.User) {
	c.userName[u.ID] = upstream.Clean(u.Name)
	if c.users[u.ID] = userDisabled; u.Enabled {
		c.users[u.ID] = userEnabled
	}
}

// lookFor reads a project that a subscription names, if the project is not among the projects of the merchants' domains.
func (r *reading) lookFor(ctx context.Context, cloud, id string) {
	c := r.cloud(cloud)
	if c.projects[id] != nil || !keystone.ValidID(id) || strings.HasPrefix(id, "pending:") {
		return
	}
	if _, looked := c.elsewhere[id]; looked {
		return
	}
	inventory, err := r.Inventory(cloud)
	if err != nil {
		return
	}
	p, err := inventory.Project(ctx, id)
	switch {
	case err == nil:
		c.elsewhere[id] = &p
	case errors.Is(err, keystone.ErrNotFound):
		c.elsewhere[id] = nil
	default:
		r.unread[object(kindProject, id, "")] = true
		r.gapOf(cloud, err)
	}
}
