// Package conn sends Tenantry's requests to one cloud's Keystone. Packages v3 and v2 use it for the two versions of the Identity API.
//
// A Conn logs in with Tenantry's own credential and keeps the token, limits the time and the size of answers, passes every write through
// the guard, classifies errors, and masks secrets in all texts.
package conn

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/guard"
)

// Version describes a version of the Identity API.
type Version struct {
	// Path is the last segment of the API's address: "v3" or "v2.0".
	Path string
	// Dialect tells the guard which requests are writes, and which projects they change.
	Dialect guard.Dialect
	// Check returns an error if the credential lacks a field that a login needs. The error contains no secret.
	Check func(Credential) error
	// Login sends one login with the credential through the client `bare`, and returns the new token. An incomplete answer is
	// [ErrIncomplete].
	Login func(ctx context.Context, bare *gophercloud.ServiceClient, c Credential) (token string, t keystone.Token, err error)
	// Route may change the address of a request. The guard sees the request before this change. If Route is nil, each request keeps its
	// address.
	Route func(*http.Request) *http.Request
	// Guard returns the transport that decides which requests are sent. If Guard is nil, the guard of [guard.New] decides. Only
	// keystone/bootstrap has another guard.
	Guard func(endpoint *url.URL, next http.RoundTripper) http.RoundTripper
}

// Conn sends requests to one cloud's Keystone. A Conn is safe for concurrent use.
type Conn struct {
	Own  *gophercloud.ServiceClient // sends requests with Tenantry's own token
	Bare *gophercloud.ServiceClient // sends requests without a token

	// Reserved contains the names of the roles that users must not get.
	Reserved []string

	version     Version
	own         *ownSecrets // the secrets that are masked in all texts from Keystone
	credential  Credential
	bulkTimeout time.Duration // see Config.BulkTimeout
}

// New creates a Conn, but sends no request. The Conn logs in when it is first used. New reports all faults of the configuration in one
// error.
func New(cfg Config, version Version) (*Conn, error) {
	endpoint, err := Endpoint(cfg.URL, version.Path)
	if err := errors.Join(err, version.Check(cfg.Credential)); err != nil {
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
	next := routed{version.Route, turn{limit{wire{base, own}, cmp.Or(cfg.Timeout, 30*time.Second)}, enter}}
	var guarded http.RoundTripper
	if version.Guard != nil {
		guarded = version.Guard(endpoint, next)
	} else {
		guarded = guard.New(guard.Options{
			Endpoint:       endpoint,
			Dialect:        version.Dialect,
			MayWriteDomain: cfg.MayWriteDomain,
			MaySignUp:      cfg.MaySignUp,
			Kept:           func(ctx context.Context) { CallOf(ctx).reached = false },
		}, next)
	}
	c := &Conn{
		Bare:        client(endpoint, guarded),
		Reserved:    keystone.ReservedRoles(cfg.OperatorRole, cfg.AllowAdminRole),
		version:     version,
		own:         own,
		credential:  cfg.Credential,
		bulkTimeout: cmp.Or(cfg.BulkTimeout, 5*time.Minute),
	}
	session := &session{login: c.OwnLogin, now: time.Now}
	c.Own = client(endpoint, &authenticated{session, guarded})
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

// The type `routed` is a round tripper that applies [Version.Route].
type routed struct {
	route func(*http.Request) *http.Request
	next  http.RoundTripper
}

// RoundTrip sends the request to the address that Route returns.
func (r routed) RoundTrip(req *http.Request) (*http.Response, error) {
	if r.route != nil {
		req = r.route(req)
	}
	return r.next.RoundTrip(req)
}
