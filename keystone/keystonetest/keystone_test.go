package keystonetest_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/clouds"
	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/keystone/keystonetest"
)

func TestSeedsAreSeenOverHTTP(t *testing.T) {
	now := time.Now()
	k := keystonetest.New(keystonetest.Options{AdminPassword: "pw", TokenLifetime: time.Minute, Now: func() time.Time { return now }})
	url, stop, err := k.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	cloud, err := clouds.Open(conn.Config{URL: url, Credential: conn.Credential{
		Username: "admin", UserDomainName: "Default", Password: "pw", ProjectName: "admin", ProjectDomainName: "Default",
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	valid := func(token string, want bool) {
		t.Helper()
		if _, err := cloud.ValidateToken(ctx, token); (err == nil) != want {
			t.Errorf("got %v, want valid %t", err, want)
		}
	}

	domain := k.AddDomain("Customers")
	user := k.AddUser(keystonetest.User{Name: "u", DomainID: domain, Password: "pw"})
	project := k.AddProject(keystone.Project{Name: "p", DomainID: domain, Tags: []string{"a"}})
	role := k.AddRole("bs-admin", "member")
	a := keystone.Assignment{ProjectID: project, UserID: user, RoleID: role}

	p, err := cloud.FindProject(ctx, domain, "p")
	if err != nil || !slices.Equal(p.Tags, []string{"a"}) || p.ID != project {
		t.Errorf("got %+v, %v", p, err)
	}
	if i := slices.IndexFunc(k.Projects(), func(p keystone.Project) bool { return p.ID == project }); i != 1 {
		t.Errorf("got %+v", k.Projects())
	}
	token := k.IssueToken(user)
	k.Assign(a)
	k.Assign(a)
	if got := k.Assignments(); len(got) != 2 || got[1] != a {
		t.Errorf("got %v", got)
	}
	scoped, err := cloud.ExchangeToken(ctx, token, project)
	if err != nil || len(scoped.Roles) != 3 || !strings.HasPrefix(scoped.ID, "gAAAA") {
		t.Errorf("got %v, %v", scoped.Roles, err)
	}
	k.EnableProject(project, false)
	valid(scoped.ID, false)
	k.EnableProject(project, true)
	valid(scoped.ID, true)
	k.Unassign(a)
	valid(scoped.ID, false)
	k.Assign(a)
	valid(scoped.ID, true)

	k.RevokeToken(token)
	valid(token, false)
	valid(scoped.ID, true)

	k.EnableUser(user, false)
	k.EnableUser(user, true)
	valid(scoped.ID, false)

	token = k.IssueToken(user)
	valid(token, true)
	now = now.Add(2 * time.Minute)
	valid(token, false)
}
