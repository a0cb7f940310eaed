package usage_test

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"
	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/orchestrator/usage"
)

func number(text string) decimal.Decimal { return decimal.RequireFromString(text) }

// BillingStack recognizes a row by its id, so the ids in this test must never change.
func TestTheIDOfARow(t *testing.T) {
	const subscription, product = "3f1c0b9e-0000-4000-8000-000000000001", "3f1c0b9e-0000-4000-8000-000000000002"
	hour := usage.Hour(noon)
	part := usage.Range{From: noon, To: noon.Add(time.Minute + time.Microsecond)}
	for name, c := range map[string]struct{ got, want string }{
		"the first row of an hour":  {usage.RowID(subscription, product, hour, 0), "e960863f-48ed-530b-b535-7e6f4a521f8e"},
		"the second row of an hour": {usage.RowID(subscription, product, hour, 1), "1b987e89-10f9-5f15-aa7a-f8470612eb40"},
		"a part of an hour":         {usage.RowID(subscription, product, part, 0), "9ee0cdec-0959-5c8c-847f-aa8e0eb32d6f"},
		"another product":           {usage.RowID(subscription, subscription, hour, 0), "ef692a46-933c-567d-8af2-7ac555588f70"},
		"another subscription":      {usage.RowID(product, product, hour, 0), "9abc09ec-15c7-59f0-b866-f90adae13d19"},
		"another zone": {
			usage.RowID(subscription, product, usage.Range{From: hour.From.In(time.FixedZone("", 3600)), To: hour.To.Local()}, 0),
			"e960863f-48ed-530b-b535-7e6f4a521f8e",
		},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %s, want %s", name, c.got, c.want)
		}
	}
}

func oneRow() usage.Row {
	return usage.Row{
		ID: "i", Subscription: "s", Product: "p", Name: "vCPU hours", Plan: "small", From: noon, To: noon.Add(time.Hour), Revision: 1,
		Value: number("-1.25"), Price: new(number("0.05")),
	}
}

// Rows wait in stored runs, so a newer version must read them.
func TestTheStoredFormOfARow(t *testing.T) {
	row := oneRow()
	row.Value = number("0.123456789012345678901234567890")
	text, err := json.Marshal(row)
	const want = `{"id":"i","subscription_id":"s","product_id":"p","product":"vCPU hours","plan_id":"small","from":"2026-11-27T12:00:00Z",` +
		`"to":"2026-11-27T13:00:00Z","revision":1,"value":"0.12345678901234567890123456789","price":"0.05"}`
	if string(text) != want || err != nil {
		t.Errorf("got\n%s, %v\nwant\n%s", text, err, want)
	}
	var read usage.Row
	if err := json.Unmarshal(text, &read); err != nil || !read.Value.Equal(row.Value) || !read.Price.Equal(*row.Price) || read.Window() != row.Window() {
		t.Errorf("got %+v, %v", read, err)
	}
	row.Price = nil
	if text, err = json.Marshal(row); err != nil || strings.Contains(string(text), "price") {
		t.Errorf("without a price: %s, %v", text, err)
	}
}

