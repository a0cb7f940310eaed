package billing_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// The function `answering` returns a client of a server that answers each GET with the body.
func answering(t *testing.T, body func(io.Writer)) *billing.Client {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		body(w)
	}))
	t.Cleanup(server.Close)
	c, err := billing.New(billing.Config{URL: server.URL + "/v2"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The client refuses a malformed or very long list before that list uses much memory.
func TestListsHaveLimits(t *testing.T) {
	repeated := func(begin, element string, n int, end string) func(io.Writer) {
		return func(w io.Writer) {
			out := bufio.NewWriterSize(w, 64<<10)
			_, err := out.WriteString(begin)
			for i := 0; i < n && err == nil; i++ {
				_, err = out.WriteString(element)
			}
			_, _ = out.WriteString(end)
			_ = out.Flush()
		}
	}
	for what, c := range map[string]struct {
		body func(io.Writer)
		want string
	}{
		"too many elements":      {repeated("[", "{},", 11_000_000, "{}]"), "the list has more than 20000 elements"},
		"a long element":         {repeated(`[{"name":"`, "x", 2_000_000, `"}]`), "an element of the list is longer than 262144 bytes"},
		"blanks without end":     {repeated("[", " ", 40_000_000, "]"), "longer than 262144 bytes"},
		"a long list":            {repeated("[", `{"name":"`+strings.Repeat("x", 4000)+`"},`, 10_000, "{}]"), "longer than 33554432 bytes"},
		"plans with items":       {repeated("[", `{"items":[{}`+strings.Repeat(",{}", 50_000)+`]},`, 1000, "{}]"), "more than 100000 values"},
		"plans with pricing":     {repeated("[", `{"items":[{"pricing":[0`+strings.Repeat(",0", 50_000)+`]}]},`, 1000, "{}]"), "more than 100000 values"},
		"plans with properties":  {repeated("[", `{"properties":{"a":0`+strings.Repeat(`,"a":0`, 20_000)+`}},`, 1000, "{}]"), "more than 100000 values"},
		"lists in each other":    {repeated(`[{"items":`, "[", 100_000, "{}]"), "nested more than 64 levels deep"},
		"null":                   {repeated("null", "", 0, ""), "not a list"},
		"an object":              {repeated("{}", "", 0, ""), "not a list"},
		"text after the list":    {repeated("[]", "", 0, "[]"), "continues after the list"},
		"a list that is cut off": {repeated("[{}", "", 0, ""), "EOF"},
	} {
		t.Run(what, func(t *testing.T) {
			client := answering(t, c.body)
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			plans, err := client.PlanPage(t.Context(), merchantID, billing.Page{Limit: 20_000})
			runtime.ReadMemStats(&after)
			e, ok := errors.AsType[*upstream.Error](err)
			if !ok || e.Class != upstream.Transient || !strings.Contains(err.Error(), c.want) || plans != nil {
				t.Errorf("got %d plans, %v; want a transient error about %q", len(plans), err, c.want)
			}
			if used := (after.TotalAlloc - before.TotalAlloc) >> 20; used > 64 {
				t.Errorf("the answer needed %d MiB, want at most 64", used)
			}
		})
	}
}

// A bill reads plans and products with any number of items and values that merchants really have, and needs little memory for them.
func TestListsForBills(t *testing.T) {
	many := func(what string, n int) string { return what + strings.Repeat(","+what, n-1) }
	item := `{"product_id":"` + planID + `","name":"vcpus","title":"vCPU","description":"` + strings.Repeat("x", 300) + `","pricing":[{"type":"fixed","price":1}]}`
	for what, c := range map[string]struct {
		body string
		want string // empty: the list is read
	}{
		"many items":                   {`[{"id":"1","items":[` + many(item, 15_000) + `]}]`, ""},
		"many plans":                   {"[" + many(`{"id":"1","items":[`+many(`{"pricing":[0,0]}`, 100)+"]}", 1000) + "]", ""},
		"long properties":              {`[{"id":"1","properties":{"terms":"` + strings.Repeat("x", 5<<20) + `"}}]`, ""},
		"many values":                  {`[{"id":"1","pricing":[` + many("{}", 199_000/2) + `]}]`, ""},
		"too many items":               {`[{"id":"1","items":[` + many("{}", 200_000) + `]}]`, "an element of the list has more than 200000 values"},
		"too many prices of a plan":    {`[{"id":"1","items":[{"pricing":[` + many("{}", 200_000) + `]}]}]`, "an element of the list has more than 200000 values"},
		"too many properties":          {`[{"id":"1","properties":[` + many("0", 200_001) + `]}]`, "an element of the list has more than 200000 values"},
		"properties that are too long": {`[{"id":"1","properties":{"terms":"` + strings.Repeat("x", 9<<20) + `"}}]`, "longer than 8388608 bytes"},
	} {
		for list, read := range map[string]func(*billing.Client) (int, error){
			"plans": func(c *billing.Client) (n int, err error) {
				return n, c.EachOffer(t.Context(), merchantID, func(billing.Plan) { n++ })
			},
			"products": func(c *billing.Client) (n int, err error) {
				return n, c.EachPricing(t.Context(), merchantID, func(billing.Product) { n++ })
			},
		} {
			t.Run(what+", as "+list, func(t *testing.T) {
				client := answering(t, func(w io.Writer) { _, _ = io.WriteString(w, c.body) })
				var before, after runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				_, err := read(client)
				runtime.ReadMemStats(&after)
				if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
					t.Errorf("got %v; want an error about %q", err, c.want)
				}
				if used := (after.TotalAlloc - before.TotalAlloc) >> 20; used > 64 {
					t.Errorf("the answer needed %d MiB, want at most 64", used)
				}
			})
		}
	}
}

// An order reads a plan with many items.
func TestAPlanWithManyItems(t *testing.T) {
	item := `{"product_id":"` + planID + `","description":"` + strings.Repeat("x", 300) + `"}`
	client := answering(t, func(w io.Writer) {
		_, _ = io.WriteString(w, `[{"id":"`+planID+`","items":[`+item+strings.Repeat(","+item, 4999)+`]}]`)
	})
	p, err := client.Plan(t.Context(), merchantID, planID)
	if err != nil || len(p.Items) != 5000 {
		t.Errorf("got %d items, %v", len(p.Items), err)
	}
}

// An answer that exceeds a limit, or in which a merchant has stored a value of another type, shows that the server works. Such an answer does not
// open the circuit for other merchants.
func TestAnAnswerThatOneMerchantCausesShowsThatTheServerWorks(t *testing.T) {
	for what, c := range map[string]struct {
		body   string
		status int
		works  bool
	}{
		"too many elements": {"[" + strings.Repeat("{},", 30_000) + "{}]", http.StatusOK, true},
		"a list as a name":  {`[{"name":[]}]`, http.StatusOK, true},
		"a cut-off list":    {"[{}", http.StatusOK, false},
	} {
		t.Run(what, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, c.body) }))
			defer server.Close()
			var told []string
			client, err := billing.New(billing.Config{URL: server.URL + "/v2", Enter: func(context.Context) (func(int, error), error) {
				return func(status int, err error) { told = append(told, fmt.Sprint(status, " ", err == nil)) }, nil
			}})
			if err != nil {
				t.Fatal(err)
			}
			_, err = client.PlanPage(t.Context(), merchantID, billing.Page{Limit: 20_000})
			if want := fmt.Sprint(c.status, " ", c.works); err == nil || len(told) != 1 || told[0] != want {
				t.Errorf("got %v, and leave was called with %v; want an error, and %s", err, told, want)
			}
		})
	}
}

