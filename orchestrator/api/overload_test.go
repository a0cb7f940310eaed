package api_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/service"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
)

// The method `async` returns a request for an order with Prefer: respond-async.
func (w *world) async(key string) request {
	q := w.order(key)
	q.header.Set("Prefer", "respond-async")
	return q
}

func TestAMerchantOverItsLimitIsToldSo(t *testing.T) {
	w := newWorld(t)
	w.call(w.admin("PATCH", "/v1/merchants/"+w.Merchant.ID, `{"max_live_runs": 2}`))
	w.steps.close()
	var waiting sync.WaitGroup
	defer waiting.Wait()
	waiting.Go(func() {
		a, err := w.try(w.order("k1"))
		if want := `"live-runs";r=1`; err != nil || a.status != 201 || a.header.Get("RateLimit") != want {
			t.Errorf("the first: got %d, RateLimit %s, %v; want 201, %s", a.status, a.header.Get("RateLimit"), err, want)
		}
	})
	waitUntil(t, "its run is stored", func() bool { return w.runs() == 1 })
	waitUntil(t, "the next is accepted", func() bool { // the first order now counts as a live run, not as an admission
		a := w.call(w.async("k0"))
		return a.status == 202 && a.header.Get("RateLimit") == `"live-runs";r=0`
	})
	waitUntil(t, "both runs have created their customers", func() bool { return w.upstreams.writes.Load() == 2 })
	w.upstreams.writes.Store(0)
	reads := w.upstreams.reads.Load()
	over := w.refused(w.async("k"), http.StatusTooManyRequests, "quota-exceeded")
	if got := w.upstreams.reads.Load(); got != reads {
		t.Errorf("the refused order asked upstreams %d times", got-reads)
	}
	for name, want := range map[string]string{
		"RateLimit-Policy": `"live-runs";q=2;qu="concurrent-requests"`, "RateLimit": `"live-runs";r=0;t=5`, "Retry-After": "5",
	} {
		if got := over.header.Get(name); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	if p := read[api.Problem](t, over); p.ViolatedPolicies == nil || !slices.Equal(*p.ViolatedPolicies, []string{"live-runs"}) || !p.Retryable {
		t.Errorf("got %s", over.body)
	}

	if a := w.call(w.async("k0")); a.status != 202 || a.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("a known key: got %d %s", a.status, a.body)
	}
	if a := w.call(w.foreign("k")); a.status != 202 {
		t.Errorf("another merchant: got %d %s", a.status, a.body)
	}
	w.steps.open()
	if a := w.call(w.order("k0")); a.status != 201 {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	if a := w.call(w.order("k")); a.status != 201 {
		t.Errorf("after a run has ended: got %d %s", a.status, a.body)
	}
}

func TestOneReplicaNeverAcceptsMoreThanTheLimit(t *testing.T) {
	w := newWorld(t, changed(func(o *service.Options) { o.MaxLiveRuns = 5 }))
	w.steps.close()
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			if a, err := w.try(w.async(fmt.Sprint(i))); err != nil || a.status != 202 && a.status != 429 {
				t.Errorf("got %d %s, %v", a.status, a.body, err)
			}
		})
	}
	all.Wait()
	// Some concurrent orders may have been refused although the limit was not reached. Therefore place more orders, one by one.
	for i := range 5 {
		w.call(w.async(fmt.Sprint("then", i)))
	}
	if got := w.runs(); got != 5 {
		t.Errorf("%d runs were accepted, want 5", got)
	}
}

// The function `held` returns a world whose service waits in each check of w.UserToken until the test closes the channel `check`.
func held(t *testing.T, admissions int) (w *world, check chan struct{}) {
	check = make(chan struct{})
	w = newWorld(t, changed(func(o *service.Options) { o.Admissions = admissions }), func(o *servicetest.Options) {
		around := o.Around
		o.Around = func(upstream string, next http.RoundTripper) http.RoundTripper {
			next = around(upstream, next)
			return roundTrip(func(req *http.Request) (*http.Response, error) {
				if req.Method == http.MethodGet && req.Header.Get("X-Subject-Token") == w.UserToken {
					<-check
				}
				return next.RoundTrip(req)
			})
		}
	})
	return w, check
}

