package doctor

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/tenantry/tenantry/orchestrator/explain"
	"github.com/tenantry/tenantry/orchestrator/loopback"
)

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
		return []Line{fail(instruction("set TENANTRY_TLS_CERT to the PEM file of a certificate, and TENANTRY_TLS_KEY to the PEM file of its private key"), "reading the certificate: %v", err)}
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
