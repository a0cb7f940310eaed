package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/service"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
)

// The type `streamed` is one server-sent event.
type streamed struct{ id, event, data string }

// The method `follow` opens a stream of events. Each call of the returned function `next` returns one event, or false at the end of
// the stream.
func (w *world) follow(path, lastEventID string) (status int, next func() (streamed, bool)) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.URL+path+"/events", nil)
	must(w.t, err)
	r.SetBasicAuth(w.Merchant.Key, w.Merchant.Secret)
	r.Header.Set("Accept", "text/event-stream")
	if lastEventID != "" {
		r.Header.Set("Last-Event-ID", lastEventID)
	}
	resp, err := w.Client.Do(r)
	must(w.t, err)
	w.t.Cleanup(func() { _ = resp.Body.Close() })
	lines := bufio.NewScanner(resp.Body)
	return resp.StatusCode, func() (streamed, bool) {
		var e streamed
		for lines.Scan() {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch name {
			case "id":
				e.id = value
			case "event":
				e.event = value
			case "data":
				e.data = value
			case "":
				if e.id != "" {
					return e, true
				}
			}
		}
		return e, false
	}
}

func TestWhoGetsAStream(t *testing.T) {
	w := newWorld(t)
	q := w.order("k")
	done := read[api.Run](t, w.call(q))
	for accept, want := range map[string]string{
		"":                      "application/json",
		"*/*":                   "application/json",
		"text/event-stream":     "text/event-stream",
		"Text/Event-Stream":     "text/event-stream",
		"text/event-stream;q=0": "application/json",
		"application/json, text/event-stream;q=0.5": "text/event-stream",
	} {
		q := w.get("/v1/runs/" + done.ID + "/events")
		q.header = http.Header{"Accept": {accept}}
		if got := w.call(q).header.Get("Content-Type"); got != want {
			t.Errorf("Accept: %s: got %s, want %s", accept, got, want)
		}
	}
}

func TestEventsAfterASeqThatIsLarge(t *testing.T) {
	w := newWorld(t)
	path := w.held(w.order("k"))
	for after, want := range map[string]int{"9223372036854775807": 200, "9223372036854775808": 400} {
		if got := w.call(w.get(path + "/events?after=" + after)); got.status != want {
			t.Errorf("after %s: got %d %s, want %d", after, got.status, got.body, want)
		}
	}
}

func TestFollowingEvents(t *testing.T) {
	w := newWorld(t)
	path := w.held(w.order("k"))
	status, next := w.follow(path, "")
	if status != http.StatusOK {
		t.Fatalf("got %d, want 200", status)
	}
	var seen []streamed
	for len(seen) == 0 || seen[len(seen)-1].event != "waiting" {
		e, ok := next()
		if !ok {
			t.Fatalf("the stream ended while the run waits, after %+v", seen)
		}
		seen = append(seen, e)
	}
	w.call(w.action(path, "retry", `{"why": "decided"}`))
	for {
		e, ok := next()
		if !ok {
			break
		}
		seen = append(seen, e)
	}
	list := read[api.EventList](t, w.call(w.get(path+"/events"))).Events
	if len(seen) != len(list) || seen[len(seen)-1].event != "run-succeeded" {
		t.Fatalf("streamed %+v\nlisted %+v", seen, list)
	}
	for i, e := range list {
		want, err := json.Marshal(e)
		must(t, err)
		if seen[i].data != string(want) || seen[i].event != e.Kind {
			t.Errorf("event %d: streamed %+v, listed %s", e.Seq, seen[i], want)
		}
	}

	// A client resumes a broken stream after the last event that the client received. If the client has all events, the answer is 204.
	_, next = w.follow(path, seen[1].id)
	if e, ok := next(); !ok || e != seen[2] {
		t.Errorf("after event %s: got %+v, want %+v", seen[1].id, e, seen[2])
	}
	if status, _ := w.follow(path, seen[len(seen)-1].id); status != http.StatusNoContent {
		t.Errorf("after the last event: got %d, want 204", status)
	}
	if status, _ := w.follow(path, "first"); status != http.StatusBadRequest {
		t.Errorf("after an id that is not a number: got %d, want 400", status)
	}
}

