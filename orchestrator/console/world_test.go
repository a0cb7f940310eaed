package console_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/orchestrator/service"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
)

// The type `world` is a service with a console, whose BillingStack can be made to refuse plans' subscriptions.
type world struct {
	*servicetest.Installation
	refuse atomic.Bool  // BillingStack refuses new subscriptions
	down   atomic.Bool  // BillingStack answers each write with 503
	later  atomic.Int64 // how much later the service believes it is, in nanoseconds

	keystoneDown atomic.Bool // Keystone answers each request with 503
}

func newWorld(t *testing.T, change ...func(*servicetest.Options)) *world {
	t.Helper()
	w := &world{}
	o := servicetest.Options{TLS: true, Around: w.around, Change: func(o *service.Options) {
		o.LateWindow, o.TripsAfter = time.Millisecond, 1_000_000
		o.Now = w.now
	}}
	for _, c := range change {
		c(&o)
	}
	w.Installation = servicetest.New(t, o)
	return w
}

// The method `now` returns the time that the service believes it is.
func (w *world) now() time.Time { return time.Now().Add(time.Duration(w.later.Load())) }

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func (w *world) around(upstream string, next http.RoundTripper) http.RoundTripper {
	return roundTrip(func(r *http.Request) (*http.Response, error) {
		if upstream == service.BillingStack && r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/subscriptions") && w.refuse.Load() {
			return answer(r, http.StatusBadRequest, `{"error": {"code": 400, "message": "the plan is not for sale <b>today</b> \u202e\u001b[31m", "title": "Bad Request"}}`), nil
		}
		if upstream == service.BillingStack && r.Method != http.MethodGet && w.down.Load() {
			return answer(r, http.StatusServiceUnavailable, "down"), nil
		}
		if upstream != service.BillingStack && w.keystoneDown.Load() {
			return answer(r, http.StatusServiceUnavailable, "down"), nil
		}
		return next.RoundTrip(r)
	})
}

func answer(r *http.Request, status int, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
}

// orderWaits subscribes the user while BillingStack is down, and returns the run, which waits.
func (w *world) orderWaits(t *testing.T, m servicetest.Merchant) (id string) {
	t.Helper()
	return w.order(t, m, "Prefer", "respond-async")
}

// order subscribes the user, and returns the run.
func (w *world) order(t *testing.T, m servicetest.Merchant, headers ...string) (id string) {
	t.Helper()
	body := fmt.Sprintf(`{"plan_id": %q, "customer": {"name": "<i>Eve</i>", "currency": "nok", "language": "nor"}}`, m.Plan)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.URL+"/v1/merchants/"+m.ID+"/subscriptions", bytes.NewBufferString(body))
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth(m.Key, m.Secret)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Subject-Token", w.UserToken)
	r.Header.Set("Idempotency-Key", uuid.NewString())
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := w.Client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var run struct{ ID, Instance string } // a run, or a problem
	if err := json.Unmarshal(text, &run); err != nil || run.ID+run.Instance == "" {
		t.Fatalf("%d %s", resp.StatusCode, text)
	}
	return cmp.Or(run.ID, strings.TrimPrefix(run.Instance, "/v1/runs/"))
}
