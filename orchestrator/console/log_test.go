package console_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/service"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
)

// A client that goes away is no fault of the service, and what was searched for is not logged.
func TestTheLogHasNoSearches(t *testing.T) {
	w := newWorld(t, func(o *servicetest.Options) {
		before := o.Change
		o.Change = func(o *service.Options) { before(o); o.LoginRate = 100 }
	})
	cookie := w.merchant(t, w.Merchant).cookie()
	for d := 100 * time.Microsecond; d < 100*time.Millisecond; d = d * 5 / 4 {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		r := httptest.NewRequest(http.MethodGet, w.URL+"/console/runs?q=what-was-typed", nil).WithContext(ctx)
		r.Header.Set("Cookie", cookie)
		w.Service.Handler.ServeHTTP(httptest.NewRecorder(), r)
		cancel()
	}
	for line := range strings.Lines(w.Log.String()) {
		if strings.Contains(line, "what-was-typed") {
			t.Errorf("the log has the search: %s", line)
		}
		if strings.Contains(line, `"message":"console"`) && strings.Contains(line, `"level":"error"`) {
			t.Errorf("a client that goes away is logged as an error: %s", line)
		}
	}
	if !strings.Contains(w.Log.String(), `"status":500`) {
		t.Error("no request was interrupted")
	}
}
