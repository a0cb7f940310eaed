package doctor

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/orchestrator/service"
)

// A check comes after the checks that it depends on. Otherwise, Examine would not know their results.
func TestTheChecksAreSorted(t *testing.T) {
	var before []string
	for _, c := range checks {
		for _, name := range c.after {
			if !slices.Contains(before, name) {
				t.Errorf("%s comes before %s", c.name, name)
			}
		}
		if slices.Contains(before, c.name) || c.limit == 0 {
			t.Errorf("%s occurs twice, or has no time limit", c.name)
		}
		before = append(before, c.name)
	}
}

// The operations manual describes each check.
func TestEachCheckIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "## Checking a set-up")
	section, _, _ = strings.Cut(section, "\n## ")
	for _, name := range Names() {
		if !strings.Contains(section, "| `"+name+"`") && !strings.Contains(section, ", `"+name+"` |") {
			t.Errorf("docs/operations.md does not describe %s", name)
		}
	}
}

func TestSkewOfAClock(t *testing.T) {
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		shown  []time.Duration // after the request was sent; each request takes 2 s
		status Status
		text   string
	}{
		"no answer":               {nil, Skipped, "not assessed"},
		"the same":                {[]time.Duration{time.Second}, OK, ""},
		"ahead, but tolerated":    {[]time.Duration{7 * time.Second}, OK, ""},
		"ahead":                   {[]time.Duration{8 * time.Second}, Warn, "at least 6s ahead of"},
		"behind":                  {[]time.Duration{-8 * time.Second}, Warn, "at least 7s behind"},
		"far ahead":               {[]time.Duration{63 * time.Second}, Fail, "at least 1m1s ahead of"},
		"far behind":              {[]time.Duration{-62 * time.Second}, Fail, "at least 1m1s behind"},
		"several answers, narrow": {[]time.Duration{7 * time.Second, 10 * time.Second}, Warn, "at least 8s ahead of"},
	} {
		var s skew
		for _, shown := range c.shown {
			s.see(now, now.Add(2*time.Second), now.Add(shown), time.Second)
		}
		if got := s.line("Keystone"); len(got) != 1 || got[0].Status != c.status || !strings.Contains(got[0].Text, c.text) {
			t.Errorf("%s: got %+v, want %s with %q", name, got, c.status, c.text)
		}
	}
}

// A cached answer shows an old time, and says nothing about the clock.
func TestCachedAnswersShowNoTime(t *testing.T) {
	for age, want := range map[string]bool{"": true, "3600": false} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if age != "" {
				w.Header().Set("Age", age)
			}
		}))
		r := recorder{next: http.DefaultTransport}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := r.RoundTrip(req); err != nil || resp.Body.Close() != nil || r.clock.known != want {
			t.Errorf("age %q: got %v, %v", age, r.clock, err)
		}
		s.Close()
	}
}

func TestTheFreeSpaceOfAFolder(t *testing.T) {
	dir := t.TempDir()
	for wanted, want := range map[uint64]Status{1: OK, 1 << 62: Warn} {
		if got := space("spool", dir, wanted); got.Status != want || !strings.Contains(got.Text, "MiB are free in "+dir) {
			t.Errorf("with %d wanted: got %+v, want %s", wanted, got, want)
		}
	}
	if got := space("spool", filepath.Join(dir, "nosuch"), 1); got.Status != Skipped {
		t.Errorf("without the folder: got %+v", got)
	}
}

func TestAPanicIsAFailedCheck(t *testing.T) {
	got := asked(t.Context(), check{"broken", nil, quick, func(context.Context, *examination) []Line { panic("canary") }}, nil)
	if len(got) != 1 || got[0].Status != Fail || !strings.Contains(got[0].Text, "canary") {
		t.Errorf("got %+v", got)
	}
}

func TestTheCertificateOfTheAPI(t *testing.T) {
	for name, c := range map[string]struct {
		from, to time.Duration
		public   string
		want     []Status
		text     string
	}{
		"valid":                {-time.Hour, 60 * 24 * time.Hour, "", []Status{OK}, "is valid until"},
		"valid for the public": {-time.Hour, 60 * 24 * time.Hour, "https://tenantry.example.org:9292", []Status{OK}, "is valid until"},
		"ends soon":            {-time.Hour, 29 * 24 * time.Hour, "", []Status{Warn}, "expires at"},
		"not yet valid":        {time.Hour, 60 * 24 * time.Hour, "", []Status{Fail}, "is valid only from"},
		"expired, other name":  {-2 * time.Hour, -time.Hour, "https://other.example.org", []Status{Fail, Warn}, "has expired at"},
		"another name":         {-time.Hour, 60 * 24 * time.Hour, "https://other.example.org", []Status{Warn}, "is for tenantry.example.org, and not for other.example.org"},
	} {
		x := &examination{Options: Options{PublicURL: c.public}}
		x.TLSCert, x.TLSKey = certify(t, "tenantry.example.org", c.from, c.to)
		got := certificate(t.Context(), x)
		var statuses []Status
		for _, line := range got {
			statuses = append(statuses, line.Status)
		}
		if !slices.Equal(statuses, c.want) || !strings.Contains(got[0].Text, c.text) {
			t.Errorf("%s: got %+v, want %v with %q", name, got, c.want, c.text)
		}
	}
}

