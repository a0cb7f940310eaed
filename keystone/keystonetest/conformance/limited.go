package conformance

import (
	"fmt"
	"testing"

	"github.com/tenantry/tenantry/keystone"
)

// ListLimit is the list_limit of the Keystone that [Limited] tests.
const ListLimit = 3

// Limited tests the methods of [keystone.Inventory] against a Keystone that cuts lists of projects and users to ListLimit.
func Limited(t *testing.T, target Target) {
	t.Helper()
	for _, part := range []struct {
		name string
		run  func(*testing.T, *fixture)
	}{
		{"EachProject, as long as the limit", atTheLimit},
		{"EachProject, longer than the limit", aboveTheLimit},
		{"EachProject, long parts", longParts},
		{"EachProject, token of another domain", limitedManager},
		{"EachUser, EachAssignment and AllRoles", limitedOthers},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(t, newFixture(t, target)) })
	}
}

// The variable `tenants` contains names of tenants. In the first four names, the UUID begins with the digit 1. Four is more than
// ListLimit, so Keystone cuts even the list of the tenants with this digit.
var tenants = []string{
	"bs-customer-10000000-0000-4000-8000-000000000001", "bs-customer-11000000-0000-4000-8000-000000000001",
	"bs-customer-1e000000-0000-4000-8000-000000000001", "bs-customer-1f000000-0000-4000-8000-000000000001-2",
	"bs-customer-f0000000-0000-4000-8000-000000000001",
	"bs-subscription-10000000-0000-4000-8000-000000000001", "bs-subscription-a0000000-0000-4000-8000-000000000001",
}

func atTheLimit(_ *testing.T, f *fixture) {
	domain := f.newDomain()
	for _, name := range []string{"payroll", tenants[0], tenants[5]} {
		f.projectIn(domain, name)
	}
	f.names(f.cloud, domain, "", "payroll", tenants[0], tenants[5])
}

func aboveTheLimit(_ *testing.T, f *fixture) {
	domain := f.newDomain()
	for _, name := range tenants {
		f.projectIn(domain, name)
	}
	f.names(f.cloud, domain, "", tenants...)
	f.names(f.cloud, domain, "bs-customer-1", tenants[:4]...)

	const upper = "BS-CUSTOMER-1A000000-0000-4000-8000-000000000001"
	for _, name := range []string{"payroll-1", "payroll-2", "payroll-3", upper} {
		f.projectIn(domain, name)
	}
	found, whole := f.projects(f.cloud, domain, "")
	same(f, "with other projects: whole", whole, true)
	names := map[string]bool{}
	for _, p := range found {
		names[p.Name] = true
	}
	for _, name := range tenants {
		if !names[name] {
			f.Errorf("project %s is missing", name)
		}
	}
	p, err := f.cloud.FindProject(f.ctx, domain, tenants[4])
	f.ok(err)
	same(f, "FindProject", p.Name, tenants[4])
}

// longParts lists projects with a long common prefix. It also lists projects in parts that are cut, but cannot be divided.
func longParts(_ *testing.T, f *fixture) {
	domain := f.newDomain()
	const id = "10000000-0000-4000-8000-000000000001"
	hyphen := []string{"bs-customer-2c9b0a52-0", "bs-customer-2c9b0a52-1", "bs-customer-2c9b0a52-e", "bs-customer-2c9b0a52-f"}
	for i := range ListLimit + 1 {
		f.projectIn(domain, hyphen[i])
		f.projectIn(domain, fmt.Sprintf("payroll-%d", i))
		f.projectIn(domain, fmt.Sprintf("bs-customer-%s-%d", id, i))
	}
	f.names(f.cloud, domain, "bs-customer-2c9b0a52", hyphen...)
	f.names(f.cloud, domain, "bs-subscription-")
	for _, prefix := range []string{"payroll", "bs-customer-" + id[:35], "bs-customer-" + id} {
		_, whole := f.projects(f.cloud, domain, prefix)
		same(f, fmt.Sprintf("projects that begin with %q: whole", prefix), whole, false)
	}
}

// limitedManager lists the projects of the manager's domain, and the projects of another domain. For the other domain, Keystone first cuts
// the list, and then drops all projects. The answer is then an empty list, and "truncated" is true.
func limitedManager(_ *testing.T, f *fixture) {
	c := f.cast()
	for _, name := range tenants[:4] {
		f.projectIn(c.foreign, name)
		f.projectIn(c.domain, name)
	}
	f.names(c.ofManager, c.domain, "bs-customer-1", tenants[:4]...)
	f.names(c.ofManager, c.foreign, "bs-customer-1")
}

func limitedOthers(_ *testing.T, f *fixture) {
	c := f.cast()
	var more []string
	_, whole := f.users(f.cloud, c.domain)
	same(f, "two users: whole", whole, true)
	for range ListLimit {
		more = append(more, f.userIn(c.domain))
	}
	for who, cloud := range map[string]keystone.Inventory{"administrator": f.cloud, "manager": c.ofManager} {
		users, whole := f.users(cloud, c.domain)
		same(f, "users for the "+who, len(users), ListLimit)
		same(f, "users for the "+who+": whole", whole, false)
	}
	want := map[keystone.Granted]int{{RoleID: c.member, UserID: c.plain, ProjectID: c.inside}: 1}
	for _, user := range more {
		f.grant("/projects/" + c.inside + "/users/" + user + "/roles/" + c.member)
		want[keystone.Granted{RoleID: c.member, UserID: user, ProjectID: c.inside}] = 1
	}
	same(f, "assignments", f.assignments(f.cloud, keystone.AssignmentFilter{ProjectID: c.inside}), want)
	found, err := f.cloud.AllRoles(f.ctx)
	f.ok(err)
	if len(found) <= ListLimit {
		f.Errorf("got %d roles, want more than %d", len(found), ListLimit)
	}
}
