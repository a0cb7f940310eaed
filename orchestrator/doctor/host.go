package doctor

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/tenantry/tenantry/orchestrator/explain"
	"github.com/tenantry/tenantry/orchestrator/loopback"
)

const mib = 1 << 20

// Less free space than `scarce` is a fault, because SQLite and the spool will soon stop. Free space below low is a warning.
const (
	scarce = 64 * mib
	low    = 1024 * mib
)

// The function `disk` looks at the file systems of this host that the service writes to.
func disk(_ context.Context, x *examination) []Line {
	var lines []Line
	if path := x.sqliteFile(); path != "" {
		lines = append(lines, space("database", existing(dirOf(path)), low))
	}
	if x.UsageSpool != "" {
		lines = append(lines, space("spool", existing(x.UsageSpool), uint64(max(cmp.Or(x.UsageSpoolMiB, 1024), 0))*mib))
	}
	if len(lines) == 0 {
		return []Line{skipped("not assessed: PostgreSQL does not show the free space on its disk, and nothing else is stored")}
	}
	return lines
}

// The function `space` returns the line about the file system of a folder. Less free space than `wanted` is a warning.
func space(what, dir string, wanted uint64) Line {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return skipped("%s: not assessed: reading the free space of %s: %v", what, dir, err)
	}
	free := s.Bavail * uint64(s.Bsize) //nolint:gosec // the size of a block is positive
	fix := instruction("free some space on the file system of %s, or move the %s to another file system", dir, what)
	switch {
	case free < scarce:
		return fail(fix, "%s: only %d MiB are free in %s", what, free/mib, dir)
	case free < wanted:
		return warn(fix, "%s: %d MiB are free in %s, and %d MiB should be", what, free/mib, dir, wanted/mib)
	}
	return ok("%s: %d MiB are free in %s", what, free/mib, dir)
}

func dirOf(path string) string { return filepath.Dir(path) }

// An idle replica has about 30 open files. Up to 384 orders are admitted at once, and each has a connection. As many other callers may wait for
// their runs or watch events.
const (
	idleFiles   = 40
	callerFiles = 2 * 384
	poolFiles   = 17
)

// The function `openFiles` looks at the limit of this process. At its start, a program in Go raises the limit to the hard limit.
func openFiles(ctx context.Context, x *examination) []Line {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return []Line{skipped("not assessed: %v", err)}
	}
	needed := uint64(idleFiles+callerFiles+poolFiles) + uint64(x.KeystoneConnections*len(x.needs(ctx))+2*x.BillingConnections) //nolint:gosec // they are positive
	if limit.Cur < needed {
		enough := max(4096, needed)
		return []Line{fail(instruction("raise the hard limit of open files for the service to %d: LimitNOFILE=%[1]d with systemd, or nofile in /etc/security/limits.conf", enough),
			"a process may open %d files, and the service needs up to %d with this configuration", limit.Cur, needed)}
	}
	return []Line{ok("a process may open %d files, and the service needs up to %d", limit.Cur, needed)}
}

// The function `ports` tries to listen on the addresses of the service.
func ports(ctx context.Context, x *examination) []Line {
	scheme, other := "http", "https"
	if x.TLSCert != "" {
		scheme, other = other, scheme
	}
	x.serves = answersAsTenantry(ctx, scheme+"://"+dialable(x.Listen)+"/readyz") != nil
	lines := []Line{port(ctx, x.Listen, "TENANTRY_LISTEN", x.serves)}
	if lines[0].Status == Fail && answersAsTenantry(ctx, other+"://"+dialable(x.Listen)+"/readyz") != nil {
		lines[0] = warn(instruction("restart the server of Tenantry"), "the server of Tenantry on %s was started with other settings: it uses %s, and not %s",
			x.Listen, other, scheme)
	}
	if x.BillingURL == "" {
		host, number, _ := net.SplitHostPort(x.BillingListen) //nolint:errcheck // the configuration was checked
		if !loopback.Host(host) && !x.BillingRemote {
			lines = append(lines, fail(setting("TENANTRY_BILLING_LISTEN=127.0.0.1:%s", number),
				"the embedded BillingStack does not authenticate its callers, and %s is not a loopback address", x.BillingListen))
		} else {
			lines = append(lines, port(ctx, x.BillingListen, "TENANTRY_BILLING_LISTEN", x.serves && answersAsBilling(ctx, "http://"+dialable(x.BillingListen)+"/v2/currencies")))
		}
	}
	return lines
}

