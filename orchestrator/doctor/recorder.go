package doctor

import (
	"crypto/x509"
	"errors"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/tenantry/tenantry/orchestrator/loopback"
)

// The type `recorder` is a transport that records what the answers of a server show: the server's clock and its certificates.
type recorder struct {
	next http.RoundTripper

	mu           sync.Mutex
	clock        skew
	certificates []*x509.Certificate
}

// RoundTrip sends the request.
func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	before := time.Now()
	resp, err := r.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	after := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	// The header Date has whole seconds. A cache sets the header Age and sends an old Date.
	if shown, err := http.ParseTime(resp.Header.Get("Date")); err == nil && resp.Header.Get("Age") == "" {
		r.clock.see(before, after, shown, time.Second)
	}
	if resp.TLS != nil {
		r.certificates = resp.TLS.PeerCertificates
	}
	return resp, nil
}

// expirySoon is the remaining time of a certificate or a credential at which the doctor warns.
const expirySoon = 30 * 24 * time.Hour

// transport returns the lines about the connection to a server at an address. The parameter variable is the setting with the address.
func (r *recorder) transport(address, variable string) []Line {
	u, err := url.Parse(address)
	if err != nil {
		return []Line{skipped("not assessed")}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case u.Scheme != "https" && loopback.Host(u.Hostname()):
		return []Line{ok("no TLS, and a loopback address")}
	case u.Scheme != "https":
		return []Line{warn(instruction("set %s to an https:// address", variable),
			"no TLS: other systems in the network can read and change what Tenantry and %s send", u.Hostname())}
	case len(r.certificates) == 0:
		return []Line{skipped("not assessed: no answer has come over TLS")}
	}
	leaf := r.certificates[0]
	end := leaf.NotAfter
	for _, c := range r.certificates {
		if c.NotAfter.Before(end) {
			end = c.NotAfter
		}
	}
	if left := time.Until(end); left < expirySoon {
		return []Line{warn(instruction("renew the certificate of %s", u.Host), "the certificate of %s ends at %s", u.Host, day(end))}
	}
	return []Line{ok("the certificate of %s ends at %s", u.Host, day(end))}
}

// fixOfReach returns the fix for a server that cannot be reached. The parameter variable is the setting with the server's address.
func fixOfReach(err error, what, address, variable, ca string) Fix {
	_, authority := errors.AsType[x509.UnknownAuthorityError](err)
	_, name := errors.AsType[x509.HostnameError](err)
	invalid, isInvalid := errors.AsType[x509.CertificateInvalidError](err)
	switch {
	case isInvalid && invalid.Reason == x509.Expired:
		return instruction("renew the certificate of %s at %s", what, address)
	case authority && ca != "":
		return instruction("set %s to a PEM file with the certificate of the authority that issued the certificate of %s", ca, what)
	case authority:
		return instruction("add the certificate of the authority that issued the certificate of %s to the certificates of this host", what)
	case name:
		return instruction("set %s to an address with a name that the certificate of %s contains", variable, what)
	}
	return instruction("start %s at %s, or set %s to its right address", what, address, variable)
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
