package v3_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/conn"
	v3 "github.com/tenantry/tenantry/keystone/v3"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// The type `classification` contains the properties of an error that the tests compare.
type classification struct {
	class     upstream.Class
	maybeDone bool
	own       bool
	after     time.Duration
	sentinel  error
}

const own401 = `{"error":{"code":401,"message":"The request you have made requires authentication.","title":"Unauthorized"}}`

func body(status int) string {
	return fmt.Sprintf(`{"error":{"code":%d,"message":"Something is up.","title":"x"}}`, status)
}

func answer(status int, body string, headers ...string) roundTrip {
	return func(req *http.Request) (*http.Response, error) {
		if req.Body != nil {
			_, _ = io.Copy(io.Discard, req.Body)
		}
		w := httptest.NewRecorder()
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		_, _ = w.WriteString(body)
		return w.Result(), nil
	}
}

// The function `elsewhere` creates a transport that sends each request to the given host, not to Keystone.
func elsewhere(scheme, host string) roundTrip {
	return func(req *http.Request) (*http.Response, error) {
		req = req.Clone(req.Context())
		req.URL.Scheme, req.URL.Host = scheme, host
		return conn.NewTransport(nil).RoundTrip(req)
	}
}

// The function `afterwards` creates a transport that sends each request, discards the answer, and returns err.
func afterwards(err error) roundTrip {
	return func(req *http.Request) (*http.Response, error) {
		resp, sent := conn.NewTransport(nil).RoundTrip(req)
		if sent != nil {
			return nil, sent
		}
		_ = resp.Body.Close()
		return nil, err
	}
}

// The function `listener` accepts connections, and passes each connection to the function `treat`.
func listener(t *testing.T, treat func(*net.TCPConn)) string {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.AcceptTCP()
			if err != nil {
				return
			}
			go treat(c)
		}
	}()
	return l.Addr().String()
}

func unsent(err error) error { return &upstream.NotSentError{Err: err} }

