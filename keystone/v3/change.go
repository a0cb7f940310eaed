package v3

import (
	"context"

	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/projects"

	"github.com/tenantry/tenantry/keystone"
)

// ChangeProject implements [keystone.Identity].
func (c *Cloud) ChangeProject(ctx context.Context, p keystone.Project, change keystone.ProjectChange) (keystone.Project, bool, error) {
	found, err := c.Project(ctx, p.ID)
	if err != nil {
		return found, false, err
	}
	var update projects.UpdateOpts // contains only the fields that change, so that a late write overwrites no other field
	if change.Enabled != nil && *change.Enabled != found.Enabled {
		update.Enabled = change.Enabled
	}
	if tags := change.Tags(found.Tags); !keystone.SameTags(tags, found.Tags) {
		update.Tags = &tags
	}
	if update.Enabled == nil && update.Tags == nil {
		return found, false, nil
	}
	after, err := c.updateProject(ctx, "changing", found, update)
	return after, err == nil, err
}
