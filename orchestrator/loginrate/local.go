package loginrate

import (
	"net"
	"net/http"
	"net/url"
	"strings"
)

// Local reports whether a client on this host has sent the request itself. A request that a proxy has forwarded does not count. The same applies if
// the header Host names another host, because a web page may have sent the request through the browser of a user on this host.
func Local(r *http.Request) bool {
	for name := range r.Header {
		if name == "Forwarded" || name == "Via" || strings.HasPrefix(name, "X-Forwarded-") || name == "X-Real-Ip" {
			return false
		}
	}
	return Loopback(r.RemoteAddr) && LoopbackHost(r.Host)
}

// Loopback reports whether an address with a port is a loopback address.
func Loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsLoopback()
}

// LoopbackHost reports whether the host in a URL, which may have a port, is this host.
func LoopbackHost(host string) bool {
	name := (&url.URL{Host: host}).Hostname()
	return name == "localhost" || Loopback(net.JoinHostPort(name, "0"))
}