func port(ctx context.Context, address, variable string, ours bool) Line {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err == nil {
		_ = l.Close() // nobody has connected
		return ok("%s is free", address)
	}
	_, number, _ := net.SplitHostPort(address) //nolint:errcheck // the configuration was checked
	switch {
	case errors.Is(err, syscall.EADDRINUSE) && ours:
		return ok("a server of Tenantry listens on %s", address)
	case errors.Is(err, syscall.EADDRINUSE):
		return fail(instruction("stop the program that listens there (ss -ltnp 'sport = :%s' shows it), or set %s to another port", number, variable),
			"another program listens on %s", address)
	case errors.Is(err, syscall.EACCES):
		return fail(instruction("set %s to a port above 1023, or give the service the capability CAP_NET_BIND_SERVICE", variable),
			"the user of this process may not listen on %s", address)
	}
	return fail(instruction("set %s to an address of this host", variable), "%v", err)
}

// The function `dialable` returns an address at which this host can connect to a listener.
func dialable(address string) string {
	host, number, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		return net.JoinHostPort("127.0.0.1", number)
	}
	return address
}

// The type `readiness` is the part of the answer of /readyz that shows whether a server is Tenantry's.
type readiness struct {
	Ready  *bool           `json:"ready"`
	Status *string         `json:"status"`
	Checks json.RawMessage `json:"checks"`
}

// answersAsTenantry returns the answer of /readyz, or nil if no server of Tenantry answers at the URL.
func answersAsTenantry(ctx context.Context, url string) *readiness {
	var r readiness
	if err := fetch(ctx, url, &r); err != nil || r.Ready == nil || r.Status == nil {
		return nil
	}
	return &r
}

func answersAsBilling(ctx context.Context, url string) bool {
	var currencies []struct{ Name string }
	return fetch(ctx, url, &currencies) == nil
}

// fetchTime and maxAnswer limit the answer of a server whose kind is not known.
const (
	fetchTime = 4 * time.Second // longer than the time in which /readyz waits for its first results
	maxAnswer = 256 << 10
)

// The function `fetch` decodes the JSON at a URL. It does not check the certificate of the server, because it sends no secret.
func fetch(ctx context.Context, url string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, //nolint:gosec // see above
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // the answer is not used further
	return json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(into)
}

// publicAddress checks the address at which clients call the API, and the proxy in front of it.
func publicAddress(ctx context.Context, x *examination) []Line {
	host, _, _ := net.SplitHostPort(x.Listen) //nolint:errcheck // the configuration was checked
	var lines []Line
	if x.TLSCert == "" && !loopback.Host(host) {
		lines = append(lines, warn(instruction("set TENANTRY_TLS_CERT and TENANTRY_TLS_KEY; or set TENANTRY_LISTEN to a loopback address, and let a proxy with TLS on this host "+
			"pass the requests on"), "the API listens on %s without TLS: it refuses the credentials of callers on other hosts, with 403 tls-required", x.Listen))
	}
	if x.PublicURL == "" {
		return orOK(lines, "the API listens on %s; TENANTRY_URL, the address for clients, is not set", x.Listen)
	}
	u, err := url.Parse(x.PublicURL)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Scheme != "http" && u.Scheme != "https" {
		return append(lines, fail(instruction("set TENANTRY_URL to an address such as https://tenantry.example.org"),
			"TENANTRY_URL is not an http:// or https:// URL without user, password and parameters"))
	}
	secure := *u
	secure.Scheme = "https"
	switch {
	case u.Scheme == "http" && x.TLSCert != "":
		return append(lines, fail(setting("TENANTRY_URL=%s", explain.ShellWord(secure.String())), "TENANTRY_URL begins with http://, but the API uses TLS"))
	case u.Scheme == "http" && !loopback.Host(u.Hostname()):
		return append(lines, fail(instruction("let the API or a proxy on this host use TLS, and set TENANTRY_URL=%s", explain.ShellWord(secure.String())),
			"TENANTRY_URL begins with http://: clients refuse to send their credentials there in plain text"))
	}
	if line := x.proxy(ctx, u); line != nil {
		lines = append(lines, *line)
	}
	return orOK(lines, "clients call the API at %s", u)
}

