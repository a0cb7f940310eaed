package usage_test

import (
	"fmt"
	"maps"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"
	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/orchestrator/usage"
)

// The function `billingOfTests` returns what most tests use: the meter "vcpus" is the product "vCPU hours", and the meters "in" and "out" are the
// product "Traffic", in GB. Only the meter "ram" has a stated unit.
func billingOfTests() usage.Billing {
	return usage.Billing{
		Meters: usage.Meters{
			"vcpus": {Product: "vCPU hours", DivideBy: number("1")},
			"in":    {Product: "Traffic", DivideBy: number("1e9")},
			"out":   {Product: "Traffic", DivideBy: number("1000000000")},
			"third": {Product: "Thirds", DivideBy: number("3")},
			"ram":   {Product: "GB hours", Unit: "MB", DivideBy: number("1024")},
		},
		Live: func(state string) bool { return state == "active" || state == "suspended" },
	}
}

func product(id, name, price string) usage.Product {
	p := usage.Product{ID: id, Name: name}
	if price != "" {
		p.Price = new(number(price))
	}
	return p
}

// The function `catalog` returns plans with different prices. Only the plan "small" has the product "disk", which has no price, and two
// products "Twin". No plan has the product "Backup".
func catalog() usage.Catalog {
	return usage.Catalog{
		Plans: map[string][]usage.Product{
			"small": {
				product("cpu", "vCPU hours", "1"), product("net", "Traffic", "0.5"), product("disk", "disk", ""), product("thirds", "Thirds", "0.1"),
				product("t1", "Twin", "1"), product("t2", "Twin", "1"), product("ram", "GB hours", "2"),
			},
			"large": {product("cpu", "vCPU hours", "0.8"), product("net", "Traffic", "0.4"), product("ram", "GB hours", "2")},
		},
		Names: map[string]bool{"GB hours": true, "vCPU hours": true, "Traffic": true, "disk": true, "Thirds": true, "Twin": true, "Backup": true},
	}
}

// The function `metered` reads usage such as "s1/p1 12:00-13:00 small active vcpus 2". The unit may stand at the end. The text "-" stands for an
// empty text.
func metered(texts ...string) (all []usage.Metered) {
	for _, text := range texts {
		f := strings.Fields(text)
		for i := range f {
			f[i] = strings.TrimSuffix(f[i], "-")
		}
		subscription, project, _ := strings.Cut(f[0], "/")
		from, to, _ := strings.Cut(f[1], "-")
		m := usage.Metered{Cloud: "default", Project: project, Subscription: strings.TrimSuffix(subscription, "-")}
		m.Measured = usage.Measured{
			Range: usage.Range{From: onTheDay(from), To: onTheDay(to)}, Plan: f[2], State: f[3], Meter: f[4], Kind: usage.Gauge, Amount: number(f[5]),
		}
		if len(f) > 6 {
			m.Unit = f[6]
		}
		all = append(all, m)
	}
	return all
}

// The function `onTheDay` returns a time such as "12:30".
func onTheDay(clock string) time.Time {
	t, err := time.Parse("2006-01-02 15:04", "2026-11-27 "+clock)
	if err != nil {
		panic(err)
	}
	return t
}

// The function `lines` describes rows, such as "s1 cpu 12:00-13:00 #0 small: 2 at 1".
func lines(rows []usage.Row) (texts []string) {
	for _, r := range rows {
		price := "?"
		if r.Price != nil {
			price = r.Price.String()
		}
		texts = append(texts, fmt.Sprintf("%s %s %s-%s #%d %s: %s at %s",
			r.Subscription, r.Product, r.From.Format("15:04"), r.To.Format("15:04"), r.Revision, r.Plan, r.Value, price))
	}
	return texts
}

// The function `complaints` describes unmatched usage, such as "no-product default/p1 s1 12:00-13:00 vcpus 2 active". The unit stands at the end.
func complaints(all []usage.Unmatched) (texts []string) {
	for _, u := range all {
		texts = append(texts, strings.Join(strings.Fields(fmt.Sprintf("%s %s/%s %s %s-%s %s %s %s %s",
			u.Reason, u.Cloud, u.Project, u.Subscription, u.From.Format("15:04"), u.To.Format("15:04"), u.Meter, u.Amount, u.State, u.Unit)), " "))
	}
	slices.Sort(texts)
	return texts
}

// The type `step` is a call of Billing.Bill. Its earlier rows are all rows of the steps before.
type step struct {
	measured []string
	catalog  func(usage.Catalog) // changes the catalog for this step and the next steps
	current  string              // the subscription that takes the terms of now

	rows, unmatched, later []string
}

