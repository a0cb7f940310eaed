package v2

import (
	"context"
	"encoding/json"

	"github.com/tenantry/tenantry/keystone"
)

// Scopes implements [keystone.Self]. If the configuration contains the address of the admin application, Keystone refuses the list to most
// users, because only the public application lists the user's own tenants.
func (c *Cloud) Scopes(ctx context.Context) ([]keystone.Project, error) {
	return c.Conn.Scopes(ctx, "tenants", "tenants", pingLimits, func(d *json.Decoder) (keystone.Project, error) {
		var b tenantBody
		if err := d.Decode(&b); err != nil {
			return keystone.Project{}, err
		}
		t, err := b.tenant()
		return t.Project, err
	})
}

// Holder implements [keystone.Self].
func (c *Cloud) Holder(ctx context.Context) (keystone.Holder, error) {
	t, reach, err := c.ownToken(ctx)
	return keystone.Holder{Reach: reach, UserID: t.UserID, UserName: t.UserName, UserDomainID: t.UserDomainID}, err
}

// EachPower implements [keystone.Self].
func (c *Cloud) EachPower(_ context.Context, h keystone.Holder, take func(keystone.Power)) error {
	for _, role := range h.Roles {
		take(keystone.Power{Granted: keystone.Granted{RoleID: role.ID, UserID: h.UserID, ProjectID: h.ProjectID}})
	}
	return nil
}
