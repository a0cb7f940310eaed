package keystonetest_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/clouds"
	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/keystone/keystonetest"
)

func start(t *testing.T) (*keystonetest.Keystone, keystone.Cloud) {
	t.Helper()
	k := keystonetest.New(keystonetest.Options{})
	url, stop, err := k.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	cloud, err := clouds.Open(conn.Config{URL: url, Credential: conn.Credential{
		Username: "admin", UserDomainName: "Default", Password: "secret", ProjectName: "admin", ProjectDomainName: "Default",
	}, MayWriteDomain: func(string) bool { return true }})
	if err != nil {
		t.Fatal(err)
	}
	return k, cloud
}

// The function `list` returns the names of all projects, and all role assignments.
func list(t *testing.T, cloud keystone.Cloud) (projects []string, grants []keystone.Granted) {
	t.Helper()
	_, err := cloud.EachProject(t.Context(), keystonetest.DefaultDomain, "", func(p keystone.Project) { projects = append(projects, p.Name) })
	if err != nil {
		t.Fatal(err)
	}
	if err := cloud.EachAssignment(t.Context(), keystone.AssignmentFilter{}, func(g keystone.Granted) { grants = append(grants, g) }); err != nil {
		t.Fatal(err)
	}
	return projects, grants
}

func TestWhatIsLeftAfterManyRemovalsIsFound(t *testing.T) {
	k, cloud := start(t)
	role, err := k.Role("member")
	if err != nil {
		t.Fatal(err)
	}
	wantProjects, wantGrants := list(t, cloud)
	var gone []string
	for i := range 500 {
		user := k.AddUser(keystonetest.User{Name: fmt.Sprintf("u-%d", i)})
		n := keystone.NewProject{Name: fmt.Sprintf("bs-customer-%d", i), DomainID: keystonetest.DefaultDomain, RunTag: "r"}
		id := k.AddProject(keystone.Project{Name: n.Name, Tags: []string{"r"}})
		a := keystone.Assignment{ProjectID: id, UserID: user, RoleID: role.ID}
		reader := a
		reader.RoleID = k.AddRole(fmt.Sprintf("reader-%d", i))
		k.Assign(reader)
		k.Assign(a)
		k.Unassign(reader)
		switch i % 9 {
		case 0:
			wantProjects = append(wantProjects, n.Name)
			wantGrants = append(wantGrants, keystone.Granted{ProjectID: id, UserID: user, RoleID: role.ID})
		case 1:
			k.RemoveUser(user)
			wantProjects = append(wantProjects, n.Name)
		case 2:
			k.Unassign(a)
			wantProjects = append(wantProjects, n.Name)
		default:
			if _, err := cloud.RemoveProject(t.Context(), keystone.Project{Name: n.Name, DomainID: n.DomainID}, "r"); err != nil {
				t.Fatal(err)
			}
			gone = append(gone, n.Name)
		}
	}
	projects, grants := list(t, cloud)
	if !slices.Equal(projects, wantProjects) {
		t.Errorf("projects\n got %v\nwant %v", projects, wantProjects)
	}
	if !slices.Equal(grants, wantGrants) {
		t.Errorf("role assignments\n got %v\nwant %v", grants, wantGrants)
	}
	for _, name := range wantProjects {
		p, err := cloud.FindProject(t.Context(), keystonetest.DefaultDomain, name)
		if err != nil || p.Name != name {
			t.Errorf("%s: got %+v, %v", name, p, err)
		}
	}
	for _, g := range wantGrants {
		roles, err := cloud.AssignedRoles(t.Context(), g.ProjectID, g.UserID)
		if err != nil || !slices.Equal(roles, []string{g.RoleID}) {
			t.Errorf("%+v: got %v, %v", g, roles, err)
		}
	}
	for _, name := range gone {
		if p, err := cloud.FindProject(t.Context(), keystonetest.DefaultDomain, name); !errors.Is(err, keystone.ErrNotFound) {
			t.Errorf("%s: got %+v, %v; want nothing", name, p, err)
		}
	}
}

// Run this test with the race detector, because lists are encoded while objects change.
func TestListsAreEncodedWhileObjectsChange(t *testing.T) {
	k, cloud := start(t)
	group := k.AddGroup("g", "")
	role := k.AddRole("operator", "member")
	id := k.AddProject(keystone.Project{Name: "bs-customer-x"})
	k.Grant(keystone.Granted{GroupID: group, DomainID: keystonetest.DefaultDomain, RoleID: role, Inherited: true})
	for i := range 200 {
		k.AddProject(keystone.Project{Name: fmt.Sprintf("bs-customer-%d", i)})
	}
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for i := range 50 {
				k.TagProject(id, fmt.Sprint(w), fmt.Sprint(i))
				k.EnableProject(id, i%2 == 0)
				k.EnableUser(k.AddUser(keystonetest.User{Name: fmt.Sprintf("u-%d-%d", w, i)}), false)
			}
		})
	}
	for range 20 {
		projects, grants := list(t, cloud)
		if len(projects) != 202 || len(grants) != 2 {
			t.Errorf("got %d projects and %d role assignments", len(projects), len(grants))
		}
		if _, err := cloud.EachUser(t.Context(), keystonetest.DefaultDomain, func(keystone.User) {}); err != nil {
			t.Error(err)
		}
	}
	writers.Wait()
}

// A client that reads a list slowly does not delay other requests. If a list were encoded under the lock, this test would not end.
func TestAListIsNotEncodedUnderTheLock(t *testing.T) {
	k, _ := start(t)
	user := k.Assignments()[0].UserID
	login := `{"auth":{"identity":{"methods":["password"],"password":{"user":{"id":"` + user + `","password":"secret"}}},"scope":{"system":{"all":true}}}}`
	token := httptest.NewRecorder()
	req := httptest.NewRequest(http.MethodPost, "/v3/auth/tokens", strings.NewReader(login))
	req.Header.Set("Content-Type", "application/json")
	k.ServeHTTP(token, req)
	req = httptest.NewRequest(http.MethodGet, "/v3/users", http.NoBody)
	req.Header.Set("X-Auth-Token", token.Header().Get("X-Subject-Token"))
	answer := &writer{ResponseRecorder: httptest.NewRecorder(), write: func() { k.EnableUser(user, true) }}
	k.ServeHTTP(answer, req)
	if answer.writes == 0 || answer.Code != http.StatusOK {
		t.Errorf("got %d %s after %d writes", answer.Code, answer.Body, answer.writes)
	}
}

// The type `writer` calls the function `write` before each write.
type writer struct {
	*httptest.ResponseRecorder

	write  func()
	writes int
}

func (w *writer) Write(b []byte) (int, error) {
	w.writes++
	w.write()
	return w.ResponseRecorder.Write(b)
}