func TestBillingOfAnHour(t *testing.T) {
	const hour = "12:00-13:00"
	for name, steps := range map[string][]step{
		"the first rows": {{
			measured: []string{"s1/p1 " + hour + " small active vcpus 2", "s2/p2 " + hour + " large active vcpus 3"},
			rows:     []string{"s1 cpu 12:00-13:00 #0 small: 2 at 1", "s2 cpu 12:00-13:00 #0 large: 3 at 0.8"},
		}},
		"nothing": {{}},
		"usage of zero has no row": {{
			measured: []string{"s1/p1 " + hour + " small active vcpus 0", "s1/p1 " + hour + " small active other 0", "-/p2 " + hour + " - - vcpus 0"},
		}},
		"more and less usage is a difference": {
			{measured: []string{"s1/p1 " + hour + " small active vcpus 2"}, rows: []string{"s1 cpu 12:00-13:00 #0 small: 2 at 1"}},
			{measured: []string{"s1/p1 " + hour + " small active vcpus 2.5"}, rows: []string{"s1 cpu 12:00-13:00 #1 small: 0.5 at 1"}},
			{measured: []string{"s1/p1 " + hour + " small active vcpus 2.5"}},
			{measured: []string{"s1/p1 " + hour + " small active vcpus 0.1"}, rows: []string{"s1 cpu 12:00-13:00 #2 small: -2.4 at 1"}},
			{measured: []string{"s1/p1 " + hour + " small active vcpus 0"}, rows: []string{"s1 cpu 12:00-13:00 #3 small: -0.1 at 1"}},
			{measured: []string{"s1/p1 " + hour + " small active vcpus 2"}, rows: []string{"s1 cpu 12:00-13:00 #4 small: 2 at 1"}},
		},
		"usage that is gone is taken back": {
			{
				measured: []string{"s1/p1 " + hour + " small active vcpus 2", "s1/p1 " + hour + " small active in 3e9"},
				rows:     []string{"s1 cpu 12:00-13:00 #0 small: 2 at 1", "s1 net 12:00-13:00 #0 small: 3 at 0.5"},
			},
			{measured: []string{"s1/p1 " + hour + " small active in 3e9"}, rows: []string{"s1 cpu 12:00-13:00 #1 small: -2 at 1"}},
			{rows: []string{"s1 net 12:00-13:00 #1 small: -3 at 0.5"}},
			{},
		},
		"a change of the plan that is found later divides the window": {
			{measured: []string{"s1/p1 " + hour + " small active vcpus 2"}, rows: []string{"s1 cpu 12:00-13:00 #0 small: 2 at 1"}},
			{
				measured: []string{"s1/p1 12:00-12:30 small active vcpus 1", "s1/p1 12:30-13:00 large active vcpus 1"},
				rows: []string{
					"s1 cpu 12:00-12:30 #0 small: 1 at 1", "s1 cpu 12:00-13:00 #1 small: -2 at 1", "s1 cpu 12:30-13:00 #0 large: 1 at 0.8",
				},
			},
			{measured: []string{"s1/p1 12:00-12:30 small active vcpus 1", "s1/p1 12:30-13:00 large active vcpus 1"}},
			{
				measured: []string{"s1/p1 " + hour + " small active vcpus 2"},
				rows: []string{
					"s1 cpu 12:00-12:30 #1 small: -1 at 1", "s1 cpu 12:00-13:00 #2 small: 2 at 1", "s1 cpu 12:30-13:00 #1 large: -1 at 0.8",
				},
			},
		},
		"a change of the plan that is found later replaces the plan of the hour": {
			{measured: []string{"s1/p1 " + hour + " small active vcpus 2"}, rows: []string{"s1 cpu 12:00-13:00 #0 small: 2 at 1"}},
			{
				measured: []string{"s1/p1 " + hour + " large active vcpus 2"},
				rows:     []string{"s1 cpu 12:00-13:00 #1 large: 2 at 0.8", "s1 cpu 12:00-13:00 #2 small: -2 at 1"},
			},
			{measured: []string{"s1/p1 " + hour + " large active vcpus 2"}},
			{measured: []string{"s1/p1 " + hour + " large active vcpus 3"}, rows: []string{"s1 cpu 12:00-13:00 #3 large: 1 at 0.8"}},
			{
				measured: []string{"s1/p1 " + hour + " small active vcpus 3"},
				rows:     []string{"s1 cpu 12:00-13:00 #4 large: -3 at 0.8", "s1 cpu 12:00-13:00 #5 small: 3 at 1"},
			},
		},
		"two projects of a subscription see a change of the plan at different times": {
			{
				measured: []string{"s1/p1 " + hour + " small active vcpus 2", "s1/p2 " + hour + " large active vcpus 3"},
				rows:     []string{"s1 cpu 12:00-13:00 #0 large: 3 at 0.8", "s1 cpu 12:00-13:00 #1 small: 2 at 1"},
			},
			{
				measured: []string{"s1/p1 " + hour + " large active vcpus 2", "s1/p2 " + hour + " large active vcpus 3"},
				rows:     []string{"s1 cpu 12:00-13:00 #2 large: 2 at 0.8", "s1 cpu 12:00-13:00 #3 small: -2 at 1"},
			},
		},
		"a window keeps the price of its first row": {
			{measured: []string{"s1/p1 " + hour + " small active vcpus 2"}, rows: []string{"s1 cpu 12:00-13:00 #0 small: 2 at 1"}},
			{
				catalog:  func(c usage.Catalog) { c.Plans["small"][0].Price = new(number("7")) },
				measured: []string{"s1/p1 " + hour + " small active vcpus 3", "s2/p2 " + hour + " small active vcpus 4"},
				rows:     []string{"s1 cpu 12:00-13:00 #1 small: 1 at 1", "s2 cpu 12:00-13:00 #0 small: 4 at 7"},
			},
			{
				catalog:  func(c usage.Catalog) { c.Plans["small"][0].Price = nil },
				measured: []string{"s1/p1 " + hour + " small active vcpus 4", "s2/p2 " + hour + " small active vcpus 3"},
				rows:     []string{"s1 cpu 12:00-13:00 #2 small: 1 at 1", "s2 cpu 12:00-13:00 #1 small: -1 at 7"},
			},
		},
		"a window whose first row had no price never has one": {
			{
				measured: []string{"s1/p1 " + hour + " small active disk 2"}, rows: []string{"s1 disk 12:00-13:00 #0 small: 2 at ?"},
				unmatched: []string{"unpriced / s1 12:00-13:00 disk 2"},
			},
			{measured: []string{"s1/p1 " + hour + " small active disk 2"}, unmatched: []string{"unpriced / s1 12:00-13:00 disk 2"}},
			{
				catalog:  func(c usage.Catalog) { c.Plans["small"][2].Price = new(number("7")) },
				measured: []string{"s1/p1 " + hour + " small active disk 0.5"}, rows: []string{"s1 disk 12:00-13:00 #1 small: -1.5 at ?"},
				unmatched: []string{"unpriced / s1 12:00-13:00 disk 0.5"},
			},
			{rows: []string{"s1 disk 12:00-13:00 #2 small: -0.5 at ?"}},
		},
		"a product that is not in the plan is not sold": {{
			measured: []string{"s1/p1 " + hour + " large active disk 2", "s1/p1 " + hour + " small active Backup 2"},
		}},
		"a product that has left the plan stays in the hours that were billed": {
			{measured: []string{"s1/p1 " + hour + " small active vcpus 2"}, rows: []string{"s1 cpu 12:00-13:00 #0 small: 2 at 1"}},
			{
				catalog:  func(c usage.Catalog) { c.Plans["small"] = c.Plans["small"][1:] },
				measured: []string{"s1/p1 " + hour + " small active vcpus 3"}, rows: []string{"s1 cpu 12:00-13:00 #1 small: 1 at 1"},
			},
		},
		"a plan that is gone still has the products that were billed": {
			{measured: []string{"s1/p1 " + hour + " small active vcpus 2"}, rows: []string{"s1 cpu 12:00-13:00 #0 small: 2 at 1"}},
			{
				catalog:  func(c usage.Catalog) { delete(c.Plans, "small") },
				measured: []string{"s1/p1 " + hour + " small active vcpus 3"}, rows: []string{"s1 cpu 12:00-13:00 #1 small: 1 at 1"},
			},
		},
		"a product that was created again with another id and price": {
			{measured: []string{"s1/p1 " + hour + " small active vcpus 2"}, rows: []string{"s1 cpu 12:00-13:00 #0 small: 2 at 1"}},
			{
				catalog: func(c usage.Catalog) {
					c.Plans["small"] = []usage.Product{{ID: "new", Name: c.Plans["small"][0].Name, Price: c.Plans["small"][1].Price}}
				},
				measured: []string{"s1/p1 " + hour + " small active vcpus 3"}, rows: []string{"s1 cpu 12:00-13:00 #1 small: 1 at 1"},
			},
		},
		"the merchant has no product for the meter": {{
			measured: []string{"s1/p1 " + hour + " small active other 2", "s2/p2 " + hour + " large suspended other 3"},
			unmatched: []string{
				"no-product / 12:00-13:00 other 2", "no-product / 12:00-13:00 other 3",
			},
		}},
		"the plan has two products for the meter": {{
			measured: []string{"s1/p1 " + hour + " small active Twin 2"}, unmatched: []string{"product-ambiguous / 12:00-13:00 Twin 2"},
		}},
		"a project without a subscription": {{
			measured: []string{"-/p1 " + hour + " - - vcpus 2", "-/p1 " + hour + " - - other 2", "-/p2 " + hour + " small active vcpus 3"},
			unmatched: []string{
				"no-subscription default/p1 12:00-13:00 other 2", "no-subscription default/p1 12:00-13:00 vcpus 2",
				"no-subscription default/p2 12:00-13:00 vcpus 3 active",
			},
		}},
		"usage before the subscription": {{
			measured:  []string{"s1/p1 12:00-12:30 - - vcpus 2", "s1/p1 12:30-13:00 small active vcpus 3"},
			rows:      []string{"s1 cpu 12:30-13:00 #0 small: 3 at 1"},
			unmatched: []string{"no-subscription default/p1 s1 12:00-12:30 vcpus 2"},
		}},
		"usage after the subscription": {{
			measured:  []string{"s1/p1 12:00-12:30 small suspended vcpus 2", "s1/p1 12:30-13:00 small ended vcpus 3"},
			rows:      []string{"s1 cpu 12:00-12:30 #0 small: 2 at 1"},
			unmatched: []string{"subscription-over default/p1 s1 12:30-13:00 vcpus 3 ended"},
		}},
		"a subscription that was over, as is found later": {
			{measured: []string{"s1/p1 " + hour + " small active vcpus 2"}, rows: []string{"s1 cpu 12:00-13:00 #0 small: 2 at 1"}},
			{
				measured: []string{"s1/p1 " + hour + " small ended vcpus 2"}, rows: []string{"s1 cpu 12:00-13:00 #1 small: -2 at 1"},
				unmatched: []string{"subscription-over default/p1 s1 12:00-13:00 vcpus 2 ended"},
			},
		},
		"BillingStack does not have a plan of the subscription, so all of it waits": {
			{measured: []string{"s1/p1 " + hour + " small active vcpus 2"}, rows: []string{"s1 cpu 12:00-13:00 #0 small: 2 at 1"}},
			{
				measured: []string{
					"s1/p1 12:00-12:30 small active vcpus 2", "s1/p1 12:30-13:00 gone active vcpus 1", "s1/p1 12:30-13:00 gone active in 0",
					"s2/p2 " + hour + " small active vcpus 5",
				},
				rows: []string{"s2 cpu 12:00-13:00 #0 small: 5 at 1"}, unmatched: []string{"plan-gone default/p1 s1 12:30-13:00 vcpus 1 active"},
				later: []string{"s1"},
			},
			{
				catalog:  func(c usage.Catalog) { c.Plans["gone"] = c.Plans["large"] },
				measured: []string{"s1/p1 12:00-12:30 small active vcpus 2", "s1/p1 12:30-13:00 gone active vcpus 1"},
				rows: []string{
					"s1 cpu 12:00-12:30 #0 small: 2 at 1", "s1 cpu 12:00-13:00 #1 small: -2 at 1", "s1 cpu 12:30-13:00 #0 gone: 1 at 0.8",
					"s2 cpu 12:00-13:00 #1 small: -5 at 1",
				},
			},
		},
		"the plan of a subscription that is over does not matter": {{
			measured: []string{"s1/p1 " + hour + " gone ended vcpus 2"}, unmatched: []string{"subscription-over default/p1 s1 12:00-13:00 vcpus 2 ended"},
		}},
		"the meters of one product are added": {
			{
				measured: []string{"s1/p1 " + hour + " small active in 1500000000", "s1/p1 " + hour + " small active out 1", "s1/p1 " + hour + " small active Traffic 2"},
				rows:     []string{"s1 net 12:00-13:00 #0 small: 3.500000001 at 0.5"},
			},
			{
				measured: []string{"s1/p1 " + hour + " small active out 1500000000", "s1/p1 " + hour + " small active in 1", "s1/p1 " + hour + " small active Traffic 2"},
			},
			{
				measured: []string{"s1/p1 " + hour + " small active in 2e9", "s1/p1 " + hour + " small active out -2e9"},
				rows:     []string{"s1 net 12:00-13:00 #1 small: -3.500000001 at 0.5"},
			},
		},
		"an amount is rounded half to even to 12 digits": {{
			measured: []string{
				"s1/p1 " + hour + " small active third 1", "s2/p1 " + hour + " small active third -2", "s3/p1 " + hour + " small active in 0.0005",
				"s4/p1 " + hour + " small active in 0.0015", "s5/p1 " + hour + " small active vcpus 0.0000000000015", "s6/p1 " + hour + " small active in 0.00050000000001",
			},
			rows: []string{
				"s1 thirds 12:00-13:00 #0 small: 0.333333333333 at 0.1", "s2 thirds 12:00-13:00 #0 small: -0.666666666667 at 0.1",
				"s4 net 12:00-13:00 #0 small: 0.000000000002 at 0.5", "s5 cpu 12:00-13:00 #0 small: 0.000000000002 at 1",
				"s6 net 12:00-13:00 #0 small: 0.000000000001 at 0.5",
			},
		}},
		"each meter is rounded before they are added": {{
			measured: []string{"s1/p1 " + hour + " small active in 0.0004", "s1/p1 " + hour + " small active out 0.0004"},
		}},
		"two projects of a subscription are added": {
			{
				measured: []string{"s1/p1 " + hour + " small active vcpus 2", "s1/p2 " + hour + " small active vcpus 3"},
				rows:     []string{"s1 cpu 12:00-13:00 #0 small: 5 at 1"},
			},
			{measured: []string{"s1/p2 " + hour + " small active vcpus 3"}, rows: []string{"s1 cpu 12:00-13:00 #1 small: -2 at 1"}},
		},
		"usage with another unit than the stated one is not billed": {
			{
				measured: []string{"s1/p1 " + hour + " small active ram 2048 MB", "s1/p1 " + hour + " small active ram 1 GB", "s1/p2 " + hour + " small active ram 3 -"},
				rows:     []string{"s1 ram 12:00-13:00 #0 small: 2 at 2"}, unmatched: []string{"other-unit / 12:00-13:00 ram 1 GB", "other-unit / 12:00-13:00 ram 3"},
			},
			{measured: []string{"s1/p1 " + hour + " small active ram 2048 MB", "s1/p1 " + hour + " small active ram 0 GB"}},
			{
				measured: []string{"s1/p1 " + hour + " small active ram 1 GB"}, rows: []string{"s1 ram 12:00-13:00 #1 small: -2 at 2"},
				unmatched: []string{"other-unit / 12:00-13:00 ram 1 GB"},
			},
		},
		"usage in several units is not billed, and was billed in vain": {
			{measured: []string{"s1/p1 " + hour + " small active vcpus 2 vcpu"}, rows: []string{"s1 cpu 12:00-13:00 #0 small: 2 at 1"}},
			{
				measured:  []string{"s1/p1 " + hour + " small active vcpus 2 vcpu", "s1/p2 " + hour + " small active vcpus 3 core", "s2/p3 " + hour + " small active vcpus 4 core"},
				rows:      []string{"s1 cpu 12:00-13:00 #1 small: -2 at 1", "s2 cpu 12:00-13:00 #0 small: 4 at 1"},
				unmatched: []string{"several-units / 12:00-13:00 vcpus 2 vcpu", "several-units / 12:00-13:00 vcpus 3 core"},
			},
			{
				measured: []string{"s1/p2 " + hour + " small active vcpus 3 core", "s2/p3 " + hour + " small active vcpus 4 core"},
				rows:     []string{"s1 cpu 12:00-13:00 #2 small: 3 at 1"},
			},
		},
		"several units in different parts of an hour": {{
			measured: []string{
				"s1/p1 12:00-12:30 small active vcpus 2 vcpu", "s1/p1 12:30-13:00 large active vcpus 3 core", "s1/p1 12:30-13:00 large active in 1e9 B",
			},
			rows:      []string{"s1 net 12:30-13:00 #0 large: 1 at 0.4"},
			unmatched: []string{"several-units / 12:00-12:30 vcpus 2 vcpu", "several-units / 12:30-13:00 vcpus 3 core"},
		}},
		"a unit without usage, or whose usage is not billed anyway, does not count": {{
			measured: []string{
				"s1/p1 12:00-12:30 - - vcpus 1 core", "s1/p1 12:30-12:40 small active vcpus 2 vcpu", "s1/p1 12:30-12:40 small active vcpus 0 core",
				"s1/p1 12:40-13:00 small ended vcpus 4 cpu",
			},
			rows:      []string{"s1 cpu 12:30-12:40 #0 small: 2 at 1"},
			unmatched: []string{"no-subscription default/p1 s1 12:00-12:30 vcpus 1 core", "subscription-over default/p1 s1 12:40-13:00 vcpus 4 ended cpu"},
		}},
		"several units of a meter that is not sold": {{
			measured: []string{
				"s1/p1 " + hour + " small active other 2 a", "s1/p1 " + hour + " small active other 3 b", "s1/p1 " + hour + " large active disk 2 a",
				"s1/p1 " + hour + " large active disk 3 b", "s1/p1 " + hour + " small active Twin 2 a", "s1/p1 " + hour + " small active Twin 3 b",
			},
			unmatched: []string{
				"no-product / 12:00-13:00 other 2 a", "no-product / 12:00-13:00 other 3 b", "product-ambiguous / 12:00-13:00 Twin 2 a",
				"product-ambiguous / 12:00-13:00 Twin 3 b",
			},
		}},
		"several units are found when the plan is gone": {
			{measured: []string{"s1/p1 " + hour + " small active vcpus 2 vcpu"}, rows: []string{"s1 cpu 12:00-13:00 #0 small: 2 at 1"}},
			{
				catalog:   func(c usage.Catalog) { delete(c.Plans, "small") },
				measured:  []string{"s1/p1 " + hour + " small active vcpus 2 vcpu", "s1/p1 " + hour + " small active vcpus 3 core"},
				rows:      []string{"s1 cpu 12:00-13:00 #1 small: -2 at 1"},
				unmatched: []string{"several-units / 12:00-13:00 vcpus 2 vcpu", "several-units / 12:00-13:00 vcpus 3 core"},
			},
		},
		"another price of now": {
			{
				measured: []string{"s1/p1 " + hour + " small active vcpus 2", "s2/p2 " + hour + " small active vcpus 5"},
				rows:     []string{"s1 cpu 12:00-13:00 #0 small: 2 at 1", "s2 cpu 12:00-13:00 #0 small: 5 at 1"},
			},
			{
				catalog: func(c usage.Catalog) { c.Plans["small"][0].Price = new(number("0.7")) }, current: "s1",
				measured: []string{"s1/p1 " + hour + " small active vcpus 2", "s2/p2 " + hour + " small active vcpus 5"},
				rows:     []string{"s1 cpu 12:00-13:00 #1 small: -2 at 1", "s1 cpu 12:00-13:00 #2 small: 2 at 0.7"},
			},
			{current: "s1", measured: []string{"s1/p1 " + hour + " small active vcpus 2", "s2/p2 " + hour + " small active vcpus 5"}},
			{
				catalog:  func(c usage.Catalog) { c.Plans["small"][0].Price = new(number("9")) },
				measured: []string{"s1/p1 " + hour + " small active vcpus 3", "s2/p2 " + hour + " small active vcpus 5"},
				rows:     []string{"s1 cpu 12:00-13:00 #3 small: 1 at 0.7"},
			},
			{
				catalog:  func(c usage.Catalog) { delete(c.Plans, "small") },
				measured: []string{"s2/p2 " + hour + " small active vcpus 5"}, rows: []string{"s1 cpu 12:00-13:00 #4 small: -3 at 0.7"},
			},
		},
		"a price where there was none": {
			{
				measured: []string{"s1/p1 " + hour + " small active disk 2"}, rows: []string{"s1 disk 12:00-13:00 #0 small: 2 at ?"},
				unmatched: []string{"unpriced / s1 12:00-13:00 disk 2"},
			},
			{
				catalog: func(c usage.Catalog) { c.Plans["small"][2].Price = new(number("7")) }, current: "s1",
				measured: []string{"s1/p1 " + hour + " small active disk 2"},
				rows:     []string{"s1 disk 12:00-13:00 #1 small: -2 at ?", "s1 disk 12:00-13:00 #2 small: 2 at 7"},
			},
		},
		"another product of now": {
			{
				measured: []string{"s1/p1 " + hour + " small active in 2e9", "s1/p1 " + hour + " small active out 3e9"},
				rows:     []string{"s1 net 12:00-13:00 #0 small: 5 at 0.5"},
			},
			{
				catalog: func(c usage.Catalog) { c.Plans["small"][1] = product("net2", "Traffic", "0.5") }, current: "s1",
				measured: []string{"s1/p1 " + hour + " small active in 2e9", "s1/p1 " + hour + " small active out 3e9"},
				rows:     []string{"s1 net 12:00-13:00 #1 small: -5 at 0.5", "s1 net2 12:00-13:00 #0 small: 5 at 0.5"},
			},
			{
				catalog:  func(c usage.Catalog) { c.Plans["small"][1] = product("net", "Traffic", "0.5") },
				measured: []string{"s1/p1 " + hour + " small active in 2e9", "s1/p1 " + hour + " small active out 4e9"},
				rows:     []string{"s1 net2 12:00-13:00 #1 small: 1 at 0.5"},
			},
			{
				current: "s1", measured: []string{"s1/p1 " + hour + " small active in 2e9", "s1/p1 " + hour + " small active out 4e9"},
				rows: []string{"s1 net 12:00-13:00 #2 small: 6 at 0.5", "s1 net2 12:00-13:00 #2 small: -6 at 0.5"},
			},
		},
		"a product that has left the plan is taken back, and stays out": {
			{measured: []string{"s1/p1 " + hour + " small active vcpus 2"}, rows: []string{"s1 cpu 12:00-13:00 #0 small: 2 at 1"}},
			{
				catalog: func(c usage.Catalog) { c.Plans["small"] = c.Plans["small"][1:] }, current: "s1",
				measured: []string{"s1/p1 " + hour + " small active vcpus 2"}, rows: []string{"s1 cpu 12:00-13:00 #1 small: -2 at 1"},
			},
			{measured: []string{"s1/p1 " + hour + " small active vcpus 3"}},
		},
		"a meter that appears after the terms of now were taken has the price of its product": {
			{current: "s1", measured: []string{"s1/p1 " + hour + " small active in 1e9"}, rows: []string{"s1 net 12:00-13:00 #0 small: 1 at 0.5"}},
			{
				catalog:  func(c usage.Catalog) { c.Plans["small"][1].Price = new(number("9")) },
				measured: []string{"s1/p1 " + hour + " small active in 1e9", "s1/p1 " + hour + " small active out 1e9"},
				rows:     []string{"s1 net 12:00-13:00 #1 small: 1 at 0.5"},
			},
		},
		"the terms of now wait for the plan": {
			{measured: []string{"s1/p1 " + hour + " small active vcpus 2"}, rows: []string{"s1 cpu 12:00-13:00 #0 small: 2 at 1"}},
			{
				catalog: func(c usage.Catalog) { delete(c.Plans, "small") }, current: "s1", later: []string{"s1"},
				measured:  []string{"s1/p1 12:00-12:30 small active vcpus 1", "s1/p1 12:30-13:00 large active vcpus 1"},
				unmatched: []string{"plan-gone default/p1 s1 12:00-12:30 vcpus 1 active"},
			},
			{
				catalog: func(c usage.Catalog) {
					c.Plans["small"], c.Plans["large"] = []usage.Product{product("cpu", "vCPU hours", "3")}, []usage.Product{product("cpu", "vCPU hours", "4")}
				},
				measured: []string{"s1/p1 12:00-12:30 small active vcpus 1", "s1/p1 12:30-13:00 large active vcpus 1"},
				rows: []string{
					"s1 cpu 12:00-12:30 #0 small: 1 at 3", "s1 cpu 12:00-13:00 #1 small: -2 at 1", "s1 cpu 12:30-13:00 #0 large: 1 at 4",
				},
			},
		},
		"rows are sorted by subscription, time and product": {{
			measured: []string{
				"s2/p2 12:30-13:00 small active in 1e9", "s2/p2 12:30-13:00 small active vcpus 1", "s2/p2 12:00-12:30 small active vcpus 1",
				"s10/p3 12:30-13:00 small active vcpus 1", "s10/p3 12:00-12:30 small active in 1e9",
			},
			rows: []string{
				"s10 net 12:00-12:30 #0 small: 1 at 0.5", "s10 cpu 12:30-13:00 #0 small: 1 at 1", "s2 cpu 12:00-12:30 #0 small: 1 at 1",
				"s2 cpu 12:30-13:00 #0 small: 1 at 1", "s2 net 12:30-13:00 #0 small: 1 at 0.5",
			},
		}},
		"large amounts are exact": {
			{
				measured: []string{"s1/p1 " + hour + " small active vcpus 123456789012345678901234567890.123456789012"},
				rows:     []string{"s1 cpu 12:00-13:00 #0 small: 123456789012345678901234567890.123456789012 at 1"},
			},
			{
				measured: []string{"s1/p1 " + hour + " small active vcpus 123456789012345678901234567890.123456789013"},
				rows:     []string{"s1 cpu 12:00-13:00 #1 small: 0.000000000001 at 1"},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, r := catalog(), usage.Reading{Merchant: "m", Hour: noon, Terms: map[string][]usage.Term{}}
			for i, s := range steps {
				if s.catalog != nil {
					s.catalog(c)
				}
				if s.current != "" {
					r.Terms[s.current] = []usage.Term{}
				}
				r.Measured = metered(s.measured...)
				bill := billingOfTests().Bill(r, c)
				maps.Copy(r.Terms, bill.Terms)
				if got := lines(bill.Rows); !slices.Equal(got, s.rows) {
					t.Errorf("step %d: the rows are\n%q\nwant\n%q", i+1, got, s.rows)
				}
				if got := complaints(bill.Unmatched); !slices.Equal(got, s.unmatched) {
					t.Errorf("step %d: unmatched are\n%q\nwant\n%q", i+1, got, s.unmatched)
				}
				if got := slices.Sorted(maps.Keys(bill.Later)); !slices.Equal(got, s.later) {
					t.Errorf("step %d: later are %q, want %q", i+1, got, s.later)
				}
				r.Earlier = append(r.Earlier, bill.Rows...)
			}
		})
	}
}

