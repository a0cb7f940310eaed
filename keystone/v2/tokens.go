package v2

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v2/tokens"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// ValidateToken implements [keystone.Identity]. The token is in the path of the request, so Keystone's access log contains it.
func (c *Cloud) ValidateToken(ctx context.Context, token string) (keystone.Token, error) {
	const op = "validating a token"
	if !conn.IsToken(token) {
		return keystone.Token{}, conn.TokenInvalid(op)
	}
	access, err := c.validate(ctx, op, token)
	if err != nil {
		return keystone.Token{}, err
	}
	t := access.token()
	if t.Roles, err = c.rolesOf(ctx, access); err != nil {
		return keystone.Token{}, err
	}
	return t, nil
}

func (c *Cloud) validate(ctx context.Context, op, token string) (access accessBody, err error) {
	err = c.Do(ctx, conn.Validation, op, func(ctx context.Context) error {
		conn.CallOf(ctx).Limits = accessLimits
		var answer accessAnswer
		if err := tokens.Get(ctx, c.Own, conn.Segment(token)).ExtractInto(&answer); err != nil {
			return err
		}
		access = answer.Access
		access.User.Name = c.Masked(ctx, access.User.Name, "")
		if access.User.ID == "" || access.Token.Expires.IsZero() {
			return conn.ErrIncomplete
		}
		return nil
	}, token)
	return access, err
}

// ExchangeToken implements [keystone.Identity]. Keystone answers 401 for an invalid token, and also if the user has no access to the
// project. Therefore ExchangeToken then validates the token.
func (c *Cloud) ExchangeToken(ctx context.Context, unscoped, projectID string) (keystone.ScopedToken, error) {
	op := "exchanging a token for project " + projectID
	if !conn.IsToken(unscoped) {
		return keystone.ScopedToken{}, conn.TokenInvalid(op)
	}
	if err := conn.CheckIDs("exchanging a token", projectID); err != nil {
		return keystone.ScopedToken{}, err
	}
	var access accessBody
	err := c.Do(ctx, conn.Exchange, op, func(ctx context.Context) (err error) {
		access, err = newToken(ctx, c.Bare, auth{"token": map[string]any{"id": unscoped}, "tenantId": projectID})
		if err == nil && (access.Token.Tenant == nil || access.Token.Tenant.ID != projectID) {
			return conn.ErrIncomplete
		}
		return err
	}, unscoped)
	if errors.Is(err, keystone.ErrNoAccess) {
		if _, invalid := c.validate(ctx, op, unscoped); invalid != nil {
			return keystone.ScopedToken{}, invalid
		}
	}
	if err != nil {
		return keystone.ScopedToken{}, err
	}
	roles, err := c.rolesOf(ctx, access)
	if err != nil {
		return keystone.ScopedToken{}, err
	}
	return keystone.ScopedToken{ID: access.Token.ID, ProjectID: projectID, ExpiresAt: access.Token.Expires, Roles: roles}, nil
}

// ProjectsOfToken implements [keystone.Identity].
func (c *Cloud) ProjectsOfToken(ctx context.Context, token string) ([]string, error) {
	return conn.ProjectsOfToken(ctx, c.Conn, c.Bare.ServiceURL("tenants"), "tenants", token)
}

// newToken sends one POST request for a token. Every answer contains the catalog.
func newToken(ctx context.Context, bare *gophercloud.ServiceClient, body auth) (accessBody, error) {
	conn.CallOf(ctx).Limits = accessLimits
	var answer accessAnswer
	err := tokens.Create(ctx, bare, body).ExtractInto(&answer)
	if a := answer.Access; err == nil && (a.Token.ID == "" || a.Token.Expires.IsZero() || a.User.ID == "") {
		err = conn.ErrIncomplete
	}
	return answer.Access, err
}

// accessLimits are the limits of an answer with a catalog. They allow about 3,000 endpoints.
var accessLimits = upstream.Limits{Bytes: 4 << 20, Values: 40_000}

type accessAnswer struct {
	Access accessBody `json:"access"`
}

