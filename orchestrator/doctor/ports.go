package doctor

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/tenantry/tenantry/orchestrator/loopback"
)

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
