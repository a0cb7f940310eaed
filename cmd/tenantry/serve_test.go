package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/keystone/keystonetest"
)

// The type `served` is a Tenantry server that runs in the test's process.
type served struct {
	url, billingURL string
	mu              sync.Mutex
	log             strings.Builder
	stop            func() int // returns the exit code
}

// serveWith runs "tenantry serve" until the test ends.
func serveWith(t *testing.T, environ ...string) *served {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := &served{}
	reader, writer := io.Pipe()
	p := program{out: io.Discard, err: writer, environ: append([]string{
		"TENANTRY_LISTEN=127.0.0.1:0", "TENANTRY_BILLING_LISTEN=127.0.0.1:0",
		"TENANTRY_DATABASE_URL=sqlite:" + filepath.Join(t.TempDir(), "t.db"),
	}, environ...)}
	code := make(chan int, 1)
	go func() {
		code <- p.run(ctx, []string{"serve"})
		_ = writer.Close()
	}()
	ready := make(chan struct{})
	go func() {
		for lines := bufio.NewScanner(reader); lines.Scan(); {
			s.mu.Lock()
			s.log.WriteString(lines.Text() + "\n")
			s.mu.Unlock()
			var line struct {
				Message    string
				URL        string
				BillingURL string `json:"billing_url"`
			}
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Message == "serving" {
				s.url, s.billingURL = line.URL, line.BillingURL
				close(ready)
			}
		}
	}()
	s.stop = sync.OnceValue(func() int { cancel(); return <-code })
	t.Cleanup(func() { s.stop() })
	select {
	case <-ready:
	case got := <-code:
		code <- got
		t.Fatalf("serve ended with %d: %s", got, s.logged())
	case <-time.After(30 * time.Second):
		t.Fatal("serve did not start")
	}
	return s
}

func (s *served) logged() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// keystoneEnv sets the OS_* variables to the address of a Keystone and the credential of its admin.
func keystoneEnv(t *testing.T, url string) {
	t.Helper()
	for name, value := range map[string]string{
		"OS_CLOUD": "", "OS_TOKEN": "", "OS_AUTH_URL": url, "OS_USERNAME": "admin", "OS_PASSWORD": "canary-password",
		"OS_USER_DOMAIN_ID": "default", "OS_PROJECT_NAME": "admin", "OS_PROJECT_DOMAIN_ID": "default",
	} {
		t.Setenv(name, value)
	}
}

func TestServe(t *testing.T) {
	fake := keystonetest.New(keystonetest.Options{AdminPassword: "canary-password"})
	fake.AddRole("bs-admin")
	url, stop, err := fake.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	keystoneEnv(t, url)
	s := serveWith(t)
	if status, body := get(t, s.url+"/readyz"); status != http.StatusOK || !strings.Contains(body, `"ready":true,"status":"ok"`) {
		t.Errorf("readyz: got %d, %s", status, body)
	}
	if status, body := get(t, s.billingURL+"/currencies"); status != http.StatusOK || !strings.Contains(body, `"eur"`) {
		t.Errorf("the embedded BillingStack: got %d, %.100s", status, body)
	}
	if code := s.stop(); code != 0 {
		t.Errorf("stopping: got %d, want 0\n%s", code, s.logged())
	}
	if c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://")); err == nil {
		_ = c.Close()
		t.Error("the server still listens")
	}
	if strings.Contains(s.logged(), "canary") {
		t.Errorf("the log contains the password:\n%s", s.logged())
	}
}

