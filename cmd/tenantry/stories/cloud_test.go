package stories_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/workflows/workflowstest"
)

// The type `cloud` is a Keystone, real or in memory. The test calls Keystone over plain HTTP as Keystone's administrator.
type cloud struct {
	url      string // address at which the replicas call Keystone; ends in /v3
	direct   string
	password string
	token    string
	domain   string // id of the domain that has the users and tenants

	second bool // the replicas use Identity v2.0

	memory  *keystonetest.Keystone // nil for a real Keystone
	all     workflowstest.Cloud    // lists all projects and role assignments; nil if other tests use this Keystone too
	removed *workflowstest.Recorder
}

// memoryCloud returns an in-memory Keystone. The replicas send their requests to this Keystone through the given proxy.
func memoryCloud(t testing.TB, in *upstream) cloud {
	t.Helper()
	return memoryCloudOf(t, in, false)
}

// memoryCloudOf is like memoryCloud. If `second` is true, the replicas use Identity v2.0. The test itself always uses Identity v3.
func memoryCloudOf(t testing.TB, in *upstream, second bool) cloud {
	t.Helper()
	memory := keystonetest.New(keystonetest.Options{AdminPassword: "canary-password", Pike: second})
	if second {
		memory.AddRole("member")
	}
	removed := &workflowstest.Recorder{Tags: workflowstest.TagsIn(memory), Now: time.Now}
	in.next = removed.Handler(memory)
	c := front(t, in, "canary-password")
	c.ensureRole(t)
	c.memory, c.all, c.removed, c.second = memory, memory, removed, second
	return c
}

// realCloud returns the Keystone that `make test` starts. The replicas send their requests to this Keystone through the given
// proxy.
func realCloud(t testing.TB, in *upstream) cloud {
	t.Helper()
	base := os.Getenv("TENANTRY_TEST_KEYSTONE_URL")
	if base == "" {
		t.Fatal("there is no Keystone: run the test with `make test`, which starts a Keystone")
	}
	t.Log("real: keystone")
	in.next = passedOn(t, base)
	c := front(t, in, os.Getenv("TENANTRY_TEST_KEYSTONE_PASSWORD"))
	c.ensureRole(t)
	return c
}

// passedOn returns a proxy that forwards requests to a Keystone. If Keystone closes a connection without an answer, the proxy
// closes its client's connection too. If Keystone is down, the proxy answers 503.
func passedOn(t testing.TB, base string) http.Handler {
	t.Helper()
	u, err := url.Parse(strings.TrimSuffix(base, "/v3"))
	if err != nil {
		t.Fatal(err)
	}
	return &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(u) },
		Transport: &http.Transport{DisableKeepAlives: true, MaxConnsPerHost: 32},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			if !errors.Is(err, syscall.ECONNREFUSED) {
				panic(http.ErrAbortHandler)
			}
			w.WriteHeader(http.StatusServiceUnavailable)
		},
	}
}

// The function `front` returns the Keystone `in.next`, behind the proxy. It logs in as Keystone's administrator.
func front(t testing.TB, in *upstream, password string) cloud {
	t.Helper()
	srv := httptest.NewServer(in)
	t.Cleanup(srv.Close)
	direct := httptest.NewServer(in.next)
	t.Cleanup(direct.Close)
	c := cloud{url: srv.URL + "/v3", direct: direct.URL + "/v3", password: password, domain: "default"}
	c.token = c.login(t, "admin", password, `{"project":{"name":"admin","domain":{"id":"default"}}}`)
	return c
}

var roleMade sync.Mutex

// ensureRole creates the role bs-admin, unless Keystone has it.
func (c cloud) ensureRole(t testing.TB) {
	t.Helper()
	roleMade.Lock()
	defer roleMade.Unlock()
	var found struct{ Roles []struct{ Name string } }
	c.call(t, http.MethodGet, "/roles?name=bs-admin", nil, &found)
	if len(found.Roles) == 0 {
		c.call(t, http.MethodPost, "/roles", map[string]any{"role": map[string]any{"name": "bs-admin"}}, nil)
	}
}