func TestFaultsAreToldApart(t *testing.T) {
	const (
		permanent, transient, unavailable, unknown = upstream.Permanent, upstream.Transient, upstream.Unavailable, upstream.Transient
	)
	reset := listener(t, func(c *net.TCPConn) {
		_, _ = c.Read(make([]byte, 1))
		_ = c.SetLinger(0)
		_ = c.Close()
	})
	closed := listener(t, func(c *net.TCPConn) { _ = c.Close() })
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	encrypted := httptest.NewUnstartedServer(http.NotFoundHandler())
	encrypted.Config.ErrorLog = log.New(io.Discard, "", 0)
	encrypted.StartTLS()
	t.Cleanup(encrypted.Close)
	maybe := classification{class: unknown, maybeDone: true}

	for _, c := range []struct {
		what        string
		fault       http.RoundTripper
		write, read classification
	}{
		{"400", answer(400, body(400)), classification{class: permanent}, classification{class: permanent}},
		{
			"401 always", answer(401, own401),
			classification{class: unavailable, own: true},
			classification{class: unavailable, own: true},
		},
		{"401 from a proxy", answer(401, "<html>"), classification{class: unavailable}, classification{class: unavailable}},
		{
			"403 by policy", answer(403, `{"error":{"code":403,"message":"You are not authorized to perform the requested action: identity:create_project."}}`),
			classification{class: upstream.Blocked, sentinel: keystone.ErrForbidden},
			classification{class: upstream.Blocked, sentinel: keystone.ErrForbidden},
		},
		{"403 about the thing", answer(403, body(403)), classification{class: permanent}, classification{class: permanent}},
		{"403 from a proxy", answer(403, "<html>"), classification{class: unavailable}, classification{class: unavailable}},
		{"404", answer(404, body(404)), classification{class: permanent, sentinel: keystone.ErrNotFound}, classification{class: unavailable}},
		{"404 from a proxy", answer(404, "<html>"), classification{class: unavailable}, classification{class: unavailable}},
		{
			"404 without a route", answer(404, "<html>", "Content-Type", "text/html", "X-Openstack-Request-Id", "req-1"),
			classification{class: unavailable},
			classification{class: unavailable},
		},
		{
			"404 of another service", answer(404, `{"code": 404, "error": {"message": "no", "type": "EntityNotFound"}}`, "X-Openstack-Request-Id", "req-1"),
			classification{class: unavailable},
			classification{class: unavailable},
		},
		{
			"404 for a token of a disabled project", answer(404, `{"error":{"code":404,"message":"Unable to validate token because project x is disabled"}}`),
			classification{class: unavailable, own: true},
			classification{class: unavailable, own: true},
		},
		{"405", answer(405, `{"message":"no"}`), classification{class: permanent}, classification{class: permanent}},
		{"409 though nothing has the name", answer(409, body(409)), classification{class: permanent, sentinel: keystone.ErrConflict}, classification{class: permanent, sentinel: keystone.ErrConflict}},
		{"413", answer(413, "<html>"), classification{class: permanent}, classification{class: permanent}},
		{
			"429 with Retry-After", answer(429, "", "Retry-After", "7"),
			classification{class: transient, after: 7 * time.Second},
			classification{class: transient, after: 7 * time.Second},
		},
		{
			"429 with Retry-After, years", answer(429, "", "Retry-After", "999999999"),
			classification{class: transient, after: time.Hour},
			classification{class: transient, after: time.Hour},
		},
		{"500", answer(500, body(500)), maybe, classification{class: transient}},
		{"502", answer(502, "<html>"), maybe, classification{class: unavailable}},
		{
			"503 with Retry-After", answer(503, "", "Retry-After", "120"),
			classification{class: unavailable, maybeDone: true, after: 2 * time.Minute},
			classification{class: unavailable, after: 2 * time.Minute},
		},
		{"504", answer(504, "<html>"), maybe, classification{class: unavailable}},
		{"redirected", answer(302, "", "Location", plain.URL), classification{class: unavailable}, classification{class: unavailable}},
		{"connection refused", elsewhere("http", "127.0.0.1:1"), classification{class: unavailable}, classification{class: unavailable}},
		{"no such host", elsewhere("http", "nowhere.invalid"), classification{class: unavailable}, classification{class: unavailable}},
		{"no TLS there", elsewhere("https", strings.TrimPrefix(plain.URL, "http://")), classification{class: unavailable}, classification{class: unavailable}},
		{"an unknown certificate", elsewhere("https", encrypted.Listener.Addr().String()), classification{class: unavailable}, classification{class: unavailable}},
		{"closed at once", elsewhere("http", closed), maybe, classification{class: transient}},
		{"reset before the commit", elsewhere("http", reset), maybe, classification{class: transient}},
		{
			"reset after the commit", afterwards(&net.OpError{Op: "read", Err: syscall.ECONNRESET}),
			maybe,
			classification{class: transient},
		},
		{"a Base without httptrace", roundTrip(func(*http.Request) (*http.Response, error) { return nil, io.EOF }), maybe, classification{class: transient}},
		{
			"refused by Base", roundTrip(func(*http.Request) (*http.Response, error) { return nil, unsent(errors.New("no lease")) }),
			classification{class: transient},
			classification{class: transient},
		},
		{"200 and a page", answer(200, "<html>", "Content-Type", "text/html"), maybe, classification{class: transient}},
		{"201 and a page", answer(201, "<html>", "Content-Type", "text/html"), maybe, classification{class: transient}},
		{"201 and nothing", answer(201, ""), maybe, classification{class: transient}},
		{"201 and an empty object", answer(201, "{}"), maybe, classification{class: transient}},
		{"201 cut off", answer(201, `{"project": {"id": "a`), maybe, classification{class: transient}},
		{"200 and an empty object", answer(200, "{}"), maybe, classification{class: transient}},
		{"200 and null", answer(200, `{"projects": null}`), maybe, classification{class: transient}},
		{"200 cut off", answer(200, `{"projects": [`), maybe, classification{class: transient}},
		{"200 without end", answer(200, `{"projects": ["`+strings.Repeat("x", 9<<20)), maybe, classification{class: transient}},
	} {
		t.Run(c.what, func(t *testing.T) {
			h := newHouse(t)
			if err := h.cloud.Ping(t.Context()); err != nil {
				t.Fatal(err)
			}
			h.meets(t, c.fault, c.write, c.read)
		})
	}
}

func TestARequestOutOfTimeIsToldByWhetherItWasSent(t *testing.T) {
	maybe := classification{class: upstream.Transient, maybeDone: true}
	no := classification{class: upstream.Transient}
	silent := listener(t, func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) })
	for _, c := range []struct {
		what  string
		fault http.RoundTripper
		write classification
	}{
		{"no TLS handshake", elsewhere("https", silent), no},
		{"no answer", unanswered(t), maybe},
	} {
		t.Run(c.what, func(t *testing.T) {
			h := newHouse(t, func(cfg *conn.Config) { cfg.Timeout = 100 * time.Millisecond })
			next := h.wire.next
			// Remove the time limit from all other requests. Then only the requests with the fault can time out.
			h.wire.next = roundTrip(func(req *http.Request) (*http.Response, error) {
				return next.RoundTrip(req.WithContext(context.WithoutCancel(req.Context())))
			})
			if err := h.cloud.Ping(t.Context()); err != nil {
				t.Fatal(err)
			}
			h.meets(t, c.fault, c.write, no)
		})
	}
}

// The function `unanswered` creates a transport that sends each request to a server that never answers. The request cannot time out
// before the server has received a part of the request.
func unanswered(t *testing.T) roundTrip {
	t.Helper()
	heard := make(chan struct{}, 1)
	silent := listener(t, func(c *net.TCPConn) {
		_, _ = c.Read(make([]byte, 1))
		heard <- struct{}{}
		_, _ = io.Copy(io.Discard, c)
	})
	return func(req *http.Request) (*http.Response, error) {
		ctx, end := context.WithCancelCause(context.WithoutCancel(req.Context()))
		go func() {
			<-heard
			<-req.Context().Done()
			end(context.Cause(req.Context()))
		}()
		return elsewhere("http", silent)(req.WithContext(ctx))
	}
}

