package stories_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/workflows/workflowstest"
)

// ownKeystone starts a real Keystone for one test, and returns the cloud and Keystone's process. The replicas send their
// requests to this Keystone through the given proxy. All users and tenants of the test are in a new domain.
func ownKeystone(t testing.TB, h home, in *upstream) (cloud, *daemon) {
	t.Helper()
	base, password, d := startKeystone(t, h)
	seen := &administered{t: t}
	removed := &workflowstest.Recorder{Tags: seen.tags, Now: time.Now}
	in.next = removed.Handler(passedOn(t, base))
	c := front(t, in, password)
	c.ensureRole(t)
	var made struct{ Domain keystone.Domain }
	c.call(t, http.MethodPost, "/domains", map[string]any{"domain": map[string]any{"name": "customers"}}, &made)
	c.domain, c.all, c.removed = made.Domain.ID, seen, removed
	seen.cloud = c
	return c, d
}

// startKeystone starts a real Keystone for one test, and returns Keystone's address, the administrator's password and Keystone's process.
func startKeystone(t testing.TB, h home) (url, password string, d *daemon) {
	t.Helper()
	t.Log("real: keystone")
	port := freePort(t)
	url, password = "http://127.0.0.1:"+port+"/v3", uuid.NewString()
	d = newDaemon(t, h, "keystone", h.dir+"/keystone.d", port, password, "true")
	d.await(func() error {
		resp, err := http.Get(url)
		if err == nil {
			err = resp.Body.Close()
		}
		return err
	})
	return url, password, d
}

// The type `administered` reads the projects, users and assignments of a real Keystone as its administrator.
type administered struct {
	t     testing.TB
	cloud cloud
}

// Projects implements [workflowstest.Cloud].
func (a *administered) Projects() (all []keystone.Project) {
	type page struct {
		Projects []keystone.Project
		Links    links
	}
	for next := "/projects"; next != ""; {
		var p page
		a.cloud.call(a.t, http.MethodGet, next, nil, &p)
		for _, found := range p.Projects {
			slices.Sort(found.Tags)
			all = append(all, found)
		}
		next = p.Links.next()
	}
	return all
}

// Users implements [workflowstest.Cloud].
func (a *administered) Users() (all []keystone.User) {
	type page struct {
		Users []struct {
			keystone.User
			Run string `json:"tenantry_run"`
		}
		Links links
	}
	for next := "/users"; next != ""; {
		var p page
		a.cloud.call(a.t, http.MethodGet, next, nil, &p)
		for _, found := range p.Users {
			found.RunID = found.Run
			all = append(all, found.User)
		}
		next = p.Links.next()
	}
	return all
}

// Assignments implements [workflowstest.Cloud]. The method skips role assignments whose scope is not a project.
func (a *administered) Assignments() (all []keystone.Assignment) {
	type page struct {
		RoleAssignments []struct {
			Role, User struct{ ID string }
			Scope      struct{ Project struct{ ID string } }
		} `json:"role_assignments"`
		Links links
	}
	for next := "/role_assignments"; next != ""; {
		var p page
		a.cloud.call(a.t, http.MethodGet, next, nil, &p)
		for _, found := range p.RoleAssignments {
			if found.Scope.Project.ID != "" {
				all = append(all, keystone.Assignment{ProjectID: found.Scope.Project.ID, UserID: found.User.ID, RoleID: found.Role.ID})
			}
		}
		next = p.Links.next()
	}
	return all
}

type links struct{ Next string }

// The method `next` returns the path of the next page, or "" after the last page.
func (l links) next() string {
	_, path, _ := strings.Cut(l.Next, "/v3")
	return path
}

// The method `tags` returns a project's tags, or nil if Keystone does not return them.
func (a *administered) tags(projectID string) []string {
	req, err := http.NewRequest(http.MethodGet, a.cloud.direct+"/projects/"+projectID, nil)
	if err != nil {
		return nil
	}
	req.Header.Set("X-Auth-Token", a.cloud.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil
	}
	defer func() { _ = resp.Body.Close() }()
	var found struct{ Project struct{ Tags []string } }
	if resp.StatusCode != http.StatusOK || json.NewDecoder(resp.Body).Decode(&found) != nil {
		return nil
	}
	return found.Project.Tags
}
