package store

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
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
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return ""
	}
	hosts := []string{fmt.Sprintf("%s:%d", config.Host, config.Port)}
	for _, other := range config.Fallbacks { // several hosts, or several ways to encrypt the connection to a host
		if host := fmt.Sprintf("%s:%d", other.Host, other.Port); !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	return "postgres://" + strings.Join(hosts, ",") + "/" + config.Database
}
