package api_test

import (
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
)

// hostile are bodies of up to 112 KiB whose checks once took up to 1.5 GB.
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
	"as many wrong fields as allowed":                    `{` + manyKeys(98) + `"z":1}`,
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"key%d":"",`, i)
	}
	return b.String()
}

// Each hostile body is refused, and the whole request allocates at most 1 MiB beside four copies of the body.
func TestTheChecksOfABodyUseLittleMemory(t *testing.T) {
	w := newWorld(t)
	allocated := func(q request) (bytes uint64, status int) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		out := w.send(q, strings.NewReader(q.body))
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc, out.Code
	}
	ok := w.async("first")
	allocated(ok) // fills the caches
	for what, body := range hostile {
		if len(body) > 114688 {
			t.Fatalf("%s: the body has %d bytes", what, len(body))
		}
		for _, path := range []string{ok.path, "/v1/runs/" + nobody + "/cancel"} {
			q := w.async("k")
			q.path, q.body = path, body
			n, status := allocated(q)
			t.Logf("%s: %d KiB for a body of %d KiB", what, n>>10, len(body)>>10)
			if status != http.StatusBadRequest {
				t.Errorf("%s, %s: got %d, want 400", path, what, status)
			}
			if limit := uint64(1<<20 + 4*len(body)); n > limit {
				t.Errorf("%s, %s: %d bytes were allocated, want at most %d", path, what, n, limit)
			}
		}
	}
}
