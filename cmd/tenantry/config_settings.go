package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	databaseExample = "postgres://tenantry@db.example.org/tenantry"
	secretExample   = "the output of: openssl rand -base64 32"
)

// setting is one key of the file; TENANTRY_ and the key in capitals is its variable.
type setting struct {
	key      string
	fallback string // what holds when nothing is given; "": the field's zero value
	example  string
	read     func(text string) error // into the Config that the setting was made for; its error repeats no secret
	show     func() any              // what holds, fit to be seen
}

// settings lists them all, in the order in which they are shown.
func (c *Config) settings() []setting {
	return []setting{
		of("listen", &c.Listen, address, "127.0.0.1:9292", "0.0.0.0:9292"),
		of("tls_cert", &c.TLSCert, text, "", "/etc/tenantry/tls.crt"),
		of("tls_key", &c.TLSKey, text, "", "/etc/tenantry/tls.key"),
		masked(of("database_url", &c.DatabaseURL, database, "", databaseExample),
			func() string { return maskURL(c.DatabaseURL) }),
		masked(of("secret_key", &c.SecretKey, key, "", secretExample),
			func() string { return mask(c.SecretKey != nil) }),
		of("keystone_connections", &c.KeystoneConnections, positive, "16", "16"),
		of("billing_url", &c.BillingURL, billingURL, "", "http://billing.example.org:9091/v2"),
		of("billing_listen", &c.BillingListen, address, "127.0.0.1:9091", "127.0.0.1:9091"),
		of("billing_connections", &c.BillingConnections, positive, "", "1"),
		of("customer_roles", &c.CustomerRoles, roles, "member,bs-admin", "member,bs-admin"),
		of("subscription_roles", &c.SubscriptionRoles, roles, "member", "member"),
		of("domain", &c.Domain, text, "default", "customers"),
		of("admin_role", &c.AdminRole, text, "admin", "admin"),
		of("allow_cloud_admin_role", &c.AllowCloudAdminRole, boolean, "false", "true"),
		of("lease", &c.Lease, atLeastASecond, "10s", "10s"),
		of("late_window", &c.LateWindow, atLeastASecond, "90s", "90s"),
		of("deadline", &c.Deadline, atLeastASecond, "15m", "15m"),
		of("give_up_after", &c.GiveUpAfter, atLeastASecond, "24h", "24h"),
		of("max_live_runs", &c.MaxLiveRuns, positive, "1000", "1000"),
		of("log_level", &c.LogLevel, oneOf("debug", "info", "warn", "error"), "info", "debug"),
		of("log_format", &c.LogFormat, oneOf("json", "console"), "json", "console"),
	}
}

// of makes the setting that fills field with what parse finds in the text.
func of[T any](key string, field *T, parse func(string) (T, error), fallback, example string) setting {
	return setting{
		key: key, fallback: fallback, example: example,
		read: func(text string) (err error) {
			*field, err = parse(text)
			return err
		},
		show: func() any {
			switch value := any(*field).(type) {
			case time.Duration:
				return value.String()
			default:
				return value
			}
		},
	}
}

// masked is the setting, shown as show has it.
func masked(s setting, show func() string) setting {
	s.show = func() any { return show() }
	return s
}

func text(s string) (string, error) {
	if strings.TrimSpace(s) != s || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' }) {
		return "", fmt.Errorf("%q has blanks around it or control characters", s)
	}
	return s, nil
}

func address(s string) (string, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", fmt.Errorf("%q is not host:port", s)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", fmt.Errorf("%q is not a port", port)
	}
	return net.JoinHostPort(host, port), nil
}

func database(s string) (string, error) {
	if path, isFile := strings.CutPrefix(s, "sqlite:"); isFile {
		if path == "" || strings.ContainsAny(path, "?#%") || strings.HasPrefix(path, ":memory:") {
			return "", errors.New("sqlite: wants the path of a file, without options")
		}
		return s, nil
	}
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		return "", errors.New("it is neither postgres://... nor sqlite:PATH") // the text may hold a password
	}
	return s, nil
}

func key(s string) ([]byte, error) {
	decoded, err := base64.StdEncoding.DecodeString(s)
	if err != nil || len(decoded) != 32 {
		return nil, errors.New("it is not 32 bytes in base64")
	}
	return decoded, nil
}

func billingURL(s string) (string, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
		return "", errors.New("it is not an http:// or https:// URL")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "", errors.New("it must be scheme, host and path alone")
	}
	s = strings.TrimRight(s, "/")
	if !strings.HasSuffix(s, "/v1") && !strings.HasSuffix(s, "/v2") {
		return "", fmt.Errorf("%q does not end in BillingStack's version, /v1 or /v2", s)
	}
	return s, nil
}

// roles reads a comma list.
func roles(s string) ([]string, error) {
	names := strings.Split(s, ",")
	for i, name := range names {
		names[i] = strings.TrimSpace(name)
		if names[i] == "" {
			return nil, fmt.Errorf("%q has an empty name", s)
		}
		if slices.Contains(names[:i], names[i]) {
			return nil, fmt.Errorf("role %q stands there twice", names[i])
		}
	}
	return names, nil
}

func positive(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%q is not a number above 0", s)
	}
	return n, nil
}

func boolean(s string) (bool, error) {
	if s != "true" && s != "false" {
		return false, fmt.Errorf("%q is neither true nor false", s)
	}
	return s == "true", nil
}

func atLeastASecond(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration", s)
	}
	if d < time.Second {
		return 0, fmt.Errorf("%v is less than %v", d, time.Second)
	}
	return d, nil
}

func oneOf(words ...string) func(string) (string, error) {
	return func(s string) (string, error) {
		if !slices.Contains(words, s) {
			return "", fmt.Errorf("%q is none of %s", s, strings.Join(words, ", "))
		}
		return s, nil
	}
}