// accessBody is a token in the JSON format of Identity v2.0. The list of the user's roles has only the names. The ids of these roles are
// in the metadata, in any order.
type accessBody struct {
	Token struct {
		ID       string    `json:"id"`
		IssuedAt string    `json:"issued_at"` // old releases omit the time zone
		Expires  time.Time `json:"expires"`
		Tenant   *struct {
			ID string `json:"id"`
		} `json:"tenant"`
	} `json:"token"`
	User struct {
		ID    string `json:"id"`
		Name  string `json:"name"`
		Roles []struct {
			Name string `json:"name"`
		} `json:"roles"`
	} `json:"user"`
	Catalog []struct {
		Type      string `json:"type"`
		Endpoints []struct {
			Region      string `json:"region"`
			PublicURL   string `json:"publicURL"`
			InternalURL string `json:"internalURL"`
			AdminURL    string `json:"adminURL"`
		} `json:"endpoints"`
	} `json:"serviceCatalog"`
	Metadata struct {
		Roles []string `json:"roles"`
	} `json:"metadata"`
	Trust json.RawMessage `json:"trust"`
}

// The method `token` converts the body to a [keystone.Token] without roles.
func (a accessBody) token() keystone.Token {
	t := keystone.Token{
		UserID: a.User.ID, UserName: a.User.Name, UserDomainID: keystone.DefaultDomain.ID, ExpiresAt: a.Token.Expires, Trust: a.Trust != nil,
	}
	if a.Token.Tenant != nil {
		t.ProjectID = a.Token.Tenant.ID
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05.999999"} {
		if at, err := time.Parse(layout, a.Token.IssuedAt); err == nil {
			t.IssuedAt = at
			break
		}
	}
	return t
}

// adminURL returns the address of Keystone's admin application in the region. If the region is empty, adminURL returns the first address
// in the catalog.
func (a accessBody) adminURL(region string) string {
	for _, service := range a.Catalog {
		for _, e := range service.Endpoints {
			if service.Type == "identity" && e.AdminURL != "" && (region == "" || e.Region == region) {
				return e.AdminURL
			}
		}
	}
	return ""
}

// rolesOf returns the roles in a token with their ids. If the cached roles do not match the ids in the token's metadata, a role was created
// again. In this case, rolesOf reads the roles again.
func (c *Cloud) rolesOf(ctx context.Context, a accessBody) ([]keystone.Role, error) {
	for again := false; ; again = true {
		known, err := c.allRoles(ctx, again)
		if err != nil {
			return nil, err
		}
		roles, fits := []keystone.Role{}, true
		for _, r := range a.User.Roles {
			role, ok := known[r.Name]
			fits = fits && ok && (len(a.Metadata.Roles) == 0 || slices.Contains(a.Metadata.Roles, role.ID))
			roles = append(roles, keystone.Role{ID: role.ID, Name: cmp.Or(role.Name, r.Name)})
		}
		if fits || again {
			return roles, nil
		}
	}
}

// Access implements [keystone.Cloud].
func (c *Cloud) Access(ctx context.Context) (keystone.Access, error) {
	token, _, err := c.OwnLogin(ctx)
	if err != nil {
		return keystone.Access{}, err
	}
	const op = "reading the catalog"
	body, err := c.validate(ctx, op, token)
	if err != nil {
		return keystone.Access{}, err
	}
	access := keystone.Access{Token: token, ProjectID: body.token().ProjectID}
	for _, service := range body.Catalog {
		entry := keystone.CatalogService{Type: service.Type}
		for _, e := range service.Endpoints {
			for kind, address := range map[string]string{"public": e.PublicURL, "internal": e.InternalURL, "admin": e.AdminURL} {
				if address != "" {
					entry.Endpoints = append(entry.Endpoints, keystone.CatalogEndpoint{
						Interface: kind, RegionID: e.Region, Region: e.Region, URL: address,
					})
				}
			}
		}
		access.Catalog = append(access.Catalog, entry)
	}
	if len(access.Catalog) == 0 {
		return keystone.Access{}, conn.Incomplete(op)
	}
	return access, nil
}