// The method `meets` applies the fault to a write and to a read, and checks the class of both errors. The parameters `write` and
// `read` are the expected classifications.
func (h *house) meets(t *testing.T, fault http.RoundTripper, write, read classification) {
	t.Helper()
	h.wire.intercept(func(r *http.Request) bool { return r.Method == http.MethodPost && !isLogin(r) }, fault)
	_, made, err := h.cloud.EnsureProject(t.Context(), tenant("1"))
	compare(t, "write", err, write)
	if made {
		t.Error("write: made")
	}
	if sent := len(h.wire.requests()); sent > 3 { // at most three requests: the write, a login or a look-up, and the repeated write
		t.Errorf("write: sent %v", h.wire.requests())
	}
	h.wire.intercept(func(r *http.Request) bool { return r.Method == http.MethodGet }, fault)
	_, err = h.cloud.FindProject(t.Context(), "default", "bs-customer-1")
	compare(t, "read", err, read)
}

func compare(t *testing.T, what string, err error, want classification) {
	t.Helper()
	var e *upstream.Error
	if !errors.As(err, &e) {
		t.Fatalf("%s: got %v", what, err)
	}
	got := classification{e.Class, e.MaybeDone, e.OwnCredential, e.RetryAfter, nil}
	if want.sentinel != nil && errors.Is(err, want.sentinel) {
		got.sentinel = want.sentinel
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: %v\n got %+v\nwant %+v", what, err, got, want)
	}
}

func TestARefusedRequestIsNotSent(t *testing.T) {
	for what, c := range map[string]struct {
		err  error
		want classification
	}{
		"the circuit is open":    {&upstream.NotSentError{Circuit: "keystone", RetryAfter: 7 * time.Second, Err: errors.New("it is down")}, classification{class: upstream.Unavailable, after: 7 * time.Second}},
		"given up while waiting": {unsent(context.Canceled), classification{class: upstream.Transient}},
	} {
		t.Run(what, func(t *testing.T) {
			shut := false
			h := newHouse(t, func(cfg *conn.Config) {
				enter := cfg.Enter
				cfg.Enter = func(ctx context.Context) (func(int, error), error) {
					if shut {
						return nil, c.err
					}
					return enter(ctx)
				}
			})
			fresh, err := v3.New(h.config)
			if err == nil {
				err = h.cloud.Ping(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
			shut = true
			sent := len(h.wire.requests())
			compare(t, "a login", fresh.Ping(t.Context()), c.want)
			_, _, err = h.cloud.EnsureProject(t.Context(), tenant("1"))
			compare(t, "a write", err, c.want)
			_, err = h.cloud.FindProject(t.Context(), "default", "bs-customer-1")
			compare(t, "a read", err, c.want)
			if got := len(h.wire.requests()); got != sent {
				t.Errorf("%d requests were sent, want none", got-sent)
			}
		})
	}
}

func TestAContextThatEndsIsKnownByIt(t *testing.T) {
	h := newHouse(t)
	if err := h.cloud.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	h.wire.intercept(func(r *http.Request) bool { return r.Method == http.MethodPost }, roundTrip(func(req *http.Request) (*http.Response, error) {
		cancel()
		<-req.Context().Done()
		return nil, req.Context().Err()
	}))
	_, _, err := h.cloud.EnsureProject(ctx, tenant("1"))
	compare(t, "while waiting", err, classification{class: upstream.Transient, maybeDone: true, sentinel: context.Canceled})

	h.wire.intercept(func(*http.Request) bool { return false }, nil)
	_, _, err = h.cloud.EnsureProject(ctx, tenant("1"))
	compare(t, "before sending", err, classification{class: upstream.Transient, sentinel: context.Canceled})
}

func TestErrorsHoldWhatKeystoneSaidButNoToken(t *testing.T) {
	h := newHouse(t)
	user := h.AddUser(keystonetestUser)
	token := h.IssueToken(user)
	h.wire.intercept(isLogin, answer(404, fmt.Sprintf(`{"error":{"code":404,"message":"Not recognized: %s, eyJhbGciOiJFUzI1NiJ9.eyJzdWIi\u0000"}}`, token),
		"X-Openstack-Request-Id", "req-7"))
	_, err := h.cloud.ExchangeToken(t.Context(), token, "p")
	want := "exchanging a token for project p: token is not valid: Keystone answered 404 Not Found: Not recognized: [token], [token]\uFFFD (req-7)"
	if err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
	h.wire.intercept(isLogin, answer(400, `{"error":{"message":"odd-token is odd"}}`))
	_, err = h.cloud.ExchangeToken(t.Context(), "odd-token", "p")
	if strings.Contains(err.Error(), "odd-token") {
		t.Errorf("got %s", err)
	}
}