// The method `send` sends a request with the given body to the handler of the API.
func (w *world) send(q request, body io.Reader) *httptest.ResponseRecorder {
	r := httptest.NewRequest(q.method, q.path, body)
	r.RemoteAddr = "127.0.0.1:1"
	r.Header = q.header
	r.Header.Set("Content-Type", "application/json")
	r.SetBasicAuth(q.portal.Key, q.portal.Secret)
	out := httptest.NewRecorder()
	w.Service.Handler.ServeHTTP(out, r)
	return out
}

// The method `foreign` returns a request for an order of w.Other, the second merchant of the world.
func (w *world) foreign(key string) request {
	q := w.async(key)
	q.path, q.portal = "/v1/merchants/"+w.Other.ID+"/subscriptions", w.Other
	q.body = strings.ReplaceAll(q.body, w.Merchant.Plan, w.Other.Plan)
	return q
}

// The orders of a merchant never get more than three quarters of the places. The service refuses further orders of this merchant, and
// accepts orders of another merchant.
func TestOneMerchantsOrdersLeavePlacesForTheOthers(t *testing.T) {
	const admissions, more = 8, 200
	w, check := held(t, admissions)
	var admitted, refused atomic.Int32
	var all sync.WaitGroup
	for i := range admissions + more {
		all.Go(func() {
			q := w.async(fmt.Sprint(i))
			out := w.send(q, strings.NewReader(q.body))
			if out.Code == http.StatusAccepted {
				admitted.Add(1)
				return
			}
			refused.Add(1)
			if out.Code != http.StatusTooManyRequests || !strings.Contains(out.Body.String(), "/problems/too-many-requests") || out.Header().Get("Retry-After") != "5" {
				t.Errorf("too many: got %d %v %s", out.Code, out.Header(), out.Body)
			}
		})
	}
	waitUntil(t, "the orders that find no place are refused", func() bool { return refused.Load() == more+admissions/4 })
	q := w.foreign("k")
	q.header.Set("X-Subject-Token", w.Keystone.IssueToken(w.User))
	if out := w.send(q, strings.NewReader(q.body)); out.Code != http.StatusAccepted {
		t.Errorf("another merchant: got %d %s", out.Code, out.Body)
	}
	close(check)
	all.Wait()
	if got := admitted.Load(); got != admissions*3/4 {
		t.Errorf("%d orders were admitted at once, want %d", got, admissions*3/4)
	}
	q = w.async("after")
	if out := w.send(q, strings.NewReader(q.body)); out.Code != http.StatusAccepted {
		t.Errorf("afterwards: got %d %s", out.Code, out.Body)
	}
}

// A request whose body does not arrive holds no place.
func TestUnfinishedBodiesKeepNobodyOut(t *testing.T) {
	const admissions = 4
	w := newWorld(t, changed(func(o *service.Options) { o.Admissions = admissions }))
	var all sync.WaitGroup
	var bodies atomic.Int32
	end, stop := io.Pipe()
	for i := range 10 * admissions {
		all.Go(func() {
			w.send(w.async(fmt.Sprint(i)), &countedReader{end, &bodies, false})
		})
	}
	waitUntil(t, "all bodies are being read", func() bool { return bodies.Load() == 10*admissions })
	for _, q := range []request{w.async("k"), w.foreign("k")} {
		if out := w.send(q, strings.NewReader(q.body)); out.Code != http.StatusAccepted {
			t.Errorf("got %d %s", out.Code, out.Body)
		}
	}
	_ = stop.Close()
	all.Wait()
}

// The sum of the sizes of all bodies has a limit. The bodies of a merchant never use more than three quarters of this limit.
func TestTheBodiesUnderWayHaveALimit(t *testing.T) {
	const limit, largest = 64 << 20, 114688
	w := newWorld(t)
	var all sync.WaitGroup
	var bodies, refused atomic.Int32
	end, stop := io.Pipe()
	const sent = limit / largest
	for i := range sent {
		all.Go(func() { // a request without a Content-Length may have the largest body
			q := w.async(fmt.Sprint(i))
			if out := w.send(q, &countedReader{end, &bodies, false}); out.Code == http.StatusTooManyRequests {
				refused.Add(1)
			}
		})
	}
	const most = sent * 3 / 4
	waitUntil(t, "each body is being read or refused", func() bool { return int(bodies.Load()+refused.Load()) == sent })
	if got := int(bodies.Load()); got != most {
		t.Errorf("%d bodies were read at once, want %d", got, most)
	}
	q := w.foreign("k")
	if out := w.send(q, strings.NewReader(q.body)); out.Code != http.StatusAccepted {
		t.Errorf("another merchant: got %d %s", out.Code, out.Body)
	}
	_ = stop.Close()
	all.Wait()
}

