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
