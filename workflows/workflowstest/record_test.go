package workflowstest

import (
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"
	"time"

	"github.com/tenantry/tenantry/keystone"
)

type fakeCloud struct{ Outside }

func (f fakeCloud) Projects() []keystone.Project       { return f.Outside.Projects }
func (f fakeCloud) Users() []keystone.User             { return f.Outside.Users }
func (f fakeCloud) Assignments() []keystone.Assignment { return f.Outside.Assignments }

func TestOnlyWhatWasRemovedIsRecorded(t *testing.T) {
	now := time.Unix(1e9, 0)
	r := &Recorder{
		Tags: TagsIn(fakeCloud{Outside{Projects: []keystone.Project{oldTenant}}}), Now: func() time.Time { return now },
	}
	handler := r.Handler(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Refuse") != "" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	for _, path := range []string{
		"/v3/projects/" + oldTenant.ID, "/v3/projects/p/users/u/roles/r", "/v3/projects/p/tags/t", "/v3/auth/tokens",
		"/v2/merchants/m/customers/c", "/v2/merchants/m/subscriptions/s",
	} {
		for _, method := range []string{http.MethodGet, http.MethodDelete} {
			handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(method, path, nil))
		}
		refused := httptest.NewRequest(http.MethodDelete, path, nil)
		refused.Header.Set("Refuse", "yes")
		handler.ServeHTTP(httptest.NewRecorder(), refused)
	}
	want := []Removal{
		{Kind: "project", ID: oldTenant.ID, Tags: oldTenant.Tags, At: now},
		{Kind: "role-assignment", ID: "p/u/r", At: now},
		{Kind: "customer", ID: "c", At: now},
		{Kind: "subscription", ID: "s", At: now},
	}
	if got := r.Removals(); !reflect.DeepEqual(got, want) {
		t.Errorf("recorded %+v, want %+v", got, want)
	}
}
