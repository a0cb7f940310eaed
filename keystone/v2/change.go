package v2

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gophercloud/gophercloud/v2/openstack/identity/v2/tenants"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// DisableProject implements [keystone.Identity]. After the tenant is enabled again, its old tokens stay invalid.
func (c *Cloud) DisableProject(ctx context.Context, p keystone.Project, mark string) (keystone.Project, error) {
	found, err := c.read(ctx, p.ID)
	if err != nil || !found.Enabled {
		return found.Project, err
	}
	tags := slices.Clone(found.Tags)
	if !found.HasTag(mark) {
		tags = append(tags, mark)
	}
	return c.update(ctx, "disabling", found, new(false), tags)
}

// EnableProject implements [keystone.Identity].
func (c *Cloud) EnableProject(ctx context.Context, p keystone.Project, marks ...string) (keystone.Project, bool, error) {
	found, err := c.read(ctx, p.ID)
	if err != nil || !slices.ContainsFunc(marks, found.HasTag) {
		return found.Project, false, err
	}
	tags := slices.DeleteFunc(slices.Clone(found.Tags), func(tag string) bool { return slices.Contains(marks, tag) })
	after, err := c.update(ctx, "enabling", found, new(true), tags)
	return after, err == nil, err
}

// ChangeProject implements [keystone.Identity].
func (c *Cloud) ChangeProject(ctx context.Context, p keystone.Project, change keystone.ProjectChange) (keystone.Project, bool, error) {
	found, err := c.read(ctx, p.ID)
	if err != nil {
		return found.Project, false, err
	}
	var enabled *bool // contains the state only if it changes, so that a late write does not overwrite another client's change
	if change.Enabled != nil && *change.Enabled != found.Enabled {
		enabled = change.Enabled
	}
	tags := change.Tags(found.Tags)
	if keystone.SameTags(tags, found.Tags) {
		tags = nil
	}
	if enabled == nil && tags == nil {
		return found.Project, false, nil
	}
	after, err := c.update(ctx, "changing", found, enabled, tags)
	return after, err == nil, err
}

// The method `update` sends the changes in one request. If `enabled` or `tags` is nil, the request does not contain the field, and the
// tenant keeps its value. A change of the tags also sends the text of the description that was read.
func (c *Cloud) update(ctx context.Context, doing string, t tenant, enabled *bool, tags []string) (keystone.Project, error) {
	op := fmt.Sprintf("%s project %s", doing, conn.Label(t.Name, t.ID))
	if err := checkTags(op, tags); err != nil {
		return keystone.Project{}, err
	}
	opts := tenants.UpdateOpts{Enabled: enabled}
	if tags != nil {
		opts.Description = new(keystone.Describe(t.text, tags))
	}
	var after tenant
	err := c.Do(ctx, conn.Write, op, func(ctx context.Context) (err error) {
		after, err = complete(tenants.Update(ctx, c.Own, conn.Segment(t.ID), opts), t.ID)
		if err == nil && (enabled != nil && after.Enabled != *enabled || tags != nil && !keystone.SameTags(after.Tags, tags)) {
			return conn.ErrIncomplete
		}
		return err
	})
	if err != nil {
		return keystone.Project{}, err
	}
	return after.Project, nil
}

// checkTags refuses the tags that Identity v3 refuses too. In Identity v2.0, Keystone would store any text in the description.
func checkTags(op string, tags []string) error {
	refuse := func(format string, args ...any) error {
		return &upstream.Error{Service: keystone.Service, Class: upstream.Permanent, Op: op, Message: fmt.Sprintf(format, args...)}
	}
	if len(tags) > maxTags {
		return refuse("the project would have %d tags; at most %d are possible", len(tags), maxTags)
	}
	seen := map[string]bool{}
	for _, tag := range tags {
		if tag == "" || utf8.RuneCountInString(tag) > 255 || strings.ContainsAny(tag, "/,") || seen[tag] {
			return refuse("the tag %q cannot be used: use different tags with 1 to 255 characters, without slashes and commas", upstream.Clean(tag))
		}
		seen[tag] = true
	}
	return nil
}

// maxTags is the maximum number of tags in Identity v3.
const maxTags = 80
