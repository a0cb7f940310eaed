package console

import (
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

// The bar of a step has its place in the time of the run, however long the run takes.
func TestBarsOfLongRuns(t *testing.T) {
	now := time.Now()
	for _, all := range []time.Duration{time.Hour, 107 * 24 * time.Hour, 200 * 24 * time.Hour, 250 * 365 * 24 * time.Hour} {
		accepted := now.Add(-all)
		first, second := accepted.Add(all/4), accepted.Add(all/2)
		bars := barsOf(client.Run{CreatedAt: accepted, Steps: []client.Step{{StartedAt: &first, EndedAt: &second}, {StartedAt: &second}}}, now)
		if bars[0].From != 250 || bars[0].Length != 250 || bars[1].From != 500 || bars[1].Length != 500 {
			t.Errorf("%s: the bars are %d+%d and %d+%d", all, bars[0].From, bars[0].Length, bars[1].From, bars[1].Length)
		}
	}
}
