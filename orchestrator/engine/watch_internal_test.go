package engine

import (
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// PostgreSQL also tells a replica of the ends of its own runs. If a watcher is slow, the message must not take the copy of the ended run from it:
// the watcher would read the run from the database.
func TestAReportOfTheEndDoesNotReplaceTheEndedRun(t *testing.T) {
	for state, kept := range map[saga.RunState]bool{saga.Succeeded: true, saga.Compensated: true, saga.Running: false, saga.Waiting: false} {
		var w watchers
		_, changes, stop := w.add("r")
		w.tell("r", &saga.Run{ID: "r", State: state}, time.Now())
		w.tell("r", nil, time.Now())
		if got := <-changes; (got != nil) != kept || got != nil && got.State != state {
			t.Errorf("%s: received %+v", state, got)
		}
		stop()
	}
}
