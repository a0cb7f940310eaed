package conn

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Config describes how to reach one cloud's Keystone. Package clouds reads the URL, the Identity version, the credential and the TLS
// settings from clouds.yaml or the OS_* variables.
type Config struct {
	// URL is Keystone's address, with or without the Identity version at its end.
	URL string
	// Version is the Identity version: "3" or "2.0". Empty means "3".
	Version    string
	Credential Credential
	// AdminURL is the address of the admin application of Identity v2.0. If AdminURL is empty, the address is taken from the catalog. In this
	// case, Region is the region of the address. If Region is empty too, the first region in the catalog is used. Identity v3 ignores AdminURL
	// and Region.
	AdminURL, Region string
	// TLS may be nil. If Base is set, New ignores TLS.
	TLS *tls.Config

	// Base is the transport that sends the requests; nil means NewTransport(TLS). If Base returns an [upstream.NotSentError], the
	// request counts as not sent. Concurrent calls share one login. One of these calls starts the login, and the request of the login
	// has the context values of this call.
	Base http.RoundTripper
	// Timeout limits the time from the start of a request until the whole answer is read. The wait in Enter does not count. Zero
	// means 30 s.
	Timeout time.Duration
	// BulkTimeout replaces Timeout for the long lists of [keystone.Inventory]. Zero means 5 min.
	BulkTimeout time.Duration
	// Enter waits until a request may be sent, and returns the function `leave`. After the request, the Conn calls leave with the
	// status of the answer. If there is no answer, the status is 0, and err says why. If Keystone refuses a login with Credential, err
	// is an [upstream.RefusedLoginError]. Enter must then refuse requests for some time. Otherwise, the Conn logs in again at the next
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
	// MaySignUp reports whether Tenantry may create users in the domain with this id. If MaySignUp is nil, the guard refuses all writes to
	// users.
	MaySignUp func(domainID string) bool
}

// Endpoint returns the base URL of Keystone's API, which ends in the Identity version: "v3/" or "v2.0/". The returned error contains no
// user and no password.
func Endpoint(raw, version string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("keystone URL must look like %q", "https://keystone.example.org/"+version)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("keystone URL must not contain a user, a password, a query or a fragment")
	}
	path := strings.TrimRight(u.Path, "/")
	for _, other := range []string{"v3", "v2.0"} {
		if other != version && strings.HasSuffix(path, "/"+other) {
			return nil, fmt.Errorf("keystone URL %s is a URL of Identity %s, but the configured Identity version is %s: set identity_api_version "+
				"(OS_IDENTITY_API_VERSION)", u, other, version)
		}
	}
	u.Path = strings.TrimSuffix(path, "/"+version) + "/" + version + "/"
	return u, nil
}

// Credential is Tenantry's own credential: an application credential, or a user with a password and a scope. If a Credential is
// printed, its secrets are omitted. Identity v2.0 has no application credentials and no domains.
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

// String returns the name or id of the application credential or, if there is none, of the user.
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