func TestServeBeginsWithoutItsUpstreams(t *testing.T) {
	keystoneEnv(t, "http://127.0.0.1:1/v3")
	s := serveWith(t, "TENANTRY_BILLING_URL=http://127.0.0.1:1/v2")
	status, body := get(t, s.url+"/readyz")
	var got struct {
		Status string
		Checks []struct{ Name, Status, Reason string }
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	for _, check := range got.Checks {
		want, reason := "ok", ""
		if check.Name == "keystone" || check.Name == "billingstack" {
			want, reason = "down", "connection refused"
		}
		if check.Status != want || check.Reason != reason {
			t.Errorf("got %+v, want %s %s", check, want, reason)
		}
	}
	if status != http.StatusOK || got.Status != "degraded" || len(got.Checks) != 5 {
		t.Errorf("got %d, %s", status, body)
	}
	for _, line := range []string{"keystone: down, connection refused, http://127.0.0.1:1/v3", "billingstack: down, connection refused, http://127.0.0.1:1/v2"} {
		if log := s.logged(); strings.Count(log, line) != 1 {
			t.Errorf("the log does not contain %q once:\n%s", line, log)
		}
	}
	if status, _ := get(t, s.url+"/healthcheck"); status != http.StatusOK {
		t.Errorf("healthcheck: got %d, want 200", status)
	}
	if code := s.stop(); code != 0 {
		t.Errorf("stopping: got %d, want 0\n%s", code, s.logged())
	}
}

func TestServeRefuses(t *testing.T) {
	keystoneEnv(t, "http://127.0.0.1:1/v3")
	taken := serveWith(t)
	address := strings.TrimPrefix(taken.url, "http://")
	for name, c := range map[string]struct {
		env  []string
		os   map[string]string
		code int
		says string
	}{
		"an address in use":   {env: []string{"TENANTRY_LISTEN=" + address}, code: exitUsage, says: "listening on " + address},
		"no credential":       {os: map[string]string{"OS_PASSWORD": ""}, code: exitUsage, says: "OS_* variables"},
		"no Keystone":         {os: map[string]string{"OS_AUTH_URL": ""}, code: exitUsage, says: "OS_AUTH_URL is not set"},
		"a missing TLS key":   {env: []string{"TENANTRY_TLS_CERT=/c"}, code: exitUsage, says: "tls_key"},
		"no such certificate": {env: []string{"TENANTRY_TLS_CERT=/c", "TENANTRY_TLS_KEY=/k"}, code: exitUsage, says: "open /c"},
	} {
		t.Run(name, func(t *testing.T) {
			for name, value := range c.os {
				t.Setenv(name, value)
			}
			env := append(newDatabase(t), "TENANTRY_LISTEN=127.0.0.1:0", "TENANTRY_BILLING_LISTEN=127.0.0.1:0")
			code, _, stderr := line(t, append(env, c.env...), "serve")
			if code != c.code || !strings.Contains(stderr, c.says) {
				t.Errorf("got %d, %s, want %d and %q", code, stderr, c.code, c.says)
			}
		})
	}
}

func TestServeTLS(t *testing.T) {
	keystoneEnv(t, "http://127.0.0.1:1/v3")
	certificate, key := certify(t)
	s := serveWith(t, "TENANTRY_TLS_CERT="+certificate, "TENANTRY_TLS_KEY="+key)
	pem, err := os.ReadFile(certificate)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots}}}
	resp, err := c.Get(s.url + "/healthcheck")
	if err != nil {
		t.Fatal(err)
	}
	if _ = resp.Body.Close(); resp.StatusCode != http.StatusOK || !strings.HasPrefix(s.url, "https://") {
		t.Errorf("%s: got %d, want 200 over https", s.url, resp.StatusCode)
	}
}

// The function `certify` writes a certificate for 127.0.0.1 and its private key to two files, and returns their paths.
func certify(t *testing.T) (certificate, key string) {
	t.Helper()
	pair, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	public, err := x509.CreateCertificate(rand.Reader, template, template, &pair.PublicKey, pair)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(pair)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, content []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("tls.crt", "CERTIFICATE", public), write("tls.key", "PRIVATE KEY", private)
}

func TestServePrintsItsConfiguration(t *testing.T) {
	code, out, stderr := line(t, []string{"HOME=/users/ann", testKeyEnv}, "serve", "--print-config")
	if code != 0 || !strings.Contains(out, "\nsecret_key: xxxxx\n") || stderr != "" {
		t.Errorf("got %d, %s%s", code, out, stderr)
	}
}
