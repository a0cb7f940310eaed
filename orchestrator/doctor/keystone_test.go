package doctor

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/keystone"
)

// The type `assigned` is a Keystone that shows role assignments, and the names of projects and domains.
type assigned struct {
	keystone.Cloud

	powers []keystone.Power
}

func (a assigned) EachPower(_ context.Context, _ keystone.Holder, take func(keystone.Power)) error {
	for _, p := range a.powers {
		take(p)
	}
	return nil
}

// The id of a role is its name with the prefix id-.
func (a assigned) AllRoles(context.Context) ([]keystone.Role, error) {
	return named("admin", "manager", "member", "operator"), nil
}

func (a assigned) Project(_ context.Context, id string) (keystone.Project, error) {
	return keystone.Project{ID: id, Name: "name-of-" + id}, nil
}

func (a assigned) Domain(_ context.Context, id string) (keystone.Domain, error) {
	return keystone.Domain{ID: id, Name: "name-of-" + id}, nil
}

func named(names ...string) (roles []keystone.Role) {
	for _, name := range names {
		roles = append(roles, keystone.Role{ID: "id-" + name, Name: name})
	}
	return roles
}

// In these tests, the service's user belongs to the domain "home".
func holder(project, domain string, roles ...string) keystone.Holder {
	return keystone.Holder{Reach: keystone.Reach{ProjectID: project, DomainID: domain, Roles: named(roles...)}, UserID: "u", UserDomainID: "home"}
}

func TestTheRolesOfTheToken(t *testing.T) {
	for name, c := range map[string]struct {
		holder keystone.Holder
		want   Status
	}{
		"admin":                 {holder("p", "", "admin"), OK},
		"admin, in other words": {holder("p", "", "Admin"), OK},
		"manager of a project":  {holder("p", "", "manager", "member", "reader"), Warn},
		"manager of a domain":   {holder("", "d", "manager", "member", "reader"), OK},
		"member of a domain":    {holder("", "d", "member", "reader"), Fail},
		"a role of the cloud":   {holder("p", "", "provisioner"), Warn},
		"no role":               {holder("p", ""), Fail},
	} {
		x := &examination{holder: c.holder}
		if got := permissions(t.Context(), x); len(got) != 1 || got[0].Status != c.want {
			t.Errorf("%s: got %+v, want %s", name, got, c.want)
		}
	}
}

func TestTheScopeOfTheToken(t *testing.T) {
	for want, h := range map[string]keystone.Holder{
		"project name-of-p (p)": holder("p", ""), "domain name-of-d (d)": holder("", "d"), "the system": {Reach: keystone.Reach{System: true}, UserDomainID: "home"},
	} {
		x := &examination{cloud: assigned{}, holder: h}
		if got := x.scopePlace(t.Context()); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// The report names each place where the user is an admin, whatever other roles the user has, and the roles that the service does not use.
func TestWhatTheServicesUserMayDo(t *testing.T) {
	on := func(role, project string) keystone.Power {
		return keystone.Power{Granted: keystone.Granted{RoleID: "id-" + role, UserID: "u", ProjectID: project}}
	}
	onDomain := func(role, domain string) keystone.Power {
		return keystone.Power{Granted: keystone.Granted{RoleID: "id-" + role, UserID: "u", DomainID: domain}}
	}
	var many []keystone.Power
	for i := range maxPowers + 10 {
		many = append(many, on("member", fmt.Sprint("other-", i)))
	}
	system := keystone.Power{Granted: keystone.Granted{RoleID: "id-admin", UserID: "u"}, System: true}
	for name, c := range map[string]struct {
		holder keystone.Holder
		powers []keystone.Power
		want   []string // the beginnings of the warnings
	}{
		"only what the service uses": {holder("", "d", "manager"), []keystone.Power{onDomain("manager", "d")}, nil},
		"admin on the scope":         {holder("p", "", "admin"), []keystone.Power{on("admin", "p")}, []string{"the user has the role admin on project name-of-p (p)."}},
		"admin after many others": {
			holder("p", "", "member"), append(many, system),
			[]string{"the user has the role admin on the system.", "the user has roles that Tenantry does not use: member on project name-of-other-0 (other-0); "},
		},
		"a role that implies admin": {
			holder("p", "", "operator", "admin"),
			[]keystone.Power{on("operator", "p")},
			[]string{"the user has the role admin on project name-of-p (p), because another role of the user implies it."},
		},
		"a role on the user's own domain": {
			holder("p", "", "member"),
			[]keystone.Power{on("member", "p"), onDomain("manager", "home")},
			[]string{"the user has roles that Tenantry does not use: manager on domain name-of-home (home)"},
		},
	} {
		var got []string
		for _, line := range blastRadius(t.Context(), &examination{cloud: assigned{powers: c.powers}, holder: c.holder}) {
			if line.Status == Warn {
				got = append(got, line.Text)
			}
		}
		if len(got) != len(c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
			continue
		}
		for i, want := range c.want {
			if !strings.HasPrefix(got[i], want) {
				t.Errorf("%s: got %q, want %q", name, got[i], want)
			}
		}
		if name == "admin after many others" && !strings.HasSuffix(got[1], "; 10 more") {
			t.Errorf("%s: got %q", name, got[1])
		}
	}
}
