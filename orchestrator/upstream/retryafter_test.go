package upstream_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

func TestRetryAfterIsSecondsOrADateWithinLimits(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "-1": 0, "soon": 0, "1.5": 0,
		"0": time.Second, "90": 90 * time.Second, "3601": time.Hour, "9223372037": time.Hour, "99999999999999999999": time.Hour,
		"Thu, 01 Jan 2026 00:01:00 GMT": time.Minute, "Wed, 31 Dec 2025 00:00:00 GMT": time.Second,
		"Fri, 02 Jan 2026 00:00:00 GMT": time.Hour, "Fri, 31 Dec 9999 23:59:59 GMT": time.Hour,
	} {
		if got := upstream.RetryAfter(http.Header{"Retry-After": {value}}, now); got != want {
			t.Errorf("%q: got %s, want %s", value, got, want)
		}
	}
}
