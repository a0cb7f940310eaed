package usage_test

import (
	"slices"
	"testing"

	"github.com/tenantry/tenantry/orchestrator/usage"
)

// Usage is shown with its product as long as the rows contain it.
func TestTheProductOfUsage(t *testing.T) {
	const hour = "12:00-13:00"
	c := catalog()
	r := usage.Reading{Terms: map[string][]usage.Term{}}
	var rows []usage.BilledRow
	for i, s := range []struct {
		measured []string
		change   func()
		want     []string // the product of each usage
	}{
		{
			[]string{
				"s1/p1 12:00-12:30 large active vcpus 2", "s1/p1 12:30-13:00 small active vcpus 2", "s1/p1 12:30-13:00 small active in 1e9",
				"s1/p1 12:00-12:30 large active disk 1", "s1/p1 12:30-13:00 small active disk 1", "s1/p1 12:30-13:00 small active other 1",
				"s1/p1 12:30-13:00 small active ram 1024 MB", "s1/p1 12:30-13:00 small active ram 1 GB",
			},
			nil,
			[]string{"vCPU hours", "vCPU hours", "Traffic", "", "disk", "", "GB hours", ""},
		},
		{[]string{"s1/p1 " + hour + " small active vcpus 2 a", "s1/p1 " + hour + " small active out 1e9"}, nil, []string{"vCPU hours", "Traffic"}},
		{ // several units: the rows are taken back
			[]string{"s1/p1 " + hour + " small active vcpus 2 a", "s1/p1 " + hour + " small active vcpus 2 b", "s1/p1 " + hour + " small active out 1e9"},
			nil,
			[]string{"", "", "Traffic"},
		},
		{
			[]string{"s1/p1 " + hour + " small active vcpus 2 a", "s1/p1 " + hour + " small active out 1e9"},
			func() { c.Plans["small"][1] = product("net", "Traffic", "7"); r.Terms["s1"] = []usage.Term{} },
			[]string{"vCPU hours", "Traffic"},
		},
		{
			[]string{"s1/p1 " + hour + " small active vcpus 2 a", "s1/p1 " + hour + " small active out 1e9"},
			func() { c.Plans["small"] = c.Plans["small"][:1]; r.Terms["s1"] = []usage.Term{} },
			[]string{"vCPU hours", ""},
		},
	} {
		if s.change != nil {
			s.change()
		}
		r.Measured = metered(s.measured...)
		bill := billingOfTests().Bill(r, c)
		r.Earlier, r.Terms = append(r.Earlier, bill.Rows...), bill.Terms
		for _, row := range bill.Rows {
			rows = slices.Insert(rows, 0, usage.BilledRow{Row: row}) // in any order
		}
		var measured []usage.Measured
		for _, m := range r.Measured {
			measured = append(measured, m.Measured)
		}
		if got := usage.BilledAs(measured, rows); !slices.Equal(got, s.want) {
			t.Errorf("step %d: the products are %q, want %q", i+1, got, s.want)
		}
	}
}
