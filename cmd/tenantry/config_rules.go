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

// The type `rule` defines the valid values of a setting.
type rule[T any] struct {
	unit   string                       // for the documentation, such as "duration"
	values string                       // for the documentation, such as "1s or more"
	parse  func(text string) (T, error) // the error contains no secret
}

var text = rule[string]{"text", "no leading or trailing blanks, no control characters", func(s string) (string, error) {
	if strings.TrimSpace(s) != s || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' }) {
		return "", fmt.Errorf("%q has leading or trailing blanks, or control characters", s)
	}
	return s, nil
}}

var file = rule[string]{"path", text.values, text.parse}

var address = rule[string]{"host:port", "port 0 to 65535; 0 chooses a free port", func(s string) (string, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", fmt.Errorf("%q is not host:port", s)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", fmt.Errorf("%q is not a port from 0 to 65535", port)
	}
	return net.JoinHostPort(host, port), nil
}}

var database = rule[string]{"URL", "`postgres://...` or `sqlite:PATH`", func(s string) (string, error) {
	if path, isFile := strings.CutPrefix(s, "sqlite:"); isFile {
		if path == "" || strings.HasPrefix(path, ":memory:") {
			return "", errors.New("sqlite: must be followed by the path of a file")
		}
		return s, nil
	}
	if !isPostgres(s) {
		return "", errors.New("the value must be a valid postgres:// URL or sqlite:PATH")
	}
	return s, nil
}}

var postgresURL = rule[string]{"URL", "`postgres://...`", func(s string) (string, error) {
	if !isPostgres(s) {
		return "", errors.New("the value must be a valid postgres:// URL")
	}
	return s, nil
}}

// isPostgres reports whether a text is a URL of PostgreSQL. The error of url.Parse is omitted, because it may quote a password.
func isPostgres(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "postgres" || u.Scheme == "postgresql")
}

var key = rule[[]byte]{"base64", "32 bytes", func(s string) ([]byte, error) {
	decoded, err := base64.StdEncoding.DecodeString(s)
	if err != nil || len(decoded) != 32 {
		return nil, errors.New("the key must be 32 bytes in base64")
	}
	return decoded, nil
}}

var billingURL = rule[string]{"URL", "`http` or `https`, without user and password, ending in `/v1` or `/v2`", func(s string) (string, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
		return "", errors.New("the value must be a valid http:// or https:// URL")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "", errors.New("the URL must have only a scheme, a host and a path")
	}
	s = strings.TrimRight(s, "/")
	if !strings.HasSuffix(s, "/v1") && !strings.HasSuffix(s, "/v2") {
		return "", fmt.Errorf("%q must end in /v1 or /v2, the version of BillingStack's API", s)
	}
	return s, nil
}}

var roles = rule[[]string]{"list of names", "one or more names, without duplicates", func(s string) ([]string, error) {
	names := strings.Split(s, ",")
	for i, name := range names {
		names[i] = strings.TrimSpace(name)
		if names[i] == "" {
			return nil, fmt.Errorf("the list %q contains an empty name", s)
		}
		if slices.Contains(names[:i], names[i]) {
			return nil, fmt.Errorf("%q is listed twice", names[i])
		}
	}
	return names, nil
}}

var boolean = rule[bool]{"boolean", "`true` or `false`", func(s string) (bool, error) {
	if s != "true" && s != "false" {
		return false, fmt.Errorf("%q is neither true nor false", s)
	}
	return s == "true", nil
}}

var positive = rule[int]{"number", "1 or more", func(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%q is not a number above 0", s)
	}
	return n, nil
}}

const shortest = time.Second

var (
	duration = durationOf(shortest)
	interval = durationOf(time.Minute)
)

// durationOf returns a rule that allows durations of `least` or more.
func durationOf(least time.Duration) rule[time.Duration] {
	return rule[time.Duration]{"duration", fmt.Sprintf("`%v` or more", least), func(s string) (time.Duration, error) {
		d, err := time.ParseDuration(s)
		if err != nil {
			return 0, fmt.Errorf("%q is not a duration", s)
		}
		if d < least {
			return 0, fmt.Errorf("%v is less than the minimum of %v", d, least)
		}
		return d, nil
	}}
}

// oneOf returns a rule that allows only the given words.
func oneOf(words ...string) rule[string] {
	return rule[string]{"word", "`" + strings.Join(words, "`, `") + "`", func(s string) (string, error) {
		if !slices.Contains(words, s) {
			return "", fmt.Errorf("%q is not one of %s", s, strings.Join(words, ", "))
		}
		return s, nil
	}}
}
