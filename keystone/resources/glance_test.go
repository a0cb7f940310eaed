package resources_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/keystone/clouds"
	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/keystone/resources"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// The type `real` calls the real Keystone and the real Glance that deploy/testservices/run starts.
type real struct {
	t        *testing.T
	keystone string
	glance   string
	token    string // the token of the user admin
	admin    conn.Config
}

func startReal(t *testing.T) *real {
	t.Helper()
	r := &real{t: t, keystone: os.Getenv("TENANTRY_TEST_KEYSTONE_URL")}
	if r.keystone == "" {
		t.Fatal("TENANTRY_TEST_KEYSTONE_URL is not set: run the tests with deploy/testservices/run")
	}
	r.admin = r.login("admin", os.Getenv("TENANTRY_TEST_KEYSTONE_PASSWORD"), "", "admin")
	cloud, err := clouds.Open(r.admin)
	if err != nil {
		t.Fatal(err)
	}
	access, err := cloud.Access(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.token = access.Token
	for _, entry := range access.Catalog {
		if entry.Type == "image" {
			r.glance = entry.Endpoints[0].URL
		}
	}
	if r.glance == "" {
		t.Fatal("Keystone's catalog has no Glance: run the tests with deploy/testservices/run")
	}
	t.Log("real: keystone")
	t.Log("real: glance")
	return r
}

// The method `login` returns a configuration that logs in a user of the domain Default, on the project with this id or name.
func (r *real) login(user, password, projectID, projectName string) conn.Config {
	return conn.Config{URL: r.keystone, Credential: conn.Credential{
		Username: user, UserDomainID: "default", Password: password,
		ProjectID: projectID, ProjectName: projectName, ProjectDomainID: "default",
	}}
}

// The method `call` sends a request as the user admin, and returns the object in the field `kind` of the answer. If there is no such
// object, `call` returns the whole answer.
func (r *real) call(method, url, kind string, body any) (answer object) {
	r.t.Helper()
	var content []byte
	if body != nil {
		content, _ = json.Marshal(body)
	}
	req, err := http.NewRequestWithContext(r.t.Context(), method, url, bytes.NewReader(content))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("X-Auth-Token", r.token)
	req.Header.Set("Content-Type", "application/json")
	if method == http.MethodPatch && strings.Contains(url, "/v2/images/") {
		req.Header.Set("Content-Type", "application/openstack-images-v2.1-json-patch")
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	if resp.StatusCode/100 != 2 {
		r.t.Fatalf("%s %s: status %d: %s", method, url, resp.StatusCode, text)
	}
	_ = json.Unmarshal(text, &answer)
	if inner, ok := answer[kind].(object); ok {
		return inner
	}
	return answer
}

// The method `project` creates a project with a member, and removes both at the end.
func (r *real) project(name string) (id string, member conn.Config) {
	r.t.Helper()
	name += "-" + strings.ToLower(strings.ReplaceAll(r.t.Name(), "/", "-"))
	create := func(kind string, o object) string {
		return r.call("POST", r.keystone+"/"+kind+"s", kind, object{kind: o})["id"].(string)
	}
	id = create("project", object{"name": name, "domain_id": "default"})
	user := create("user", object{"name": name, "domain_id": "default", "password": "pw-" + name})
	roles := r.call("GET", r.keystone+"/roles?name=member", "", nil)["roles"].([]any)
	r.call("PUT", fmt.Sprintf("%s/projects/%s/users/%s/roles/%s", r.keystone, id, user, roles[0].(object)["id"]), "", nil)
	r.t.Cleanup(func() {
		// These requests have no context, because the test's context has ended.
		for _, path := range []string{"/users/" + user, "/projects/" + id} {
			req, _ := http.NewRequest(http.MethodDelete, r.keystone+path, nil)
			req.Header.Set("X-Auth-Token", r.token)
			if resp, err := http.DefaultTransport.RoundTrip(req); err == nil {
				_ = resp.Body.Close()
			}
		}
	})
	return id, r.login(name, "pw-"+name, id, "")
}

// The method `image` creates an image that belongs to the project and contains some data. The result is the id of the image.
func (r *real) image(project, name, visibility string, hidden bool) string {
	r.t.Helper()
	id := r.call("POST", r.glance+"/v2/images", "", object{
		"name": name, "owner": project, "visibility": visibility, "os_hidden": hidden, "disk_format": "raw", "container_format": "bare",
	})["id"].(string)
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPut, r.glance+"/v2/images/"+id+"/file", strings.NewReader("data"))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("X-Auth-Token", r.token)
	req.Header.Set("Content-Type", "application/octet-stream")
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusNoContent {
		r.t.Fatalf("uploading: %v, %v", resp, err)
	}
	_ = resp.Body.Close()
	return id
}

// The method `prove` returns the proof for a project. The transport may be nil.
func (r *real) prove(cloud conn.Config, project string, via http.RoundTripper) resources.Proof {
	r.t.Helper()
	prover, err := resources.New(resources.Config{Cloud: cloud, Transport: via})
	if err != nil {
		r.t.Fatal(err)
	}
	proof, err := prover.Empty(r.t.Context(), project, disabled)
	if err != nil {
		r.t.Fatal(err)
	}
	check(r.t, proof)
	return proof
}

func (r *real) disable(project string) {
	r.t.Helper()
	r.call("PATCH", r.keystone+"/projects/"+project, "project", object{"project": object{"enabled": false}})
}

func TestRealGlance(t *testing.T) {
	r := startReal(t)
	project, _ := r.project("tenant")
	other, _ := r.project("other")
	r.image(other, "of another customer", "private", false)
	want := func(what string, want ...string) {
		t.Helper()
		wantLines(t, what, r.prove(r.admin, project, nil), want...)
	}
	want("while the project is enabled", "identity: the project is enabled, so users can create resources in it")
	r.disable(project)
	want("without images")
	for _, visibility := range []string{"private", "shared", "community", "public"} {
		for kind, hidden := range map[string]bool{"images": false, "hidden images": true} {
			if visibility == "community" {
				kind = strings.Replace(kind, "images", "community images", 1)
			}
			id := r.image(project, visibility+" disk", visibility, hidden)
			want(visibility+" "+kind, fmt.Sprintf(`image in region "RegionOne" has %s (1): "%s disk" (%s)`, kind, visibility, id))
			r.call("DELETE", r.glance+"/v2/images/"+id, "", nil)
			want("after the deletion of the " + visibility + " image")
		}
	}
	// This image is protected, and has no data.
	id := r.call("POST", r.glance+"/v2/images", "", object{"name": "", "owner": project, "protected": true})["id"].(string)
	want("a queued image", fmt.Sprintf(`image in region "RegionOne" has images (1): %s`, id))
	r.call("PATCH", r.glance+"/v2/images/"+id, "", []object{{"op": "replace", "path": "/protected", "value": false}})
	r.call("DELETE", r.glance+"/v2/images/"+id, "", nil)
	want("at the end")
}

func TestRealGlanceLinksPages(t *testing.T) {
	r := startReal(t)
	project, _ := r.project("tenant")
	r.disable(project)
	for i := range 3 {
		r.call("POST", r.glance+"/v2/images", "", object{"name": fmt.Sprintf("disk %d", i), "owner": project})
	}
	pages := 0
	pagesOfOne := transport(func(req *http.Request) (*http.Response, error) {
		query := req.URL.Query()
		if query.Has("limit") {
			query.Set("limit", "1")
			req = req.Clone(req.Context())
			req.URL.RawQuery = query.Encode()
			pages++
		}
		return http.DefaultTransport.RoundTrip(req)
	})
	proof := r.prove(r.admin, project, pagesOfOne)
	if got := found(proof, "image", "images"); got.Count != 3 || len(got.Examples) != 3 || len(proof.Reasons()) != 1 || pages < 6 {
		t.Errorf("got %+v, %q, %d pages", got, proof.Reasons(), pages)
	}
	for _, e := range found(proof, "image", "images").Examples {
		r.call("DELETE", r.glance+"/v2/images/"+e.ID, "", nil)
	}
}

// Glance's list for a member omits the private images of other projects. The answer does not show that images are omitted.
func TestRealGlanceDoesNotMisleadACredentialWithoutRights(t *testing.T) {
	r := startReal(t)
	project, _ := r.project("tenant")
	r.disable(project)
	_, member := r.project("member")
	id := r.image(project, "disk", "private", false)
	proof := r.prove(member, project, nil)
	if u := proof.Unproven; len(proof.Found) != 0 || len(u) != 2 || u[0].Class != upstream.Blocked || u[1].Class != upstream.Blocked ||
		!strings.Contains(u[0].Detail, "lacks a permission: identity:get_project: Keystone answered 403 Forbidden") ||
		u[1].Type != "image" || u[1].Detail != "GET /v2/tasks: status 403 Forbidden" || !strings.HasPrefix(u[1].RequestID, "req-") {
		t.Errorf("got %+v", proof)
	}
	r.call("DELETE", r.glance+"/v2/images/"+id, "", nil)
}
