package v3

import (
	"context"
	"slices"

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
	if tags := changedTags(found.Tags, change); !sameTags(tags, found.Tags) {
		update.Tags = &tags
	}
	if update.Enabled == nil && update.Tags == nil {
		return found, false, nil
	}
	after, err := c.updateProject(ctx, "changing", found, update)
	return after, err == nil, err
}

// changedTags returns the tags after the change. changedTags adds no tag twice, because Keystone refuses a list with duplicates. The
// result is nil only if `tags` is nil.
func changedTags(tags []string, change keystone.ProjectChange) []string {
	changed := slices.DeleteFunc(slices.Clone(tags), func(tag string) bool {
		return slices.Contains(change.Remove, tag) && !slices.Contains(change.Add, tag)
	})
	for _, tag := range change.Add {
		if !slices.Contains(changed, tag) {
			changed = append(changed, tag)
		}
	}
	return changed
}