// countedReader counts the bodies whose reading has begun.
type countedReader struct {
	io.Reader
	bodies *atomic.Int32
	begun  bool
}

func (c *countedReader) Read(p []byte) (int, error) {
	if !c.begun {
		c.begun = true
		c.bodies.Add(1)
	}
	return c.Reader.Read(p)
}

func TestWaitingForRunsKeepsNobodyOut(t *testing.T) {
	w := newWorld(t, changed(func(o *service.Options) { o.Admissions = 1 }))
	w.steps.close()
	patient := func(key, wait string) request {
		q := w.order(key)
		q.header.Set("Prefer", wait)
		return q
	}
	var all sync.WaitGroup
	for i := range 3 { // the limit of waiting requests is four times Admissions; one merchant may use three quarters of it
		all.Go(func() {
			a, err := w.try(patient(fmt.Sprint(i), "wait=30"))
			for err == nil && a.status == http.StatusServiceUnavailable { // the previous order may still hold its place
				a, err = w.try(patient(fmt.Sprint(i), "wait=30"))
			}
			if err != nil || a.status != 201 || a.header.Get("Preference-Applied") != "wait=30" {
				t.Errorf("an order that waits: got %d %v %s, %v", a.status, a.header, a.body, err)
			}
		})
		waitUntil(t, "the order is accepted", func() bool { return w.runs() == i+1 })
	}
	waitUntil(t, "a further order is answered without a wait", func() bool { // perhaps the last order does not wait for its run yet
		a := w.call(patient("late", "wait=1"))
		return a.status == http.StatusAccepted && a.header.Get("Preference-Applied") == "" && a.header.Get("Retry-After") != ""
	})
	w.steps.open()
	all.Wait()
}

func TestRetryAfterFollowsThePaceOnceThereIsOne(t *testing.T) {
	w := newWorld(t)
	ask := func(key string) string {
		w.steps.close()
		defer w.steps.open()
		return w.call(w.async(key)).header.Get("Retry-After")
	}
	if got := ask("first"); got != "2" {
		t.Errorf("nothing was measured: got %s, want 2", got)
	}
	for i := range 20 {
		w.call(w.order(fmt.Sprint(i)))
	}
	if got := ask("last"); got != "1" {
		t.Errorf("runs that take milliseconds: got %s, want 1", got)
	}
}

func waitUntil(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 2000 {
		if ok() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("waited for 10 s without success: %s", what)
}

// An answer holds memory until the client has read it. The answers to one caller hold no more than 48 MiB, and the answers to all callers
// together hold no more than 64 MiB. At these limits, the service refuses requests for lists before it reads the lists from the database.
func TestTheAnswersUnderWayHaveALimit(t *testing.T) {
	const limit = 64 << 20
	w := newWorld(t)
	w.steps.fail(fmt.Errorf("%w: %s", errBlocked, strings.Repeat("x", 1000)))
	for i := range 50 {
		w.call(w.async(fmt.Sprint(i)))
	}
	waitUntil(t, "the runs wait", func() bool {
		return len(read[api.RunList](t, w.call(w.get("/v1/runs?state=waiting"))).Runs) == 50
	})
	var all sync.WaitGroup
	unread := make(chan struct{})
	var held atomic.Int64
	unreadList := func(q request) (status int) {
		q.path = "/v1/runs"
		begun := make(chan int, 1)
		all.Go(func() {
			out := &unreadWriter{header: http.Header{}, begun: begun, unread: unread, held: &held}
			if w.into(t.Context(), out, "127.0.0.1:1", q); out.status != http.StatusOK {
				begun <- out.status
			}
		})
		return <-begun
	}
	untilRefused := func(q request) (answers, status int) {
		for status = unreadList(q); status == http.StatusOK; answers++ {
			status = unreadList(q)
		}
		return answers, status
	}
	if _, status := untilRefused(w.get("")); status != http.StatusTooManyRequests || held.Load() < limit*5/8 || held.Load() > limit*3/4 {
		t.Errorf("one merchant: status %d after %d MiB of answers, want 429 after at most 48 MiB", status, held.Load()>>20)
	}
	if got := w.call(w.admin("GET", "/v1/runs?limit=200", "")); got.status != http.StatusOK {
		t.Errorf("another caller: got %d %s", got.status, got.body)
	}
	for answers, status := 1, 0; answers > 0; {
		answers, status = untilRefused(request{operator: w.newOperator()})
		if answers == 0 && status != http.StatusServiceUnavailable {
			t.Errorf("a caller without answers: got %d, want 503", status)
		}
	}
	if got := held.Load(); got < limit*7/8 || got > limit {
		t.Errorf("all answers hold %d MiB, want at most 64 MiB", got>>20)
	}
	fresh := w.newOperator()
	for id, q := range w.everyOperation() {
		largest := "200"
		if id == "listRunEvents" {
			largest = "1000"
		}
		q.path += "?limit=" + largest
		switch {
		case !strings.HasPrefix(id, "list") || id == "listVersions":
			continue
		case q.operator != "":
			q.operator = fresh
		default:
			q.portal = w.Other
			q.path = strings.ReplaceAll(q.path, w.Merchant.ID, w.Other.ID)
		}
		got := w.call(q)
		if got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") != "5" || !strings.Contains(got.body, "/problems/overloaded") {
			t.Errorf("%s: got %d %v %.200s", id, got.status, got.header, got.body)
		}
	}
	close(unread)
	all.Wait()
	if got := w.call(w.get("/v1/runs?limit=200")); got.status != http.StatusOK {
		t.Errorf("after the answers were read: got %d %s", got.status, got.body)
	}
}

