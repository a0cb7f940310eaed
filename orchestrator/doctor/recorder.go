package doctor

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/tenantry/tenantry/orchestrator/loopback"
)

// The type `recorder` is a transport that records the clock and the certificates of a server from the server's answers.
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
		r.certificates = chain(resp.TLS)
	}
	return resp, nil
}

// The function `chain` returns the certificates on which the trust in a server depends. The server may send further ones, which may have expired.
// Of several chains, the result is the one that expires last. If the certificate was not checked, the result has all certificates of the server.
func chain(s *tls.ConnectionState) []*x509.Certificate {
	if len(s.VerifiedChains) == 0 {
		return s.PeerCertificates
	}
	return slices.MaxFunc(s.VerifiedChains, func(a, b []*x509.Certificate) int { return end(a).Compare(end(b)) })
}

// The function `end` returns the time at which a chain expires: the time at which the first of its certificates expires.
func end(chain []*x509.Certificate) time.Time {
	return slices.MinFunc(chain, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) }).NotAfter
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
	at := end(r.certificates)
	if time.Until(at) < expirySoon {
		return []Line{warn(instruction("renew the certificate of %s", u.Host), "the certificate of %s ends at %s", u.Host, day(at))}
	}
	return []Line{ok("the certificate of %s ends at %s", u.Host, day(at))}
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
