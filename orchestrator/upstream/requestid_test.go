package upstream_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

func TestOnlyRequestIDsPassAsRequestIDs(t *testing.T) {
	const secret = "secret-0123"
	for value, want := range map[string]string{
		"req-f3b7e8a0-3c1e-4b1b-9d1c-2c4f0a6a0e1d": "req-f3b7e8a0-3c1e-4b1b-9d1c-2c4f0a6a0e1d",
		"req-7":                          "req-7",
		"":                               "",
		"7":                              "",
		"req-":                           "",
		"req-7 (admin)":                  "",
		"req-7\x1b[2J":                   "",
		"req-é":                          "",
		secret:                           "",
		"req-" + secret:                  "",
		"req-1-" + secret + "-2":         "",
		"req-" + strings.Repeat("a", 60): "req-" + strings.Repeat("a", 60),
		"req-" + strings.Repeat("a", 61): "",
	} {
		header := http.Header{"X-Openstack-Request-Id": {value}}
		if got := upstream.RequestID(header, "another", secret); got != want {
			t.Errorf("%q: got %q, want %q", value, got, want)
		}
		reported := "not reported"
		upstream.ReportAnswer(t.Context(), header)
		ctx := upstream.WithCaller(t.Context(), upstream.Caller{Answered: func(id string) { reported = id }})
		if upstream.ReportAnswer(ctx, header, secret); reported != want {
			t.Errorf("%q: reported %q, want %q", value, reported, want)
		}
	}
}
