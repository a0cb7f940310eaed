package conformance

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/tenantry/tenantry/keystone"
)

const password = "Correct-horse-1"

func newUser() keystone.NewUser {
	return keystone.NewUser{
		Name: "u-" + random(), DomainID: "default", Email: "ann@example.org", Password: password, RunID: "run-" + random(),
	}
}

// The method `signedUp` is a helper that creates a user with the Cloud under test. The user is deleted when the test ends.
func (f *fixture) signedUp(n keystone.NewUser) keystone.User {
	f.Helper()
	u, made, passwordSet, err := f.cloud.EnsureUser(f.ctx, n)
	if err != nil || !made || passwordSet == f.second { // Identity v2.0 does not show whether the password has expired
		f.Fatalf("EnsureUser %s: made %t, password set %t, %v", n, made, passwordSet, err)
	}
	same(f, "new user", u, keystone.User{ID: u.ID, Name: n.Name, DomainID: n.DomainID, Enabled: true, RunID: n.RunID})
	f.deleteLater(u.ID)
	return u
}

// The method `plainUser` is a helper that creates a user as an administrator would. The parameter `more` is a part of the JSON body.
func (f *fixture) plainUser(name, more string) (id string) {
	f.Helper()
	id = f.must(201, "POST", "/users", f.admin, fmt.Sprintf(`{"user":{"name":%s,"password":%q%s}}`, encoded(f.T, name), password, more)).get("user", "id")
	f.deleteLater(id)
	return id
}

func (f *fixture) deleteLater(id string) {
	f.Cleanup(func() { f.do("DELETE", "/users/"+id, f.admin, "") })
}

// The method `shown` returns the field of a user, or an empty text.
func (f *fixture) shown(id, field string) string {
	f.Helper()
	return f.must(200, "GET", "/users/"+id, f.admin, "").get("user", field)
}

func findUser(_ *testing.T, f *fixture) {
	n := newUser()
	u := f.signedUp(n)
	found, err := f.cloud.FindUser(f.ctx, "default", n.Name)
	f.ok(err)
	same(f, "found", found, u)
	shown, err := f.cloud.User(f.ctx, u.ID)
	f.ok(err)
	same(f, "by id", shown, u)
	for _, name := range []string{strings.ToUpper(n.Name), n.Name + "x", n.Name[:4], "%", ""} {
		f.wants(only(f.cloud.FindUser(f.ctx, "default", name)), keystone.ErrNotFound)
	}
	f.wants(only(f.cloud.FindUser(f.ctx, "nope", n.Name)), keystone.ErrNotFound)

	plain := "u-" + random()
	found, err = f.cloud.FindUser(f.ctx, "default", newPlain(f, plain))
	f.ok(err)
	same(f, "run of a user that Tenantry has not created", found.RunID, "")
}

func newPlain(f *fixture, name string) string {
	f.plainUser(name, "")
	return name
}

// similarUser looks for users whose folded names are equal.
func similarUser(_ *testing.T, f *fixture) {
	tag := random()
	similar := func(name, want string) {
		f.Helper()
		found, err := f.cloud.SimilarUser(f.ctx, "default", name)
		if want == "" {
			f.wants(err, keystone.ErrNotFound)
			return
		}
		f.ok(err)
		same(f, "similar to "+name, found.Name, want)
	}
	for _, c := range []struct{ stored, similar, other string }{
		{"Ann-" + tag + "@Example.org", "aNN-" + tag + "@eXAMPLE.ORG", "ann-" + tag + "@example.orga"},
		{"Émile-" + tag, "éMILE-" + tag, "emile-" + tag},
		{tag + "-ÉÀ", tag + "-éà", tag + "-ea"},
		{"ΣΊΣΥΦΟΣ-" + tag, "σίσυφος-" + tag, "σισυφος-" + tag},
		{"A_b-" + tag, "a_B-" + tag, "aXb-" + tag},
		{"A%b-" + tag, "a%B-" + tag, "aXb-" + tag},
		{`A\b-` + tag, `a\B-` + tag, "aXb-" + tag},
		{"_" + tag + "_", "_" + strings.ToUpper(tag) + "_", "x" + tag + "x"},
		{"Straße-" + tag, "sTRAßE-" + tag, "strasse-" + tag},
		{tag[:6] + " " + tag[6:], strings.ToUpper(tag[:6] + " " + tag[6:]), tag[:6] + "-" + tag[6:]},
		{tag[:3], strings.ToUpper(tag[:3]), tag[:2] + "é"},
		{"ü" + tag[:1], "Ü" + strings.ToUpper(tag[:1]), "ü" + tag[:2]},
	} {
		f.plainUser(c.stored, "")
		similar(c.stored, c.stored)
		similar(c.similar, c.stored)
		similar(c.other, "")
	}

	// If several users have similar names, SimilarUser prefers a user whose name is spelled differently.
	for _, name := range []string{"Bob-" + tag, "BOB-" + tag} {
		f.plainUser(name, "")
	}
	similar("Bob-"+tag, "BOB-"+tag)
	similar("BOB-"+tag, "Bob-"+tag)
	f.wants(only(f.cloud.SimilarUser(f.ctx, "nope", "Bob-"+tag)), keystone.ErrNotFound)

	n := newUser()
	u := f.signedUp(n)
	found, err := f.cloud.SimilarUser(f.ctx, "default", strings.ToUpper(n.Name))
	f.ok(err)
	same(f, "similar user of a run", found, u)
}