func TestPagesOfEvents(t *testing.T) {
	w := newWorld(t)
	path := w.call(w.order("k")).header.Get("Location")
	all := read[api.EventList](t, w.call(w.get(path+"/events"))).Events
	var paged []api.Event
	for next := path + "/events?limit=2"; next != ""; {
		page := read[api.EventList](t, w.call(w.get(next)))
		paged, next = append(paged, page.Events...), ""
		if last := page.Links[len(page.Links)-1]; last.Rel == "next" {
			next = last.Href
		}
	}
	if len(all) < 4 || len(paged) != len(all) {
		t.Errorf("got %d events by pages of two, want all %d", len(paged), len(all))
	}
	for i, e := range paged {
		if e.Seq != int64(i+1) {
			t.Errorf("event %d stands at place %d", e.Seq, i+1)
		}
	}
}

func TestNoSecretIsTold(t *testing.T) {
	w := newWorld(t)
	path := w.held(w.order("k"))
	w.call(w.action(path, "retry", `{"why": "decided"}`))
	w.await(path, api.RunStateSucceeded)
	w.upstreams.keystoneDown.Store(true)
	w.call(w.order("l"))
	told := w.Log.String()
	for _, q := range []request{w.get(path), w.get(path + "/events"), w.get("/v1/runs"), w.order("k"), w.order("l")} {
		told += w.call(q).body
	}
	resp, err := http.Get(w.URL + "/docs")
	must(t, err)
	_, err = io.Copy(io.Discard, resp.Body)
	must(t, err)
	must(t, resp.Body.Close())
	for name, secret := range map[string]string{
		"the merchant's secret": w.Merchant.Secret, "the user's token": w.UserToken, "the operator's token": w.OperatorToken,
		"the scoped token": "the scoped token", "an Authorization header": "Basic ",
	} {
		if strings.Contains(told, secret) {
			t.Errorf("%s is told", name)
		}
	}
}

// A stream ends at a heartbeat after its credential has become invalid.
func TestAStreamEndsWithItsCredential(t *testing.T) {
	for what, revoke := range map[string]func(w *world){
		"the key is revoked": func(w *world) {
			for range 2 { // the previous key stays valid until the next rotation
				if a := w.call(w.admin("POST", "/v1/merchants/"+w.Merchant.ID+"/keys", "")); a.status != http.StatusCreated {
					w.t.Fatalf("got %d %s", a.status, a.body)
				}
			}
		},
		"the merchant is disabled": func(w *world) {
			if a := w.call(w.admin("PATCH", "/v1/merchants/"+w.Merchant.ID, `{"disabled": true}`)); a.status != http.StatusOK {
				w.t.Fatalf("got %d %s", a.status, a.body)
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t, changed(func(o *service.Options) { o.Heartbeat = 20 * time.Millisecond }))
			path := w.held(w.order("k"))
			status, next := w.follow(path, "")
			if _, ok := next(); status != http.StatusOK || !ok {
				t.Fatalf("got %d", status)
			}
			revoke(w)
			for {
				if _, ok := next(); !ok { // next fails the test if the stream does not end
					break
				}
			}
		})
	}
}

// A stream ends at a heartbeat after its token has expired, although the token is still cached.
func TestAStreamEndsWhenItsTokenExpires(t *testing.T) {
	const lifetime = 2 * time.Minute // less than the five minutes for which a token is cached
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	w := newWorld(t, func(o *servicetest.Options) { o.Keystone.TokenLifetime, o.Keystone.Now = lifetime, now })
	path := w.held(w.order("k"))
	w.observe(func(o *api.Options) { o.Now, o.Heartbeat = now, 20*time.Millisecond })
	q := request{path: path + "/events", operator: w.OperatorToken, header: http.Header{"Accept": {"text/event-stream"}}}
	out := &countingWriter{header: http.Header{}}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.into(t.Context(), out, "127.0.0.1:1", q)
	}()
	waitUntil(t, "the stream stays open at heartbeats", func() bool { return out.beats.Load() > 3 })
	ahead.Store(int64(lifetime))
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		t.Fatal("the stream is still open 30 seconds after its token has expired")
	}
}

