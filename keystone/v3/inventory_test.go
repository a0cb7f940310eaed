package v3_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/conn"
	v3 "github.com/tenantry/tenantry/keystone/v3"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// The function `stub` returns a Cloud that calls a stub of Keystone. The stub accepts the login, and answers all other requests with the
// function `answers`.
func stub(t *testing.T, answers roundTrip) *v3.Cloud {
	t.Helper()
	login := answer(201, `{"token":{"expires_at":"2999-01-01T00:00:00.000000Z","project":{"id":"p"}}}`, "X-Subject-Token", "gAAAA-canary")
	cloud, err := v3.New(conn.Config{
		URL: "http://k.invalid", Credential: conn.Credential{Username: "u", UserDomainID: "d", Password: "canary", ProjectID: "p"},
		MayWriteDomain: func(string) bool { return true },
		Base: roundTrip(func(r *http.Request) (*http.Response, error) {
			if isLogin(r) {
				return login(r)
			}
			return answers(r)
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	return cloud
}

// bodyOf returns a round tripper that answers with status 200. The function `next` returns the parts of the answer's body, one by one.
func bodyOf(next func() (part string, ok bool)) roundTrip {
	return func(r *http.Request) (*http.Response, error) {
		return &http.Response{
			StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(&parts{next: next}), Request: r,
		}, nil
	}
}

type parts struct {
	next func() (string, bool)
	rest string
}

func (p *parts) Read(b []byte) (int, error) {
	if p.rest == "" {
		var ok bool
		if p.rest, ok = p.next(); !ok {
			return 0, io.EOF
		}
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

// The variable `elements` contains an element of each list. The key is the name of the list's field, and %d stands for a number.
var elements = map[string]string{
	"projects":         `{"id":"p%d","name":"bs-customer-1","domain_id":"d","enabled":true,"tags":["a"],"links":{"self":"x"}}`,
	"users":            `{"id":"u%d","name":"ann","domain_id":"d","enabled":true}`,
	"role_assignments": `{"role":{"id":"r"},"user":{"id":"u%d"},"scope":{"project":{"id":"p"}},"links":{}}`,
}

// The function `each` reads the list with this field name from the Inventory, and calls take for each element.
func each(ctx context.Context, i keystone.Inventory, field string, take func()) (whole bool, err error) {
	switch field {
	case "projects":
		return i.EachProject(ctx, "d", "", func(keystone.Project) { take() })
	case "users":
		return i.EachUser(ctx, "d", func(keystone.User) { take() })
	default:
		err = i.EachAssignment(ctx, keystone.AssignmentFilter{}, func(keystone.Granted) { take() })
		return err == nil, err
	}
}

func TestAnElementIsTakenBeforeTheNextIsRead(t *testing.T) {
	const count = 6000 // more elements than listLimits allows
	for field, element := range elements {
		sent, taken := 0, 0
		cloud := stub(t, bodyOf(func() (string, bool) {
			if sent > taken+1 {
				t.Fatalf("%s: %d elements are read, and %d are taken", field, sent, taken)
			}
			sent++
			one := fmt.Sprintf(element, sent)
			switch sent {
			case 1:
				return `{"` + field + `":[` + one, true
			case count:
				return `,` + one + `]}`, true
			}
			return `,` + one, sent <= count
		}))
		whole, err := each(t.Context(), cloud, field, func() { taken++ })
		if err != nil || !whole || taken != count {
			t.Errorf("%s: taken %d, whole %t, %v", field, taken, whole, err)
		}
	}
}

func TestAListThatIsNotWellFormedIsAnError(t *testing.T) {
	for field, element := range elements {
		one := fmt.Sprintf(element, 1)
		list := func(elements string) string { return `{"` + field + `":[` + elements + `],"links":{"next":null}}` }
		without := func(name string) string { return strings.Replace(one, `"`+name+`"`, `"other"`, 1) }
		broken := map[string]string{
			"nothing": ``, "an empty object": `{}`, "a page": `<html>`, "null": `null`, "null for the list": `{"` + field + `":null}`,
			"an object for the list": `{"` + field + `":{}}`, "the end after an element": `{"` + field + `":[` + one,
			"the end after a comma": `{"` + field + `":[` + one + `,`, "the end in an element": `{"` + field + `":[` + one + `,` + one[:len(one)/2],
			"the end after the list": `{"` + field + `":[` + one + `]`, "text after the end": list(one) + `{}`, "an error in the list": list(one + `,}`),
			"null in the list": list(one + `,null`), "a text in the list": list(one + `,"a"`), "a number in the list": list(`1,` + one),
			"a list in the list": list(one + `,[]`), "an empty object in the list": list(one + `,{}`), "the list twice": `{"` + field + `":[],"` + field + `":[]}`,
			"a number for truncated": `{"` + field + `":[],"truncated":1}`, "a text for truncated": `{"truncated":"true","` + field + `":[]}`,
			"a large element": list(one + `,{"x":"` + strings.Repeat("x", 512<<10) + `"}`),
		}
		for _, name := range map[string][]string{
			"projects": {"id", "name", "domain_id", "enabled", "tags"}, "users": {"id", "domain_id"}, "role_assignments": {"role", "user", "scope", "project"},
		}[field] {
			broken["no "+name] = list(one + "," + without(name))
			broken["null for "+name] = list(one + "," + strings.Replace(one, `"`+name+`":`, `"`+name+`":null,"other":`, 1))
		}
		if field == "role_assignments" {
			both := func(more string) string { return list(one + "," + strings.Replace(one, `"user"`, more+`,"user"`, 1)) }
			in := func(more string) string {
				return list(one + "," + strings.Replace(one, `"project"`, more+`,"project"`, 1))
			}
			broken["a user and a group"] = both(`"group":{"id":"g"}`)
			broken["a project and a domain"] = in(`"domain":{"id":"d"}`)
			broken["another kind of inheritance"] = in(`"OS-INHERIT:inherited_to":"domains"`)
		}
		for what, body := range broken {
			whole, err := each(t.Context(), stub(t, answer(200, body, "Content-Type", "application/json")), field, func() {})
			e, ok := errors.AsType[*upstream.Error](err)
			if !ok || e.Class != upstream.Transient || whole {
				t.Errorf("%s, %s: got whole %t, %v; want class Transient", field, what, whole, err)
			}
		}
		whole, err := each(t.Context(), stub(t, answer(200, list(one))), field, func() {})
		if err != nil || !whole {
			t.Errorf("%s, well-formed: got whole %t, %v", field, whole, err)
		}
	}
}

func TestAListThatKeystoneHasCutIsNotWhole(t *testing.T) {
	for field, element := range elements {
		for what, list := range map[string]string{
			"truncated after the list":  `{%q:[%s],"links":{"next":null},"truncated":true}`,
			"truncated before the list": `{"truncated":true,%q:[%s]}`,
			"a link to the next page":   `{%q:[%s],"links":{"next":"http://evil.invalid/v3/x?marker=1"}}`,
		} {
			asked := 0
			cloud := stub(t, func(r *http.Request) (*http.Response, error) {
				if asked++; r.URL.Host != "k.invalid" {
					t.Errorf("%s: asked %s", field, r.URL)
				}
				return answer(200, fmt.Sprintf(list, field, fmt.Sprintf(element, 1)))(r)
			})
			taken := 0
			whole, err := each(t.Context(), cloud, field, func() { taken++ })
			if taken != 1 || whole {
				t.Errorf("%s, %s: taken %d, whole %t", field, what, taken, whole)
			}
			if e, ok := errors.AsType[*upstream.Error](err); field == "role_assignments" {
				if !ok || e.Class != upstream.Unavailable || !errors.Is(err, keystone.ErrCut) || !strings.Contains(err.Error(), "list_limit") {
					t.Errorf("%s, %s: got %v; want class Unavailable with ErrCut", field, what, err)
				}
			} else if err != nil {
				t.Errorf("%s, %s: %v", field, what, err)
			}
		}
	}
	for name, call := range map[string]func(*v3.Cloud) error{
		"AllRoles":    func(c *v3.Cloud) error { return only(c.AllRoles(t.Context())) },
		"Implied":     func(c *v3.Cloud) error { return only(c.Implied(t.Context())) },
		"FindProject": func(c *v3.Cloud) error { return only(c.FindProject(t.Context(), "d", "n")) },
	} {
		err := call(stub(t, answer(200, `{"roles":[],"role_inferences":[],"projects":[],"truncated":true}`)))
		if e, ok := errors.AsType[*upstream.Error](err); !ok || e.Class != upstream.Unavailable || !errors.Is(err, keystone.ErrCut) {
			t.Errorf("%s: got %v; want class Unavailable with ErrCut", name, err)
		}
	}
}

func TestAListOfRolesThatIsNotWellFormedIsAnError(t *testing.T) {
	for _, body := range []string{
		`{"roles":[{"name":"a"}]}`, `{"roles":[{"id":"a"}]}`, `{"roles":[null]}`, `{"roles":[{"id":"a","name":"n"}`,
		`{"role_inferences":[{"prior_role":{},"implies":[{"id":"a"}]}]}`, `{"role_inferences":[{"prior_role":{"id":"a"},"implies":[{}]}]}`, `{}`,
	} {
		cloud := stub(t, answer(200, body))
		for name, err := range map[string]error{"AllRoles": only(cloud.AllRoles(t.Context())), "Implied": only(cloud.Implied(t.Context()))} {
			if e, ok := errors.AsType[*upstream.Error](err); !ok || e.Class != upstream.Transient {
				t.Errorf("%s of %s: got %v; want class Transient", name, body, err)
			}
		}
	}
	roles, err := stub(t, answer(200, `{"roles":[{"id":"a","name":"n","domain_id":null},{"id":"b","name":"n","domain_id":"d"}]}`)).AllRoles(t.Context())
	if want := []keystone.Role{{ID: "a", Name: "n"}}; err != nil || !slices.Equal(roles, want) {
		t.Errorf("got %v, %v; want the global role alone", roles, err)
	}
}

// If Keystone ignores the filters of the query, it sends more elements than the Cloud requested.
func TestListsAreFilteredAgain(t *testing.T) {
	ignoring := stub(t, answer(200, `{
		"projects":[{"id":"1","name":"bs-a","domain_id":"d","enabled":true,"tags":[]},{"id":"2","name":"BS-a","domain_id":"d","enabled":true,"tags":[]},
			{"id":"3","name":"bs-a","domain_id":"e","enabled":false,"tags":[]},{"id":"4","name":"bs-b","domain_id":"d","enabled":false,"tags":["t"]},
			{"id":"1","name":"bs-a","domain_id":"d","enabled":true,"tags":[]}],
		"users":[{"id":"1","name":"n","domain_id":"d","enabled":false},{"id":"2","domain_id":"e","enabled":true},{"id":"3","domain_id":"d"},
			{"id":"4","name":"gAAAA-canary","domain_id":"d"}],
		"role_assignments":[{"role":{"id":"r"},"user":{"id":"u"},"scope":{"project":{"id":"p"}}},
			{"role":{"id":"r"},"user":{"id":"v"},"scope":{"project":{"id":"p"}}},
			{"role":{"id":"r"},"user":{"id":"u"},"scope":{"domain":{"id":"d"},"OS-INHERIT:inherited_to":"projects"}},
			{"role":{"id":"r"},"group":{"id":"u"},"scope":{"project":{"id":"p"}}},
			{"role":{"id":"r"},"user":{"id":"u"},"scope":{"system":{"all":true}}}]}`))
	var projects []keystone.Project
	whole, err := ignoring.EachProject(t.Context(), "d", "bs-", func(p keystone.Project) { projects = append(projects, p) })
	if want := []keystone.Project{
		{ID: "1", Name: "bs-a", DomainID: "d", Enabled: true, Tags: []string{}}, {ID: "4", Name: "bs-b", DomainID: "d", Tags: []string{"t"}},
	}; err != nil || !whole || !reflect.DeepEqual(projects, want) {
		t.Errorf("got %+v, whole %t, %v; want %+v", projects, whole, err, want)
	}
	var users []keystone.User
	whole, err = ignoring.EachUser(t.Context(), "d", func(u keystone.User) { users = append(users, u) })
	if want := []keystone.User{
		{ID: "1", Name: "n", DomainID: "d"}, {ID: "3", DomainID: "d", Enabled: true}, {ID: "4", Name: "[secret]", DomainID: "d", Enabled: true},
	}; err != nil || !whole || !reflect.DeepEqual(users, want) {
		t.Errorf("got %+v, whole %t, %v; want %+v", users, whole, err, want)
	}
	user := keystone.Granted{RoleID: "r", UserID: "u", ProjectID: "p"}
	inherited := keystone.Granted{RoleID: "r", UserID: "u", DomainID: "d", Inherited: true}
	other, group := user, keystone.Granted{RoleID: "r", GroupID: "u", ProjectID: "p"}
	other.UserID = "v"
	for filter, want := range map[keystone.AssignmentFilter][]keystone.Granted{
		{}:                               {user, other, inherited, group},
		{ProjectID: "p"}:                 {user, other, group},
		{UserID: "u"}:                    {user, inherited},
		{ProjectID: "p", UserID: "u"}:    {user},
		{ProjectID: "nope", UserID: "u"}: nil,
	} {
		var got []keystone.Granted
		err := ignoring.EachAssignment(t.Context(), filter, func(g keystone.Granted) { got = append(got, g) })
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%+v: got %+v, %v; want %+v", filter, got, err, want)
		}
	}
}

func TestAUserWithoutAStateIsEnabled(t *testing.T) {
	for body, want := range map[string]bool{
		`{"user":{"id":"u","name":"n","domain_id":"d"}}`: true, `{"user":{"id":"u","name":"n","domain_id":"d","enabled":false}}`: false,
	} {
		u, err := stub(t, answer(200, body)).User(t.Context(), "u")
		if err != nil || u.Enabled != want {
			t.Errorf("%s: got %+v, %v", body, u, err)
		}
	}
}

func TestALongListHasMoreTime(t *testing.T) {
	var left time.Duration
	cloud := stub(t, func(r *http.Request) (*http.Response, error) {
		deadline, _ := r.Context().Deadline()
		left = time.Until(deadline)
		return answer(200, `{"projects":[],"users":[],"role_assignments":[]}`)(r)
	})
	for field := range elements {
		if _, err := each(t.Context(), cloud, field, nil); err != nil || left < 2*time.Minute || left > 5*time.Minute {
			t.Errorf("%s: got %s, %v; want 5 min", field, left, err)
		}
	}
	if err := only(cloud.AssignedRoles(t.Context(), "p", "u")); err != nil || left > 30*time.Second {
		t.Errorf("a short list: got %s, %v; want 30 s", left, err)
	}
}

func TestAMissingCollectionIsAnOutage(t *testing.T) {
	for field := range elements {
		_, err := each(t.Context(), stub(t, answer(404, body(404))), field, nil)
		compare(t, field, err, classification{class: upstream.Unavailable})
		if errors.Is(err, keystone.ErrNotFound) {
			t.Errorf("%s: got %v", field, err)
		}
	}
}

func TestReachIsOneScope(t *testing.T) {
	const roles = `"roles":[{"id":"r","name":"n"}]`
	for body, want := range map[string]keystone.Reach{
		`{"project":{"id":"p"},` + roles + `}`:                       {ProjectID: "p"},
		`{"domain":{"id":"d"},` + roles + `}`:                        {DomainID: "d"},
		`{"system":{"all":true},` + roles + `}`:                      {System: true},
		`{` + roles + `}`:                                            {},
		`{"project":{"id":"p"},"domain":{"id":"d"},` + roles + `}`:   {},
		`{"project":{"id":"p"},"system":{"all":true},` + roles + `}`: {},
		`{"system":{"all":false},` + roles + `}`:                     {},
		`{"project":{"id":"p"}}`:                                     {},
		`{"project":{"name":"p"},` + roles + `}`:                     {},
		`null`:                                                       {},
	} {
		cloud := stub(t, func(r *http.Request) (*http.Response, error) {
			if r.Header.Get("X-Auth-Token") != "gAAAA-canary" || r.Header.Get("X-Subject-Token") != "gAAAA-canary" {
				t.Errorf("got %v", r.Header)
			}
			return answer(200, `{"token":`+body+`}`)(r)
		})
		got, err := cloud.Reach(t.Context())
		if !reflect.DeepEqual(want, keystone.Reach{}) {
			want.Roles = []keystone.Role{{ID: "r", Name: "n"}}
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: got %+v, %v; want %+v", body, got, err, want)
			}
			continue
		}
		if e, ok := errors.AsType[*upstream.Error](err); !ok || e.Class != upstream.Transient || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v; want class Transient", body, got, err)
		}
	}
	_, err := stub(t, answer(404, body(404))).Reach(t.Context())
	compare(t, "a token that became invalid", err, classification{class: upstream.Unavailable})
	_, err = stub(t, answer(500, `{"error":{"code":500,"message":"gAAAA-canary is odd"}}`)).Reach(t.Context())
	if strings.Contains(err.Error(), "canary") {
		t.Errorf("got %v", err)
	}
}
