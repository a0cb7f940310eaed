// Package v3 implements keystone.Identity and keystone.Inventory for Identity v3 with gophercloud.
package v3

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/guard"
)

// Config describes how to reach one cloud's Keystone. The functions [FromCloud] and [FromEnv] read the URL, the credential and the
// TLS settings from clouds.yaml or the OS_* variables.
type Config struct {
	// URL is Keystone's address, with or without /v3 at its end.
	URL        string
	Credential Credential
	// TLS may be nil. If Base is set, New ignores TLS.
	TLS *tls.Config

	// Base is the transport that sends the requests; nil means NewTransport(TLS). If Base returns an [upstream.NotSentError], the request
	// counts as not sent. Concurrent calls share one login: the first of these calls starts it. The login request has the context values of
	// this first call.
	Base http.RoundTripper
	// Timeout limits the time from the start of a request until the whole answer is read. The wait in Enter does not count. Zero
	// means 30 s.
	Timeout time.Duration
	// BulkTimeout replaces Timeout for the long lists of [keystone.Inventory]. Zero means 5 min.
	BulkTimeout time.Duration
	// Enter waits until a request may be sent, and returns the function `leave`. After the request, the Cloud calls leave with the
	// status of the answer. If there is no answer, the status is 0, and err says why. If Keystone refuses a login with Credential, err
	// is an [upstream.RefusedLoginError]. Enter must then refuse requests for some time. Otherwise, the Cloud logs in again at the next
	// call, and repeated logins can make Keystone lock the user. An error from Enter must be an [upstream.NotSentError]. If Enter is
	// nil, no request waits.
	Enter func(context.Context) (leave func(status int, err error), err error)

	// OperatorRole is the role of Tenantry's operators. The method Roles refuses OperatorRole and every role that implies it.
	OperatorRole string
	// If AllowAdminRole is true, the method Roles also accepts "admin" and every role that implies "admin".
	AllowAdminRole bool
	// MayWriteDomain reports whether Tenantry may write to projects of the domain with this id. If MayWriteDomain is nil, the guard
	// refuses all writes to projects.
	MayWriteDomain func(domainID string) bool
}

// Cloud is a client of one cloud's Keystone. A Cloud is safe for concurrent use.
type Cloud struct {
	identity   *gophercloud.ServiceClient // sends requests with Tenantry's own token
	bare       *gophercloud.ServiceClient // sends requests without a token
	own        *ownSecrets                // the secrets that are masked in all texts from Keystone
	credential Credential
	reserved   []string // names of the roles that users must not get

	bulkTimeout time.Duration // see Config.BulkTimeout

	mu      sync.Mutex
	roles   map[string]keystone.Role   // by name
	domains map[string]keystone.Domain // by the name or id that the caller asked for
}

var (
	_ keystone.Identity  = (*Cloud)(nil)
	_ keystone.Inventory = (*Cloud)(nil)
)

// New creates a Cloud, but sends no request. The Cloud logs in when one of its methods is first called. New reports all faults of
// the configuration in one error.
func New(cfg Config) (*Cloud, error) {
	endpoint, err := endpoint(cfg.URL)
	if err := errors.Join(err, cfg.Credential.check()); err != nil {
		return nil, err
	}
	base := cfg.Base
	if base == nil {
		base = NewTransport(cfg.TLS)
	}
	enter := cfg.Enter
	if enter == nil {
		enter = func(context.Context) (func(int, error), error) { return func(int, error) {}, nil }
	}
	own := &ownSecrets{password: cfg.Credential.Password, secret: cfg.Credential.ApplicationCredentialSecret}
	guarded := guard.New(guard.Options{
		Endpoint:       endpoint,
		MayWriteDomain: cfg.MayWriteDomain,
		Kept:           func(ctx context.Context) { noteOf(ctx).reached = false },
	}, turn{limit{wire{base, own}, cmp.Or(cfg.Timeout, 30*time.Second)}, enter})
	c := &Cloud{
		bare:       client(endpoint, guarded),
		own:        own,
		credential: cfg.Credential,
		reserved:   keystone.ReservedRoles(cfg.OperatorRole, cfg.AllowAdminRole),
		roles:      map[string]keystone.Role{},
		domains:    map[string]keystone.Domain{},

		bulkTimeout: cmp.Or(cfg.BulkTimeout, 5*time.Minute),
	}
	session := &session{login: c.ownLogin(cfg.Credential), now: time.Now}
	c.identity = client(endpoint, &authenticated{session, guarded})
	return c, nil
}