// All streams of a run share the reads of the run's events.
func TestTheEventsOfARunAreReadOnceForAllItsStreams(t *testing.T) {
	const streams = 100
	w := newWorld(t)
	path := w.held(w.order("k"))
	o := w.observe(func(*api.Options) {})
	events := len(read[api.EventList](t, w.call(w.get(path+"/events"))).Events)
	q := w.get(path + "/events")
	q.header = http.Header{"Accept": {"text/event-stream"}}
	out := &countingWriter{header: http.Header{}}
	var all sync.WaitGroup
	for range streams {
		all.Go(func() { w.into(t.Context(), &countingWriter{header: http.Header{}, sum: out}, "127.0.0.1:1", q) })
	}
	waitUntil(t, "all streams have sent the events", func() bool { return int(out.events.Load()) == streams*events })
	o.reads.Store(0)
	if got := w.call(w.action(path, "retry", `{"why": "x"}`)); got.status != http.StatusAccepted {
		t.Fatalf("got %d %s", got.status, got.body)
	}
	all.Wait() // the run succeeds, so its streams end
	later := int(out.events.Load())/streams - events
	if got := int(o.reads.Load()); later < 2 || got > streams/2 {
		t.Errorf("%d streams made %d reads for %d events, want at most %d", streams, got, later, streams/2)
	}
}

// countingWriter counts the events and the heartbeats of a stream. If the field `sum` is set, the writer `sum` counts them too.
type countingWriter struct {
	header        http.Header
	events, beats atomic.Int32
	sum           *countingWriter
}

func (c *countingWriter) Header() http.Header { return c.header }
func (c *countingWriter) WriteHeader(int)     {}
func (c *countingWriter) Flush()              {}
func (c *countingWriter) Write(p []byte) (int, error) {
	switch {
	case strings.HasPrefix(string(p), "id: "):
		c.events.Add(1)
	case strings.HasPrefix(string(p), ":"):
		c.beats.Add(1)
	}
	if c.sum != nil {
		_, _ = c.sum.Write(p)
	}
	return len(p), nil
}

// No caller has more than three quarters of the streams, and all callers together never have more streams than the limit. When a stream has
// ended, another stream can begin.
func TestStreamsHaveALimit(t *testing.T) {
	const limit, most = 512, 384
	w := newWorld(t)
	path := w.held(w.order("k"))
	var all sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	open := func(ctx context.Context, path string, as servicetest.Merchant, begun func(status int)) {
		r := httptest.NewRequest(http.MethodGet, path+"/events", nil).WithContext(ctx)
		r.RemoteAddr = "127.0.0.1:1"
		r.Header.Set("Accept", "text/event-stream")
		r.SetBasicAuth(as.Key, as.Secret)
		w.Service.Handler.ServeHTTP(&begunWriter{header: http.Header{}, begun: begun}, r)
	}
	var streams, refused atomic.Int32
	count := func(status int) {
		switch status {
		case http.StatusOK:
			streams.Add(1)
		case http.StatusTooManyRequests:
			refused.Add(1)
		default:
			t.Errorf("got %d", status)
		}
	}
	for range limit {
		all.Go(func() { open(ctx, path, w.Merchant, count) })
	}
	waitUntil(t, "all requests are answered", func() bool { return streams.Load()+refused.Load() == limit })
	if got := streams.Load(); got != most {
		t.Errorf("one merchant has %d streams, want %d", got, most)
	}
	other := w.call(w.foreign("other"))
	run := read[api.Run](t, other)
	foreign, end := context.WithCancel(t.Context())
	all.Go(func() {
		open(foreign, "/v1/runs/"+run.ID, w.Other, func(status int) {
			if end(); status != http.StatusOK {
				t.Errorf("a stream of another merchant: got %d, want 200", status)
			}
		})
	})
	<-foreign.Done()
	for begun, status := 1, 0; begun > 0; { // each operator gets a part of the streams that are left
		q := request{path: path + "/events", operator: w.newOperator(), header: http.Header{"Accept": {"text/event-stream"}}}
		var out *begunWriter
		for begun = -1; begun < 0 || status == http.StatusOK; begun++ {
			answered := make(chan int, 1)
			out = &begunWriter{header: http.Header{}, begun: func(status int) { answered <- status }}
			all.Go(func() { w.into(ctx, out, "127.0.0.1:1", q) })
			if status = <-answered; status == http.StatusOK {
				streams.Add(1)
			}
		}
		if wait := out.header.Get("Retry-After"); wait == "" || status != http.StatusTooManyRequests && status != http.StatusServiceUnavailable {
			t.Errorf("a stream above the limit: got %d, Retry-After %q", status, wait)
		}
		if begun == 0 && status != http.StatusServiceUnavailable {
			t.Errorf("a caller without a stream: got %d, want 503", status)
		}
	}
	if got := streams.Load(); got != limit {
		t.Errorf("all callers have %d streams, want %d", got, limit)
	}
	stop()
	all.Wait()
	again, end := context.WithCancel(t.Context())
	open(again, path, w.Merchant, func(status int) {
		if end(); status != http.StatusOK {
			t.Errorf("a stream after the others have ended: got %d, want 200", status)
		}
	})
}