// The method `env` returns the variables with which replicas and commands find Keystone and log in.
func (c cloud) env() []string {
	common := []string{"OS_USERNAME=admin", "OS_PASSWORD=" + c.password, "OS_PROJECT_NAME=admin", "OS_USER_DOMAIN_NAME=Default", "OS_PROJECT_DOMAIN_NAME=Default"}
	if c.second {
		return append(common, "OS_AUTH_URL="+strings.TrimSuffix(c.url, "/v3")+"/v2.0", "OS_IDENTITY_API_VERSION=2.0")
	}
	return append(common, "OS_AUTH_URL="+c.url, "OS_IDENTITY_API_VERSION=3")
}

// The method `login` returns a token for a user of the cloud's domain. The parameter `scope` is the token's scope in JSON.
func (c cloud) login(t testing.TB, user, password, scope string) string {
	t.Helper()
	body := fmt.Sprintf(`{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":%q,"password":%q,`+
		`"domain":{"id":%q}}}},"scope":%s}}`, user, password, c.domain, scope)
	resp, err := http.Post(c.direct+"/auth/tokens", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("logging %s in: %s", user, resp.Status)
	}
	return resp.Header.Get("X-Subject-Token")
}

func (c cloud) call(t testing.TB, method, path string, body, out any) {
	t.Helper()
	var sent io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		sent = bytes.NewReader(encoded)
	}
	req, err := http.NewRequest(method, c.direct+path, sent)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Auth-Token", c.token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode >= http.StatusBadRequest {
		t.Fatalf("%s %s: %s: %s", method, path, resp.Status, data)
	}
	if out != nil {
		if err := json.Unmarshal(data, out); err != nil {
			t.Fatalf("%s %s: %s: %s", method, path, resp.Status, data)
		}
	}
}

// newUser creates a user, and returns the user's id and an unscoped token.
func (c cloud) newUser(t testing.TB) (id, token string) {
	t.Helper()
	name := "user-" + uuid.NewString()
	var made struct{ User struct{ ID string } }
	c.call(t, http.MethodPost, "/users", map[string]any{"user": map[string]any{
		"name": name, "password": "canary-user-password", "domain_id": c.domain,
	}}, &made)
	return made.User.ID, c.login(t, name, "canary-user-password", `"unscoped"`)
}

type project struct {
	ID      string
	Name    string
	Enabled bool
	Tags    []string
}

// The method `project` returns the project with the given name. The test fails if the number of projects with this name is not 1.
func (c cloud) project(t testing.TB, name string) project {
	t.Helper()
	var found struct{ Projects []project }
	c.call(t, http.MethodGet, "/projects?domain_id="+c.domain+"&name="+name, nil, &found)
	if len(found.Projects) != 1 {
		t.Fatalf("%d projects have the name %s", len(found.Projects), name)
	}
	return found.Projects[0]
}

// The method `marked` returns the names of the projects that a merchant's runs have created.
func (c cloud) marked(t testing.TB, merchant string) (names []string) {
	t.Helper()
	var found struct{ Projects []project }
	c.call(t, http.MethodGet, "/projects?tags=tenantry-merchant-"+merchant, nil, &found)
	for _, p := range found.Projects {
		names = append(names, p.Name)
	}
	return names
}

// The method `roles` returns the sorted names of the roles that a user has on a project.
func (c cloud) roles(t testing.TB, projectID, user string) (names []string) {
	t.Helper()
	var found struct{ Roles []struct{ Name string } }
	c.call(t, http.MethodGet, "/projects/"+projectID+"/users/"+user+"/roles", nil, &found)
	for _, r := range found.Roles {
		names = append(names, r.Name)
	}
	slices.Sort(names)
	return names
}

// The method `validate` returns the user id and the project id of a token.
func (c cloud) validate(t testing.TB, token string) (user, project string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, c.direct+"/auth/tokens", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Auth-Token", c.token)
	req.Header.Set("X-Subject-Token", token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var seen struct {
		Token struct{ User, Project struct{ ID string } }
	}
	if err := json.NewDecoder(resp.Body).Decode(&seen); err != nil {
		t.Fatal(err)
	}
	return seen.Token.User.ID, seen.Token.Project.ID
}
