package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/clouds"
	"github.com/tenantry/tenantry/orchestrator/api/client"
	"github.com/tenantry/tenantry/orchestrator/loopback"
	"github.com/tenantry/tenantry/orchestrator/service"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

const connectHelp = `TENANTRY_URL is the address of the server (default http://127.0.0.1:9292). The address of another host must begin with
https://. Credentials come from the environment:
  portal    TENANTRY_API_KEY and TENANTRY_API_SECRET
  operator  OS_TOKEN; or OS_AUTH_URL, OS_USERNAME, OS_PASSWORD and so on; or OS_CLOUD, an entry of clouds.yaml

`

// Environment variables that the client commands read. The server does not read these variables.
const (
	envURL       = "TENANTRY_URL"
	envAPIKey    = "TENANTRY_API_KEY"    //nolint:gosec // the name of a variable
	envAPISecret = "TENANTRY_API_SECRET" //nolint:gosec // the name of a variable
	envUserToken = "TENANTRY_USER_TOKEN" //nolint:gosec // the name of a variable
)

// The type `remote` is a client of the API. The API is served by a Tenantry server or, with --local, by this process: see asLocal. A
// client of a server sends a credential with each request.
type remote struct {
	*client.ClientWithResponses

	after func(time.Duration) <-chan time.Time // [time.After]
	local *service.Local                       // nil if a server serves the API
}

// asPortal returns a client that authenticates with the merchant's API key.
func (p *program) asPortal() (remote, error) {
	env := variables(p.environ)
	key, secret := env[envAPIKey], env[envAPISecret]
	if key == "" || secret == "" {
		return remote{}, usage("set %s and %s to the merchant's API key and its secret", envAPIKey, envAPISecret)
	}
	address, err := p.server("an API key")
	if err != nil {
		return remote{}, err
	}
	return dial(address, func(_ context.Context, r *http.Request) error {
		r.SetBasicAuth(key, secret)
		return nil
	})
}

// asOperator returns a client that authenticates with a Keystone token. asOperator first checks whether the address of the server
// is safe for the token, and only then logs in.
func (p *program) asOperator(ctx context.Context) (remote, error) {
	address, err := p.server("an operator's token")
	if err != nil {
		return remote{}, err
	}
	token := variables(p.environ)["OS_TOKEN"]
	if token == "" {
		cfg, err := clouds.FromEnv()
		if err != nil {
			return remote{}, usage("OS_TOKEN is not set, and OS_* has no credential to log in with: %w", err)
		}
		if token, err = clouds.Login(ctx, cfg); err != nil {
			return remote{}, ofLogin(err)
		}
	}
	return dial(address, withToken(token))
}

// asEither returns a portal's client if an API key is set, and otherwise an operator's client.
func (p *program) asEither(ctx context.Context) (remote, error) {
	if variables(p.environ)[envAPIKey] != "" {
		return p.asPortal()
	}
	return p.asOperator(ctx)
}

// withoutKeystone is advice for operators. It is printed when operators cannot log in because of Keystone.
const withoutKeystone = "until this is fixed, operators can use \"tenantry runs --local\" on a host of the server"

func ofLogin(err error) error {
	if errors.Is(err, keystone.ErrUnscoped) {
		return exit(exitUsage, err)
	}
	if e, ok := errors.AsType[*upstream.Error](err); ok && e.Class == upstream.Permanent {
		return exit(exitRefused, err)
	}
	return exit(exitUnreachable, fmt.Errorf("%w; %s", err, withoutKeystone))
}

// The method `server` returns the address of the server. `server` refuses an address to which the credential would be sent in plain
// text over a network. The returned error does not contain the address, which may contain a password.
func (p *program) server(credential string) (string, error) {
	address := cmp.Or(variables(p.environ)[envURL], "http://127.0.0.1:9292")
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Scheme != "http" && u.Scheme != "https":
		return "", usage("%s must be an http:// or https:// URL without user, password and parameters", envURL)
	case u.Scheme == "http" && !loopback.Host(u.Hostname()):
		return "", usage("%s must be an https:// URL: %s is sent over http:// only to a loopback address", envURL, credential)
	}
	return address, nil
}

func dial(address string, credential client.RequestEditorFn) (remote, error) {
	c, err := client.NewClientWithResponses(strings.TrimRight(address, "/"),
		client.WithHTTPClient(newHTTPClient()), client.WithRequestEditorFn(credential))
	return remote{ClientWithResponses: c, after: time.After}, err
}

// newHTTPClient returns a client that limits the size of the server's answers and does not follow redirects. The client's time-out is
// longer than the server's longest wait for a run.
func newHTTPClient() *http.Client {
	return &http.Client{
		Timeout:       90 * time.Second,
		Transport:     newTransport(),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// withToken returns a function that authenticates a request with an operator's Keystone token.
func withToken(token string) client.RequestEditorFn {
	return func(_ context.Context, r *http.Request) error {
		r.Header.Set("X-Auth-Token", token)
		return nil
	}
}

// The function `unsent` returns err with the exit code for a request that got no answer.
func unsent(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	return exit(exitUnreachable, noAnswer(err))
}

// noAnswer shortens an error of the HTTP client to the address of the server and the cause. It returns any other error unchanged.
func noAnswer(err error) error {
	failed, ok := errors.AsType[*url.Error](err)
	if !ok {
		return err
	}
	address, parsed := url.Parse(failed.URL)
	if parsed != nil {
		return err
	}
	cause := failed.Err
	if number, ok := errors.AsType[syscall.Errno](err); ok {
		cause = number
	}
	return fmt.Errorf("no server answers at %s://%s: %w", address.Scheme, address.Host, cause)
}

// problemError returns an error with an exit code. The error describes the problem in the server's answer.
func problemError(status int, body []byte) error {
	var p client.Problem
	if err := json.Unmarshal(body, &p); err != nil || p.Title == "" {
		return formatError(status)
	}
	texts := []string{p.Title}
	if p.Detail != nil {
		texts[0] += ": " + *p.Detail
	}
	for _, param := range valueOf(p.InvalidParams) {
		if where := valueOf(param.Pointer) + valueOf(param.Parameter); where != "" {
			texts = append(texts, "  "+where+": "+param.Detail)
		}
	}
	if strings.HasSuffix(p.Type, "/upstream-unavailable") && strings.Contains(texts[0], keystone.Service.Name) {
		texts = append(texts, "  "+withoutKeystone)
	}
	texts = append(texts, "  ("+p.RequestID+")")
	code := exitUnreachable
	switch {
	case strings.HasSuffix(p.Type, "/run-compensated"):
		code = exitFailed
	case status < http.StatusInternalServerError:
		code = exitRefused
	}
	return exit(code, lines(texts...))
}

// valueOf returns the value that p points to, or the zero value if p is nil.
func valueOf[T any](p *T) T {
	if p == nil {
		p = new(T)
	}
	return *p
}

// The function `some` returns a pointer to v, or nil if v is the zero value.
func some[T comparable](v T) *T {
	if v == *new(T) {
		return nil
	}
	return &v
}