// If the reader of a stream goes away while the stream has a change to send, the stream ends immediately. It does not wait for the next
// heartbeat.
func TestAStreamEndsWithItsReader(t *testing.T) {
	w := newWorld(t, changed(func(o *service.Options) { o.Heartbeat = time.Hour }))
	path := w.held(w.order("k"))
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	r := httptest.NewRequest(http.MethodGet, path+"/events", nil).WithContext(ctx)
	r.RemoteAddr = "127.0.0.1:1"
	r.Header.Set("Accept", "text/event-stream")
	r.SetBasicAuth(w.Merchant.Key, w.Merchant.Secret)
	begun := func(status int) {
		if status != http.StatusOK {
			t.Errorf("got %d, want 200", status)
		}
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.Service.Handler.ServeHTTP(&leavingWriter{begunWriter{header: http.Header{}, begun: begun}, leave}, r)
	}()
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		t.Fatal("the stream is still open 30 seconds after its reader has gone")
	}
}

// leavingWriter writes to a reader that goes away during the first write. This write pauses twice. During the first pause, the stream's
// watcher reads the run. During the second pause, the watcher notices that the reader has gone.
type leavingWriter struct {
	begunWriter
	leave context.CancelFunc
}

func (l *leavingWriter) Write(p []byte) (int, error) {
	time.Sleep(200 * time.Millisecond)
	l.leave()
	time.Sleep(200 * time.Millisecond)
	return len(p), nil
}

// begunWriter calls the function `begun` with the status when an answer begins.
type begunWriter struct {
	header http.Header
	begun  func(status int)
}

func (b *begunWriter) Header() http.Header         { return b.header }
func (b *begunWriter) Write(p []byte) (int, error) { return len(p), nil }
func (b *begunWriter) WriteHeader(status int)      { b.begun(status) }
func (b *begunWriter) Flush()                      {}

// A caller without credentials chooses the path and the method. The access log shows both, but limits their length.
func TestALongPathMakesNoLongLogLine(t *testing.T) {
	w := newWorld(t)
	for _, q := range []request{
		{path: "/v1/runs/" + strings.Repeat("x", 50_000)},
		{path: "/v1/runs/" + strings.Repeat("%01%0a%1b", 5_000)},
		{path: "/v1/runs/" + strings.Repeat("%F0%9F%99%82", 4_000)},
		{path: "/healthcheck", method: strings.Repeat("M", 50_000)},
	} {
		before := len(w.Log.String())
		got, err := w.try(q) // the paths and the method are not in the document, so w.call would refuse the answer
		must(t, err)
		for line := range strings.Lines(w.Log.String()[before:]) {
			if len(line) > 3<<10 {
				t.Errorf("%.40s: status %d, and a log line of %d bytes: %.80s", q.path, got.status, len(line), line)
			}
		}
		if id := got.header.Get("X-Openstack-Request-Id"); id == "" || !strings.Contains(w.Log.String()[before:], id) {
			t.Errorf("%.40s: the log has no line with the request id %q", q.path, id)
		}
	}
}
