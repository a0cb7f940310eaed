package server

import (
	"net"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"
)

// LoopbackOnly makes the server answer 403 to every request whose Host is not a loopback name. Otherwise a web page could use DNS
// rebinding: the page's host name would resolve to a loopback address, and the user's browser would send the page's requests to the
// server.
func LoopbackOnly(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if !loopback(c.Request().Host) {
			return &requestError{http.StatusForbidden, "the header Host must be localhost or a loopback address"}
		}
		return next(c)
	}
}

// The function `loopback` reports whether a host, with or without a port, is localhost or a loopback address.
func loopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.EqualFold(host, "localhost") || net.ParseIP(host).IsLoopback()
}
