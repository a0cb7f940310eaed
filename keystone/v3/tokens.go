package v3

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// ValidateToken implements [keystone.Identity].
func (c *Cloud) ValidateToken(ctx context.Context, token string) (t keystone.Token, err error) {
	const op = "validating a token"
	if !conn.IsToken(token) {
		return t, conn.TokenInvalid(op)
	}
	err = c.Do(ctx, conn.Validation, op, func(ctx context.Context) error {
		var answer tokenAnswer
		_, err := c.Own.Get(ctx, c.Own.ServiceURL("auth", "tokens")+"?nocatalog", &answer, //nolint:bodyclose // gophercloud has closed it
			&gophercloud.RequestOpts{MoreHeaders: map[string]string{"X-Subject-Token": token}})
		if err != nil {
			return err
		}
		t = answer.Token.token()
		t.UserName = c.Masked(ctx, t.UserName, "")
		if t.UserID == "" || t.ExpiresAt.IsZero() {
			return conn.ErrIncomplete
		}
		return nil
	}, token)
	if err != nil {
		return keystone.Token{}, err
	}
	return t, nil
}

// ExchangeToken implements [keystone.Identity]. ExchangeToken does not use Tenantry's own credential.
func (c *Cloud) ExchangeToken(ctx context.Context, unscoped, projectID string) (keystone.ScopedToken, error) {
	op := "exchanging a token for project " + projectID
	if !conn.IsToken(unscoped) {
		return keystone.ScopedToken{}, conn.TokenInvalid(op)
	}
	if err := conn.CheckIDs("exchanging a token", projectID); err != nil {
		return keystone.ScopedToken{}, err
	}
	var scoped keystone.ScopedToken
	err := c.Do(ctx, conn.Exchange, op, func(ctx context.Context) error {
		id, t, err := newToken(ctx, c.Bare, &tokens.AuthOptions{TokenID: unscoped, Scope: tokens.Scope{ProjectID: projectID}})
		if err != nil {
			return err
		}
		scoped = keystone.ScopedToken{ID: id, ProjectID: t.ProjectID, ExpiresAt: t.ExpiresAt, Roles: t.Roles}
		if scoped.ID == "" || t.ProjectID != projectID {
			return conn.ErrIncomplete
		}
		return nil
	}, unscoped)
	if err != nil {
		return keystone.ScopedToken{}, err
	}
	return scoped, nil
}

// ProjectsOfToken implements [keystone.Identity].
func (c *Cloud) ProjectsOfToken(ctx context.Context, token string) ([]string, error) {
	return conn.ProjectsOfToken(ctx, c.Conn, c.Bare.ServiceURL("auth", "projects"), "projects", token)
}

// Ping implements [keystone.Identity]. Ping lists the projects of Tenantry's own user, because Keystone allows this request to every user.
func (c *Cloud) Ping(ctx context.Context) error {
	return c.Do(ctx, conn.Read, "pinging Keystone", func(ctx context.Context) error {
		conn.CallOf(ctx).Limits = pingLimits
		_, err := c.ReadList(ctx, c.Own.ServiceURL("auth", "projects"), "projects", upstream.Skip)
		return err
	})
}

// pingLimits are the limits of the answer to Ping. The answer is long if Tenantry's user has an inherited role on a domain. The
// projects are not kept in memory.
var pingLimits = upstream.Limits{Bytes: 32 << 20, Values: 4_000_000, Flat: 3, List: 2, Elements: 100_000, Element: 512 << 10}

// newToken sends one POST request for a token. The parameter nocatalog makes Keystone omit the catalog. The catalog alone can be longer
// than all other answers.
func newToken(ctx context.Context, bare *gophercloud.ServiceClient, opts tokens.AuthOptionsBuilder) (id string, t keystone.Token, err error) {
	scope, err := opts.ToTokenV3ScopeMap()
	if err != nil {
		return "", t, err
	}
	body, err := opts.ToTokenV3CreateMap(scope)
	if err != nil {
		return "", t, err
	}
	var answer tokenAnswer
	resp, err := bare.Post(ctx, bare.ServiceURL("auth", "tokens")+"?nocatalog", body, &answer, //nolint:bodyclose // gophercloud has closed it
		&gophercloud.RequestOpts{OmitHeaders: []string{"X-Auth-Token"}})
	if err != nil {
		return "", t, err
	}
	return resp.Header.Get("X-Subject-Token"), answer.Token.token(), nil
}

type tokenAnswer struct {
	Token tokenBody `json:"token"`
}

// tokenBody is a token in the JSON format of Keystone.
type tokenBody struct {
	Methods   []string        `json:"methods"`
	User      entity          `json:"user"`
	Project   entity          `json:"project"`
	Domain    entity          `json:"domain"`
	System    map[string]bool `json:"system"`
	Roles     []keystone.Role `json:"roles"`
	IssuedAt  time.Time       `json:"issued_at"`
	ExpiresAt time.Time       `json:"expires_at"`

	ApplicationCredential json.RawMessage `json:"application_credential"`
	Trust                 json.RawMessage `json:"OS-TRUST:trust"`
	OAuth1                json.RawMessage `json:"OS-OAUTH1"`
}

type entity struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Domain struct {
		ID string `json:"id"`
	} `json:"domain"`
}

func (t tokenBody) token() keystone.Token {
	return keystone.Token{
		UserID:                t.User.ID,
		UserName:              t.User.Name,
		UserDomainID:          t.User.Domain.ID,
		ProjectID:             t.Project.ID,
		DomainID:              t.Domain.ID,
		System:                t.System["all"],
		Methods:               t.Methods,
		Roles:                 t.Roles,
		IssuedAt:              t.IssuedAt,
		ExpiresAt:             t.ExpiresAt,
		ApplicationCredential: t.ApplicationCredential != nil || slices.Contains(t.Methods, "application_credential"),
		Trust:                 t.Trust != nil || t.OAuth1 != nil,
	}
}
