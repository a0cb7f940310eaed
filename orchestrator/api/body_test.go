package api_test

import (
	"fmt"
	"maps"
	"net/http"
	"runtime"
	"strings"
	"testing"
)

// The variable `hostile` contains bodies of up to 112 KiB. Without limits, the check of one of these bodies uses up to 1.5 GB.
var hostile = map[string]string{
	"a long key, and many strings that cannot be stored": `{"` + strings.Repeat("k", 57000) + `":[` + strings.Repeat(`"\u0001",`, 6000) + `""]}`,
	"many strings that cannot be stored":                 `{"plan_id":[` + strings.Repeat(`"\u0001",`, 12000) + `""]}`,
	"deep arrays":                                        strings.Repeat("[", 50000) + strings.Repeat("]", 50000),
	"deep objects":                                       strings.Repeat(`{"a":`, 15000) + "1" + strings.Repeat("}", 15000),
	"many arrays":                                        `[` + strings.Repeat("[],", 30000) + `[]]`,
	"many keys":                                          `{` + manyKeys(8500) + `"z":1}`,
	"many wrong items":                                   `{"plan_id":[` + strings.Repeat("1,", 50000) + `1]}`,
	"a long string":                                      `{"plan_id":"` + strings.Repeat("p", 110000) + `"}`,
	"a long string that cannot be stored":                `{"plan_id":"` + strings.Repeat(`\u0001`, 18000) + `"}`,
	"a long number":                                      `{"billing_day":` + strings.Repeat("9", 110000) + `}`,
	"a large exponent":                                   `{"billing_day":1e999999999}`,
	"many values":                                        strings.Repeat("1 ", 50000),
	"many duplicates":                                    `{` + strings.Repeat(`"a":1,`, 18000) + `"a":1}`,
	"the maximum number of fields, all wrong":            `{` + manyKeys(98) + `"z":1}`,
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"key%d":"",`, i)
	}
	return b.String()
}

// The method `allocated` returns the number of bytes that a request allocates, and the status of its answer. Other goroutines may allocate
// at the same time. Therefore, `allocated` repeats the request if the number is above the limit.
func (w *world) allocated(q request, limit uint64) (bytes uint64, status int) {
	for range 5 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		status = w.from("127.0.0.1:1", q).Code
		runtime.ReadMemStats(&after)
		if bytes = after.TotalAlloc - before.TotalAlloc; bytes <= limit {
			break
		}
	}
	return bytes, status
}

// maxAllocated is the maximum number of bytes that a refused request may allocate in addition to its body.
const maxAllocated = 1 << 20

// Each operation refuses each hostile body, and allocates at most 1 MiB in addition to the body.
func TestTheChecksOfABodyUseLittleMemory(t *testing.T) {
	w := newWorld(t)
	for name, q := range w.everyOperation() {
		if q.body == "" || name == "postSamples" { // package ceilometer tests the cost of a post
			continue
		}
		w.from("127.0.0.1:1", q) // fills the caches
		for what, body := range hostile {
			if len(body) > 114688 {
				t.Fatalf("%s: the body has %d bytes", what, len(body))
			}
			q.body = body
			limit := uint64(maxAllocated + len(body))
			n, status := w.allocated(q, limit)
			if status != http.StatusBadRequest {
				t.Errorf("%s, %s: got %d, want 400", name, what, status)
			}
			if n > limit {
				t.Errorf("%s, %s: %d KiB were allocated for a body of %d KiB", name, what, n>>10, len(body)>>10)
			}
		}
	}
}

// everyOperation returns a request for each operation of the document. The key of the map is the id of the operation. The merchant in a
// path exists. The other objects in a path do not.
func (w *world) everyOperation() map[string]request {
	all := map[string]request{}
	ids := strings.NewReplacer("{merchant_id}", w.Merchant.ID, "{run_id}", nobody, "{subscription_id}", nobody, "{audit_id}", nobody,
		"{finding_id}", nobody, "{plan_id}", nobody, "{problem}", "overloaded")
	for path, item := range w.document.doc.Paths.Map() {
		for method, o := range item.Operations() {
			q := request{method: method, path: ids.Replace(path), header: http.Header{}}
			if o.RequestBody != nil {
				q.body = "{}"
			}
			if security := o.Security; security != nil {
				for _, one := range *security {
					if _, ok := one["operatorToken"]; ok {
						q.operator, q.portal = w.OperatorToken, portal{}
					} else if _, ok := one["meterKey"]; ok {
						q.portal = w.meterKey()
					} else if _, ok := one["merchantKey"]; ok && q.operator == "" {
						q.portal = w.Merchant
					}
				}
			}
			if o.OperationID == "subscribe" {
				q.header = http.Header{"Idempotency-Key": {"k"}, "X-Subject-Token": {w.UserToken}}
			}
			all[o.OperationID] = q
		}
	}
	return all
}

// Each operation allocates at most 512 KiB for a request with a hostile query or header.
func TestTheChecksOfAQueryAndOfHeadersUseLittleMemory(t *testing.T) {
	w := newWorld(t)
	const size = 60_000 // the headers of a request have at most 64 KiB
	queries := map[string]string{
		"many unknown names":       strings.Repeat("&abcdefghi", size/10),
		"many different names":     manyNames(6000),
		"many values of a list":    strings.Repeat("&state=stuck", size/12),
		"many wrong values":        strings.Repeat("&object=x", size/9),
		"a long value":             "state=" + strings.Repeat("s", size),
		"a long escaped value":     "user=" + strings.Repeat("%01", size/3),
		"a long name":              strings.Repeat("n", size) + "=1",
		"many semicolons":          strings.Repeat(";", size),
		"as many names as allowed": manyNames(64),
	}
	headers := map[string]string{
		"commas":                      strings.Repeat(",", size),
		"quoted texts":                strings.Repeat(`"",`, size/3),
		"media types":                 strings.Repeat("a/b,", size/4),
		"a media type and parameters": "application/json" + manyParameters(size),
		"a stream and parameters":     "text/event-stream" + manyParameters(size),
		"preferences":                 strings.Repeat("wait=1,", size/7),
		"a long text":                 strings.Repeat("x", size),
		"a long credential":           "Basic " + strings.Repeat("eDp5", size/4),
	}
	names := []string{
		"Accept", "Authorization", "Content-Type", "Forwarded", "Idempotency-Key", "If-Match", "If-None-Match", "Last-Event-ID", "Prefer",
		"X-Auth-Token", "X-Forwarded-For", "X-Openstack-Request-Id", "X-Subject-Token",
	}
	w.Service.CheckDependencies(t.Context())
	path := w.call(w.order("k")).header.Get("Location") // this run has ended, so its stream of events ends
	check := func(name, what string, q request) {
		t.Helper()
		if n, status := w.allocated(q, maxAllocated/2); n > maxAllocated/2 {
			t.Errorf("%s, %s: %d KiB were allocated, status %d", name, what, n>>10, status)
		}
	}
	for name, q := range w.everyOperation() {
		q.path = strings.ReplaceAll(q.path, "/v1/runs/"+nobody, path)
		if q.method == http.MethodPost {
			q.body = "{}"
		}
		w.from("127.0.0.1:1", q) // fills the caches
		for what, query := range queries {
			long := q
			long.path += "?" + query
			check(name, what, long)
		}
		for _, header := range names {
			for what, value := range headers {
				long := q
				long.header = maps.Clone(q.header)
				long.header[header] = []string{value}
				switch header {
				case "Authorization":
					long.portal = portal{}
				case "X-Auth-Token":
					long.operator = ""
				}
				check(name, header+" with "+what, long)
			}
		}
	}
}

func manyNames(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "&n%d=1", i)
	}
	return b.String()[1:]
}

func manyParameters(size int) string {
	var b strings.Builder
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, ";p%d=1", i)
	}
	return b.String()
}
