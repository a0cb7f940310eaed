package workflows_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// The answer to a request is lost. The request assigns a role on a tenant that the run has created. Later, an operator skips the undo
// of the tenant. The assignment stays, and must therefore be in the list of the run's objects.
func TestARoleThatStaysWithItsTenantIsInTheLedger(t *testing.T) {
	inNight(t, func(o *outage, began time.Time) {
		order, _ := o.joining(false)
		id := newID()
		o.faults.set(id, memberStep, false, 1, after(func(resp *http.Response) (*http.Response, error) {
			return timeOut(nil, resp.Request)
		}))
		o.faults.set(id, "assign-customer-role/bs-admin", false, 1, answer(http.StatusBadRequest, nil))
		o.faults.set(id, tenantStep, true, 1<<20, answer(http.StatusBadRequest, nil))
		o.start(id, order)
		o.at(began, 5*time.Minute)
		if r := o.run(id); r.State != saga.Stuck {
			t.Fatalf("the run: %s", describe(r))
		}
		_, err := o.engine.Act(t.Context(), saga.Action{RunID: id, Name: saga.SkipStep, Step: tenantStep, Who: "op", Why: "it stays"})
		o.ok(err)
		o.at(began, 29*time.Hour)

		var want, got []string
		for _, a := range o.cloud.Assignments() {
			if a.UserID == order.UserID {
				want = append(want, a.ProjectID+"/"+a.UserID+"/"+a.RoleID)
			}
		}
		run := o.run(id)
		for _, object := range run.Objects {
			if object.RemovedAt == nil && strings.Contains(object.ID, "/") {
				got = append(got, object.ID)
			}
		}
		if len(want) != 1 || !slices.Equal(got, want) {
			t.Errorf("the run has the assignments %q, Keystone has %q; the run: %s", got, want, describe(run))
		}
	})
}
