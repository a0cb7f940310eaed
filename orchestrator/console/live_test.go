package console_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/console"
	"github.com/tenantry/tenantry/orchestrator/loginrate"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
)

// second is the console of another replica, which executes no runs.
func (w *world) second(t *testing.T, change ...func(*console.Options)) *world {
	t.Helper()
	o := console.Options{
		API: w.Service.Handler, View: w.view, ViewEvent: viewEvent, Follower: w.Store, SignIns: w.Store.SignIns(w.now),
		Merchants: w.Store.Merchants(), Identity: func(string) (keystone.Identity, error) { return w.Identity, nil }, Logins: loginrate.New(100),
		AdminRole: servicetest.AdminRole, Workflows: []string{"subscribe"}, Domain: "Default", Now: w.now, Version: "test", Log: zerolog.New(w.Log),
	}
	for _, c := range change {
		c(&o)
	}
	handler, serve, err := console.New(o)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewTLSServer(handler)
	ctx, stop := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() { serve(ctx) })
	t.Cleanup(func() {
		stop()
		serving.Wait()
		server.CloseClientConnections()
		server.Close()
	})
	in := *w.Installation
	in.URL, in.Client = server.URL, server.Client()
	return &world{Installation: &in}
}

// The method `view` returns a run as the API shows it.
func (w *world) view(run *saga.Run, portal bool) ([]byte, error) {
	r := httptest.NewRequest(http.MethodGet, "/v1/runs/"+run.ID, nil)
	r.RemoteAddr = "127.0.0.1:1"
	switch {
	case !portal:
		r.Header.Set("X-Auth-Token", w.OperatorToken)
	case run.Merchant == w.Merchant.ID:
		r.SetBasicAuth(w.Merchant.Key, w.Merchant.Secret)
	default:
		r.SetBasicAuth(w.Other.Key, w.Other.Secret)
	}
	out := httptest.NewRecorder()
	w.Service.Handler.ServeHTTP(out, r)
	if out.Code != http.StatusOK {
		return nil, fmt.Errorf("%d %s", out.Code, out.Body)
	}
	return out.Body.Bytes(), nil
}

func viewEvent(e saga.Event) ([]byte, error) {
	return json.Marshal(map[string]any{"run_id": e.RunID, "seq": e.Seq, "at": e.At, "kind": e.Kind, "step": e.Step})
}

// The type `stream` is the live updates of a page.
type stream struct {
	mu   sync.Mutex
	text strings.Builder
	done chan struct{} // closed at the end of the stream
}

func (s *stream) has(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.text.String(), text)
}

// follow opens the live updates of a page.
func (v *visitor) follow(path string) *stream {
	v.t.Helper()
	return v.open(strings.ReplaceAll(between(v.get(path).text, `sse-connect="`, `"`), "&amp;", "&"))
}

// The method `open` opens a stream of live updates.
func (v *visitor) open(address string) *stream {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), http.MethodGet, v.w.URL+address, nil)
	if err != nil {
		v.t.Fatal(err)
	}
	endless := *v.client
	endless.Timeout = 0
	resp, err := endless.Do(r) //nolint:bodyclose // closed at the end of the stream
	if err != nil || resp.StatusCode != http.StatusOK {
		v.t.Fatalf("%s: %v %v", address, resp, err)
	}
	s := &stream{done: make(chan struct{})}
	go func() {
		defer close(s.done)
		defer resp.Body.Close()
		for in := bufio.NewScanner(resp.Body); in.Scan(); {
			s.mu.Lock()
			s.text.WriteString(in.Text() + "\n")
			s.mu.Unlock()
		}
	}()
	return s
}

// statusOf returns the status of a stream, and closes it.
func (v *visitor) statusOf(address string) int {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), http.MethodGet, v.w.URL+address, nil)
	if err != nil {
		v.t.Fatal(err)
	}
	resp, err := v.client.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within a minute", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// A replica shows the changes of runs that another replica executes: to operators, and to the merchant of the run alone.
