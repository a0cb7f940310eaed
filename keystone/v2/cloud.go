// Package v2 implements keystone.Cloud for Identity v2.0 with gophercloud.
//
// Identity v2.0 calls a project a tenant. It knows only the domain "default", and has no tags: the tags of a tenant are in its
// description, see [keystone.Describe]. The client chooses the id of a new tenant, so a lost answer cannot lead to a second tenant. All
// lists of roles include the roles that a user has through a group, through inheritance or through another role. Identity v2.0 does not
// show the difference.
package v2

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v2/tokens"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/keystone/guard"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

const path = "v2.0"

// Cloud is a client of one cloud's Keystone. A Cloud is safe for concurrent use.
//
// Logins and exchanges of tokens go to the public application, whose address is in the configuration. All other requests go to the admin
// application. Its address is in the configuration, or in the catalog of the last login.
type Cloud struct {
	*conn.Conn

	region string
	public *url.URL
	admin  atomic.Pointer[url.URL] // nil before the first login, unless the configuration contains the address

	mu    sync.Mutex
	roles map[string]keystone.Role // all roles, by name; nil: not read yet
}

var _ keystone.Cloud = (*Cloud)(nil)

// New creates a Cloud, but sends no request. The Cloud logs in when one of its methods is first called. New reports all faults of
// the configuration in one error.
func New(cfg conn.Config) (*Cloud, error) {
	c := &Cloud{region: cfg.Region}
	var faults []error
	if cfg.AdminURL != "" {
		admin, err := conn.Endpoint(cfg.AdminURL, path)
		faults = append(faults, err)
		c.admin.Store(admin)
	}
	var err error
	c.Conn, err = conn.New(cfg, conn.Version{Path: path, Dialect: guard.V2, Check: check, Login: c.login(cfg.AdminURL == ""), Route: c.route})
	if err := errors.Join(append(faults, err)...); err != nil {
		return nil, err
	}
	c.public, err = conn.Endpoint(cfg.URL, path)
	return c, err
}

// The function `check` implements [conn.Version.Check].
func check(c conn.Credential) error {
	switch {
	case c.Username+c.UserID == "", c.Password == "", c.ProjectID+c.ProjectName == "":
		return errors.New("keystone credential: Identity v2.0 needs a user, a password and a project")
	case c.ApplicationCredentialID+c.ApplicationCredentialName != "", c.System, c.DomainID+c.DomainName != "":
		return errors.New("keystone credential: Identity v2.0 has no application credentials, and no scopes except projects")
	}
	return nil
}

// The method `login` returns a function that implements [conn.Version.Login]. If the parameter `learn` is true, the function also stores
// the address of the admin application.
func (c *Cloud) login(learn bool) func(context.Context, *gophercloud.ServiceClient, conn.Credential) (string, keystone.Token, error) {
	return func(ctx context.Context, bare *gophercloud.ServiceClient, credential conn.Credential) (string, keystone.Token, error) {
		access, err := newToken(ctx, bare, passwordLogin(credential))
		if err == nil && learn {
			err = c.learn(access)
		}
		return access.Token.ID, access.token(), err
	}
}

// The method `learn` stores the address of the admin application. If the catalog does not contain the address, the public application
// gets all requests.
func (c *Cloud) learn(access accessBody) error {
	address := access.adminURL(c.region)
	if address == "" {
		return nil
	}
	admin, err := conn.Endpoint(address, path)
	if err == nil && c.public.Scheme == "https" && admin.Scheme != "https" {
		err = errors.New("the address has no TLS, unlike the address of the login")
	}
	if err != nil {
		return &upstream.Error{
			Service: keystone.Service, Class: upstream.Unavailable, Op: "reading the address of Keystone's admin application in the catalog", Err: err,
			Message: "set identity_endpoint_override (OS_IDENTITY_ENDPOINT_OVERRIDE)",
		}
	}
	c.admin.Store(admin)
	return nil
}

// The method `route` implements [conn.Version.Route].
func (c *Cloud) route(req *http.Request) *http.Request {
	admin := c.admin.Load()
	rest, ok := strings.CutPrefix(req.URL.EscapedPath(), c.public.EscapedPath())
	if admin == nil || !ok || req.Method == http.MethodPost && rest == "tokens" || conn.CallOf(req.Context()).Public {
		return req
	}
	to := *admin
	to.RawPath = admin.EscapedPath() + rest
	unescaped, err := url.PathUnescape(to.RawPath)
	if err != nil {
		return req
	}
	to.Path, to.RawQuery = unescaped, req.URL.RawQuery
	routed := req.Clone(req.Context())
	routed.URL, routed.Host = &to, ""
	return routed
}

// Domain implements [keystone.Identity]. Domain sends no request, because Identity v2.0 has only the domain "default".
func (c *Cloud) Domain(_ context.Context, nameOrID string) (keystone.Domain, error) {
	if strings.EqualFold(nameOrID, keystone.DefaultDomain.ID) {
		return keystone.DefaultDomain, nil
	}
	return keystone.Domain{}, &upstream.Error{
		Service: keystone.Service, Class: upstream.Permanent, Op: fmt.Sprintf("finding domain %q", nameOrID), Err: keystone.ErrNotFound,
		Message: `Identity v2.0 has only the domain "default"`,
	}
}

// Ping implements [keystone.Identity]. Ping lists one tenant.
func (c *Cloud) Ping(ctx context.Context) error {
	return c.Do(ctx, conn.Read, "pinging Keystone", func(ctx context.Context) error {
		conn.CallOf(ctx).Limits = pingLimits
		_, err := c.ReadList(ctx, c.Own.ServiceURL("tenants")+"?limit=1", "tenants", upstream.Skip)
		return err
	})
}

// pingLimits are the limits of the answer to Ping. The answer is long if Keystone ignores the limit in the query. The tenants are not kept
// in memory.
var pingLimits = upstream.Limits{Bytes: 32 << 20, Values: 4_000_000, Flat: 3, List: 2, Elements: 100_000, Element: 512 << 10}

// The type `auth` is the field "auth" in the body of a request for a token. It implements [tokens.AuthOptionsBuilder], because the options
// of gophercloud lack the id of the user.
type auth map[string]any

// ToTokenV2CreateMap implements [tokens.AuthOptionsBuilder].
func (a auth) ToTokenV2CreateMap() (map[string]any, error) { return map[string]any{"auth": a}, nil }

// CanReauth implements [tokens.AuthOptionsBuilder].
func (a auth) CanReauth() bool { return false }

var _ tokens.AuthOptionsBuilder = auth(nil)

// passwordLogin returns the body of a login with the credential. If the credential has no project, the login has no scope.
func passwordLogin(c conn.Credential) auth {
	user := map[string]any{"password": c.Password}
	if c.UserID != "" {
		user["userId"] = c.UserID
	} else {
		user["username"] = c.Username
	}
	a := auth{"passwordCredentials": user}
	switch {
	case c.ProjectID != "":
		a["tenantId"] = c.ProjectID
	case c.ProjectName != "":
		a["tenantName"] = c.ProjectName
	}
	return a
}