// unreadWriter is a client that begins to read an answer and then waits.
type unreadWriter struct {
	header http.Header
	begun  chan<- int // receives the status
	status int
	unread <-chan struct{} // closed when the client reads on
	held   *atomic.Int64   // bytes of answers
}

func (u *unreadWriter) Header() http.Header    { return u.header }
func (u *unreadWriter) WriteHeader(status int) { u.status = status }
func (u *unreadWriter) Write(p []byte) (int, error) {
	if u.status == http.StatusOK {
		u.held.Add(int64(len(p)))
		u.begun <- u.status
		<-u.unread
	}
	return len(p), nil
}

// newOperator returns the token of a new operator.
func (w *world) newOperator() string {
	w.t.Helper()
	name := newID()
	user := w.Keystone.AddUser(keystonetest.User{Name: name})
	project := w.Keystone.AddProject(keystone.Project{Name: name})
	role, err := w.Keystone.Role(servicetest.AdminRole)
	must(w.t, err)
	w.Keystone.Assign(keystone.Assignment{ProjectID: project, UserID: user, RoleID: role.ID})
	scoped, err := w.Identity.ExchangeToken(w.t.Context(), w.Keystone.IssueToken(user), project)
	must(w.t, err)
	return scoped.ID
}

// The number of calls that wait for a run is limited, for each caller and for all callers together. At the limit, a call that
// reads the run without a wait is still answered.
func TestWaitsHaveALimit(t *testing.T) {
	w := newWorld(t)
	path := w.held(w.order("k"))
	o := w.observe(func(o *api.Options) { o.Admissions = 2 }) // so that 8 calls may wait
	var all sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	// untilRefused starts calls that wait for a change of the run, and stops after a call is refused.
	untilRefused := func(who portal, token string) (waits int, refused *httptest.ResponseRecorder) {
		q := request{path: path + "?wait=30", portal: who, operator: token}
		q.header = http.Header{"If-None-Match": {w.call(w.get(path)).header.Get("ETag")}}
		for before := o.watchers.Load(); ; waits++ {
			answered := make(chan *httptest.ResponseRecorder, 1)
			all.Go(func() { answered <- w.fromIn(ctx, "127.0.0.1:1", q) })
			waitUntil(t, "the call waits or is refused", func() bool {
				return int(o.watchers.Load()-before) > waits || len(answered) > 0
			})
			if len(answered) > 0 {
				return waits, <-answered
			}
		}
	}
	check := func(what string, got *httptest.ResponseRecorder, status int, problem string) {
		t.Helper()
		if got.Code != status || got.Header().Get("Retry-After") != "5" || !strings.Contains(got.Body.String(), "/problems/"+problem) {
			t.Errorf("%s: got %d %v %s, want %d", what, got.Code, got.Header(), got.Body, status)
		}
	}
	waits, refused := untilRefused(w.Merchant, "")
	if check("one merchant", refused, http.StatusTooManyRequests, "too-many-requests"); waits != 6 {
		t.Errorf("%d calls of one merchant wait, want 6", waits)
	}
	for waits > 0 {
		waits, refused = untilRefused(portal{}, w.newOperator())
	}
	if check("all callers", refused, http.StatusServiceUnavailable, "overloaded"); o.watchers.Load() != 8 {
		t.Errorf("%d calls wait, want 8", o.watchers.Load())
	}
	if got := w.from("127.0.0.1:1", w.get(path)); got.Code != http.StatusOK {
		t.Errorf("without a wait: got %d %s", got.Code, got.Body)
	}
	if got := w.from("127.0.0.1:1", w.action(path, "retry", `{"why": "x"}`)); got.Code != http.StatusAccepted {
		t.Errorf("an action whose answer does not wait for the run: got %d %s", got.Code, got.Body)
	}
	stop()
	all.Wait()
}

