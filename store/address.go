package store

import (
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
)

// Address returns the database URL without user, password and parameters, so that the URL can be shown to people. The PG* variables
// supply the values that the given URL lacks. The result is empty if the URL is invalid.
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
	for _, other := range config.Fallbacks { // a fallback is another host, or another kind of connection to the same host
		if host := net.JoinHostPort(other.Host, fmt.Sprint(other.Port)); !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	return "postgres://" + strings.Join(hosts, ",") + "/" + config.Database
}
