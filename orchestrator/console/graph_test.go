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

// The columns of the picture do not overlap, and the names of two steps that differ at the end do not look alike.
func TestThePictureOfStepsHasRoomForNames(t *testing.T) {
	role := "assign-customer-role/a-role-with-a-name-that-is-longer-than-the-others-"
	steps := []client.Step{
		{Name: "check"},
		{Name: "create-customer-tenant", After: &[]string{"check"}},
		{Name: "create-subscription", After: &[]string{"check"}},
		{Name: role + "1", After: &[]string{"create-customer-tenant"}},
		{Name: role + "2", After: &[]string{"create-customer-tenant"}},
		{Name: "scope-token", After: &[]string{role + "1", role + "2"}},
	}
	labels, begins, ends := map[string]bool{}, map[int]int{}, map[int]int{}
	columns := []int{0, 1, 1, 2, 2, 3}
	for i, n := range graphOf(client.Run{Steps: steps}).Nodes {
		labels[n.Label()] = true
		begins[columns[i]], ends[columns[i]] = n.X, n.X+n.Width
		if room := n.Width - (n.TextX() - n.X); float64(room) < character*float64(len([]rune(n.Label()))) {
			t.Errorf("%q has only %d pixels", n.Label(), room)
		}
	}
	if len(labels) != len(steps) {
		t.Errorf("the labels are %v", labels)
	}
	for c := range 3 {
		if ends[c]+gapX != begins[c+1] {
			t.Errorf("column %d ends at %d, and the next begins at %d", c, ends[c], begins[c+1])
		}
	}
}
