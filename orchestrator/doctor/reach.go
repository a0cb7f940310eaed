package doctor

import (
	"crypto/x509"
	"errors"
	"net/http"
	"net/url"
)

// The type `server` describes a server that the service needs.
type server struct {
	name, address string
	variable      string // the setting with the address
	ca            string // the setting with the authority that issued the server's certificate; empty if there is none
	proxied       bool   // the service reaches the server through the proxy that the environment names
}

// The method `fix` returns the fix for a server that cannot be reached because of the error.
func (s server) fix(err error) Fix {
	_, authority := errors.AsType[x509.UnknownAuthorityError](err)
	_, name := errors.AsType[x509.HostnameError](err)
	invalid, isInvalid := errors.AsType[x509.CertificateInvalidError](err)
	switch {
	case isInvalid && invalid.Reason == x509.Expired:
		return instruction("renew the certificate of %s at %s", s.name, s.address)
	case authority && s.ca != "":
		return instruction("set %s to a PEM file with the certificate of the authority that issued the certificate of %s", s.ca, s.name)
	case authority:
		return instruction("add the certificate of the authority that issued the certificate of %s to the certificates of this host", s.name)
	case name:
		return instruction("set %s to an address with a name that the certificate of %s contains", s.variable, s.name)
	}
	if proxy := proxyFor(s.address); s.proxied && proxy != "" {
		return instruction("correct the variable HTTP_PROXY or HTTPS_PROXY, because requests to %s go to the proxy %s; or add the host of %[1]s to "+
			"NO_PROXY. If the proxy is right, start %[1]s at %[3]s, or set %[4]s to its right address", s.name, proxy, s.address, s.variable)
	}
	return instruction("start %s at %s, or set %s to its right address", s.name, s.address, s.variable)
}

// proxyFor returns the host of the proxy through which a client of this process reaches an address. If there is no proxy, the result is empty.
func proxyFor(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	proxy, err := http.ProxyFromEnvironment(&http.Request{URL: u})
	if err != nil || proxy == nil {
		return ""
	}
	return proxy.Host
}
