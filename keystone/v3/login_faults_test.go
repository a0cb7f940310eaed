package v3_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// lacksRole is the answer of Keystone 22 to a login, or to the validation of a token, after an implied role was deleted.
const lacksRole = `{"error":{"code":404,"message":"Could not find role: bf95bd5adf1d43da8f2c8315369d4516.","title":"Not Found"}}`

// If Keystone cannot check the user's token, the user's token is not at fault.
func TestAKeystoneThatLacksARoleSaysNothingAboutTheUsersToken(t *testing.T) {
	for text, want := range map[string]classification{
		lacksRole: {class: upstream.Unavailable},
		`{"error":{"code":404,"message":"Could not find user: u1.","title":"Not Found"}}`: {class: upstream.Permanent, sentinel: keystone.ErrTokenInvalid},
		`{"error":{"code":404,"message":"Failed to validate token","title":"Not Found"}}`: {class: upstream.Permanent, sentinel: keystone.ErrTokenInvalid},
	} {
		h := newHouse(t)
		h.wire.intercept(func(r *http.Request) bool { return r.Method == http.MethodGet && r.Header.Get("X-Subject-Token") != "" }, answer(404, text))
		_, err := h.cloud.ValidateToken(t.Context(), "gAAAA")
		compare(t, text, err, want)
	}
}

func TestFaultsOfAnExchange(t *testing.T) {
	for _, c := range []struct {
		what  string
		fault http.RoundTripper
		want  classification
	}{
		{"400", answer(400, body(400)), classification{class: upstream.Permanent}},
		{"401", answer(401, own401), classification{class: upstream.Permanent, sentinel: keystone.ErrNoAccess}},
		{"401 from a proxy", answer(401, "<html>"), classification{class: upstream.Unavailable}},
		{"403", answer(403, body(403)), classification{class: upstream.Permanent, sentinel: keystone.ErrNoAccess}},
		{"404", answer(404, body(404)), classification{class: upstream.Permanent, sentinel: keystone.ErrTokenInvalid}},
		{"404 because an implied role is gone", answer(404, lacksRole), classification{class: upstream.Unavailable}},
		{"404 from a proxy", answer(404, "<html>"), classification{class: upstream.Unavailable}},
		{"429", answer(429, "", "Retry-After", "1"), classification{class: upstream.Transient, after: time.Second}},
		{"500", answer(500, body(500)), classification{class: upstream.Transient}},
		{"503", answer(503, ""), classification{class: upstream.Unavailable}},
		{"connection refused", elsewhere("http", "127.0.0.1:1"), classification{class: upstream.Unavailable}},
		{"answer lost", afterwards(io.EOF), classification{class: upstream.Transient}},
		{"201 without a token", answer(201, `{"token":{"project":{"id":"p"}}}`), classification{class: upstream.Transient}},
		{"201 for another project", answer(201, `{"token":{"project":{"id":"q"}}}`, "X-Subject-Token", "x"), classification{class: upstream.Transient}},
		{"201 cut off", answer(201, `{"token":{`, "X-Subject-Token", "x"), classification{class: upstream.Transient}},
	} {
		t.Run(c.what, func(t *testing.T) {
			h := newHouse(t)
			h.wire.intercept(isLogin, c.fault)
			scoped, err := h.cloud.ExchangeToken(t.Context(), "gAAAA", "p")
			compare(t, "exchange", err, c.want)
			if scoped.ID != "" || len(h.wire.requests()) != 1 {
				t.Errorf("got %v after %v", scoped.ID, h.wire.requests())
			}
		})
	}
}

func TestAFaultAtTheLoginIsNeverTheFaultOfAWrite(t *testing.T) {
	for _, c := range []struct {
		what  string
		fault http.RoundTripper
		want  classification
	}{
		{"400", answer(400, body(400)), classification{class: upstream.Unavailable, own: true}},
		{"401", answer(401, own401), classification{class: upstream.Unavailable, own: true}},
		{"404", answer(404, "<html>"), classification{class: upstream.Unavailable, own: true}},
		{"404 because an implied role is gone", answer(404, lacksRole), classification{class: upstream.Unavailable}},
		{"429", answer(429, "", "Retry-After", "3"), classification{class: upstream.Transient, after: 3 * time.Second}},
		{"500", answer(500, body(500)), classification{class: upstream.Transient}},
		{"503", answer(503, ""), classification{class: upstream.Unavailable}},
		{"connection refused", elsewhere("http", "127.0.0.1:1"), classification{class: upstream.Unavailable}},
		{"answer lost", afterwards(io.EOF), classification{class: upstream.Transient}},
		{"201 without a token", answer(201, `{"token":{}}`), classification{class: upstream.Transient}},
	} {
		t.Run(c.what, func(t *testing.T) {
			h := newHouse(t)
			h.wire.intercept(isLogin, c.fault)
			_, _, err := h.cloud.EnsureProject(t.Context(), tenant("1"))
			compare(t, "write", err, c.want)
			if len(h.Projects()) != 1 {
				t.Errorf("there are projects %v", h.Projects())
			}

			// If Keystone refuses a token, the Cloud logs in again. A fault of this login must get the same class as a fault of the
			// first login.
			h = newHouse(t)
			if err := h.cloud.Ping(t.Context()); err != nil {
				t.Fatal(err)
			}
			h.wire.intercept(func(*http.Request) bool { return true }, roundTrip(func(req *http.Request) (*http.Response, error) {
				if isLogin(req) {
					return c.fault.RoundTrip(req)
				}
				return answer(401, own401)(req)
			}))
			_, _, err = h.cloud.EnsureProject(t.Context(), tenant("1"))
			compare(t, "write with a refused token", err, c.want)
		})
	}
}
