package v2

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/conn"
)

// Reach implements [keystone.Inventory].
func (c *Cloud) Reach(ctx context.Context) (keystone.Reach, error) {
	_, reach, err := c.ownToken(ctx)
	return reach, err
}

// ownToken logs in, because only a request with the token's text in its path shows the token's roles.
func (c *Cloud) ownToken(ctx context.Context) (keystone.Token, keystone.Reach, error) {
	token, _, err := c.OwnLogin(ctx)
	if err != nil {
		return keystone.Token{}, keystone.Reach{}, err
	}
	t, err := c.ValidateToken(ctx, token)
	if err != nil {
		return keystone.Token{}, keystone.Reach{}, err
	}
	if t.ProjectID == "" {
		return keystone.Token{}, keystone.Reach{}, conn.Incomplete("reading the scope of Tenantry's own token")
	}
	return t, keystone.Reach{ProjectID: t.ProjectID, Roles: t.Roles, NotShown: []string{"groups", "inherited roles", "implied roles"}}, nil
}

// EachProject implements [keystone.Inventory]. Keystone never cuts this list.
func (c *Cloud) EachProject(ctx context.Context, domainID, prefix string, take func(keystone.Project)) (whole bool, err error) {
	op := "listing the projects of domain " + domainID
	if domainID != keystone.DefaultDomain.ID {
		return false, conn.NotFound(op)
	}
	cut, err := conn.Bulk(ctx, c.Conn, conn.Listing{Op: op, Path: "tenants"}, func(b tenantBody) error {
		t, err := b.tenant()
		if err == nil && strings.HasPrefix(t.Name, prefix) {
			take(t.Project)
		}
		return err
	})
	return err == nil && !cut, err
}

// EachAssignment implements [keystone.Inventory]. Identity v2.0 has no list of all role assignments. Without a project in the filter,
// EachAssignment reads only the tenants whose names begin with [keystone.TenantPrefix], one after the other. A role that a user has through
// a group, through inheritance or through another role counts as a role assignment: see [Cloud.HasAssignment].
func (c *Cloud) EachAssignment(ctx context.Context, f keystone.AssignmentFilter, take func(keystone.Granted)) error {
	projects := []string{f.ProjectID}
	if f.ProjectID == "" {
		projects = nil
		_, err := c.EachProject(ctx, keystone.DefaultDomain.ID, keystone.TenantPrefix, func(p keystone.Project) { projects = append(projects, p.ID) })
		if err != nil {
			return err
		}
	}
	for _, project := range projects {
		users := []string{f.UserID}
		if f.UserID == "" {
			var err error
			if users, err = c.usersOn(ctx, project); err != nil {
				return err
			}
		}
		for _, user := range users {
			roles, err := c.AssignedRoles(ctx, project, user)
			if err != nil {
				return err
			}
			for _, role := range roles {
				take(keystone.Granted{RoleID: role, UserID: user, ProjectID: project})
			}
		}
	}
	return nil
}

// usersOn returns the ids of the users that have a role on the project. If the project does not exist, the list is empty.
func (c *Cloud) usersOn(ctx context.Context, projectID string) (ids []string, err error) {
	op := "listing the users of project " + projectID
	if err := conn.CheckIDs(op, projectID); err != nil {
		return nil, err
	}
	path := "tenants/" + conn.Segment(projectID) + "/users"
	_, err = conn.Bulk(ctx, c.Conn, conn.Listing{Op: op, Path: path, Field: "users"}, func(b userBody) error {
		u, err := b.user()
		ids = append(ids, u.ID)
		return err
	})
	if errors.Is(err, keystone.ErrNotFound) {
		return nil, nil
	}
	return ids, err
}

// EachUser implements [keystone.Inventory].
func (c *Cloud) EachUser(ctx context.Context, domainID string, take func(keystone.User)) (whole bool, err error) {
	op := fmt.Sprintf("listing the users of domain %s", domainID)
	if domainID != keystone.DefaultDomain.ID {
		return false, conn.NotFound(op)
	}
	mask := sync.OnceValue(c.Masker) // first called after the login
	cut, err := conn.Bulk(ctx, c.Conn, conn.Listing{Op: op, Path: "users"}, func(b userBody) error {
		u, err := b.user()
		if err == nil {
			u.Name = mask().Replace(u.Name)
			take(u)
		}
		return err
	})
	return err == nil && !cut, err
}

// Implied implements [keystone.Inventory]. Identity v2.0 does not show implied roles, so the result is empty: see [keystone.Reach].
func (c *Cloud) Implied(context.Context) (map[string][]string, error) {
	return map[string][]string{}, nil
}
