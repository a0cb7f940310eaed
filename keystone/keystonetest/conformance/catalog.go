package conformance

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/keystone"
)

func domainKnown(_ *testing.T, f *fixture) {
	for _, nameOrID := range []string{"default", "Default"} {
		got, err := f.cloud.Domain(f.ctx, nameOrID)
		f.ok(err)
		same(f, nameOrID, got, keystone.Domain{ID: "default", Name: "Default"})
	}
	f.ok(f.cloud.Ping(f.ctx))
}

func domainAbsent(_ *testing.T, f *fixture) {
	for _, absent := range []string{"nope", "not an id", "../roles", ""} {
		_, err := f.cloud.Domain(f.ctx, absent)
		f.wants(err, keystone.ErrNotFound)
	}
	f.ok(f.cloud.Ping(f.ctx))
}

func rolesKnown(_ *testing.T, f *fixture) {
	got, err := f.cloud.Roles(f.ctx, []string{"reader", "member", "reader"})
	f.ok(err)
	if len(got) != 3 || got[0].Name != "reader" || got[1].Name != "member" || got[0] != got[2] || got[0].ID == "" {
		f.Errorf("got %+v", got)
	}
}

func rolesAbsent(_ *testing.T, f *fixture) {
	_, err := f.cloud.Roles(f.ctx, []string{"member", "nope"})
	f.wants(err, keystone.ErrNotFound)
}

func rolesAdmin(_ *testing.T, f *fixture) {
	for _, name := range []string{"admin", "Admin"} {
		_, err := f.cloud.Roles(f.ctx, []string{name})
		f.wants(err, keystone.ErrRefusedRole)
	}
	f.config.AllowAdminRole = true
	_, err := f.newCloud(f.config).Roles(f.ctx, []string{"admin"})
	f.ok(err)
}

// userOfLDAP reads users whose ids must be encoded in a path. No user has such an id, but Keystone's answers show that Keystone has
// decoded each id.
func userOfLDAP(_ *testing.T, f *fixture) {
	for _, id := range []string{"john.doe", "m@example.org", "Ann Lee", "50%", "a%2Fb", "x?y#z", "a;b", "ü"} {
		_, err := f.cloud.User(f.ctx, id)
		f.wants(err, keystone.ErrNotFound)
		if !strings.Contains(err.Error(), "Could not find user: "+id+".") {
			f.Errorf("Keystone does not name user %q: %v", id, err)
		}
	}
}

func user(_ *testing.T, f *fixture) {
	for _, enabled := range []bool{true, false} {
		name := "user-" + random()
		id := f.do("POST", "/users", f.admin, fmt.Sprintf(`{"user":{"name":%q,"domain_id":"default","password":"x","enabled":%t}}`, name, enabled)).get("user", "id")
		got, err := f.cloud.User(f.ctx, id)
		f.ok(err)
		same(f, "user", got, keystone.User{ID: id, Name: name, DomainID: "default", Enabled: enabled})
		f.do("DELETE", "/users/"+id, f.admin, "")
		_, err = f.cloud.User(f.ctx, id)
		f.wants(err, keystone.ErrNotFound)
	}
}

func forgetRole(_ *testing.T, f *fixture) {
	name := "role-" + random()
	var ids []string
	for range 2 {
		id := f.do("POST", "/roles", f.admin, fmt.Sprintf(`{"role":{"name":%q}}`, name)).get("role", "id")
		f.cloud.Forget()
		got, err := f.cloud.Roles(f.ctx, []string{name})
		f.ok(err)
		same(f, "roles", got, []keystone.Role{{ID: id, Name: name}})
		f.do("DELETE", "/roles/"+id, f.admin, "")
		ids = append(ids, id)
	}
	if ids[0] == ids[1] {
		f.Error("the new role has the same id as the deleted role, so the test proves nothing about Forget")
	}
}