// The limit of concurrent orders applies to actions too. A retry of a compensated run counts towards this limit while the service checks
// the retry, because this check reads from the upstreams.
func TestActionsThatAreAcceptedHaveALimit(t *testing.T) {
	w := newWorld(t, changed(func(o *service.Options) { o.Admissions = 4 }))
	w.steps.fail(errRefused)
	path := text(read[api.Problem](t, w.call(w.order("k"))).Instance)
	w.steps.fail(nil)
	live := w.held(w.order("live"))
	hold := w.steps.holdRetries()
	var all sync.WaitGroup
	// untilRefused starts retries until a retry is refused.
	untilRefused := func(token string) (retries int, refused *httptest.ResponseRecorder) {
		q := w.action(path, "retry", `{"why": "x"}`)
		q.operator = token
		for before := w.steps.retries.Load(); ; retries++ {
			answered := make(chan *httptest.ResponseRecorder, 1)
			all.Go(func() { answered <- w.from("127.0.0.1:1", q) })
			waitUntil(t, "the action is refused, or its check has begun", func() bool {
				return int(w.steps.retries.Load()-before) > retries || len(answered) > 0
			})
			if len(answered) > 0 {
				return retries, <-answered
			}
		}
	}
	for _, c := range []struct {
		what, token, problem string
		retries, status      int
	}{
		{"one operator", w.OperatorToken, "too-many-requests", 3, http.StatusTooManyRequests},
		{"another operator", w.newOperator(), "overloaded", 1, http.StatusServiceUnavailable},
		{"a third operator", w.newOperator(), "overloaded", 0, http.StatusServiceUnavailable},
	} {
		retries, got := untilRefused(c.token)
		if retries != c.retries || got.Code != c.status || got.Header().Get("Retry-After") == "" || !strings.Contains(got.Body.String(), "/problems/"+c.problem) {
			t.Errorf("%s: %d retries, then %d %v %s, want %d and %d", c.what, retries, got.Code, got.Header(), got.Body, c.retries, c.status)
		}
	}
	cancel := request{method: http.MethodPost, path: live + "/cancel", portal: w.Merchant, body: `{"why": "x"}`}
	if got := w.call(cancel); got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" {
		t.Errorf("a portal: got %d %v %s, want 503", got.status, got.header, got.body)
	}
	close(hold)
	all.Wait()
	if got := w.call(cancel); got.status != http.StatusAccepted {
		t.Errorf("afterwards: got %d %s", got.status, got.body)
	}
}

// The type `observed` reads runs for an API, and counts some of the API's calls.
type observed struct {
	saga.Reader

	watchers, reads atomic.Int32
}

// The method `observe` replaces the world's API with an API that has its own limits. Both APIs show the same runs. The new API
// accepts no orders.
func (w *world) observe(change func(*api.Options)) *observed {
	w.t.Helper()
	o := &observed{Reader: w.Service.Runs}
	options := api.Options{
		Runs: o, Starter: w.Service.Runs, Actions: w.Service.Runs, Merchants: w.Store.Merchants(), Now: time.Now,
		Identity:  func(string) (keystone.Identity, error) { return w.Identity, nil },
		AdminRole: servicetest.AdminRole, Version: "test", Log: zerolog.New(w.Log),
	}
	change(&options)
	handler, err := api.New(options)
	must(w.t, err)
	w.Service.Handler = handler
	return o
}

func (o *observed) Watch(runID string) saga.Watcher {
	o.watchers.Add(1)
	return o.Reader.Watch(runID)
}

func (o *observed) Events(ctx context.Context, runID string, after int64, limit int) ([]saga.Event, error) {
	o.reads.Add(1)
	return o.Reader.Events(ctx, runID, after, limit)
}