// The function `certify` writes a certificate for a host and its key, and returns their paths.
func certify(t *testing.T, host string, from, to time.Duration) (certificate, key string) {
	t.Helper()
	pair, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{host}, NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(to),
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

// A warning comes before the certificate of an upstream ends, and for an address that sends passwords in plain text.
func TestTheConnectionToAnUpstream(t *testing.T) {
	read := func(certificate string) *x509.Certificate {
		text, err := os.ReadFile(certificate)
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(text)
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	soon, _ := certify(t, "keystone.example.org", -time.Hour, 29*24*time.Hour)
	later, _ := certify(t, "keystone.example.org", -time.Hour, 60*24*time.Hour)
	for _, c := range []struct {
		address string
		chain   []*x509.Certificate
		want    Status
	}{
		{"http://127.0.0.1:5000/v3", nil, OK},
		{"http://[::1]:5000/v3", nil, OK},
		{"http://keystone.example.org:5000/v3", nil, Warn},
		{"https://keystone.example.org/v3", nil, Skipped},
		{"https://keystone.example.org/v3", []*x509.Certificate{read(later)}, OK},
		{"https://keystone.example.org/v3", []*x509.Certificate{read(soon)}, Warn},
		{"https://keystone.example.org/v3", []*x509.Certificate{read(later), read(soon)}, Warn},
	} {
		r := recorder{certificates: c.chain}
		if got := r.transport(c.address, "OS_AUTH_URL"); len(got) != 1 || got[0].Status != c.want {
			t.Errorf("%s with %d certificates: got %+v, want %s", c.address, len(c.chain), got, c.want)
		}
	}
}

// The doctor looks at a running server through the proxy in front of it.
func TestTheProxyInFrontOfTheService(t *testing.T) {
	const open, closed = `{"ready": true, "status": "ok", "version": "1", "checks": []}`, `{"ready": true, "status": "ok", "version": "1"}`
	for name, c := range map[string]struct {
		answer        string
		serves, proxy bool
		want          Status
		text          string
	}{
		"hides the checks":              {closed, true, true, OK, "clients call the API at"},
		"shows the checks to everybody": {open, true, true, Warn, "to everybody"},
		"no proxy":                      {open, true, false, OK, "clients call the API at"},
		"leads elsewhere":               {`<html>`, true, true, Warn, "does not answer at TENANTRY_URL"},
		"not running":                   {`<html>`, false, true, OK, "clients call the API at"},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/api/readyz" {
				_, _ = io.WriteString(w, c.answer)
			}
		}))
		x := &examination{Options: Options{Config: service.Config{Listen: "127.0.0.1:1"}, PublicURL: s.URL + "/api/"}, serves: c.serves}
		if !c.proxy {
			x.Listen = s.Listener.Addr().String()
		}
		if got := publicAddress(t.Context(), x); len(got) != 1 || got[0].Status != c.want || !strings.Contains(got[0].Text, c.text) {
			t.Errorf("%s: got %+v, want %s with %q", name, got, c.want, c.text)
		}
		s.Close()
	}
}

// The server may send certificates that the trust in it does not depend on: for example, a second chain that has expired.
func TestTheCertificatesThatMatter(t *testing.T) {
	until := func(hours int) *x509.Certificate {
		return &x509.Certificate{NotAfter: time.Date(2026, 11, 27, hours, 0, 0, 0, time.UTC)}
	}
	leaf, authority, expired := until(20), until(23), until(1)
	for name, c := range map[string]struct {
		verified [][]*x509.Certificate
		want     *x509.Certificate // the one that ends first
	}{
		"not checked": {nil, expired},
		"one chain":   {[][]*x509.Certificate{{leaf, authority}}, leaf},
		"two chains":  {[][]*x509.Certificate{{leaf, expired}, {leaf, authority}}, leaf},
	} {
		got := end(chain(&tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf, expired}, VerifiedChains: c.verified}))
		if !got.Equal(c.want.NotAfter) {
			t.Errorf("%s: got %v, want %v", name, got, c.want.NotAfter)
		}
	}
}

