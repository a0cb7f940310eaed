package v3

import (
	"context"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// Access contains the token and the catalog that a client of a cloud's other services needs.
type Access struct {
	Token     string // a secret
	ProjectID string // the scope of the token; empty if the scope is not a project
	Catalog   []CatalogService
}

// CatalogService is a service in Keystone's catalog.
type CatalogService struct {
	Type      string            `json:"type"`
	Endpoints []CatalogEndpoint `json:"endpoints"`
}

// CatalogEndpoint is an address of a service. Keystone omits endpoints that are disabled.
type CatalogEndpoint struct {
	Interface string `json:"interface"` // "public", "internal" or "admin"
	RegionID  string `json:"region_id"`
	Region    string `json:"region"` // equal to RegionID if Keystone sends both
	URL       string `json:"url"`
}

// catalogLimits are the limits of an answer with a catalog. They allow about 3,000 endpoints.
var catalogLimits = upstream.Limits{Bytes: 4 << 20, Values: 20_000}

// Access logs in with Tenantry's own credential, and returns the new token with its scope and its catalog. Every call logs in again,
// so that the token does not expire while the caller uses it. Access returns the same errors as the methods of [keystone.Identity].
// Access also returns an error if the catalog contains no service.
func (c *Cloud) Access(ctx context.Context) (Access, error) {
	token, _, err := c.ownLogin(c.credential)(ctx)
	if err != nil {
		return Access{}, err
	}
	access := Access{Token: token}
	err = c.do(ctx, read, "reading the catalog", func(ctx context.Context) error {
		noteOf(ctx).limits = catalogLimits
		var answer struct {
			Token struct {
				Project entity           `json:"project"`
				Catalog []CatalogService `json:"catalog"`
			} `json:"token"`
		}
		_, err := c.bare.Get(ctx, c.bare.ServiceURL("auth", "tokens"), &answer, //nolint:bodyclose // gophercloud has closed it
			&gophercloud.RequestOpts{MoreHeaders: map[string]string{"X-Auth-Token": token, "X-Subject-Token": token}})
		if err != nil {
			return err
		}
		access.ProjectID, access.Catalog = answer.Token.Project.ID, answer.Token.Catalog
		if len(access.Catalog) == 0 {
			return errIncomplete
		}
		return nil
	})
	if err != nil {
		return Access{}, err
	}
	return access, nil
}
