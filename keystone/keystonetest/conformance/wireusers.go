package conformance

import (
	"fmt"
	"strings"
)

// wireUsers sends requests about users and groups. The names of the users end in the suffix.
func wireUsers(say func(string, answer) answer, r raw, admin, suffix string) {
	var created []string
	create := func(what, name, more string) (id string) {
		a := say("create user "+what, r.do("POST", "/users", admin, `{"user":{"name":"`+name+`","password":"pw"`+more+`}}`))
		if id = a.get("user", "id"); id != "" {
			created = append(created, id)
		}
		return id
	}
	u, v := "u-"+suffix, "v-"+suffix
	user := create("with more fields", u, `,"email":"e","tenantry_run":"r","deep":{"x":[1]},"options":{"ignore_change_password_upon_first_use":true}`)
	create("with a taken name", u, "")
	create("with a taken name and blanks", "  "+u+"\\t", "")
	create("in other case", "U-"+suffix, "")
	create("with blanks", " "+v+" ", "")
	say("user whose name was sent with blanks", r.do("GET", "/users?name="+v, admin, ""))
	create("with an empty name", "", "")
	create("with a name of blanks only", "  ", "")
	create("with a name of 255 characters", strings.Repeat("é", 255-len(u))+u, "")
	create("with a name of 256 characters", strings.Repeat("é", 256-len(u))+u, "")
	create("in no domain", "x-"+suffix, `,"domain_id":"nope"`)
	create("with an unknown option", "x-"+suffix, `,"options":{"x":true}`)
	create("with a text as an option", "x-"+suffix, `,"options":{"lock_password":"x"}`)
	create("with a text as the options", "x-"+suffix, `,"options":"x"`)
	create("with a number as the password", "x-"+suffix, `,"password":5`)
	create("with a text in the field enabled", "x-"+suffix, `,"enabled":"x"`)
	say("create user without a name", r.do("POST", "/users", admin, `{"user":{"password":"pw"}}`))
	say("create user without a token", r.do("POST", "/users", "", `{"user":{"name":"x"}}`))

	say("user with more fields", r.do("GET", "/users/"+user, admin, ""))
	say("users with more fields", r.do("GET", "/users?name="+u, admin, ""))
	login := func(what, name, password string) answer {
		return say("login "+what, r.do("POST", "/auth/tokens", "",
			passwordLogin(fmt.Sprintf(`"name":%q,"domain":{"id":"default"}`, name), password, `"unscoped"`)))
	}
	token := login("by name", u, "pw").token()
	login("with blanks in the name", " "+u, "pw")
	update := func(what, fields string) {
		say("update user "+what, r.do("PATCH", "/users/"+user, admin, `{"user":{`+fields+`}}`))
	}
	update("with another attribute", `"tenantry_run":null,"new":1`)
	say("validate token after another attribute", r.do("GET", "/auth/tokens?nocatalog", admin, "", "X-Subject-Token", token))
	update("with the same password", `"password":"pw"`)
	say("validate token after the same password", r.do("GET", "/auth/tokens", admin, "", "X-Subject-Token", token))
	say("use token after the same password", r.do("GET", "/auth/projects", token, ""))
	update("with nothing", ``)
	update("with a taken name", `"name":"`+v+`"`)
	update("with an unknown option", `"options":{"x":1}`)
	update("without an option", `"options":{"ignore_change_password_upon_first_use":null}`)
	update("without a password", `"password":null`)
	login("without a password", u, "pw")
	say("update no user", r.do("PATCH", "/users/nope", admin, `{"user":{"password":"x"}}`))

	factors := create("with multi-factor rules", "a-"+suffix, `,"options":{"multi_factor_auth_rules":[["password","mapped"]]}`)
	second := login("with a missing method", "a-"+suffix, "pw")
	say("header of a login with a missing method", answer{status: 200, body: map[string]any{
		"receipt": second.header.Get("Openstack-Auth-Receipt") != "", "www": second.header.Get("Www-Authenticate") != "", "token": second.token() != "",
	}})
	login("with a wrong password and a missing method", "a-"+suffix, "x")

	group := r.must(201, "POST", "/groups", admin, fmt.Sprintf(`{"group":{"name":"g-%s"}}`, suffix)).get("group", "id")
	member := "/groups/" + group + "/users/" + factors
	say("groups of a user without a group", r.do("GET", "/users/"+factors+"/groups", admin, ""))
	say("add member", r.do("PUT", member, admin, ""))
	say("add member again", r.do("PUT", member, admin, ""))
	say("add nobody", r.do("PUT", "/groups/"+group+"/users/nope", admin, ""))
	say("add to no group", r.do("PUT", "/groups/nope/users/"+factors, admin, ""))
	say("is member", r.do("HEAD", member, admin, ""))
	say("groups of a user", r.do("GET", "/users/"+factors+"/groups", admin, ""))
	say("groups of nobody", r.do("GET", "/users/nope/groups", admin, ""))
	say("groups without a token", r.do("GET", "/users/"+factors+"/groups", "", ""))
	say("remove member", r.do("DELETE", member, admin, ""))
	say("remove member again", r.do("DELETE", member, admin, ""))
	r.must(204, "PUT", member, admin, "")

	for _, id := range created {
		say("delete user", r.do("DELETE", "/users/"+id, admin, ""))
	}
	say("delete user again", r.do("DELETE", "/users/"+user, admin, ""))
	r.must(204, "DELETE", "/groups/"+group, admin, "")
}