// similarUserNested lists a user whose attributes are nested. Another service may have stored such attributes.
func similarUserNested(_ *testing.T, f *fixture) {
	name := "u-" + random()
	f.plainUser(name, `,"tenantry_run":7,"deep":{"a":[1,{"b":[[null]]}]},"options":{"multi_factor_auth_rules":[["password","totp"]]}`)
	found, err := f.cloud.SimilarUser(f.ctx, "default", strings.ToUpper(name))
	f.ok(err)
	same(f, "name", found.Name, name)
	same(f, "run", found.RunID, "")
	exact, err := f.cloud.FindUser(f.ctx, "default", name)
	f.ok(err)
	same(f, "exact", exact, found)
	f.wants(f.cloud.SetPassword(f.ctx, found.ID, password), keystone.ErrGuard)
}

func ensureUserRepeated(_ *testing.T, f *fixture) {
	n := newUser()
	u := f.signedUp(n)
	n.Password = "Another-horse-2"
	again, made, passwordSet, err := f.cloud.EnsureUser(f.ctx, n)
	f.ok(err)
	same(f, "made, password set", []bool{made, passwordSet}, []bool{true, false})
	same(f, "user", again, u)
	f.ok(only(f.cloud.LogIn(f.ctx, "default", n.Name, password)))
	f.wants(only(f.cloud.LogIn(f.ctx, "default", n.Name, n.Password)), keystone.ErrWrongLogin)
}

func ensureUserAtOnce(_ *testing.T, f *fixture) {
	n := newUser()
	var group sync.WaitGroup
	var users [8]keystone.User
	var made, set [8]bool
	for i := range users {
		group.Go(func() {
			n := n
			n.RunID = fmt.Sprintf("%s-%d", n.RunID, i)
			var err error
			if users[i], made[i], set[i], err = f.cloud.EnsureUser(f.ctx, n); err != nil {
				f.Error(err)
			}
		})
	}
	group.Wait()
	f.deleteLater(users[0].ID)
	created := 0
	for i, u := range users {
		same(f, "user", u, users[0])
		same(f, "made", []bool{made[i], set[i]}, []bool{u.RunID == fmt.Sprintf("%s-%d", n.RunID, i), made[i] && !f.second})
		if made[i] {
			created++
		}
	}
	same(f, "number of calls that created the user", created, 1)
}

func ensureUserTaken(_ *testing.T, f *fixture) {
	n := newUser()
	u := f.signedUp(n)
	other := n
	other.RunID = "run-" + random()
	got, made, set, err := f.cloud.EnsureUser(f.ctx, other)
	f.ok(err)
	same(f, "user of another run", got, u)
	same(f, "made, password set", []bool{made, set}, []bool{false, false})

	other.Name = newPlain(f, "u-"+random())
	got, made, set, err = f.cloud.EnsureUser(f.ctx, other)
	f.ok(err)
	same(f, "administrator's user", got.RunID, "")
	same(f, "made, password set", []bool{made, set}, []bool{false, false})

	other.Name = strings.ToUpper(n.Name) // Keystone allows names that differ only in case
	f.signedUp(other)
}

func ensureUserMalformed(_ *testing.T, f *fixture) {
	for _, name := range []string{"", " ", " u", "u ", "u\n", "u\u00a0", "a\x00b", "a\tb", strings.Repeat("é", 256), "a\xffb"} {
		n := newUser()
		n.Name = name
		_, made, _, err := f.cloud.EnsureUser(f.ctx, n)
		f.wants(err, nil)
		same(f, "made", made, false)
	}
	n := newUser()
	n.Password = ""
	_, _, _, err := f.cloud.EnsureUser(f.ctx, n)
	f.wants(err, keystone.ErrPasswordRefused)
	f.wants(only(f.cloud.FindUser(f.ctx, "default", n.Name)), keystone.ErrNotFound)
	u := f.signedUp(newUser())
	f.wants(f.cloud.SetPassword(f.ctx, u.ID, ""), keystone.ErrPasswordRefused)
	f.ok(only(f.cloud.LogIn(f.ctx, "default", u.Name, password)))
}