// After the fix, the service can still read the file. Only its owner may type chmod.
func TestAFileOfAnotherUser(t *testing.T) {
	for path, want := range map[string]FixKind{ownFile(t): Command, foreignFile(t): Instruction} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		got := protect(path, info)
		if got.Kind != want || want == Command && got.Text != "chmod 600 "+path || want == Instruction && !strings.HasSuffix(got.Text, " && chmod 640 "+path) {
			t.Errorf("%s: got %+v, want %s", path, got, want)
		}
	}
}

func TestTheSecretKeyOfAnotherUser(t *testing.T) {
	x := &examination{Options: Options{KeyFile: foreignFile(t), ReadKey: func() ([]byte, error) { return nil, fmt.Errorf("reading: %w", fs.ErrPermission) }}}
	got := secretKey(t.Context(), x)
	if last := got[len(got)-1]; last.Status != Fail || !strings.Contains(last.Fix.Text, "as the user of the service") {
		t.Errorf("got %+v", got)
	}
}

func ownFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tenantry.yaml")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// foreignFile returns the path of a file of another user.
func foreignFile(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		return "/etc/passwd"
	}
	path := ownFile(t)
	if err := os.Chown(path, 1, 1); err != nil {
		t.Fatal(err)
	}
	return path
}

// If the settings are wrong, the paths of the files are not known.
func TestNothingIsSaidAboutUnknownFiles(t *testing.T) {
	for _, line := range Examine(t.Context(), Options{
		Faults: []error{errors.New("lease: wrong")}, Cloud: func(string) (conn.Config, error) { return conn.Config{}, errors.New("no cloud") },
	}) {
		if line.Check == "files" && line.Status != Skipped {
			t.Errorf("got %+v", line)
		}
	}
}

// The running server may have been started before its settings were changed.
func TestAServerWithOtherSettingsIsSeen(t *testing.T) {
	for name, start := range map[string]func(http.Handler) *httptest.Server{"without TLS": httptest.NewServer, "with TLS": httptest.NewTLSServer} {
		s := start(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"ready": true, "status": "ok", "version": "1"}`)
		}))
		for _, certificate := range []string{"", "/tls.crt"} {
			x := &examination{Options: Options{Config: service.Config{Listen: s.Listener.Addr().String(), TLSCert: certificate, BillingURL: "http://b/v2"}}}
			want := Warn
			if (certificate == "") == (s.TLS == nil) {
				want = OK
			}
			if got := ports(t.Context(), x); len(got) != 1 || got[0].Status != want || x.serves != (want == OK) {
				t.Errorf("%s, and the certificate %q is set: got %+v, want %s", name, certificate, got, want)
			}
		}
		s.Close()
	}
}

func TestTheAddressOfTheAPI(t *testing.T) {
	for name, c := range map[string]struct {
		listen, certificate, public string
		want                        Status
	}{
		"this host":                          {"127.0.0.1:9292", "", "", OK},
		"a proxy on this host":               {"127.0.0.1:9292", "", "https://tenantry.example.org", OK},
		"this host, with a URL":              {"127.0.0.1:9292", "", "http://127.0.0.1:9292", OK},
		"all hosts, with TLS":                {"0.0.0.0:9292", "/tls.crt", "https://tenantry.example.org", OK},
		"all hosts, without TLS":             {"0.0.0.0:9292", "", "", Warn},
		"all hosts, without TLS, IPv6":       {"[::]:9292", "", "", Warn},
		"a public URL without TLS":           {"127.0.0.1:9292", "", "http://tenantry.example.org", Fail},
		"TLS, and a URL without it":          {"127.0.0.1:9292", "/tls.crt", "http://127.0.0.1:9292", Fail},
		"a password in the URL":              {"127.0.0.1:9292", "", "https://ann:canary@tenantry.example.org", Fail},
		"a URL that is none":                 {"127.0.0.1:9292", "", "tenantry.example.org", Fail},
		"a URL that cannot be parsed at all": {"127.0.0.1:9292", "", "http://canary:\x00", Fail},
	} {
		x := &examination{Options: Options{Config: service.Config{Listen: c.listen, TLSCert: c.certificate}, PublicURL: c.public}}
		if got := publicAddress(t.Context(), x); len(got) != 1 || got[0].Status != c.want || strings.Contains(got[0].Text, "canary") {
			t.Errorf("%s: got %+v, want %s", name, got, c.want)
		}
	}
}
