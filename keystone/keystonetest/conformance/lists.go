package conformance

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// Lists sends requests for lists, with the tokens of an administrator, of a domain's manager, of a member of a project and of a reader of
// the system. For each answer, Lists returns a line like the lines of [Wire]. The line also contains the number of elements, and the shapes
// of all elements.
func Lists(t *testing.T, target Target) (lines []string) {
	t.Helper()
	f := newFixture(t, target)
	c := f.listCast()
	say := func(what string, a answer) { lines = append(lines, what+": "+a.list()) }
	f.scopes(c, say)
	manager := f.login(c.manager, `{"domain":{"id":"`+c.domain+`"}}`)
	some := []string{"/projects?domain_id=FOREIGN", "/users?domain_id=FOREIGN"}
	for _, who := range []struct {
		name, token string
		lists       []string
	}{
		{"administrator", f.admin, cutLists},
		{"manager", manager, cutLists},
		{"member", f.login(c.plain, projectScope(c.inside)), some},
		{"reader of the system", f.login(c.plain, `{"system":{"all":true}}`), some},
	} {
		for _, path := range slices.Concat(who.lists, otherReads) {
			say(who.name+" "+path, f.do("GET", c.ids().Replace(path), who.token, ""))
		}
		say(who.name+" own token", f.do("GET", "/auth/tokens?nocatalog", who.token, "", "X-Subject-Token", who.token))
	}
	for _, path := range []string{"/projects", "/role_assignments", "/users", "/auth/projects"} { // lists without a filter
		say("manager "+path, f.do("GET", path, manager, ""))
	}
	say("manager grants", f.do("PUT", "/projects/"+c.inside+"/users/"+c.manager+"/roles/"+c.member, manager, ""))
	say("manager creates", f.do("POST", "/projects", manager, `{"project":{"name":"bs-customer-x"}}`))
	f.domainsAndGroups(c, say)
	return lines
}

// CutLists is like [Lists], but for a Keystone with the option list_limit. It sends requests only for lists that Keystone can cut.
func CutLists(t *testing.T, target Target) (lines []string) {
	t.Helper()
	f := newFixture(t, target)
	c := f.listCast()
	f.newDomain() // so that the number of domains is larger than ListLimit
	ask := func(who, path, token string) {
		lines = append(lines, who+" "+path+": "+f.do("GET", c.ids().Replace(path), token, "").list())
	}
	manager := f.login(c.manager, `{"domain":{"id":"`+c.domain+`"}}`)
	for _, path := range cutLists {
		ask("administrator", path, f.admin)
		ask("manager", path, manager)
	}
	ask("administrator", "/domains", f.admin)
	ask("manager", "/users", manager)
	return lines
}

// listCast creates a cast and additional objects.
func (f *fixture) listCast() cast {
	f.Helper()
	c := f.cast()
	for _, name := range []string{"BS-customer-A", "bs_customer-b", "bs-customer-c-d", "payroll"} {
		f.projectIn(c.domain, name)
	}
	f.must(200, "PATCH", "/projects/"+f.projectIn(c.domain, "disabled"), f.admin, `{"project":{"enabled":false,"tags":["b"]}}`)
	for range ListLimit {
		f.userIn(c.domain)
		f.userIn(c.foreign)
		f.projectIn(c.foreign, "bs-customer-"+random())
	}
	onDomain, ofUser, ofGroup := "/domains/"+c.domain, "/users/"+c.plain+"/roles/"+c.member, "/groups/"+c.group+"/roles/"+c.member
	for _, path := range []string{
		onDomain + ofUser, onDomain + ofGroup, "/OS-INHERIT" + onDomain + ofUser + "/inherited_to_projects",
		"/projects/" + c.outside + ofUser, "/projects/" + c.inside + ofGroup, "/system/users/" + c.plain + "/roles/" + f.role("reader"),
	} {
		f.grant(path)
	}
	return c
}

// The method `ids` returns a replacer for the paths below. It replaces each word in upper case by an id.
func (c cast) ids() *strings.Replacer {
	return strings.NewReplacer("DOMAIN", c.domain, "FOREIGN", c.foreign, "INSIDE", c.inside, "OUTSIDE", c.outside,
		"PLAIN", c.plain, "MANAGER", c.manager, "STRANGER", c.stranger, "GROUP", c.group, "MEMBER", c.member, "ROLE", c.role)
}

