package simulation

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream/gate"
)

// The type `wire` carries HTTP requests to a handler in this process.
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
	w.world.sent(w.replica, of)
	c := call{to: w.to, order: -1}
	what := name(req, of, body)
	if req.Method != http.MethodGet && what != login {
		c.order, c.step, c.undo, c.recheck = w.world.orderOf(of.RunID), of.Step, of.Undoes(), of.Kind == saga.CallRecheck
	}
	changes := w.world.userRequest(req, of, body)
	var answer *http.Response
	sent := time.Now()
	err := w.world.driver.call(req.Context(), w.host, c, what, func() {
		again := req.Clone(context.WithoutCancel(req.Context()))
		again.Body, again.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		if w.to == keystoneAPI && again.Header.Get("X-Auth-Token") != "" && time.Since(sent) > admittedWithin {
			again.Header.Set("X-Auth-Token", w.world.serviceToken())
		}
		w.world.removing(req, of)
		changes.arrives()
		if time.Since(sent) > defaultLateWindow {
			w.world.changedLate(req, of.RunID)
		}
		answer, _ = w.world.recorder.Around(inProcess{w.handler}).RoundTrip(again) //nolint:bodyclose // the client closes the body
		w.world.record.wrote(again, body, answer)
		changes.executed(answer.StatusCode)
	})
	fate, refused := errors.AsType[statusError](err)
	switch {
	case refused:
		return inProcess{says(int(fate), errorBody(w.to, int(fate)))}.RoundTrip(req)
	case errors.Is(err, errUnreachable):
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	case errors.Is(err, errReset):
		return nil, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	case err != nil:
		return nil, err
	}
	return answer, nil
}

// admittedWithin is the time within which Keystone checks the token of a request. If a request is executed after this time,
// RoundTrip replaces the request's token by a new token. The old token was valid when Keystone checked it, but may have expired
// before the request is executed.
const admittedWithin = 15 * time.Second

// orderOf returns the number of a run's order, or -1 if the run has no order.
func (w *world) orderOf(runID string) int {
	order := -1
	if run, err := w.store.Run(context.Background(), runID); err == nil {
		_, _ = fmt.Sscanf(run.Key, "key-%d", &order)
	}
	return order
}

// serviceToken returns a new token of the service user. The login does not pass through the driver.
func (w *world) serviceToken() string {
	body := fmt.Sprintf(`{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"admin","domain":{"id":"default"},`+
		`"password":%q}}},"scope":{"project":{"name":"admin","domain":{"id":"default"}}}}}`, servicePassword)
	answer := httptest.NewRecorder()
	req := httptest.NewRequest(http.MethodPost, "/v3/auth/tokens", strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	w.cloud.ServeHTTP(answer, req)
	return answer.Header().Get("X-Subject-Token")
}

// The method `fenced` wraps a transport in gate.Fence, as cmd/tenantry does. A mutation may replace the fence.
func (w *world) fenced(next http.RoundTripper) http.RoundTripper {
	if w.transport != nil {
		return w.transport(next)
	}
	return gate.Fence(next)
}

// The constant `login` is the name of the request that logs the service user in. The first step that needs the login makes this
// request for all steps.
const login = "login"

// The function `name` returns a name for a request. The request has the same name in every replay of the plan.
func name(req *http.Request, call *saga.Handle, body []byte) string {
	what := req.Method + " " + req.URL.RequestURI()
	switch {
	case isLogin(req) && bytes.Contains(body, []byte(servicePassword)):
		return login
	case call.RunID != "":
		return fmt.Sprintf("%s %s undo=%t %d: %s", call.RunID, call.Step, call.Undoes(), call.Attempt, what)
	}
	digest := sha256.Sum256([]byte(req.Header.Get("X-Subject-Token")))
	return what + " " + hex.EncodeToString(digest[:4])
}

func isLogin(req *http.Request) bool {
	return strings.HasSuffix(req.URL.Path, "/auth/tokens") || req.Method == http.MethodPost && strings.HasSuffix(req.URL.Path, "/v2.0/tokens")
}

// The function `says` returns a handler that sends the same answer to every request.
func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if status == http.StatusTooManyRequests {
			w.Header().Set("Retry-After", "7")
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// errorBody returns an error in the upstream's own format.
func errorBody(from target, status int) string {
	if from == keystoneAPI {
		return fmt.Sprintf(`{"error":{"code":%d,"title":"Simulated","message":"simulated"}}`, status)
	}
	return fmt.Sprintf(`{"faultcode":"Client","faultstring":"simulated %d","debuginfo":null}`, status)
}

// statusError is the HTTP status with which an upstream refuses a request.
type statusError int

func (s statusError) Error() string { return fmt.Sprint("status ", int(s)) }

// inProcess calls a handler directly.
type inProcess struct{ http.Handler }

// RoundTrip implements [http.RoundTripper].
func (i inProcess) RoundTrip(req *http.Request) (*http.Response, error) {
	req.RequestURI = req.URL.RequestURI()
	if req.Body == nil { // a server's request has a body
		req.Body = http.NoBody
	}
	recorder := httptest.NewRecorder()
	i.ServeHTTP(recorder, req)
	answer := recorder.Result()
	answer.Request = req
	return answer, nil
}
