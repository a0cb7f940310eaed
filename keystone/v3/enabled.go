package v3

import (
	"context"
	"fmt"
	"slices"

	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/projects"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/conn"
)

// Project implements [keystone.Identity].
func (c *Cloud) Project(ctx context.Context, id string) (keystone.Project, error) {
	op := fmt.Sprintf("reading project %q", id)
	if err := conn.CheckIDs(op, id); err != nil {
		return keystone.Project{}, err
	}
	var p keystone.Project
	err := c.Do(ctx, conn.Read, op, func(ctx context.Context) (err error) {
		p, err = complete(projects.Get(ctx, c.Own, conn.Segment(id)), id)
		return err
	})
	return p, err
}

// DisableProject implements [keystone.Identity].
func (c *Cloud) DisableProject(ctx context.Context, p keystone.Project, mark string) (keystone.Project, error) {
	found, err := c.Project(ctx, p.ID)
	if err != nil || !found.Enabled {
		return found, err
	}
	tags := slices.Clone(found.Tags)
	if !found.HasTag(mark) {
		tags = append(tags, mark)
	}
	return c.updateProject(ctx, "disabling", found, projects.UpdateOpts{Enabled: new(false), Tags: &tags})
}

// EnableProject implements [keystone.Identity].
func (c *Cloud) EnableProject(ctx context.Context, p keystone.Project, marks ...string) (keystone.Project, bool, error) {
	found, err := c.Project(ctx, p.ID)
	if err != nil || !slices.ContainsFunc(marks, found.HasTag) {
		return found, false, err
	}
	tags := slices.DeleteFunc(slices.Clone(found.Tags), func(tag string) bool { return slices.Contains(marks, tag) })
	after, err := c.updateProject(ctx, "enabling", found, projects.UpdateOpts{Enabled: new(true), Tags: &tags})
	return after, err == nil, err
}

// updateProject sends all changes in one request. Keystone therefore applies either all changes or none. If a field of `change` is nil,
// updateProject omits the field, and the project keeps its value.
func (c *Cloud) updateProject(
	ctx context.Context, doing string, p keystone.Project, change projects.UpdateOpts,
) (after keystone.Project, err error) {
	op := fmt.Sprintf("%s project %s", doing, conn.Label(p.Name, p.ID))
	err = c.Do(ctx, conn.Write, op, func(ctx context.Context) (err error) {
		after, err = complete(projects.Update(ctx, c.Own, conn.Segment(p.ID), change), p.ID)
		if err == nil && (change.Enabled != nil && after.Enabled != *change.Enabled || change.Tags != nil && !keystone.SameTags(after.Tags, *change.Tags)) {
			return conn.ErrIncomplete
		}
		return err
	})
	if err != nil {
		return keystone.Project{}, err
	}
	return after, nil
}

// projectBody is a project in the JSON format of Keystone.
type projectBody struct {
	keystone.Project

	Enabled *bool `json:"enabled"`
}

// The method `project` converts the body to a [keystone.Project]. The body must contain the project's state and tags. Without the state,
// an enabled project would count as disabled. Without the tags, an update would remove all tags.
func (b projectBody) project() (keystone.Project, error) {
	p := b.Project
	if p.ID == "" || p.Name == "" || p.DomainID == "" || p.Tags == nil || b.Enabled == nil {
		return keystone.Project{}, conn.ErrIncomplete
	}
	p.Enabled = *b.Enabled
	return p, nil
}

// The function `complete` returns the project in an answer. It returns conn.ErrIncomplete if the answer lacks a field, or if the project does
// not have the given id.
func complete(answer interface{ ExtractInto(v any) error }, id string) (keystone.Project, error) {
	var content struct {
		Project projectBody `json:"project"`
	}
	if err := answer.ExtractInto(&content); err != nil {
		return keystone.Project{}, err
	}
	if content.Project.ID != id {
		return keystone.Project{}, conn.ErrIncomplete
	}
	return content.Project.project()
}
