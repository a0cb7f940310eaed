package server_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/tenantry/tenantry/billing/server"
)

// No handler calls RealIP, so the test calls RealIP on a context of the Echo instance.
func TestClientAddressIsThatOfTheConnection(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = "192.0.2.1:40000"
	r.Header.Set("X-Forwarded-For", "203.0.113.7")
	r.Header.Set("X-Real-Ip", "203.0.113.7")
	if got := server.New(server.Records{}, nil).NewContext(r, httptest.NewRecorder()).RealIP(); got != "192.0.2.1" {
		t.Errorf("the client's address is %q, want 192.0.2.1, whatever the request's headers say", got)
	}
}

func TestOnlyLoopbackNamesAreServed(t *testing.T) {
	e := server.New(server.Records{}, nil)
	e.Pre(server.LoopbackOnly)
	for host, want := range map[string]int{
		"localhost": 200, "LocalHost:9091": 200, "127.0.0.1": 200, "127.0.0.2:9091": 200, "[::1]:9091": 200, "[::1]": 200,
		"": 403, "evil.example.org": 403, "evil.example.org:9091": 403, "localhost.example.org": 403, "127.0.0.1.example.org": 403,
		"192.0.2.1:9091": 403, "0.0.0.0:9091": 403, "[::]:9091": 403, "localhost:9091:80": 403,
	} {
		r := httptest.NewRequest(http.MethodGet, "/v2/currencies", nil)
		r.Host = host
		w := httptest.NewRecorder()
		e.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%q: got %d, want %d", host, w.Code, want)
		}
	}
}