// The method `proxy` checks the way from the public address to the running server. It returns nil if there is nothing to say.
func (x *examination) proxy(ctx context.Context, public *url.URL) *Line {
	if !x.serves {
		return nil
	}
	answer := answersAsTenantry(ctx, strings.TrimRight(public.String(), "/")+"/readyz")
	var line Line
	switch {
	case answer == nil:
		line = warn(instruction("correct TENANTRY_URL, or the proxy that should pass requests on to %s", dialable(x.Listen)),
			"the server runs, but does not answer at TENANTRY_URL, %s", public)
	case len(answer.Checks) > 0 && !x.direct(public):
		line = warn(instruction("let the proxy set the header X-Forwarded-For"),
			"the proxy adds no header such as X-Forwarded-For, so /readyz shows the state of each dependency to everybody")
	default:
		return nil
	}
	return &line
}

// The method `direct` reports whether a URL leads to the service itself, and not to a proxy.
func (x *examination) direct(public *url.URL) bool {
	host, number, err := net.SplitHostPort(dialable(x.Listen))
	return err == nil && public.Port() == number && (public.Hostname() == host || loopback.Host(public.Hostname()) && loopback.Host(host))
}

func certificate(_ context.Context, x *examination) []Line {
	if x.TLSCert == "" {
		return []Line{ok("the API uses no TLS")}
	}
	pair, err := tls.LoadX509KeyPair(x.TLSCert, x.TLSKey)
	if err != nil {
		return []Line{fail(instruction("set TENANTRY_TLS_CERT and TENANTRY_TLS_KEY to PEM files with a certificate and its own key"), "reading the certificate: %v", err)}
	}
	leaf, renew := pair.Leaf, instruction("renew the certificate in %s, and restart the service", x.TLSCert)
	var lines []Line
	switch now := time.Now(); {
	case now.After(leaf.NotAfter):
		lines = append(lines, fail(renew, "the certificate has expired at %s", day(leaf.NotAfter)))
	case now.Before(leaf.NotBefore):
		lines = append(lines, fail(renew, "the certificate is valid only from %s", day(leaf.NotBefore)))
	case leaf.NotAfter.Sub(now) < expirySoon:
		lines = append(lines, warn(renew, "the certificate expires at %s", day(leaf.NotAfter)))
	}
	if u, err := url.Parse(x.PublicURL); err == nil && x.PublicURL != "" && u.Hostname() != "" {
		if err := leaf.VerifyHostname(u.Hostname()); err != nil {
			names := strings.Join(leaf.DNSNames, ", ")
			for _, ip := range leaf.IPAddresses {
				names = strings.TrimPrefix(names+", "+ip.String(), ", ")
			}
			lines = append(lines, warn(instruction("use a certificate for %s, unless a proxy with another certificate is in front of the service", u.Hostname()),
				"the certificate is for %s, and not for %s, the host of TENANTRY_URL", cmp.Or(names, "no name"), u.Hostname()))
		}
	}
	return orOK(lines, "the certificate is valid until %s", day(leaf.NotAfter))
}