// The function `client` returns a gophercloud client without automatic logins, repetitions and redirects.
func client(endpoint *url.URL, rt http.RoundTripper) *gophercloud.ServiceClient {
	return &gophercloud.ServiceClient{
		ProviderClient: &gophercloud.ProviderClient{
			HTTPClient: http.Client{
				Transport:     rt,
				CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			},
		},
		Endpoint: endpoint.String(),
		Type:     "identity",
	}
}

// The function `endpoint` returns the base URL of Keystone's API, which ends in /v3/. The returned error contains no user and no
// password.
func endpoint(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New(`keystone URL must look like "https://keystone.example.org/v3"`)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("keystone URL must not contain a user, a password, a query or a fragment")
	}
	path := strings.TrimRight(u.Path, "/")
	if strings.HasSuffix(path, "/v2.0") {
		return nil, fmt.Errorf("keystone URL %s is a URL of Identity v2.0, but Tenantry needs Identity v3", u)
	}
	u.Path = strings.TrimSuffix(path, "/v3") + "/v3/"
	return u, nil
}

// Credential is Tenantry's own credential: an application credential, or a user with a password and a scope. If a Credential is
// printed, its secrets are omitted.
type Credential struct {
	Username       string
	UserID         string
	UserDomainID   string
	UserDomainName string
	Password       string

	// The scope of the token: a project, a domain or the system. An application credential has a fixed scope.
	ProjectID         string
	ProjectName       string
	ProjectDomainID   string
	ProjectDomainName string
	DomainID          string
	DomainName        string
	System            bool

	ApplicationCredentialID     string
	ApplicationCredentialName   string // requires a user too
	ApplicationCredentialSecret string
}

// The method `check` returns an error if the credential lacks a field that a login needs. The error contains no secret.
func (c Credential) check() error {
	opts := c.authOptions()
	scope, err := opts.ToTokenV3ScopeMap()
	if err == nil {
		_, err = opts.ToTokenV3CreateMap(scope)
	}
	if err != nil {
		return fmt.Errorf("keystone credential: %w", err)
	}
	return nil
}

// authOptions returns a new value at each call, because gophercloud modifies the value.
func (c Credential) authOptions() *gophercloud.AuthOptions {
	opts := &gophercloud.AuthOptions{
		Scope: &gophercloud.AuthScope{
			ProjectID:   c.ProjectID,
			ProjectName: c.ProjectName,
			DomainID:    c.DomainID,
			DomainName:  c.DomainName,
			System:      c.System,
		},
		Username:                    c.Username,
		UserID:                      c.UserID,
		DomainID:                    c.UserDomainID,
		DomainName:                  c.UserDomainName,
		Password:                    c.Password,
		ApplicationCredentialID:     c.ApplicationCredentialID,
		ApplicationCredentialName:   c.ApplicationCredentialName,
		ApplicationCredentialSecret: c.ApplicationCredentialSecret,
	}
	switch { // set only the required fields of the scope: gophercloud refuses additional fields
	case c.ProjectID != "":
		opts.Scope.ProjectName, opts.Scope.DomainID, opts.Scope.DomainName = "", "", ""
	case c.ProjectName != "":
		opts.Scope.DomainID, opts.Scope.DomainName = c.ProjectDomainID, c.ProjectDomainName
	}
	if opts.Scope.DomainID != "" {
		opts.Scope.DomainName = ""
	}
	if c.UserID != "" {
		opts.Username, opts.DomainID, opts.DomainName = "", "", ""
	}
	if opts.DomainID != "" {
		opts.DomainName = ""
	}
	return opts
}

// String returns, for example, "application credential a1" or "user tenantry".
func (c Credential) String() string {
	if id := cmp.Or(c.ApplicationCredentialID, c.ApplicationCredentialName); id != "" {
		return "application credential " + id
	}
	return "user " + cmp.Or(c.Username, c.UserID)
}

// Format prints the result of String for every verb.
func (c Credential) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprint(f, c.String())
}

// MarshalJSON encodes the result of String.
func (c Credential) MarshalJSON() ([]byte, error) {
	return []byte(fmt.Sprintf("%q", c.String())), nil
}
