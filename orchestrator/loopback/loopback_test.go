package loopback

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestWhoIsOnThisHost(t *testing.T) {
	for _, c := range []struct {
		remote, host, header string
		local                bool
	}{
		{"127.0.0.1:1", "localhost:9292", "", true},
		{"[::1]:1", "[::1]", "", true},
		{"192.0.2.1:1", "localhost:9292", "", false},
		{"127.0.0.1:1", "tenantry.example", "", false},
		{"127.0.0.1", "localhost", "", false},
		{"127.0.0.1:1", "localhost", "Via", false},
		{"127.0.0.1:1", "localhost", "Forwarded", false},
		{"127.0.0.1:1", "localhost", "X-Real-IP", false},
		{"127.0.0.1:1", "localhost", "X-Forwarded-For", false},
		{"127.0.0.1:1", "localhost", "X-Forwarded-Host", false},
		{"127.0.0.1:1", "localhost", "Accept", true},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr, r.Host = c.remote, c.host
		if c.header != "" {
			r.Header.Set(c.header, "x")
		}
		if local := Request(r); local != c.local {
			t.Errorf("%+v: %v", c, local)
		}
	}
}

func TestHosts(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "127.0.0.1": true, "127.1.2.3": true, "::1": true, "": false, "0.0.0.0": false, "::": false, "192.0.2.1": false,
		"tenantry.example": false, "127.0.0.1.example": false,
	} {
		if got := Host(host); got != want {
			t.Errorf("%q: got %t", host, got)
		}
	}
}