// cutLists and otherReads are the paths of the requests that Lists sends. The words in upper case stand for ids.
var (
	cutLists = []string{
		"/projects?domain_id=DOMAIN", "/projects?domain_id=FOREIGN", "/projects?domain_id=nope",
		"/projects?domain_id=DOMAIN&name__startswith=bs-customer-", "/projects?domain_id=DOMAIN&name__istartswith=bs-customer-",
		"/projects?domain_id=DOMAIN&name__istartswith=bs_customer-", "/projects?domain_id=DOMAIN&name__istartswith=bs%25-",
		"/projects?domain_id=FOREIGN&name__istartswith=bs-customer-", "/projects?domain_id=FOREIGN&name__startswith=bs-customer-",
		"/projects?domain_id=DOMAIN&name__iendswith=-a", "/projects?domain_id=DOMAIN&name__endswith=-a",
		"/projects?domain_id=DOMAIN&name__icontains=CUST", "/projects?domain_id=DOMAIN&name__contains=CUST",
		"/projects?domain_id=DOMAIN&name__inexact=x", "/projects?domain_id=DOMAIN&enabled=false", "/projects?domain_id=DOMAIN&tags=b",
		"/projects?domain_id=DOMAIN&name=payroll", "/projects?domain_id=DOMAIN&name=payroll&name__startswith=x",
		"/users?domain_id=DOMAIN", "/users?domain_id=FOREIGN", "/users?domain_id=nope", "/users?domain_id=DOMAIN&name__istartswith=U-",
		"/users?domain_id=DOMAIN&name__startswith=U-", "/users?domain_id=DOMAIN&name__icontains=U-", "/users?domain_id=DOMAIN&name__iendswith=%25",
		"/users?domain_id=DOMAIN&name__istartswith=u_&name__iendswith=8", "/users?domain_id=DOMAIN&name__istartswith=",
		"/users?domain_id=DOMAIN&name__istartswith=%C3%9C", "/users?domain_id=DOMAIN&name__iendswith=%5C_",
	}
	otherReads = []string{
		"/projects/INSIDE", "/projects/OUTSIDE", "/projects/nope", "/users/PLAIN", "/users/STRANGER", "/users/nope",
		"/role_assignments?scope.domain.id=DOMAIN", "/role_assignments?scope.project.id=INSIDE", "/role_assignments?scope.project.id=OUTSIDE",
		"/role_assignments?scope.project.id=nope", "/role_assignments?user.id=PLAIN", "/role_assignments?user.id=PLAIN&scope.project.id=INSIDE",
		"/role_assignments?user.id=PLAIN&scope.project.id=", "/role_assignments?user.id=nope", "/role_assignments?group.id=GROUP",
		"/role_assignments?role.id=ROLE", "/projects/INSIDE/users/PLAIN/roles", "/projects/INSIDE/users/PLAIN/roles/MEMBER",
		"/projects/OUTSIDE/users/PLAIN/roles/MEMBER", "/projects/INSIDE/users/MANAGER/roles/MEMBER", "/roles/MEMBER", "/roles/nope",
		"/domains/DOMAIN", "/domains/FOREIGN", "/domains/nope", "/domains?name=nope", "/roles?name=member", "/role_inferences",
	}
)

func (f *fixture) login(user, scope string) string {
	f.Helper()
	return f.must(201, "POST", "/auth/tokens", "", passwordLogin(fmt.Sprintf(`"id":%q`, user), "pw", scope)).token()
}

// The method `scopes` logs in with the scope of a domain or of the system. Some of these scopes are not valid.
func (f *fixture) scopes(c cast, say func(string, answer)) {
	name := f.must(200, "GET", "/domains/"+c.domain, f.admin, "").get("domain", "name")
	for _, scope := range []string{
		`{"domain":{"id":"` + c.domain + `"}}`, `{"domain":{"name":"` + name + `"}}`, `{"domain":{"id":"nope"}}`,
		`{"domain":{"name":"nope"}}`, `{"domain":{}}`, `{"domain":{"id":"` + c.foreign + `"}}`, `{"system":{"all":true}}`,
	} {
		for who, user := range [2]string{c.manager, c.plain} {
			said := strings.NewReplacer(c.domain, "DOMAIN", c.foreign, "FOREIGN", name, "NAME").Replace(scope)
			login := passwordLogin(fmt.Sprintf(`"id":%q`, user), "pw", scope)
			say([2]string{"manager", "member"}[who]+" logs in to "+said, f.do("POST", "/auth/tokens?nocatalog", "", login))
		}
	}
}