// The pages contain each object exactly once, sorted by id.
func TestPagesOfALongList(t *testing.T) {
	const n = 30_000
	client := answering(t, func(w io.Writer) {
		separator := "["
		for i := range n {
			_, _ = fmt.Fprintf(w, `%s{"id":"%08d","customer_id":"c","plan_id":"p","resource_id":"r"}`, separator, (i*7919)%n) // unsorted ids
			separator = ","
		}
		_, _ = io.WriteString(w, "]")
	})
	seen := []string{}
	for page := (billing.Page{Limit: 7000}); ; {
		found, err := client.SubscriptionPage(t.Context(), merchantID, "", page)
		if err != nil {
			t.Fatal(err)
		}
		if len(found) == 0 {
			break
		}
		for _, s := range found {
			seen = append(seen, s.ID)
		}
		page.After = seen[len(seen)-1]
	}
	if len(seen) != n || !slices.IsSorted(seen) || len(slices.Compact(seen)) != n {
		t.Errorf("the pages have %d objects, sorted %t; want %d different objects, sorted", len(seen), slices.IsSorted(seen), n)
	}
}

// An answer that is not a list needs little memory, and its header has a limit.
func TestObjectsHaveLimits(t *testing.T) {
	for what, c := range map[string]struct{ header, body, want string }{
		"many items":    {"", `{"id":"` + planID + `","items":[{}` + strings.Repeat(",{}", 300_000) + `]}`, "more than 20000 values"},
		"a long text":   {"", `{"id":"` + strings.Repeat("x", 2<<20) + `"}`, "longer than 1048576 bytes"},
		"a long header": {"X: " + strings.Repeat("x", 1<<20) + "\r\n", `{"id":"` + planID + `"}`, "header"},
	} {
		t.Run(what, func(t *testing.T) {
			url, _ := script(t, answer{status: "201 Created", header: c.header, body: c.body})
			client := client(t, billing.Config{URL: url})
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := client.CreatePlan(t.Context(), merchantID, billing.Plan{Name: "small"})
			runtime.ReadMemStats(&after)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v; want an error about %q", err, c.want)
			}
			if used := (after.TotalAlloc - before.TotalAlloc) >> 20; used > 16 {
				t.Errorf("the answer needed %d MiB, want at most 16", used)
			}
		})
	}
}

// A pricing that cannot be decoded does not keep the other plans and products from being read.
func TestAPricingThatCannotBeRead(t *testing.T) {
	c := answering(t, func(w io.Writer) {
		_, _ = io.WriteString(w, `[{"id": "1", "name": "a", "pricing": [{"type": "fixed", "price": 1e999}]}, {"id": "2", "name": "b", "pricing": "free"},
			{"id": "3", "name": "c", "pricing": [{"type": "fixed", "price": 2}]}, {"id": "4", "name": "d", "pricing": null}, {"id": "5", "name": "e"}]`)
	})
	want := []billing.Pricing{{nil}, {nil}, {map[string]any{"type": "fixed", "price": 2.0}}, nil, nil}
	var got []billing.Pricing
	err := c.EachProduct(t.Context(), "f47f51dd-e7db-47e2-bdb1-83935a50cf87", func(p billing.Product) { got = append(got, p.Pricing) })
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
}
