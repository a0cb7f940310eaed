package simulation

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	v3 "github.com/tenantry/tenantry/keystone/v3"
	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
	"github.com/tenantry/tenantry/workflows"
)

// replica is one process of Tenantry: engine, steps, clients and API, as cmd/tenantry wires them.
type replica struct {
	*host
	world  *world
	engine *saga.Engine
	api    http.Handler
	stop   context.CancelFunc
	ended  bool

	id        string // under which it has joined
	admitting string // the request that is being looked at
}

// usualSettle is the engine's.
const usualSettle = 90 * time.Second

// startReplica starts a process whose own clock is wrong by off.
func (w *world) startReplica(off time.Duration) *replica {
	process, made := len(w.started)+1, 0
	r := &replica{host: &host{name: fmt.Sprintf("p%d", process)}, world: w}
	r.befall = func(k incidentKind, away time.Duration) { w.befall(slices.Index(w.replicas, r), k, away) }
	w.started = append(w.started, r)
	clock := saga.NewClock(func() time.Time { return time.Now().Add(off) })
	clock.AfterFunc = func(d time.Duration, f func()) func() {
		return w.driver.after(r.host, d, r.name+" timer", f)
	}
	clock.Yield = func(who string) { w.driver.sleep(time.Microsecond, r.name+" "+who+" yields") }
	gates := &upstream.Gates{} // with room for all: who waits in one line with others is left to chance
	toKeystone, toBilling := gates.Of("keystone/default", 1<<10), gates.Of("billingstack", 1<<10)
	identity := w.newIdentity(r, toKeystone)
	bill, err := billing.New(billing.Config{URL: "http://billing/v2", Connections: 1 << 10, Enter: toBilling.Enter, Wrap: func(http.RoundTripper) http.RoundTripper {
		return w.fenced(wire{r, billingStack, w.billing})
	}})
	w.ok(err)
	if !w.untried {
		toKeystone.TryBy(identity.Ping)
		toBilling.TryBy(bill.Ping)
	}
	var handover workflows.Handover
	records := gate{r, w.store}
	upstreams := workflows.Upstreams{
		Identity: func(string) (keystone.Identity, error) { return identity, nil },
		Billing:  bill, Tokens: records, Handover: &handover, Runs: shortsighted{records, w.runs}, Settle: cmp.Or(w.settle, usualSettle),
		Now: clock.Now,
	}
	subscribe := workflows.Subscribe(upstreams)
	if w.steps != nil {
		w.steps(&subscribe)
	}
	definition, err := saga.Define(subscribe)
	w.ok(err)
	newID := func() string { made++; return newID(process, made) }
	r.engine = saga.New(saga.Options{
		Store: records, Queue: records, Workflows: []*saga.Definition{definition}, NewID: newID, Clock: clock,
		Settle: upstreams.Settle, Down: gates.Open,
		OnFault: func(err error) { w.driver.remark("%s: %v", r.name, err) },
	})
	r.api, err = api.New(api.Options{
		Engine: r.engine, Merchants: w.merchants, Identity: upstreams.Identity, Billing: bill, NewRun: newRun, NewID: newID,
		Random: zeros{}, AdminRole: "admin", ScopedTokens: &handover, Log: zerolog.Nop(),
		Defaults: api.Defaults{CustomerRoles: customerRoles, SubscriptionRoles: subscriptionRoles, Domain: "default", MaxLiveRuns: 1000},
	})
	w.ok(err)
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	go func() {
		r.engine.Serve(ctx, 20*time.Second)
		w.driver.mu.Lock()
		defer w.driver.mu.Unlock()
		r.ended = true
	}()
	return r
}

func (r *replica) hasEnded() bool {
	r.world.driver.mu.Lock()
	defer r.world.driver.mu.Unlock()
	return r.ended
}

func (w *world) newIdentity(r *replica, gate *upstream.Gate) keystone.Identity {
	cloud, err := v3.New(v3.Config{
		URL: "http://keystone/v3",
		Credential: v3.Credential{
			Username: "admin", Password: servicePassword, UserDomainID: "default", ProjectName: "admin", ProjectDomainID: "default",
		},
		Base: w.fenced(wire{r, keystoneAPI, w.cloud}), Enter: gate.Enter,
		MayWriteDomain: func(id string) bool { return id == "default" },
	})
	w.ok(err)
	return cloud
}

// wire carries HTTP requests to a handler in this process.
type wire struct {
	*replica
	to      target
	handler http.Handler
}

