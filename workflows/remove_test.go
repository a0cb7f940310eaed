package workflows_test

import (
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/workflows"
)

// When a removal ends, it drops, delays or keeps the ending of the subscription. If a run has not read the subscription, the run must
// keep the ending. The subscription may have a newer ending by now.
func TestWhatARemovalDoesWithTheEnding(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	then := workflows.Remove(workflows.Deps{KeepBilling: time.Hour}).Then
	for name, c := range map[string]struct {
		checked bool
		cause   saga.Code // empty if the run has succeeded
		want    time.Duration
		none    bool // the ending stays as it is
	}{
		"it has removed the tenant":                    {true, "", 0, false},
		"the tenant is not empty":                      {true, "tenant-not-empty", 24 * time.Hour, false},
		"somebody has enabled the tenant":              {false, "tenant-enabled", 24 * time.Hour, false},
		"the subscription was restored":                {false, "subscription-not-ending", 0, false},
		"the subscription was ended again":             {false, "ending-replaced", 0, true},
		"it was cancelled before it read anything":     {false, "cancelled", 0, true},
		"it was cancelled after it read everything":    {true, "cancelled", 24 * time.Hour, false},
		"Keystone was down until the run was given up": {false, "deadline-exceeded", 0, true},
	} {
		o := workflows.Removal{Held: workflows.Held{SubscriptionID: "s"}, EndedBy: "u", Checked: c.checked}
		end := saga.End{Now: now, RunID: "r"}
		if c.cause != "" {
			end.Cause = &saga.Failure{Code: c.cause}
		}
		got := then(o, end)
		if c.none {
			if len(got) != 0 {
				t.Errorf("%s: got %+v", name, got)
			}
			continue
		}
		if len(got) == 0 || got[0].Workflow != workflows.RemoveName || got[0].ID != "s" ||
			got[0].DueAt.IsZero() != (c.want == 0) || c.want != 0 && !got[0].DueAt.Equal(now.Add(c.want)) ||
			(got[0].Reason != nil) != (c.want != 0) {
			t.Errorf("%s: got %+v", name, got)
		}
		if closes := len(got) == 2 && got[1].Workflow == workflows.CloseName && got[1].DueAt.Equal(now.Add(time.Hour)); closes != (c.cause == "") {
			t.Errorf("%s: the closing: %+v", name, got)
		}
	}
}