func ensureUserAttributes(_ *testing.T, f *fixture) {
	n := newUser()
	n.Name = strings.Repeat("é", 243) + random()
	u := f.signedUp(n)
	same(f, "email", f.shown(u.ID, "email"), n.Email)
	same(f, "run", f.shown(u.ID, keystone.RunAttribute), n.RunID)
	answer := f.must(200, "GET", "/users/"+u.ID, f.admin, "").body.(map[string]any)["user"].(map[string]any)
	same(f, "options", answer["options"], any(map[string]any{"ignore_change_password_upon_first_use": true}))

	n = newUser()
	n.Email = ""
	if _, ok := f.must(200, "GET", "/users/"+f.signedUp(n).ID, f.admin, "").body.(map[string]any)["user"].(map[string]any)["email"]; ok {
		f.Error("the user has an e-mail address")
	}
	n = newUser()
	n.Password = `"ü \ ` + strings.Repeat("x", 40) + ` '<&>%`
	f.signedUp(n)
	f.ok(only(f.cloud.LogIn(f.ctx, "default", n.Name, n.Password)))
}

func removeUser(_ *testing.T, f *fixture) {
	n := newUser()
	u := f.signedUp(n)
	remove := func(name, domain, run string, want keystone.User) {
		f.Helper()
		removed, kept, err := f.cloud.RemoveUser(f.ctx, domain, name, run)
		f.ok(err)
		same(f, "removed", removed, want)
		same(f, "kept", kept, "")
	}
	none := keystone.User{}
	remove(n.Name, "default", "run-"+random(), none)
	remove(n.Name, "default", "", none)
	remove(strings.ToUpper(n.Name), "default", n.RunID, none)
	remove(n.Name, "nope", n.RunID, none)
	f.ok(only(f.cloud.LogIn(f.ctx, "default", n.Name, password)))
	remove(n.Name, "default", n.RunID, u)
	remove(n.Name, "default", n.RunID, none)
	f.wants(only(f.cloud.FindUser(f.ctx, "default", n.Name)), keystone.ErrNotFound)
	f.wants(only(f.cloud.LogIn(f.ctx, "default", n.Name, password)), keystone.ErrWrongLogin)

	plain := newPlain(f, "u-"+random())
	remove(plain, "default", "", none)
	remove(plain, "default", n.RunID, none)
	f.ok(only(f.cloud.FindUser(f.ctx, "default", plain)))
}

func removeUserMadeAgain(_ *testing.T, f *fixture) {
	n := newUser()
	u := f.signedUp(n)
	_, _, err := f.cloud.RemoveUser(f.ctx, "default", n.Name, n.RunID)
	f.ok(err)
	second := f.signedUp(n)
	if second.ID == u.ID {
		f.Error("the second user has the id of the first user")
	}
	f.ok(only(f.cloud.LogIn(f.ctx, "default", n.Name, password)))
}

// removeUserInUse calls RemoveUser for users who have a role or are in a group.
func removeUserInUse(_ *testing.T, f *fixture) {
	group := f.must(201, "POST", "/groups", f.admin, fmt.Sprintf(`{"group":{"name":"g-%s"}}`, random())).get("group", "id")
	f.Cleanup(func() { f.must(204, "DELETE", "/groups/"+group, f.admin, "") })
	project, member := f.project(newProject()), f.role("member")
	for use, want := range map[string]string{
		"/projects/" + project.ID + "/users/USER/roles/" + member:                           "role",
		"/domains/default/users/USER/roles/" + member:                                       "role",
		"/OS-INHERIT/domains/default/users/USER/roles/" + member + "/inherited_to_projects": "role",
		"/system/users/USER/roles/" + member:                                                "role",
		"/groups/" + group + "/users/USER":                                                  "group",
	} {
		n := newUser()
		u := f.signedUp(n)
		path := strings.ReplaceAll(use, "USER", u.ID)
		f.must(204, "PUT", path, f.admin, "")
		removed, kept, err := f.cloud.RemoveUser(f.ctx, "default", n.Name, n.RunID)
		f.ok(err)
		if removed.ID != "" || !strings.Contains(kept, want) {
			f.Errorf("%s: removed %+v, kept %q", use, removed, kept)
		}
		f.ok(only(f.cloud.User(f.ctx, u.ID)))
		f.must(204, "DELETE", path, f.admin, "")
		removed, kept, err = f.cloud.RemoveUser(f.ctx, "default", n.Name, n.RunID)
		f.ok(err)
		same(f, "removed after the use", removed, u)
		same(f, "kept after the use", kept, "")
	}
}

// groupsRole exchanges the token of a user who has a role only through a group.
func groupsRole(_ *testing.T, f *fixture) {
	group := f.must(201, "POST", "/groups", f.admin, fmt.Sprintf(`{"group":{"name":"g-%s"}}`, random())).get("group", "id")
	f.Cleanup(func() { f.must(204, "DELETE", "/groups/"+group, f.admin, "") })
	p, member := f.project(newProject()), f.role("member")
	user, unscoped := f.user()
	f.grant("/projects/" + p.ID + "/groups/" + group + "/roles/" + member)
	f.noAccess(unscoped, p.ID)
	f.grant("/groups/" + group + "/users/" + user)
	f.ok(only(f.cloud.ExchangeToken(f.ctx, unscoped, p.ID)))
	has, err := f.cloud.HasAssignment(f.ctx, keystone.Assignment{ProjectID: p.ID, UserID: user, RoleID: member})
	f.ok(err)
	same(f, "HasAssignment", has, false)
}