// RoundTrip implements [http.RoundTripper].
func (w wire) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
		_ = req.Body.Close()
	}
	of := saga.CallOf(req.Context())
	w.world.leaves(w.replica, of)
	c := call{to: w.to, order: -1}
	if req.Method != http.MethodGet {
		c.order, c.step, c.undo, c.probe = w.world.orderOf(of.RunID), of.Step, of.Undo, of.Probe
	}
	var answer *httptest.ResponseRecorder
	sent := time.Now()
	err := w.world.driver.call(req.Context(), w.host, c, name(req, of, body), func() {
		again := req.Clone(context.Background())
		again.RequestURI, again.Body, again.ContentLength = req.URL.RequestURI(), io.NopCloser(bytes.NewReader(body)), int64(len(body))
		answer = httptest.NewRecorder()
		if w.to == keystoneAPI && again.Header.Get("X-Auth-Token") != "" && time.Since(sent) > admittedWithin {
			again.Header.Set("X-Auth-Token", w.world.serviceToken())
		}
		tags := w.world.tagsOf(again)
		w.handler.ServeHTTP(answer, again)
		w.world.carriedOut(again, answer, of, tags)
	})
	fate, refused := errors.AsType[statusError](err)
	switch {
	case refused:
		return respond(req, int(fate), retryAfter(int(fate)), refusal(w.to, int(fate))), nil
	case errors.Is(err, errUnreachable):
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	case errors.Is(err, errReset):
		return nil, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	case err != nil:
		return nil, err
	}
	return respond(req, answer.Code, answer.Header(), answer.Body.Bytes()), nil
}

// admittedWithin is how soon an upstream has looked at the token of a request, however late it carries that out.
const admittedWithin = 15 * time.Second

// name says what a request is, the same in every replay.
func name(req *http.Request, call *saga.Call, body []byte) string {
	what := req.Method + " " + req.URL.RequestURI()
	switch {
	case strings.HasSuffix(req.URL.Path, "/auth/tokens") && bytes.Contains(body, []byte(servicePassword)):
		return "login" // everybody's, whoever came first
	case call.RunID != "":
		return fmt.Sprintf("%s %s undo=%t %d: %s", call.RunID, call.Step, call.Undo, call.Attempt, what)
	}
	digest := sha256.Sum256([]byte(req.Header.Get("X-Subject-Token")))
	return what + " " + hex.EncodeToString(digest[:4])
}

func respond(req *http.Request, status int, header http.Header, body []byte) *http.Response {
	if header.Get("Content-Type") == "" {
		header.Set("Content-Type", "application/json")
	}
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: header,
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)), Request: req,
	}
}

// refusal is what an upstream says in its own words.
func refusal(from target, status int) []byte {
	if from == keystoneAPI {
		return fmt.Appendf(nil, `{"error":{"code":%d,"title":"Simulated","message":"simulated"}}`, status)
	}
	return fmt.Appendf(nil, `{"faultcode":"Client","faultstring":"simulated %d","debuginfo":null}`, status)
}

func retryAfter(status int) http.Header {
	h := http.Header{}
	if status == http.StatusTooManyRequests {
		h.Set("Retry-After", "7")
	}
	return h
}

// statusError is an upstream's refusal without its words.
type statusError int

func (s statusError) Error() string { return fmt.Sprint("status ", int(s)) }

// newRun makes a run of subscribe out of an admitted order, as cmd/tenantry does.
func newRun(s api.Subscription) saga.Request {
	o := workflows.Order{
		MerchantID: s.Merchant.ID, Cloud: s.Merchant.Cloud, DomainID: s.DomainID, UserID: s.UserID, PlanID: s.PlanID,
		CustomerID: s.CustomerID, CustomerRoles: s.CustomerRoles, SubscriptionRoles: s.SubscriptionRoles,
		AddUser: s.AddUser, AdoptUnmarked: s.AdoptUnmarked, CheckedAt: s.CheckedAt,
	}
	if s.CustomerID == "" {
		o.NewCustomer = &workflows.NewCustomer{
			Name: s.Customer.Name, Currency: s.Customer.Currency, Language: s.Customer.Language,
		}
	}
	q := o.Request(s.RunID)
	q.Key, q.Fingerprint, q.Who, q.OnFailure = s.Key, s.Fingerprint, s.Who, s.OnFailure
	q.Token, q.TokenExpiresAt = s.Token.Reveal(), s.TokenExpiresAt
	return q
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }
