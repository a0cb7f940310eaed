// Package loopback tells the requests and addresses of this host from those of other hosts.
package loopback

import (
	"net"
	"net/http"
	"net/url"
	"strings"
)

// Request reports whether a client on this host has sent the request itself. A request that a proxy has forwarded does not count. The same applies if
// the header Host names another host, because a web page may have sent the request through the browser of a user on this host.
func Request(r *http.Request) bool {
	for name := range r.Header {
		if name == "Forwarded" || name == "Via" || strings.HasPrefix(name, "X-Forwarded-") || name == "X-Real-Ip" {
			return false
		}
	}
	return Address(r.RemoteAddr) && Host((&url.URL{Host: r.Host}).Hostname())
}

// Address reports whether an IP address with a port is a loopback address.
func Address(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && net.ParseIP(host).IsLoopback()
}

// Host reports whether a host, without a port and without brackets, is localhost or a loopback address.
func Host(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}
