// Package v3 implements keystone.Cloud for Identity v3 with gophercloud.
package v3

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sync"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/keystone/guard"
)

// Cloud is a client of one cloud's Keystone. A Cloud is safe for concurrent use.
type Cloud struct {
	*conn.Conn

	mu      sync.Mutex
	roles   map[string]keystone.Role   // by name
	domains map[string]keystone.Domain // by the name or id that the caller asked for
}

var _ keystone.Cloud = (*Cloud)(nil)

// New creates a Cloud, but sends no request. The Cloud logs in when one of its methods is first called. New reports all faults of
// the configuration in one error.
func New(cfg conn.Config) (*Cloud, error) { return NewGuardedBy(cfg, nil) }

// NewGuardedBy is like New, but another guard decides which requests are sent: see [conn.Version]. Only keystone/bootstrap calls
// NewGuardedBy with a guard.
func NewGuardedBy(cfg conn.Config, g func(endpoint *url.URL, next http.RoundTripper) http.RoundTripper) (*Cloud, error) {
	c, err := conn.New(cfg, conn.Version{Path: "v3", Dialect: guard.V3, Check: check, Login: login, Guard: g})
	if err != nil {
		return nil, err
	}
	return &Cloud{Conn: c, roles: map[string]keystone.Role{}, domains: map[string]keystone.Domain{}}, nil
}

// The function `login` implements [conn.Version.Login].
func login(ctx context.Context, bare *gophercloud.ServiceClient, c conn.Credential) (string, keystone.Token, error) {
	return newToken(ctx, bare, authOptions(c))
}

// The function `check` implements [conn.Version.Check].
func check(c conn.Credential) error {
	opts := authOptions(c)
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
func authOptions(c conn.Credential) *gophercloud.AuthOptions {
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
