package v2

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/gophercloud/gophercloud/v2/openstack/identity/v2/tenants"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/conn"
)

// tenantAnswer is an answer that contains one tenant. ExtractInto decodes it, because gophercloud's Extract returns no error for an empty
// answer.
type tenantAnswer struct {
	Tenant tenantBody `json:"tenant"`
}

// tenantBody is a tenant in the JSON format of Keystone.
type tenantBody struct {
	ID          string  `json:"id"`
	Name        string  `json:"name"`
	Description *string `json:"description"`
	Enabled     *bool   `json:"enabled"`
}

// The type `tenant` is a tenant with the part of its description that contains no tags.
type tenant struct {
	keystone.Project

	text string
}

// The method `tenant` converts the body. The body must contain the tenant's state, because an enabled tenant would otherwise count as
// disabled.
func (b tenantBody) tenant() (tenant, error) {
	if !keystone.ValidID(b.ID) || b.Name == "" || b.Enabled == nil {
		return tenant{}, conn.ErrIncomplete
	}
	t := tenant{Project: keystone.Project{ID: b.ID, Name: b.Name, DomainID: keystone.DefaultDomain.ID, Enabled: *b.Enabled, Tags: []string{}}}
	if b.Description != nil {
		t.text, t.Tags = keystone.TagsOfDescription(*b.Description)
	}
	return t, nil
}

// FindProject implements [keystone.Identity]. Keystone answers with one tenant, or with a 404: see ofName.
func (c *Cloud) FindProject(ctx context.Context, domainID, name string) (keystone.Project, error) {
	op := fmt.Sprintf("finding project %q", name)
	if domainID != keystone.DefaultDomain.ID || name == "" { // without a name, Keystone would list all tenants
		return keystone.Project{}, conn.NotFound(op)
	}
	var found tenant
	err := ofName(name, c.Do(ctx, conn.Read, op, func(ctx context.Context) (err error) {
		var answer tenantAnswer
		address := c.Own.ServiceURL("tenants") + "?" + conn.Query("name", name)
		if _, err := c.Own.Get(ctx, address, &answer, nil); err != nil { //nolint:bodyclose // gophercloud has closed it
			return err
		}
		found, err = answer.Tenant.tenant()
		return err
	}))
	if err != nil {
		return keystone.Project{}, err
	}
	if found.Name != name { // Keystone on MySQL ignores the case
		return keystone.Project{}, conn.NotFound(op)
	}
	return found.Project, nil
}

// EnsureProject implements [keystone.Identity]. If n.ID is empty, Keystone chooses the id.
func (c *Cloud) EnsureProject(ctx context.Context, n keystone.NewProject) (p keystone.Project, made bool, err error) {
	p, err = c.createTenant(ctx, n)
	if !errors.Is(err, keystone.ErrConflict) {
		return p, err == nil, err
	}
	p, lookup := c.FindProject(ctx, n.DomainID, n.Name)
	if errors.Is(lookup, keystone.ErrNotFound) {
		return p, false, err
	}
	return p, lookup == nil && n.RunTag != "" && p.HasTag(n.RunTag), lookup
}

// createOpts are the options of gophercloud with the tenant's id.
type createOpts struct {
	ID          string `json:"id,omitempty"`
	Name        string `json:"name"`
	Description string `json:"description"`
	Enabled     bool   `json:"enabled"`
}

// ToTenantCreateMap implements [tenants.CreateOptsBuilder].
func (o createOpts) ToTenantCreateMap() (map[string]any, error) {
	return map[string]any{"tenant": o}, nil
}

func (c *Cloud) createTenant(ctx context.Context, n keystone.NewProject) (keystone.Project, error) {
	op := fmt.Sprintf("creating project %q", n.Name)
	tags := slices.Clone(n.Tags)
	if n.RunTag != "" && !slices.Contains(tags, n.RunTag) {
		tags = append(tags, n.RunTag)
	}
	if err := checkTags(op, tags); err != nil {
		return keystone.Project{}, err
	}
	if n.DomainID != keystone.DefaultDomain.ID {
		return keystone.Project{}, conn.NotFound(fmt.Sprintf("%s in domain %q", op, n.DomainID))
	}
	var made tenant
	err := c.Do(ctx, conn.Write, op, func(ctx context.Context) (err error) {
		var answer tenantAnswer
		opts := createOpts{ID: n.ID, Name: n.Name, Description: keystone.Describe(n.Description, tags), Enabled: true}
		if err := tenants.Create(ctx, c.Own, opts).ExtractInto(&answer); err != nil {
			return err
		}
		if made, err = answer.Tenant.tenant(); err == nil && (made.Name != n.Name || n.ID != "" && made.ID != n.ID) {
			return conn.ErrIncomplete
		}
		return err
	})
	if err != nil {
		return keystone.Project{}, err
	}
	return made.Project, nil
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
	err = c.Do(ctx, conn.Write, "removing project "+conn.Label(found.Name, found.ID), func(ctx context.Context) error {
		return tenants.Delete(ctx, c.Own, conn.Segment(found.ID)).ExtractErr()
	})
	switch {
	case errors.Is(err, keystone.ErrNotFound):
		return none, nil
	case err != nil:
		return none, err
	}
	return found, nil
}

// The method `locate` looks the project up by name, because a lost request may have created the project under another id. If p has no name
// or no domain, `locate` looks the project up by id.
func (c *Cloud) locate(ctx context.Context, p keystone.Project) (keystone.Project, error) {
	if p.Name != "" && p.DomainID != "" {
		return c.FindProject(ctx, p.DomainID, p.Name)
	}
	return c.Project(ctx, p.ID)
}

// Project implements [keystone.Identity].
func (c *Cloud) Project(ctx context.Context, id string) (keystone.Project, error) {
	found, err := c.read(ctx, id)
	return found.Project, err
}

func (c *Cloud) read(ctx context.Context, id string) (found tenant, err error) {
	op := fmt.Sprintf("reading project %q", id)
	if err := conn.CheckIDs(op, id); err != nil {
		return tenant{}, err
	}
	err = c.Do(ctx, conn.Read, op, func(ctx context.Context) (err error) {
		found, err = complete(tenants.Get(ctx, c.Own, conn.Segment(id)), id)
		return err
	})
	if err != nil {
		return tenant{}, err
	}
	return found, nil
}

// The function `complete` returns the tenant in an answer. It returns ErrIncomplete if the answer lacks a field or has another id.
func complete(answer interface{ ExtractInto(v any) error }, id string) (tenant, error) {
	var content tenantAnswer
	if err := answer.ExtractInto(&content); err != nil {
		return tenant{}, err
	}
	if content.Tenant.ID != id {
		return tenant{}, conn.ErrIncomplete
	}
	return content.Tenant.tenant()
}