func TestARowAsUsageInBillingStack(t *testing.T) {
	zone := time.FixedZone("", 5*3600+1800)
	for name, c := range map[string]struct {
		change func(*usage.Row)
		want   func(*billing.Usage)
	}{
		"a row":                    {func(*usage.Row) {}, func(*billing.Usage) {}},
		"a row without a price":    {func(r *usage.Row) { r.Price = nil }, func(u *billing.Usage) { u.Price, u.Total = nil, nil }},
		"a row that costs nothing": {func(r *usage.Row) { r.Price = new(decimal.Zero) }, func(u *billing.Usage) { u.Price, u.Total = new(0.0), new(0.0) }},
		"times in another zone":    {func(r *usage.Row) { r.From, r.To = r.From.In(zone), r.To.In(zone) }, func(*billing.Usage) {}},
		"times with fractions of seconds": {
			func(r *usage.Row) {
				r.From, r.To = noon.Add(1500*time.Millisecond), noon.Add(time.Hour-time.Microsecond)
			},
			func(u *billing.Usage) {
				u.StartTimestamp, u.EndTimestamp = "2026-11-27T12:00:01.5", "2026-11-27T12:59:59.999999"
			},
		},
		// The product of the nearest floats of 1.1 and 1.1 is 1.2100000000000002.
		"the total is the nearest float of the exact total": {
			func(r *usage.Row) { r.Value, r.Price = number("1.1"), new(number("1.1")) },
			func(u *billing.Usage) { u.Value, u.Price, u.Total = new(1.1), new(1.1), new(1.21) },
		},
		"digits that a float does not have": {
			func(r *usage.Row) { r.Value, r.Price = number("9007199254740993.000000000001"), nil },
			func(u *billing.Usage) { u.Value, u.Price, u.Total = new(9007199254740994.0), nil, nil },
		},
		"half between two floats is rounded to even": {
			func(r *usage.Row) { r.Value, r.Price = number("9007199254740993"), nil },
			func(u *billing.Usage) { u.Value, u.Price, u.Total = new(9007199254740992.0), nil, nil },
		},
	} {
		t.Run(name, func(t *testing.T) {
			row := oneRow()
			c.change(&row)
			want := billing.Usage{
				ID: "i", SubscriptionID: "s", ProductID: "p", Measure: "vCPU hours", Value: new(-1.25), Price: new(0.05), Total: new(-0.0625),
				StartTimestamp: "2026-11-27T12:00:00", EndTimestamp: "2026-11-27T13:00:00",
			}
			c.want(&want)
			if got := row.Usage(); !reflect.DeepEqual(got, want) {
				t.Errorf("got\n%s\nwant\n%s", asJSON(t, got), asJSON(t, want))
			}
		})
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestTheTotalOfARowIsExact(t *testing.T) {
	for name, c := range map[string]struct{ value, price, want string }{
		"a fraction":          {"0.1", "0.2", "0.02"},
		"a difference":        {"-1.5", "0.05", "-0.075"},
		"no price":            {"7", "0", "0"},
		"many digits":         {"123456789012345678901234567890.123456789012", "0.000000000000000000000000000001", "0.123456789012345678901234567890123456789012"},
		"a very small amount": {"0.000000000001", "0.0000000001", "0.0000000000000000000001"},
	} {
		row := usage.Row{Value: number(c.value), Price: new(number(c.price))}
		if got := row.Total(); !got.Equal(number(c.want)) {
			t.Errorf("%s: got %v, want %s", name, got, c.want)
		}
	}
	if got := (usage.Row{Value: number("1")}).Total(); got != nil {
		t.Errorf("without a price, the total is %v", got)
	}
}

func TestHowUsageInBillingStackDiffersFromARow(t *testing.T) {
	for name, c := range map[string]struct {
		row    func(*usage.Row)
		change func(*billing.Usage)
		want   string
	}{
		"it does not differ":                   {nil, func(*billing.Usage) {}, ""},
		"another value":                        {nil, func(u *billing.Usage) { u.Value = new(2.5) }, "the value is 2.5 in BillingStack, not -1.25"},
		"the next value":                       {nil, func(u *billing.Usage) { u.Value = new(math.Nextafter(-1.25, 0)) }, "the value is -1.2499999999999998 in BillingStack, not -1.25"},
		"another price":                        {nil, func(u *billing.Usage) { u.Price = new(0.06) }, "the price is 0.06 in BillingStack, not 0.05"},
		"another total":                        {nil, func(u *billing.Usage) { u.Total = new(1e-9) }, "the total is 0.000000001 in BillingStack, not -0.0625"},
		"no value":                             {nil, func(u *billing.Usage) { u.Value = nil }, "the value is null in BillingStack, not -1.25"},
		"no price":                             {nil, func(u *billing.Usage) { u.Price = nil }, "the price is null in BillingStack, not 0.05"},
		"no total":                             {nil, func(u *billing.Usage) { u.Total = nil }, "the total is null in BillingStack, not -0.0625"},
		"a price that the row does not have":   {func(r *usage.Row) { r.Price = nil }, func(u *billing.Usage) { u.Price = new(0.0) }, "the price is 0 in BillingStack, not null"},
		"both have no price":                   {func(r *usage.Row) { r.Price = nil }, func(*billing.Usage) {}, ""},
		"the first of several differences":     {nil, func(u *billing.Usage) { u.Value, u.Price, u.Total = nil, nil, nil }, "the value is null in BillingStack, not -1.25"},
		"the row has more digits than a float": {func(r *usage.Row) { r.Value = number("0.1234567890123456789") }, func(*billing.Usage) {}, ""},
		"a negative zero":                      {func(r *usage.Row) { r.Price = new(decimal.Zero) }, func(u *billing.Usage) { u.Price, u.Total = new(math.Copysign(0, -1)), new(math.Copysign(0, -1)) }, ""},
		"the smallest float is not zero":       {func(r *usage.Row) { r.Price = new(decimal.Zero) }, func(u *billing.Usage) { u.Price = new(math.SmallestNonzeroFloat64) }, "the price is 0." + strings.Repeat("0", 323) + "5 in BillingStack, not 0"},
		"texts and times are not compared":     {nil, func(u *billing.Usage) { u.Measure, u.StartTimestamp, u.EndTimestamp, u.MerchantID = "x", "", "", "m" }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			row := oneRow()
			if c.row != nil {
				c.row(&row)
			}
			found := row.Usage()
			c.change(&found)
			if got := row.Differs(found); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// BillingStack gets a row as JSON and returns it as JSON. That alone must not make a difference.
func TestARowDoesNotDifferFromItsUsage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value, price := rapid.StringMatching(`-?[0-9]{1,30}\.[0-9]{1,12}`).Draw(t, "value"), rapid.StringMatching(`[0-9]{1,10}\.[0-9]{1,20}`).Draw(t, "price")
		row := usage.Row{Value: number(value), Price: new(number(price))}
		text, err := json.Marshal(row.Usage())
		if err != nil {
			t.Fatal(err)
		}
		var found billing.Usage
		if err := json.Unmarshal(text, &found); err != nil {
			t.Fatal(err)
		}
		if got := row.Differs(found); got != "" {
			t.Fatal(got)
		}
	})
}

// The function `pricings` reads a JSON array, as the client of BillingStack does.
func pricings(t *testing.T, text string) (all []any) {
	t.Helper()
	if text == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestThePriceOfAProduct(t *testing.T) {
	const two = `[{"type": "fixed", "price": 2}]`
	for name, c := range map[string]struct {
		item, product string
		want          string // empty: there is no price
	}{
		"the price of the product":                  {"", two, "2"},
		"the price of the item":                     {`[{"type": "fixed", "price": 0.05}]`, "", "0.05"},
		"the item before the product":               {`[{"type": "fixed", "price": 0.05}]`, two, "0.05"},
		"an empty list of the item is no pricing":   {"[]", two, "2"},
		"an item of another type has no price":      {`[{"type": "tiered", "price": 0.05}]`, two, ""},
		"an item with several entries has no price": {`[{"type": "fixed", "price": 1}, {"type": "fixed", "price": 1}]`, two, ""},
		"no pricing":                                             {"", "", ""},
		"a product with several entries":                         {"", `[{"type": "fixed", "price": 1}, {"type": "fixed", "price": 2}]`, ""},
		"the type in capital letters":                            {"", `[{"type": "FIXED", "price": 1}]`, "1"},
		"no type":                                                {"", `[{"price": 1}]`, ""},
		"a type that is no text":                                 {"", `[{"type": 1, "price": 1}]`, ""},
		"no price in the entry":                                  {"", `[{"type": "fixed"}]`, ""},
		"a price of null":                                        {"", `[{"type": "fixed", "price": null}]`, ""},
		"a price of true":                                        {"", `[{"type": "fixed", "price": true}]`, ""},
		"a list of prices":                                       {"", `[{"type": "fixed", "price": [1]}]`, ""},
		"an entry of null":                                       {"", `[null]`, ""},
		"an entry that is a text":                                {"", `["fixed"]`, ""},
		"an entry that is a number":                              {"", `[0.05]`, ""},
		"an entry that is a list":                                {"", `[[{"type": "fixed", "price": 1}]]`, ""},
		"other fields do not matter":                             {"", `[{"type": "fixed", "price": 1, "currency": "eur"}]`, "1"},
		"a price of zero is a price":                             {"", `[{"type": "fixed", "price": 0}]`, "0"},
		"a price of minus zero is zero":                          {"", `[{"type": "fixed", "price": -0.0}]`, "0"},
		"a text of zero":                                         {"", `[{"type": "fixed", "price": "0"}]`, "0"},
		"a negative price":                                       {"", `[{"type": "fixed", "price": -1}]`, ""},
		"a negative price as text":                               {"", `[{"type": "fixed", "price": "-0.01"}]`, ""},
		"a number is its shortest text":                          {"", `[{"type": "fixed", "price": 0.1}]`, "0.1"},
		"a number is not the float":                              {"", `[{"type": "fixed", "price": 0.30000000000000000001}]`, "0.3"},
		"a text has all its digits":                              {"", `[{"type": "fixed", "price": "0.30000000000000000001"}]`, "0.30000000000000000001"},
		"a number with an exponent":                              {"", `[{"type": "fixed", "price": 5e-7}]`, "0.0000005"},
		"a text with an exponent":                                {"", `[{"type": "fixed", "price": "5e-7"}]`, "0.0000005"},
		"the largest exponent":                                   {"", `[{"type": "fixed", "price": "1e30"}]`, "1e30"},
		"a large number":                                         {"", `[{"type": "fixed", "price": 1e300}]`, ""},
		"a tiny number":                                          {"", `[{"type": "fixed", "price": 5e-324}]`, ""},
		"a text that is too large":                               {"", `[{"type": "fixed", "price": "1e31"}]`, ""},
		"a text with a huge exponent":                            {"", `[{"type": "fixed", "price": "1e2000000000"}]`, ""},
		"a text with a huge negative exponent":                   {"", `[{"type": "fixed", "price": "1e-2000000000"}]`, ""},
		"a text of 31 digits":                                    {"", `[{"type": "fixed", "price": "1234567890123456789012345678901"}]`, ""},
		"a text of a thousand zeros and a digit":                 {"", `[{"type": "fixed", "price": "` + strings.Repeat("0", 1000) + `1"}]`, ""},
		"a text of very many digits":                             {"", `[{"type": "fixed", "price": "` + strings.Repeat("9", 100_000) + `"}]`, ""},
		"an empty text":                                          {"", `[{"type": "fixed", "price": ""}]`, ""},
		"a text that is no number":                               {"", `[{"type": "fixed", "price": "NaN"}]`, ""},
		"an infinite text":                                       {"", `[{"type": "fixed", "price": "Infinity"}]`, ""},
		"a text with a currency":                                 {"", `[{"type": "fixed", "price": "1 EUR"}]`, ""},
		"a text with blanks":                                     {"", `[{"type": "fixed", "price": " 1"}]`, ""},
		"a text with a decimal comma":                            {"", `[{"type": "fixed", "price": "0,05"}]`, ""},
		"a hexadecimal text":                                     {"", `[{"type": "fixed", "price": "0x10"}]`, ""},
		"a text with an underscore":                              {"", `[{"type": "fixed", "price": "1_000"}]`, ""},
		"a long text with an underscore":                         {"", `[{"type": "fixed", "price": "1_000_000_000_000_000_000"}]`, ""},
		"the price of a product that the merchant no longer has": {`[{"type": "fixed", "price": 3}]`, "-", "3"},
	} {
		t.Run(name, func(t *testing.T) {
			var products []billing.Product
			if c.product != "-" {
				products = []billing.Product{{ID: "p", Name: "P", Pricing: pricings(t, c.product)}, {ID: "q", Name: "Q", Pricing: pricings(t, two)}}
			}
			plans := []billing.Plan{{ID: "small", Items: []billing.PlanItem{{ProductID: "p", Name: "P", Pricing: pricings(t, c.item)}}}}
			got := catalogOf(t, plans, products).Plans["small"]
			if len(got) != 1 || got[0].ID != "p" || got[0].Name != "P" {
				t.Fatalf("got %+v", got)
			}
			switch price := got[0].Price; {
			case c.want == "" && price != nil:
				t.Errorf("got %v, want no price", price)
			case c.want != "" && (price == nil || !price.Equal(number(c.want))):
				t.Errorf("got %v, want %s", price, c.want)
			}
		})
	}
}

func catalogOf(t *testing.T, plans []billing.Plan, products []billing.Product) usage.Catalog {
	t.Helper()
	var o usage.Offers
	for _, p := range plans {
		o.AddPlan(p)
	}
	for _, p := range products {
		o.AddProduct(p)
	}
	c, err := o.Catalog()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTheCatalogOfAMerchant(t *testing.T) {
	plans := []billing.Plan{
		{ID: "small", Items: []billing.PlanItem{{ProductID: "p", Name: "P"}, {ProductID: "q", Name: "Q"}}},
		{ID: "large", Items: []billing.PlanItem{{ProductID: "p", Name: "P", Pricing: pricings(t, `[{"type": "fixed", "price": 1}]`)}}},
		{ID: "empty"},
	}
	products := []billing.Product{
		{ID: "p", Name: "P", Pricing: pricings(t, `[{"type": "fixed", "price": 2}]`)}, {ID: "q", Name: "Q"}, {ID: "r", Name: "R"},
	}
	want := usage.Catalog{
		Plans: map[string][]usage.Product{
			"small": {{ID: "p", Name: "P", Price: new(number("2"))}, {ID: "q", Name: "Q"}}, "large": {{ID: "p", Name: "P", Price: new(number("1"))}},
			"empty": {},
		},
		Names: map[string]bool{"P": true, "Q": true, "R": true},
	}
	if got := catalogOf(t, plans, products); asJSON(t, got) != asJSON(t, want) {
		t.Errorf("got\n%s\nwant\n%s", asJSON(t, got), asJSON(t, want))
	}
	if got := catalogOf(t, nil, nil); asJSON(t, got) != `{"Plans":{},"Names":{}}` {
		t.Errorf("of nothing: %s", asJSON(t, got))
	}
}

// A catalog keeps the texts and prices that plans share once, and has a maximum size.
func TestTheSizeOfACatalog(t *testing.T) {
	items := make([]billing.PlanItem, 1000)
	var o usage.Offers
	for i := range items {
		id := fmt.Sprintf("%036d", i)
		items[i] = billing.PlanItem{ProductID: id, Name: "product " + id}
		o.AddProduct(billing.Product{ID: id, Name: "product " + id, Pricing: pricings(t, `[{"type": "fixed", "price": 2}]`)})
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	plans := func(n int) {
		for i := range n {
			for j := range items { // each list has its own texts
				items[j].ProductID, items[j].Name = strings.Clone(items[j].ProductID), strings.Clone(items[j].Name)
			}
			o.AddPlan(billing.Plan{ID: fmt.Sprint("plan ", i), Items: items})
		}
	}
	plans(1000)
	c, err := o.Catalog()
	if err != nil || len(c.Plans) != 1000 || !c.Plans["plan 7"][999].Price.Equal(number("2")) {
		t.Fatalf("%d plans, %v", len(c.Plans), err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if used := int64(after.HeapAlloc-before.HeapAlloc) >> 20; used > 45 {
		t.Errorf("a million items need %d MiB", used)
	}
	plans(10_000)
	const want = "the plans and products of the merchant need more than 64 MiB of memory"
	if _, err := o.Catalog(); err == nil || err.Error() != want {
		t.Errorf("of 11 million items: got %v, want %s", err, want)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if used := int64(after.HeapAlloc-before.HeapAlloc) >> 20; used > 70 {
		t.Errorf("a catalog that is too large needs %d MiB", used)
	}
	runtime.KeepAlive(&o)
	for name, add := range map[string]func(*usage.Offers, string){
		"names of products": func(o *usage.Offers, long string) { o.AddProduct(billing.Product{Name: long}) },
		"ids of plans":      func(o *usage.Offers, long string) { o.AddPlan(billing.Plan{ID: long}) },
		"names of items":    func(o *usage.Offers, long string) { o.AddPlan(billing.Plan{Items: []billing.PlanItem{{Name: long}}}) },
	} {
		var long usage.Offers
		for i := range 9 {
			add(&long, fmt.Sprint(i, strings.Repeat("x", 8<<20)))
		}
		if _, err := long.Catalog(); err == nil {
			t.Errorf("there is no limit of the %s", name)
		}
	}
}