// domainsAndGroups creates and removes domains, groups and role assignments. It also sends requests that Keystone refuses.
func (f *fixture) domainsAndGroups(c cast, say func(string, answer)) {
	domain := fmt.Sprintf(`{"domain":{"name":"d-%s"}}`, random())
	made := f.do("POST", "/domains", f.admin, domain)
	id := made.get("domain", "id")
	say("create domain", made)
	say("create domain again", f.do("POST", "/domains", f.admin, domain))
	say("delete enabled domain", f.do("DELETE", "/domains/"+id, f.admin, ""))
	say("disable domain", f.do("PATCH", "/domains/"+id, f.admin, `{"domain":{"enabled":false}}`))
	say("delete domain", f.do("DELETE", "/domains/"+id, f.admin, ""))
	say("delete domain again", f.do("DELETE", "/domains/"+id, f.admin, ""))

	group := fmt.Sprintf(`{"group":{"name":"g-%s","domain_id":%q}}`, random(), c.domain)
	made = f.do("POST", "/groups", f.admin, group)
	id = made.get("group", "id")
	say("create group", made)
	say("create group again", f.do("POST", "/groups", f.admin, group))
	say("create group in no domain", f.do("POST", "/groups", f.admin, `{"group":{"name":"g","domain_id":"nope"}}`))
	say("delete group", f.do("DELETE", "/groups/"+id, f.admin, ""))
	say("delete group again", f.do("DELETE", "/groups/"+id, f.admin, ""))

	inherited := func(path string) string { return "/OS-INHERIT" + path + "/inherited_to_projects" }
	for _, on := range []struct{ what, path string }{{"project", "/projects/" + c.inside}, {"domain", "/domains/" + c.domain}} {
		none := "/" + on.what + "s/nope"
		for _, of := range []struct{ what, path string }{
			{"user", on.path + "/users/" + c.manager + "/roles/" + c.member},
			{"group", on.path + "/groups/" + c.group + "/roles/" + c.member},
		} {
			f.do("DELETE", of.path, f.admin, "")
			for _, path := range []string{of.path, inherited(of.path)} {
				for _, method := range []string{"HEAD", "PUT", "PUT", "HEAD", "DELETE", "DELETE"} {
					what := fmt.Sprintf("%s role of a %s on a %s, inherited %t", method, of.what, on.what, strings.Contains(path, "INHERIT"))
					say(what, f.do(method, path, f.admin, ""))
				}
			}
		}
		for _, path := range []string{
			none + "/users/" + c.plain + "/roles/" + c.member, on.path + "/users/nope/roles/" + c.member,
			on.path + "/users/" + c.plain + "/roles/nope",
			none + "/groups/" + c.group + "/roles/" + c.member, on.path + "/groups/nope/roles/" + c.member,
		} {
			say("grant with a missing object", f.do("PUT", path, f.admin, ""))
			say("grant with a missing object, inherited", f.do("PUT", inherited(path), f.admin, ""))
		}
	}
}

// The method `list` is like `shape`, but describes the list in the body by the number of its elements and by the shapes of all elements.
// The method `shape` describes only the first element.
func (a answer) list() string {
	for field, v := range asObject(a.body) {
		elements, ok := v.([]any)
		if !ok {
			continue
		}
		shapes := map[string]bool{}
		for _, one := range elements {
			shapes[shapeOf(one)] = true
		}
		rest := maps.Clone(asObject(a.body))
		delete(rest, field)
		n := fmt.Sprint(len(elements))
		if field == "role_inferences" { // other tests add elements to this list
			n, shapes = "some", nil
		}
		return fmt.Sprintf("%d %s %s %v, %s", a.status, n, field, slices.Sorted(maps.Keys(shapes)), shapeOf(rest))
	}
	return a.shape()
}

func asObject(v any) map[string]any {
	o, _ := v.(map[string]any)
	return o
}
