package api_test

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
)

// TestAnAdminAccountsForEachRoleAssignment orders a subscription, and looks up each of the user's role assignments in the list of
// runs. The run's objects contain the assignment, with the request id of Keystone's answer to the PUT.
func TestAnAdminAccountsForEachRoleAssignment(t *testing.T) { onBoth(t, anAdminAccounts) }

func anAdminAccounts(t *testing.T, database string) {
	var mu sync.Mutex
	requests := map[string]string{} // the request id of each PUT, by path
	w := newWorldOf(t, database, func(o *servicetest.Options) {
		next := o.Around
		o.Around = func(upstream string, to http.RoundTripper) http.RoundTripper {
			to = next(upstream, to)
			return roundTrip(func(r *http.Request) (*http.Response, error) {
				answer, err := to.RoundTrip(r)
				if err == nil && r.Method == http.MethodPut {
					mu.Lock()
					defer mu.Unlock()
					requests[r.URL.Path] = answer.Header.Get("X-Openstack-Request-Id")
				}
				return answer, err
			})
		}
	})
	before := len(w.Keystone.Assignments())
	run := read[api.Run](t, w.call(w.order("first")))
	made := w.Keystone.Assignments()[before:]
	if len(made) != 3 {
		t.Fatalf("Keystone has the new assignments %v, want three", made)
	}
	for _, a := range made {
		id := a.ProjectID + "/" + a.UserID + "/" + a.RoleID
		found := read[api.RunList](t, w.call(request{
			path: "/v1/runs?object=role-assignment:" + url.QueryEscape(id), operator: w.OperatorToken,
		})).Runs
		if len(found) != 1 || found[0].ID != run.ID {
			t.Errorf("the runs of assignment %s are %v, want %s", id, found, run.ID)
			continue
		}
		var objects []api.Object
		for _, o := range found[0].Objects {
			if o.ID == id {
				objects = append(objects, o)
			}
		}
		sent := requests["/v3/projects/"+a.ProjectID+"/users/"+a.UserID+"/roles/"+a.RoleID]
		if len(objects) != 1 || objects[0].Origin != "own" || objects[0].RemovedAt != nil || objects[0].Name == nil ||
			!strings.HasSuffix(objects[0].Step, "-role/"+*objects[0].Name) || objects[0].RequestID == nil || *objects[0].RequestID != sent || sent == "" {
			t.Errorf("the run has the assignment as %+v; Keystone answered the PUT with the request id %q", objects, sent)
		}
	}
}
