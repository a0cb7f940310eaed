package conformance

import (
	"fmt"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/conn"
)

// The type `cast` contains the ids of two domains, and the ids of objects in these domains. The users have different rights.
type cast struct {
	domain, foreign string // the ids of the two domains
	inside, outside string // the ids of a project in `domain` and of a project in `foreign`
	manager, plain  string // the ids of two users in `domain`
	stranger        string // the id of a user in `foreign`
	group           string // the id of a group in `domain`
	role            string // the id of the role that the manager has on `domain`; this role implies role member
	member          string // the id of role member, which the user `plain` has on the project `inside`

	ofManager, ofPlain keystone.Cloud
}

// The method `cast` creates the objects of a cast. At the end of the test, the domains and all objects in them are deleted.
func (f *fixture) cast() cast {
	f.Helper()
	c := cast{domain: f.newDomain(), foreign: f.newDomain(), member: f.role("member")}
	c.role = f.must(201, "POST", "/roles", f.admin, fmt.Sprintf(`{"role":{"name":"manager-%s"}}`, random())).get("role", "id")
	implies := "/roles/" + c.role + "/implies/" + c.member
	f.must(201, "PUT", implies, f.admin, "")
	f.Cleanup(func() { // if the role were deleted first, a Keystone on SQLite would not answer GET /role_inferences any more
		f.must(204, "DELETE", implies, f.admin, "")
		f.must(204, "DELETE", "/roles/"+c.role, f.admin, "")
	})
	c.inside, c.outside = f.projectIn(c.domain, "bs-customer-"+random()), f.projectIn(c.foreign, "bs-customer-"+random())
	c.manager, c.plain, c.stranger = f.userIn(c.domain), f.userIn(c.domain), f.userIn(c.foreign)
	group := fmt.Sprintf(`{"group":{"name":"g-%s","domain_id":%q}}`, random(), c.domain)
	c.group = f.must(201, "POST", "/groups", f.admin, group).get("group", "id")
	f.grant("/domains/" + c.domain + "/users/" + c.manager + "/roles/" + c.role)
	f.grant("/projects/" + c.inside + "/users/" + c.plain + "/roles/" + c.member)
	c.ofManager = f.as(conn.Credential{UserID: c.manager, Password: "pw", DomainID: c.domain})
	c.ofPlain = f.as(conn.Credential{UserID: c.plain, Password: "pw", ProjectID: c.inside})
	return c
}

func (f *fixture) newDomain() string {
	f.Helper()
	id := f.must(201, "POST", "/domains", f.admin, fmt.Sprintf(`{"domain":{"name":"d-%s"}}`, random())).get("domain", "id")
	f.Cleanup(func() {
		f.must(200, "PATCH", "/domains/"+id, f.admin, `{"domain":{"enabled":false}}`)
		f.must(204, "DELETE", "/domains/"+id, f.admin, "")
	})
	return id
}

func (f *fixture) projectIn(domain, name string) string {
	f.Helper()
	return f.must(201, "POST", "/projects", f.admin, fmt.Sprintf(
		`{"project":{"name":%q,"domain_id":%q,"tags":["a","b"]}}`, name, domain)).get("project", "id")
}

func (f *fixture) userIn(domain string) string {
	f.Helper()
	return f.must(201, "POST", "/users", f.admin, fmt.Sprintf(
		`{"user":{"name":"u-%s","domain_id":%q,"password":"pw"}}`, random(), domain)).get("user", "id")
}

func (f *fixture) grant(path string) {
	f.Helper()
	f.must(204, "PUT", path, f.admin, "")
}

// The method `as` returns a Cloud that logs in with the credential.
func (f *fixture) as(c conn.Credential) keystone.Cloud {
	f.Helper()
	cfg := f.config
	cfg.Credential = c
	return f.newCloud(cfg)
}

// The method `projects` returns the projects that EachProject lists. The keys of the map are the projects' ids.
func (f *fixture) projects(i keystone.Inventory, domain, prefix string) (found map[string]keystone.Project, whole bool) {
	f.Helper()
	found = map[string]keystone.Project{}
	whole, err := i.EachProject(f.ctx, domain, prefix, func(p keystone.Project) {
		if _, again := found[p.ID]; again {
			f.Errorf("project %s is listed twice", p.Name)
		}
		found[p.ID] = p
	})
	f.ok(err)
	return found, whole
}

// The method `names` checks the names of the projects that EachProject lists. The result `whole` of EachProject must be true.
func (f *fixture) names(i keystone.Inventory, domain, prefix string, want ...string) {
	f.Helper()
	found, whole := f.projects(i, domain, prefix)
	got := map[string]bool{}
	for _, p := range found {
		got[p.Name] = true
	}
	wanted := map[string]bool{}
	for _, name := range want {
		wanted[name] = true
	}
	same(f, fmt.Sprintf("projects that begin with %q", prefix), got, wanted)
	same(f, fmt.Sprintf("projects that begin with %q: whole", prefix), whole, true)
}

func (f *fixture) assignments(i keystone.Inventory, filter keystone.AssignmentFilter) map[keystone.Granted]int {
	f.Helper()
	found := map[keystone.Granted]int{}
	f.ok(i.EachAssignment(f.ctx, filter, func(g keystone.Granted) { found[g]++ }))
	return found
}

func (f *fixture) users(i keystone.Inventory, domain string) (ids map[string]keystone.User, whole bool) {
	f.Helper()
	ids = map[string]keystone.User{}
	whole, err := i.EachUser(f.ctx, domain, func(u keystone.User) { ids[u.ID] = u })
	f.ok(err)
	return ids, whole
}
