package store

import (
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
)

// Address returns a database URL for people: without user, password and parameters, but with the values that the PG* variables
// add. The result is empty if the URL is invalid.
func Address(url string) string {
	if path, isFile := strings.CutPrefix(url, "sqlite:"); isFile {
		if absolute, err := filepath.Abs(path); err == nil {
			path = absolute
		}
		return "sqlite:" + path
	}
	config, err := serverConfig(url)
	if err != nil {
		return ""
	}
	hosts := []string{net.JoinHostPort(config.Host, fmt.Sprint(config.Port))}
	for _, other := range config.Fallbacks { // several hosts, or several ways to encrypt the connection to a host
		if host := net.JoinHostPort(other.Host, fmt.Sprint(other.Port)); !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	return "postgres://" + strings.Join(hosts, ",") + "/" + config.Database
}
