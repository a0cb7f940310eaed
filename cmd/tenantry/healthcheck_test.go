package main

import (
	"cmp"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

func TestTheServiceIsHealthyIfItAnswers(t *testing.T) {
	for status, healthy := range map[int]bool{http.StatusOK: true, http.StatusServiceUnavailable: false, http.StatusFound: false} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/healthcheck" {
				t.Errorf("got a request for %s", r.URL.Path)
			}
			w.WriteHeader(status)
		}))
		if err := checkHealth(t.Context(), s.URL); (err == nil) != healthy {
			t.Errorf("%d: got %v", status, err)
		}
		s.Close()
	}
	if err := checkHealth(t.Context(), "http://127.0.0.1:1"); err == nil || err.Error() != "no server answers at http://127.0.0.1:1: connection refused" {
		t.Errorf("no server: got %v", err)
	}
}

func TestHealthcheck(t *testing.T) {
	keystoneEnv(t, "http://127.0.0.1:1/v3")
	certificate, key := certify(t)
	for what, c := range map[string]struct {
		env    []string
		listen string // "" means the address at which the server listens
	}{
		"plain HTTP":  {},
		"TLS":         {env: []string{"TENANTRY_TLS_CERT=" + certificate, "TENANTRY_TLS_KEY=" + key}},
		"any address": {listen: ":"},
	} {
		t.Run(what, func(t *testing.T) {
			s := serveWith(t, append(slices.Clone(c.env), "TENANTRY_LISTEN="+cmp.Or(c.listen, "127.0.0.1:")+"0")...)
			_, address, _ := strings.Cut(s.url, "://")
			env := append(slices.Clone(c.env), "HOME=/users/ann", "TENANTRY_LISTEN="+strings.Replace(address, "127.0.0.1:", cmp.Or(c.listen, "127.0.0.1:"), 1))
			if code, out, stderr := line(t, env, "healthcheck"); code != 0 || out != "" || stderr != "" {
				t.Errorf("got %d, %q, %q", code, out, stderr)
			}
			s.stop()
			if code, _, stderr := line(t, env, "healthcheck"); code != exitUnreachable || !strings.Contains(stderr, "connection refused") {
				t.Errorf("stopped: got %d, %q", code, stderr)
			}
		})
	}
	code, _, stderr := line(t, []string{"TENANTRY_LISTEN=127.0.0.1:0", "HOME=/users/ann"}, "healthcheck")
	if code != exitUsage || !strings.Contains(stderr, "free port") {
		t.Errorf("a port that is not known: got %d, %q", code, stderr)
	}
}
