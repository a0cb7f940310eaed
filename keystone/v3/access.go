package v3

import (
	"context"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// catalogLimits are the limits of an answer with a catalog. They allow about 3,000 endpoints.
var catalogLimits = upstream.Limits{Bytes: 4 << 20, Values: 20_000}

// Access implements [keystone.Cloud].
func (c *Cloud) Access(ctx context.Context) (keystone.Access, error) {
	token, _, err := c.OwnLogin(ctx)
	if err != nil {
		return keystone.Access{}, err
	}
	access := keystone.Access{Token: token}
	err = c.Do(ctx, conn.Read, "reading the catalog", func(ctx context.Context) error {
		conn.CallOf(ctx).Limits = catalogLimits
		var answer struct {
			Token struct {
				Project entity                    `json:"project"`
				Catalog []keystone.CatalogService `json:"catalog"`
			} `json:"token"`
		}
		_, err := c.Bare.Get(ctx, c.Bare.ServiceURL("auth", "tokens"), &answer, //nolint:bodyclose // gophercloud has closed it
			&gophercloud.RequestOpts{MoreHeaders: map[string]string{"X-Auth-Token": token, "X-Subject-Token": token}})
		if err != nil {
			return err
		}
		access.ProjectID, access.Catalog = answer.Token.Project.ID, answer.Token.Catalog
		if len(access.Catalog) == 0 {
			return conn.ErrIncomplete
		}
		return nil
	})
	if err != nil {
		return keystone.Access{}, err
	}
	return access, nil
}