func TestAMeterThatIsNotInTheFileIsAProduct(t *testing.T) {
	b := usage.Billing{Live: billingOfTests().Live}
	bill := b.Bill(usage.Reading{Measured: metered("s1/p1 12:00-13:00 small active disk 2", "s1/p1 12:00-13:00 small active vcpus 2")}, catalog())
	if got, want := lines(bill.Rows), []string{"s1 disk 12:00-13:00 #0 small: 2 at ?"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	want := []string{"no-product / 12:00-13:00 vcpus 2", "unpriced / s1 12:00-13:00 disk 2"}
	if got := complaints(bill.Unmatched); !slices.Equal(got, want) {
		t.Errorf("unmatched are %q, want %q", got, want)
	}
}

func TestBillSetsAllFieldsOfARowAndChangesNoReading(t *testing.T) {
	r := usage.Reading{Measured: metered("s1/p1 12:00-13:00 small active vcpus 2")}
	r.Earlier = []usage.Row{
		{Subscription: "s1", Product: "cpu", Name: "Old", Plan: "small", From: noon, To: noon.Add(time.Hour), Revision: 1, Value: number("-3"), Price: new(number("3"))},
		{Subscription: "s1", Product: "cpu", Name: "Old", Plan: "small", From: noon, To: noon.Add(time.Hour), Revision: 0, Value: number("4"), Price: new(number("3"))},
	}
	earlier := slices.Clone(r.Earlier)
	got := billingOfTests().Bill(r, catalog()).Rows
	want := []usage.Row{{
		ID: usage.RowID("s1", "cpu", usage.Hour(noon), 2), Subscription: "s1", Product: "cpu", Name: "vCPU hours", Plan: "small",
		From: noon, To: noon.Add(time.Hour), Revision: 2, Value: number("1"), Price: new(number("3")),
		Meters: map[string]decimal.Decimal{"vcpus": decimal.NewFromInt(1)},
	}}
	if asJSON(t, got) != asJSON(t, want) {
		t.Errorf("got\n%s\nwant\n%s", asJSON(t, got), asJSON(t, want))
	}
	if !reflect.DeepEqual(r.Earlier, earlier) {
		t.Errorf("the earlier rows changed to %q", lines(r.Earlier))
	}
}

func TestReasonsAboutMeters(t *testing.T) {
	for reason, want := range map[usage.Reason]bool{
		usage.NoSubscription: false, usage.NotLive: false, usage.NoPlan: false, usage.NoProduct: true, usage.AmbiguousProduct: true,
		usage.OtherUnit: true, usage.SeveralUnits: true, usage.Unpriced: false, usage.Differing: false,
	} {
		if got := reason.OfMeter(); got != want {
			t.Errorf("%s: got %v", reason, got)
		}
	}
}

// The terms have all that a later bill needs, and may be stored as JSON.
func TestTermsOfABill(t *testing.T) {
	r := usage.Reading{
		Measured: metered("s1/p1 12:00-13:00 small active ram 1024 MB", "s1/p2 12:00-13:00 small active disk 0", "s1/p1 12:00-13:00 small active other 1", "s2/p3 12:00-13:00 small active vcpus 1"),
		Terms:    map[string][]usage.Term{"s1": {{Plan: "small", From: noon, To: noon.Add(time.Minute), Meter: "m", Product: "cpu", DivideBy: number("1")}}, "s9": {}},
	}
	want := map[string][]usage.Term{"s9": {}, "s1": {
		r.Terms["s1"][0],
		{Plan: "small", From: noon, To: noon.Add(time.Hour), Meter: "disk", Product: "disk", Name: "disk", DivideBy: number("1")},
		{Plan: "small", From: noon, To: noon.Add(time.Hour), Meter: "ram", Product: "ram", Name: "GB hours", Price: new(number("2")), DivideBy: number("1024"), Unit: "MB"},
	}}
	got := billingOfTests().Bill(r, catalog()).Terms
	if asJSON(t, got) != asJSON(t, want) {
		t.Errorf("got\n%s\nwant\n%s", asJSON(t, got), asJSON(t, want))
	}
}

// With the terms of now, the rows of each product and price add up to the usage of now, whatever was billed before. Afterwards, other prices change
// nothing.
func TestTheTermsOfNowReplaceTheEarlierOnes(t *testing.T) {
	sums := func(rows []usage.Row) (texts []string) {
		all := map[string]decimal.Decimal{}
		for _, r := range rows {
			key := strings.Join([]string{r.Subscription, r.Product, r.Plan, r.Window().From.String(), r.Window().To.String(), r.Price.String()}, " ")
			all[key] = all[key].Add(r.Value)
		}
		for key, sum := range all {
			if !sum.IsZero() {
				texts = append(texts, key+" "+sum.String())
			}
		}
		slices.Sort(texts)
		return texts
	}
	rapid.Check(t, func(t *rapid.T) {
		terms, ids := map[string][]usage.Term{}, map[string]bool{}
		var rows []usage.Row
		for range rapid.IntRange(1, 5).Draw(t, "turns") {
			turn := drawTurn(t)
			turn.catalog.Plans["large"] = append([]usage.Product{}, turn.catalog.Plans["small"]...) // no plan is missing
			r := turn.reading
			of := func(row usage.Row) bool {
				return slices.ContainsFunc(r.Measured, func(m usage.Metered) bool { return m.Subscription == row.Subscription })
			}
			bill := func(c usage.Catalog) usage.Bill {
				r.Earlier, r.Terms = nil, map[string][]usage.Term{}
				for _, row := range rows {
					if of(row) {
						r.Earlier = append(r.Earlier, row)
					}
				}
				for _, m := range r.Measured {
					if stored, has := terms[m.Subscription]; has {
						r.Terms[m.Subscription] = stored
					}
				}
				made := billingOfTests().Bill(r, c)
				for _, row := range made.Rows {
					if ids[row.ID] {
						t.Fatalf("two rows have the id of %q", lines([]usage.Row{row}))
					}
					ids[row.ID] = true
				}
				rows = append(rows, made.Rows...)
				maps.Copy(terms, made.Terms)
				return made
			}
			if rapid.Bool().Draw(t, "the terms of the rows") {
				bill(turn.catalog)
				continue
			}
			for i := range 2 {
				for _, m := range r.Measured {
					terms[m.Subscription] = []usage.Term{}
				}
				made := bill(turn.catalog)
				if i == 1 && len(made.Rows) > 0 {
					t.Fatalf("the same terms again have more rows: %q", lines(made.Rows))
				}
				fresh := billingOfTests().Bill(usage.Reading{Measured: r.Measured}, turn.catalog)
				mine := slices.DeleteFunc(slices.Clone(rows), func(row usage.Row) bool { return !of(row) })
				if got, want := sums(mine), sums(fresh.Rows); !slices.Equal(got, want) {
					t.Fatalf("the sums of the rows are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
				if got, want := complaints(made.Unmatched), complaints(fresh.Unmatched); !slices.Equal(got, want) {
					t.Fatalf("unmatched are %q, want %q", got, want)
				}
			}
			other := drawTurn(t).catalog
			other.Plans["large"] = append([]usage.Product{}, other.Plans["small"]...)
			if again := bill(other); len(again.Rows) > 0 {
				t.Fatalf("with other prices, the same reading has more rows: %q", lines(again.Rows))
			}
		}
	})
}

// The type `window` names what the rows of one product in one window are about.
type window struct {
	subscription, product string
	from, to              int64
	plan                  string
}

// The type `wanted` is an exact calculation of the usage that must be billed. It does not use the code under test.
type wanted map[window]*big.Rat

// The method `add` adds the usage of a reading to w, and returns the subscriptions that must wait for their plan.
func (w wanted) add(r usage.Reading, c usage.Catalog) (later map[string]bool) {
	later = map[string]bool{}
	divisors := map[string]int64{"vcpus": 1, "in": 1e9, "out": 1e9, "third": 3, "ram": 1024}
	products := map[string]string{"vcpus": "cpu", "in": "net", "out": "net", "third": "thirds", "ram": "ram"}
	inUnit := func(m usage.Metered) bool { // whether the unit of the meter is stated, or is the only one of the hour
		return m.Meter == "ram" && m.Unit == "MB" || m.Meter != "ram" && !slices.ContainsFunc(r.Measured, func(o usage.Metered) bool {
			return o.Subscription == m.Subscription && o.Meter == m.Meter && o.Unit != m.Unit && o.State == "active" && o.Plan != "" && !o.Amount.IsZero()
		})
	}
	before := func(m usage.Metered) bool { // whether the window has rows with the meter
		return slices.ContainsFunc(r.Earlier, func(e usage.Row) bool {
			_, has := e.Meters[m.Meter]
			return has && e.Subscription == m.Subscription && e.Plan == m.Plan && e.Window() == m.Range
		})
	}
	for _, m := range r.Measured {
		if _, known := c.Plans[m.Plan]; m.Plan != "" && m.State == "active" && !known && !before(m) {
			later[m.Subscription] = true
		}
	}
	for _, m := range r.Measured {
		sold := before(m) || slices.ContainsFunc(c.Plans[m.Plan], func(p usage.Product) bool { return p.ID == products[m.Meter] })
		if later[m.Subscription] || m.State != "active" || !sold || !inUnit(m) {
			continue
		}
		at := window{m.Subscription, products[m.Meter], m.From.UnixMicro(), m.To.UnixMicro(), m.Plan}
		if w[at] == nil {
			w[at] = new(big.Rat)
		}
		exact := m.Amount.Rat()
		w[at].Add(w[at], rounded(exact.Mul(exact, big.NewRat(1, divisors[m.Meter]))))
	}
	return later
}

// The function `rounded` rounds half to even to 12 digits after the decimal point.
func rounded(exact *big.Rat) *big.Rat {
	scale := big.NewRat(1e12, 1)
	units := new(big.Rat).Mul(exact, scale)
	floor := new(big.Int).Div(units.Num(), units.Denom()) // the denominator is positive, so this rounds down
	rest := new(big.Rat).Sub(units, new(big.Rat).SetInt(floor))
	if c := rest.Cmp(big.NewRat(1, 2)); c > 0 || c == 0 && floor.Bit(0) == 1 {
		floor.Add(floor, big.NewInt(1))
	}
	return new(big.Rat).Quo(new(big.Rat).SetInt(floor), scale)
}

// The type `book` contains all rows that were made.
type book struct{ rows []usage.Row }

// The method `sums` adds the rows of each window and plan.
func (b *book) sums() (all wanted) {
	all = wanted{}
	for _, r := range b.rows {
		at := window{r.Subscription, r.Product, r.From.UnixMicro(), r.To.UnixMicro(), r.Plan}
		if all[at] == nil {
			all[at] = new(big.Rat)
		}
		all[at].Add(all[at], r.Value.Rat())
	}
	return all
}

func (w wanted) texts() (all []string) {
	for at, sum := range w {
		if sum.Sign() != 0 {
			all = append(all, fmt.Sprint(at, sum.RatString()))
		}
	}
	slices.Sort(all)
	return all
}

// The method `bill` bills a reading, and checks the rows. The rows are stored with the text of their numbers, as in the database.
func (b *book) bill(t *rapid.T, r usage.Reading, c usage.Catalog) {
	subscriptions := map[string]bool{}
	for _, m := range r.Measured {
		subscriptions[m.Subscription] = true
	}
	r.Earlier = nil
	for _, row := range b.rows {
		if subscriptions[row.Subscription] {
			row.Value = number(row.Value.String())
			r.Earlier = append(r.Earlier, row)
		}
	}
	want := wanted{}
	later := want.add(r, c)
	for at, sum := range b.sums() {
		if !subscriptions[at.subscription] || later[at.subscription] {
			want[at] = sum // stays as it is
		}
	}
	bill := billingOfTests().Bill(r, c)
	if !maps.Equal(bill.Later, later) {
		t.Fatalf("later are %v, want %v", bill.Later, later)
	}
	shuffled := r
	shuffled.Measured, shuffled.Earlier = rapid.Permutation(r.Measured).Draw(t, "measured"), rapid.Permutation(r.Earlier).Draw(t, "earlier")
	if got, want := fmt.Sprint(lines(billingOfTests().Bill(shuffled, c).Rows)), fmt.Sprint(lines(bill.Rows)); got != want {
		t.Fatalf("the rows depend on the order of the reading:\n%s\n%s", got, want)
	}
	for _, row := range bill.Rows {
		if row.Value.IsZero() || row.ID != usage.RowID(row.Subscription, row.Product, row.Window(), row.Revision) {
			t.Fatalf("this row is wrong: %+v", row)
		}
		revision := 0
		for _, e := range b.rows {
			switch same := e.Subscription == row.Subscription && e.Product == row.Product && e.Window() == row.Window(); {
			case e.ID == row.ID:
				t.Fatalf("two rows have the same id:\n%q", lines([]usage.Row{e, row}))
			case same && e.Plan == row.Plan && !e.Price.Equal(*row.Price):
				t.Fatalf("two rows of a window have different prices:\n%q", lines([]usage.Row{e, row}))
			case same:
				revision++
			}
		}
		if row.Revision != revision {
			t.Fatalf("the window has %d earlier rows: %q", revision, lines([]usage.Row{row}))
		}
		b.rows = append(b.rows, row)
	}
	if got, want := b.sums().texts(), want.texts(); !slices.Equal(got, want) {
		t.Fatalf("the sums of the rows are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	r.Earlier = slices.DeleteFunc(slices.Clone(b.rows), func(row usage.Row) bool { return !subscriptions[row.Subscription] })
	if again := billingOfTests().Bill(r, c); len(again.Rows) > 0 {
		t.Fatalf("the same reading has more rows: %q", lines(again.Rows))
	}
}

// The type `turn` is a reading and the catalog with which it is billed.
type turn struct {
	reading usage.Reading
	catalog usage.Catalog
}

// drawTurn draws usage of an hour, which is divided where the plan or the state changes, and prices. Sometimes a plan is missing.
func drawTurn(t *rapid.T) turn {
	c := catalog()
	for plan := range c.Plans {
		for i := range c.Plans[plan] {
			c.Plans[plan][i].Price = new(decimal.New(rapid.Int64Range(0, 3).Draw(t, "price"), -1))
		}
	}
	if rapid.IntRange(0, 5).Draw(t, "a plan is missing") == 0 {
		delete(c.Plans, "large")
	}
	r := usage.Reading{Merchant: "m", Hour: noon}
	for _, subscription := range []string{"s1", "s2"} {
		if rapid.IntRange(0, 3).Draw(t, "not billed now") == 0 {
			continue
		}
		r.Measured = append(r.Measured, usage.Metered{Subscription: subscription, Measured: usage.Measured{Range: usage.Hour(noon), Meter: "other"}})
		cuts := rapid.SliceOfNDistinct(rapid.SampledFrom([]time.Time{onTheDay("12:20"), onTheDay("12:30"), onTheDay("12:40")}), 0, 2, rapid.ID).Draw(t, "cuts")
		for _, segment := range usage.Hour(noon).Segments(cuts) {
			plan, state := rapid.SampledFrom([]string{"small", "small", "large", ""}).Draw(t, "plan"), "active"
			if rapid.IntRange(0, 4).Draw(t, "over") == 0 {
				state = "ended"
			}
			for _, meter := range rapid.SliceOfN(rapid.SampledFrom([]string{"vcpus", "in", "out", "third", "ram"}), 0, 5).Draw(t, "meters") {
				m := usage.Metered{Subscription: subscription, Project: rapid.SampledFrom([]string{"p", "q"}).Draw(t, "project")}
				m.Measured = usage.Measured{Range: segment, Meter: meter, Kind: usage.Delta, Plan: plan, State: state, Amount: drawAmount(t)}
				m.Unit = rapid.SampledFrom([]string{"MB", "MB", "MB", "MB", "GB"}).Draw(t, "unit")
				r.Measured = append(r.Measured, m)
			}
		}
	}
	return turn{r, c}
}

// drawAmount draws a small number, or a few halves of a unit of the 12th digit after the division by 1e9, or a long number.
func drawAmount(t *rapid.T) decimal.Decimal {
	switch rapid.IntRange(0, 2).Draw(t, "size") {
	case 0:
		return decimal.New(rapid.Int64Range(-2, 5).Draw(t, "number"), 0)
	case 1:
		return decimal.New(rapid.Int64Range(-9, 9).Draw(t, "halves")*5, -4)
	}
	return number(rapid.StringMatching(`-?[0-9]{1,40}e-?[12]?[0-9]`).Draw(t, "long"))
}

// The sum of the rows is exactly the usage of the last reading, whatever was billed before, and in whatever order.
func TestTheRowsOfAnHourAddUpToItsUsage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var turns []turn
		for range rapid.IntRange(1, 5).Draw(t, "turns") {
			turns = append(turns, drawTurn(t))
		}
		last := drawTurn(t)
		for _, subscription := range []string{"s1", "s2"} { // in the end, all is billed
			last.reading.Measured = append(last.reading.Measured, usage.Metered{Subscription: subscription, Measured: usage.Measured{Range: usage.Hour(noon), Meter: "other"}})
		}
		last.catalog.Plans["large"] = catalog().Plans["large"]
		var one, other book
		for _, turn := range turns {
			one.bill(t, turn.reading, turn.catalog)
		}
		for _, turn := range rapid.Permutation(turns).Draw(t, "another order") {
			other.bill(t, turn.reading, turn.catalog)
		}
		one.bill(t, last.reading, last.catalog)
		other.bill(t, last.reading, last.catalog)
		if got, want := other.sums().texts(), one.sums().texts(); !slices.Equal(got, want) {
			t.Fatalf("the sums of the rows are\n%q, and in another order\n%q", want, got)
		}
	})
}

// Hours that were billed keep the products and divisors of their meters when the file of meters changes.
func TestAChangedFileOfMetersLeavesBilledHours(t *testing.T) {
	live := billingOfTests().Live
	first := usage.Billing{Live: live, Meters: usage.Meters{
		"vcpus": {Product: "vCPU hours", DivideBy: decimal.NewFromInt(1024)}, "cores": {Product: "vCPU hours", DivideBy: decimal.NewFromInt(1)},
	}}
	for name, changed := range map[string]usage.Meters{
		"an empty file":     nil,
		"another divisor":   {"vcpus": {Product: "vCPU hours", DivideBy: decimal.NewFromInt(1)}},
		"another product":   {"vcpus": {Product: "disk", DivideBy: decimal.NewFromInt(1)}},
		"a missing product": {"vcpus": {Product: "nothing", DivideBy: decimal.NewFromInt(1)}},
	} {
		t.Run(name, func(t *testing.T) {
			r := usage.Reading{Measured: metered("s1/p1 12:00-13:00 small active vcpus 2048", "s1/p1 12:00-13:00 small active cores 3")}
			r.Earlier = first.Bill(r, catalog()).Rows
			want := []string{"s1 cpu 12:00-13:00 #0 small: 5 at 1"}
			if got := lines(r.Earlier); !slices.Equal(got, want) {
				t.Fatalf("before the change, the rows are %q, want %q", got, want)
			}
			second := usage.Billing{Live: live, Meters: changed}
			if bill := second.Bill(r, catalog()); len(bill.Rows)+len(bill.Unmatched) > 0 {
				t.Errorf("the same usage: %q, unmatched %q", lines(bill.Rows), complaints(bill.Unmatched))
			}
			r.Measured = metered("s1/p1 12:00-13:00 small active vcpus 3072", "s1/p1 12:00-13:00 small active cores 3")
			r.Earlier = append(r.Earlier, second.Bill(r, catalog()).Rows...)
			if got := lines(r.Earlier[1:]); !slices.Equal(got, []string{"s1 cpu 12:00-13:00 #1 small: 1 at 1"}) {
				t.Errorf("more usage: %q", got)
			}
			if bill := second.Bill(r, catalog()); len(bill.Rows) > 0 {
				t.Errorf("the same usage again: %q", lines(bill.Rows))
			}
		})
	}
}

// The operator states the unit of a meter after usage in several units was found.
func TestTheUnitOfAMeterIsStatedLater(t *testing.T) {
	meters := func(product, unit string, divisor int64) usage.Billing {
		return usage.Billing{Live: billingOfTests().Live, Meters: usage.Meters{"m": {Product: product, Unit: unit, DivideBy: decimal.NewFromInt(divisor)}}}
	}
	mb, both := []string{"s1/p1 12:00-13:00 small active m 2048 MB"}, []string{"s1/p1 12:00-13:00 small active m 2048 MB", "s1/p1 12:00-13:00 small active m 3 GB"}
	type bills []struct {
		measured  []string
		by        usage.Billing
		want      []string
		unmatched []string
	}
	for name, all := range map[string]bills{
		"the unit that was billed before": {
			{mb, meters("GB hours", "", 1024), []string{"s1 ram 12:00-13:00 #0 small: 2 at 2"}, nil},
			{both, meters("GB hours", "", 1024), []string{"s1 ram 12:00-13:00 #1 small: -2 at 2"}, []string{"several-units / 12:00-13:00 m 2048 MB", "several-units / 12:00-13:00 m 3 GB"}},
			{both, meters("GB hours", "MB", 1024), []string{"s1 ram 12:00-13:00 #2 small: 2 at 2"}, []string{"other-unit / 12:00-13:00 m 3 GB"}},
			{both, meters("GB hours", "GB", 1), nil, []string{"other-unit / 12:00-13:00 m 3 GB"}}, // an hour that was billed keeps the stated unit
			{both, meters("GB hours", "", 1024), nil, []string{"other-unit / 12:00-13:00 m 3 GB"}},
		},
		"another unit, with its divisor and product": {
			{mb, meters("vCPU hours", "", 1024), []string{"s1 cpu 12:00-13:00 #0 small: 2 at 1"}, nil},
			{both, meters("GB hours", "GB", 1), []string{"s1 cpu 12:00-13:00 #1 small: -2 at 1", "s1 ram 12:00-13:00 #0 small: 3 at 2"}, []string{"other-unit / 12:00-13:00 m 2048 MB"}},
			{both, meters("vCPU hours", "", 1024), nil, []string{"other-unit / 12:00-13:00 m 2048 MB"}},
		},
		"one unit needs no statement": {
			{mb, meters("GB hours", "", 1024), []string{"s1 ram 12:00-13:00 #0 small: 2 at 2"}, nil},
			{mb, meters("GB hours", "GB", 1), nil, nil}, // keeps its divisor
		},
	} {
		t.Run(name, func(t *testing.T) {
			var r usage.Reading
			for i, b := range all {
				r.Measured = metered(b.measured...)
				bill := b.by.Bill(r, catalog())
				if got, unmatched := lines(bill.Rows), complaints(bill.Unmatched); !slices.Equal(got, b.want) || !slices.Equal(unmatched, b.unmatched) {
					t.Errorf("bill %d: the rows are %q, want %q; unmatched are %q, want %q", i+1, got, b.want, unmatched, b.unmatched)
				}
				r.Earlier = append(r.Earlier, bill.Rows...)
			}
		})
	}
}