func TestOpenPagesAreUpdated(t *testing.T) {
	w := newWorld(t)
	other := w.second(t)
	w.down.Store(true)
	id := w.orderWaits(t, w.Merchant)
	operator, portal, stranger := other.operator(t), other.merchant(t, w.Merchant), other.merchant(t, w.Other)
	list, detail, theirs := operator.follow("/console/runs"), operator.follow("/console/runs/"+id), portal.follow("/console/runs/"+id)
	address := between(operator.get("/console/runs/"+id).text, `sse-connect="`, `"`)
	if status := stranger.statusOf(address); status != http.StatusNotFound {
		t.Errorf("another merchant follows the run: %d", status)
	}
	spy := stranger.open(strings.Replace(address, "run=", "row=", 1)) // as if a list had shown the run
	w.down.Store(false)
	operator.post("/console/runs/"+id+"/retry", url.Values{"why": {"it is up again"}})
	newer := w.order(t, w.Merchant)
	for name, s := range map[string]*stream{"the page of an operator": detail, "the page of the merchant": theirs} {
		eventually(t, name, func() bool { return s.has("event: summary") && s.has(`<span class="state good">succeeded</span></h1>`) })
		eventually(t, "the history on "+name, func() bool { return s.has("event: history") && s.has("run-succeeded") })
	}
	eventually(t, "the list", func() bool { return list.has("event: row-"+id) && list.has("event: newer") })
	if list.has(newer) {
		t.Error("the list has got a run that it does not show")
	}
	if !detail.has("event: buttons") || theirs.has("formaction=") {
		t.Error("the operator lacks the buttons, or the merchant has an operator's buttons")
	}
	if spy.has(id) || spy.has("event: ") {
		t.Errorf("another merchant has got the run: %s", spy.text.String())
	}
	operator.post("/console/sign-out", nil)
	for _, s := range []*stream{list, detail} {
		select {
		case <-s.done:
		case <-time.After(10 * time.Second):
			t.Error("the updates go on after the sign-out")
		}
	}
}

// A person whose credential is no longer valid gets no updates: the API refuses new streams, and the open streams end after about five minutes, at
// the next update or heartbeat.
func TestARevokedCredentialGetsNoUpdates(t *testing.T) {
	w := newWorld(t)
	w.down.Store(true)
	id := w.orderWaits(t, w.Merchant)
	operator, portal := w.visitor(t), w.merchant(t, w.Merchant)
	if p := operator.post("/console/sign-in", url.Values{"how": {"token"}, "token": {w.OperatorToken}}); p.at != "/console/runs" {
		t.Fatal(p.at)
	}
	open := map[string]*stream{}
	for _, path := range []string{"/console/runs", "/console/runs/" + id} {
		open["an operator's "+path], open["a merchant's "+path] = operator.follow(path), portal.follow(path)
	}
	now := time.Now()
	if _, err := w.Store.Merchants().Update(t.Context(), w.Merchant.ID, func(m *merchants.Merchant) error { m.DisabledAt = &now; return nil }); err != nil {
		t.Fatal(err)
	}
	w.Keystone.RevokeToken(w.OperatorToken)
	w.later.Store(int64(6 * time.Minute))
	soon, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	for name, s := range open {
		select {
		case <-s.done:
		case <-soon.Done():
			t.Errorf("%s is still updated", name)
		}
	}
	if status := operator.statusOf("/console/live?run=" + id + ".0"); status != http.StatusUnauthorized {
		t.Errorf("a new stream of an operator: got %d, want 401", status)
	}
	if status := portal.statusOf("/console/live?row=" + id + ".0"); status != http.StatusForbidden {
		t.Errorf("a new stream of a list: got %d, want 403", status)
	}
	for name, v := range map[string]*visitor{"operator": operator, "merchant": portal} { // the refusals have ended the sessions
		if p := v.get("/console/live?run=" + id + ".0"); !strings.HasPrefix(p.at, "/console/sign-in") {
			t.Errorf("then a new stream of the %s: %d at %s", name, p.status, p.at)
		}
	}
}
