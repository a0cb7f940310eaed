package api_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
	"github.com/tenantry/tenantry/store/storetest"
)

// The type `echoing` is a Keystone that repeats tokens in its answers: as request ids, and as the names of users and roles.
type echoing struct {
	mu     sync.Mutex
	tokens map[string]bool // all tokens that were sent or received
	dress  func(token string) string
	fails  bool // writes of role assignments fail, and their errors repeat the tokens, too
}

func (e *echoing) around(upstream string, next http.RoundTripper) http.RoundTripper {
	if !strings.HasPrefix(upstream, "keystone") {
		return next
	}
	return roundTrip(func(req *http.Request) (*http.Response, error) {
		var sent []byte
		if req.Body != nil {
			var err error
			if sent, err = io.ReadAll(req.Body); err != nil {
				return nil, err
			}
			req.Body = io.NopCloser(bytes.NewReader(sent))
		}
		resp, err := next.RoundTrip(req)
		if err != nil {
			return resp, err
		}
		var login struct {
			Auth struct {
				Identity struct{ Token struct{ ID string } }
			}
		}
		_ = json.Unmarshal(sent, &login) // a body that is not a login has no token
		token := ""
		for _, one := range []string{
			resp.Header.Get("X-Subject-Token"), login.Auth.Identity.Token.ID, req.Header.Get("X-Subject-Token"), req.Header.Get("X-Auth-Token"),
		} {
			if one != "" {
				e.mu.Lock()
				e.tokens[one] = true
				e.mu.Unlock()
				token = one
			}
		}
		resp.Header.Set("X-Openstack-Request-Id", e.dress(token))
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return nil, err
		}
		_ = resp.Body.Close()
		for _, name := range []string{"ada", "bs-admin"} {
			body = bytes.ReplaceAll(body, []byte(`"name":"`+name+`"`), []byte(`"name":"`+name+` `+token+`"`))
		}
		if e.fails && req.Method == http.MethodPut {
			resp.StatusCode = http.StatusForbidden
			body = []byte(`{"error":{"code":403,"message":"identity:create_grant of ` + token + `"}}`)
		}
		resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		resp.Header.Del("Content-Length")
		return resp, nil
	})
}

// If Keystone repeats a token in an answer, the token is not stored, logged or shown.
func TestATokenThatKeystoneRepeatsIsNowhere(t *testing.T) {
	for name, dress := range map[string]func(string) string{
		"the token":         func(token string) string { return token },
		"like a request id": func(token string) string { return "req-1-" + token[:min(len(token), 50)] },
	} {
		for _, fails := range []bool{false, true} {
			echo := echoing{tokens: map[string]bool{}, dress: dress, fails: fails}
			w := newWorldOf(t, storetest.SQLite(t), func(o *servicetest.Options) { o.Around = echo.around })
			q := w.order("k")
			q.header.Set("Prefer", "wait=5")
			first := w.call(q)
			path := first.header.Get("Location")
			if fails && (first.status == http.StatusCreated || path == "") || !fails && first.status != http.StatusCreated {
				t.Fatalf("%s: got %d %s", name, first.status, first.body)
			}
			id := strings.TrimPrefix(path, "/v1/runs/")
			run, err := w.Store.Run(t.Context(), id)
			must(t, err)
			events, err := w.Store.Events(t.Context(), id, 0, 1000)
			must(t, err)
			w.Service.CheckDependencies(t.Context())
			for place, content := range map[string]any{
				"the answer":           first.body,
				"the run":              w.call(w.get(path)).body,
				"the operator's run":   w.call(request{path: path, operator: w.OperatorToken}).body,
				"the operator's list":  w.call(request{path: "/v1/runs", operator: w.OperatorToken}).body,
				"the events":           w.call(w.get(path + "/events")).body,
				"the operator's":       w.call(request{path: path + "/events", operator: w.OperatorToken}).body,
				"the rows of the run":  *run,
				"the rows of events":   events,
				"the input of the run": string(run.Input),
				"the outputs":          outputs(run),
				"readiness":            w.call(request{path: "/readyz"}).body,
				"the log":              w.Log.String(),
			} {
				text, err := json.Marshal(content)
				must(t, err)
				for token := range echo.tokens {
					if at := strings.Index(string(text), token); at >= 0 {
						t.Errorf("%s, fails %t: %s contains a token: %s", name, fails, place, text[max(0, at-200):at+len(token)])
					}
				}
			}
		}
	}
}

func outputs(r *saga.Run) (all []string) {
	for _, s := range r.Steps {
		all = append(all, string(s.Output))
	}
	return all
}
