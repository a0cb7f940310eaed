package billing_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// answering returns a client of a server that answers each GET with the body.
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

// Lists that BillingStack should not send are refused before they use much memory.
func TestListsHaveLimits(t *testing.T) {
	repeated := func(begin, element string, n int, end string) func(io.Writer) {
		return func(w io.Writer) {
			_, _ = io.WriteString(w, begin)
			block := strings.Repeat(element, 1000)
			for range n / 1000 {
				_, _ = io.WriteString(w, block)
			}
			_, _ = io.WriteString(w, end)
		}
	}
	for what, c := range map[string]struct {
		body func(io.Writer)
		want string
	}{
		"too many elements":      {repeated("[", "{},", 11_000_000, "{}]"), "the list has more than 100000 elements"},
		"a long element":         {repeated(`[{"name":"`, "x", 2_000_000, `"}]`), "an element of the list is longer than 1048576 bytes"},
		"blanks without end":     {repeated("[", " ", 40_000_000, "]"), "longer than 1048576 bytes"},
		"a long list":            {repeated("[", `{"name":"`+strings.Repeat("x", 1000)+`"},`, 40_000, "{}]"), "unexpected EOF"},
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
			plans, err := client.Plans(t.Context(), merchantID)
			runtime.ReadMemStats(&after)
			e, ok := errors.AsType[*upstream.Error](err)
			if !ok || e.Class != upstream.Transient || !strings.Contains(err.Error(), c.want) || plans != nil {
				t.Errorf("got %d plans, %v; want a transient error about %q", len(plans), err, c.want)
			}
			if used := after.HeapAlloc - min(before.HeapAlloc, after.HeapAlloc); used > 100<<20 {
				t.Errorf("%d MiB are in use after the answer, want at most 100", used>>20)
			}
		})
	}
}

// Pages have each object once, in the order of the ids.
func TestPagesOfALongList(t *testing.T) {
	const n = 30_000
	client := answering(t, func(w io.Writer) {
		separator := "["
		for i := range n {
			_, _ = fmt.Fprintf(w, `%s{"id":"%08d","customer_id":"c","plan_id":"p","resource_id":"r"}`, separator, (i*7919)%n) // in no order
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
