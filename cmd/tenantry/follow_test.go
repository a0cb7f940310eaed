package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

// The type `told` is an answer of a server that does not wait.
type told struct {
	status     int
	retryAfter string
	body       string
	etag       string
}

// A watch pauses in two cases: the server answers at once although the run has not changed, or the server refuses the request
// because too many requests are under way. The pause is the time in the header Retry-After, but at least a second and at most a
// minute. After a refusal, the next request asks for the present state, without a wait.
func TestAWatchPausesAsTold(t *testing.T) {
	problem := func(name string) string { return fmt.Sprintf(`{"type": "/problems/%s", "title": "x"}`, name) }
	run := func(atRest bool) string {
		text, err := json.Marshal(client.Run{ID: someMerchant, State: "running", AtRest: atRest, Steps: []client.Step{}, CreatedAt: time.Unix(1, 0)})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	last := told{200, "", run(true), `"9"`}
	for name, c := range map[string]struct {
		told  told
		pause time.Duration
		asks  []string // values of the parameter `wait` in the requests after the first
	}{
		"304":                                  {told{304, "", "", `"1"`}, time.Second, []string{"25", "25", "25"}},
		"304 and when to ask":                  {told{304, "7", "", `"1"`}, 7 * time.Second, []string{"25", "25", "25"}},
		"304 and an hour":                      {told{304, "3600", "", `"1"`}, time.Minute, []string{"25", "25", "25"}},
		"304 and nonsense":                     {told{304, "-5", "", `"1"`}, time.Second, []string{"25", "25", "25"}},
		"the same run":                         {told{200, "2", run(false), `"1"`}, 2 * time.Second, []string{"25", "25", "25"}},
		"a run without a tag":                  {told{200, "", run(false), ""}, time.Second, []string{"25", "25", "25"}},
		"too many requests":                    {told{429, "5", problem("too-many-requests"), ""}, 5 * time.Second, []string{"25", "", ""}},
		"too many requests, says a proxy":      {told{429, "", "slow down", ""}, time.Second, []string{"25", "", ""}},
		"overloaded":                           {told{503, "3", problem("overloaded"), ""}, 3 * time.Second, []string{"25", "", ""}},
		"overloaded, without a time to repeat": {told{503, "", problem("overloaded"), ""}, time.Second, []string{"25", "", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			answers := []told{{200, "", run(false), `"1"`}, c.told, c.told, last}
			var asks []string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				a := answers[min(len(asks), len(answers)-1)]
				asks = append(asks, r.URL.Query().Get("wait"))
				if strings.HasPrefix(a.body, "{") {
					w.Header().Set("Content-Type", "application/json")
				}
				for name, value := range map[string]string{"Retry-After": a.retryAfter, "ETag": a.etag} {
					if value != "" {
						w.Header().Set(name, value)
					}
				}
				w.WriteHeader(a.status)
				if a.status != http.StatusNotModified {
					_, _ = w.Write([]byte(a.body))
				}
			}))
			defer server.Close()
			s, err := dial(server.URL, withToken("token"))
			if err != nil {
				t.Fatal(err)
			}
			var pauses []time.Duration
			s.after = func(d time.Duration) <-chan time.Time {
				pauses = append(pauses, d)
				now := make(chan time.Time, 1)
				now <- time.Time{}
				return now
			}
			if _, err := s.follow(t.Context(), someMerchant, func(client.Run) {}); err != nil {
				t.Fatal(err)
			}
			if want := []time.Duration{c.pause, c.pause}; !slices.Equal(pauses, want) {
				t.Errorf("the watch paused for %v, want %v", pauses, want)
			}
			if got := strings.Join(asks[1:], ","); got != strings.Join(c.asks, ",") {
				t.Errorf("the requests after the first waited for %q seconds, want %q", got, c.asks)
			}
		})
	}
}

// If the server goes down, a watch ends.
func TestAWatchEndsWithItsServer(t *testing.T) {
	f := fake{status: http.StatusServiceUnavailable, answer: `{"type": "/problems/upstream-unavailable", "title": "down"}`}
	if code, _, stderr := line(t, f.start(t), "runs", "watch", someMerchant); code != exitUnreachable || f.requests.Load() != 1 {
		t.Errorf("got %d, %s after %d requests", code, stderr, f.requests.Load())
	}
}

// If a signal arrives while a watch waits for the server's answer or pauses, the watch ends, and prints that it was interrupted.
func TestAnInterruptedWatch(t *testing.T) {
	for name, status := range map[string]int{"waits": 0, "pauses": http.StatusTooManyRequests} {
		ctx, signal := context.WithCancel(t.Context())
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if status != 0 {
				w.Header().Set("Retry-After", "60")
				w.WriteHeader(status)
				time.AfterFunc(10*time.Millisecond, signal)
				return
			}
			signal()
			<-r.Context().Done()
		}))
		var stderr bytes.Buffer
		p := program{in: strings.NewReader(""), out: io.Discard, err: &stderr, environ: []string{"OS_TOKEN=x", "TENANTRY_URL=" + server.URL}}
		if code := p.run(ctx, []string{"runs", "watch", someMerchant}); code != 1 || stderr.String() != "tenantry: interrupted\n" {
			t.Errorf("a watch that %s: got %d, %s", name, code, &stderr)
		}
		server.Close()
	}
}
