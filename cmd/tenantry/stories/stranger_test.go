package stories_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tenantry/tenantry/store/storetest"
	"github.com/tenantry/tenantry/workflows"
	"github.com/tenantry/tenantry/workflows/workflowstest"
)

// The stranger's workflow exists only in the tests: the API and the command line have no code for this workflow. The API and the
// command line must still list, filter, show and retry the workflow's runs, as they do for any other workflow.
func TestAStrangersWorkflowIsServedLikeAnyOther(t *testing.T) {
	var closed atomic.Bool // if true, BillingStack refuses every PATCH request
	in := &upstream{around: func(w *httptest.ResponseRecorder, r *http.Request, next http.Handler) {
		if closed.Load() && r.Method == http.MethodPatch {
			http.Error(w, `{"faultstring": "the books are closed"}`, http.StatusBadRequest)
			return
		}
		next.ServeHTTP(w, r)
	}}
	s := newSite(t, storetest.PostgreSQL(t), memoryCloud(t, &upstream{}), in)
	s.replica = servingTrials
	r := s.serve()
	n := slices.IndexFunc(crashTrials(t), func(c crashTrial) bool { return c.workflow == workflowstest.StrangerName })

	lent := s.insist(r.url, s.trialPortal(n, trialOrder{Key: "first", Ground: s.ground()}))
	closed.Store(true)
	failed := s.insist(r.url, s.trialPortal(n, trialOrder{Key: "second", Ground: s.ground()}))
	subscribed := s.insist(r.url, s.portal(order{key: "third", token: s.newToken()}))
	closed.Store(false)
	if lent.Status != http.StatusCreated || failed.Status != http.StatusConflict || subscribed.Status != http.StatusConflict {
		t.Fatalf("the orders ended %d, %d and %d", lent.Status, failed.Status, subscribed.Status)
	}

	var shown struct {
		ID, Workflow, State string
		Result              map[string]string
		Objects             []struct{ Kind, ID string }
		RetryOf             string `json:"retry_of"`
	}
	a, err := s.get(r.url, "/v1/runs/"+lent.Run)
	s.ok(err)
	s.unmarshal(a.body, &shown)
	if shown.Workflow != workflowstest.StrangerName || shown.State != "succeeded" || shown.Result["room"] == "" || len(shown.Objects) == 0 {
		t.Errorf("the API shows %s", a.body)
	}
	for query, want := range map[string][]string{
		"workflow=" + workflowstest.StrangerName:                                  {failed.Run, lent.Run},
		"workflow=" + workflows.SubscribeName:                                     {subscribed.Run},
		"object=project:" + shown.Result["room"]:                                  {lent.Run},
		"object=customer:" + shown.Result["account"]:                              {lent.Run},
		"state=compensated&workflow=" + workflowstest.StrangerName:                {failed.Run},
		"workflow=" + workflowstest.StrangerName + "&object=customer:" + lent.Run: nil,
	} {
		a, err := s.get(r.url, "/v1/runs?"+query)
		s.ok(err)
		if got := s.runsIn(a.body); !slices.Equal(got, want) {
			t.Errorf("?%s lists %v, want %v", query, got, want)
		}
	}

	s.env = append(s.env, "TENANTRY_URL="+r.url, "OS_TOKEN="+s.cloud.token)
	if got := s.runsIn(s.run("runs", "list", "--workflow", workflowstest.StrangerName, "-f", "json")); !slices.Equal(got, []string{failed.Run, lent.Run}) {
		t.Errorf("`tenantry runs list --workflow` lists %v", got)
	}
	if got := s.runsIn(s.run("runs", "list", "--object", "project:"+shown.Result["room"], "-f", "json")); !slices.Equal(got, []string{lent.Run}) {
		t.Errorf("`tenantry runs list --object` lists %v", got)
	}
	for _, want := range []string{workflowstest.StrangerName, "invite/bs-admin", shown.Result["book"]} {
		if text := string(s.run("runs", "show", lent.Run)); !strings.Contains(text, want) {
			t.Errorf("`tenantry runs show` does not show %s:\n%s", want, text)
		}
	}
	s.unmarshal(s.run("runs", "retry", failed.Run, "--why", "the books are open again", "-f", "json"), &shown)
	again := s.until(r.url, shown.ID, "succeeded")
	if shown.RetryOf != failed.Run || again.Result["room"] == "" {
		t.Errorf("the retry is %+v: %+v", shown, again)
	}
}

// runsIn returns the run ids in a JSON list of runs.
func (s *site) runsIn(body []byte) (ids []string) {
	s.t.Helper()
	var page struct{ Runs []struct{ ID string } }
	if strings.HasPrefix(string(body), "[") {
		s.unmarshal(body, &page.Runs)
	} else {
		s.unmarshal(body, &page)
	}
	for _, r := range page.Runs {
		ids = append(ids, r.ID)
	}
	return ids
}
