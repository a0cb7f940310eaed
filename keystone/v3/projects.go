package v3

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"

	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/domains"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/projects"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/conn"
)

// Domain implements [keystone.Identity].
func (c *Cloud) Domain(ctx context.Context, nameOrID string) (keystone.Domain, error) {
	c.mu.Lock()
	d, ok := c.domains[nameOrID]
	c.mu.Unlock()
	if ok {
		return d, nil
	}
	d, err := c.findDomain(ctx, nameOrID)
	if err != nil {
		return keystone.Domain{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.domains[nameOrID] = d
	return d, nil
}

func (c *Cloud) findDomain(ctx context.Context, nameOrID string) (d keystone.Domain, err error) {
	op := fmt.Sprintf("finding domain %q", nameOrID)
	if keystone.ValidID(nameOrID) {
		err = c.Do(ctx, conn.Read, op, func(ctx context.Context) error {
			var answer struct {
				Domain domainBody `json:"domain"`
			}
			err := domains.Get(ctx, c.Own, conn.Segment(nameOrID)).ExtractInto(&answer)
			// The returned id may differ from the requested id, because Keystone ignores the case of ids on MySQL.
			if d = answer.Domain.domain(); err == nil && d.ID == "" {
				return conn.ErrIncomplete
			}
			return err
		})
		if !errors.Is(err, keystone.ErrNotFound) {
			return d, err
		}
	}
	if nameOrID == "" { // without a name, Keystone would list all domains
		return d, conn.NotFound(op)
	}
	found, err := conn.List[domainBody](ctx, c.Conn, conn.Listing{Op: op, Path: "domains", Query: url.Values{"name": {nameOrID}}})
	if err != nil {
		return d, err
	}
	for i := range found {
		found[i].Name = c.Masked(ctx, found[i].Name, nameOrID)
	}
	one, err := conn.Single(op, found, func(b domainBody) string { return b.Name })
	if err != nil {
		return keystone.Domain{}, err
	}
	return one.domain(), conn.CheckIDs(op, one.ID)
}

// domainBody is a domain in the JSON format of Keystone.
type domainBody struct {
	keystone.Domain

	Enabled *bool `json:"enabled"`
}

func (b domainBody) domain() keystone.Domain {
	b.Disabled = b.Enabled != nil && !*b.Enabled
	return b.Domain
}

// FindProject implements [keystone.Identity].
func (c *Cloud) FindProject(ctx context.Context, domainID, name string) (keystone.Project, error) {
	op := fmt.Sprintf("finding project %q", name)
	found, err := conn.List[keystone.Project](ctx, c.Conn, conn.Listing{Op: op, Path: "projects", Query: url.Values{"name": {name}, "domain_id": {domainID}}})
	if err != nil {
		return keystone.Project{}, err
	}
	// Filter again, because Keystone ignores an unknown filter and then lists all projects.
	for _, p := range found {
		if p.Name == name && p.DomainID == domainID && p.ID != "" {
			return p, nil
		}
	}
	return keystone.Project{}, conn.NotFound(op)
}

// EnsureProject implements [keystone.Identity].
func (c *Cloud) EnsureProject(ctx context.Context, n keystone.NewProject) (p keystone.Project, made bool, err error) {
	p, err = c.createProject(ctx, n)
	if !errors.Is(err, keystone.ErrConflict) {
		return p, err == nil, err
	}
	p, lookup := c.FindProject(ctx, n.DomainID, n.Name)
	if errors.Is(lookup, keystone.ErrNotFound) {
		return p, false, err
	}
	return p, lookup == nil && n.RunTag != "" && p.HasTag(n.RunTag), lookup
}

// projectAnswer is an answer that contains a project. ExtractInto decodes it, because gophercloud's Extract returns no error for an empty
// answer.
type projectAnswer struct {
	Project keystone.Project `json:"project"`
}

func (c *Cloud) createProject(ctx context.Context, n keystone.NewProject) (p keystone.Project, err error) {
	tags := slices.Clone(n.Tags)
	if n.RunTag != "" && !slices.Contains(tags, n.RunTag) {
		tags = append(tags, n.RunTag)
	}
	err = c.Do(ctx, conn.Write, fmt.Sprintf("creating project %q", n.Name), func(ctx context.Context) error {
		var answer projectAnswer
		err := projects.Create(ctx, c.Own, projects.CreateOpts{
			Name: n.Name, DomainID: n.DomainID, Description: n.Description, Tags: tags,
		}).ExtractInto(&answer)
		if p = answer.Project; err == nil && (!keystone.ValidID(p.ID) || p.Name != n.Name || p.DomainID != n.DomainID) {
			return conn.ErrIncomplete
		}
		return err
	})
	if err != nil {
		return keystone.Project{}, err
	}
	return p, nil
}

// RemoveProject implements [keystone.Identity].
func (c *Cloud) RemoveProject(ctx context.Context, p keystone.Project, runTag string) (keystone.Project, error) {
	none := keystone.Project{}
	found, err := c.locate(ctx, p)
	switch {
	case errors.Is(err, keystone.ErrNotFound):
		return none, nil
	case err != nil:
		return none, err
	case runTag == "" || !found.HasTag(runTag):
		return none, nil
	}
	op := "removing project " + conn.Label(found.Name, found.ID)
	if err := conn.CheckIDs(op, found.ID); err != nil {
		return none, err
	}
	err = c.Do(ctx, conn.Write, op, func(ctx context.Context) error {
		return projects.Delete(ctx, c.Own, conn.Segment(found.ID)).ExtractErr()
	})
	switch {
	case errors.Is(err, keystone.ErrNotFound):
		return none, nil
	case err != nil:
		return none, err
	}
	return found, nil
}

// The method `locate` looks the project up by name and domain, because a lost request may have created the project under another
// id. If p has no name or no domain, `locate` looks the project up by id.
func (c *Cloud) locate(ctx context.Context, p keystone.Project) (keystone.Project, error) {
	if p.Name != "" && p.DomainID != "" {
		return c.FindProject(ctx, p.DomainID, p.Name)
	}
	return c.Project(ctx, p.ID)
}
