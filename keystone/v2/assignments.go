package v2

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/gophercloud/gophercloud/v2/openstack/identity/v2/roles"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/conn"
)

// EnsureAssignment implements [keystone.Identity]. EnsureAssignment first reads the user, because Keystone would also assign the role to a
// user who does not exist. If the user has the role already, Keystone answers 409. EnsureAssignment then reads the user's roles.
func (c *Cloud) EnsureAssignment(ctx context.Context, a keystone.Assignment) error {
	if err := c.check(a, "creating"); err != nil {
		return err
	}
	if _, err := c.User(ctx, a.UserID); err != nil {
		return err
	}
	err := c.Do(ctx, conn.Write, opOf(a, "creating"), func(ctx context.Context) error {
		return roles.AddUser(ctx, c.Own, conn.Segment(a.ProjectID), conn.Segment(a.UserID), conn.Segment(a.RoleID)).ExtractErr()
	})
	switch {
	case errors.Is(err, keystone.ErrConflict):
		if has, failed := c.HasAssignment(ctx, a); has || failed != nil {
			return failed
		}
	case errors.Is(err, keystone.ErrNotFound):
		c.Forget()
	}
	return err
}

// RemoveAssignment implements [keystone.Identity].
func (c *Cloud) RemoveAssignment(ctx context.Context, a keystone.Assignment) (bool, error) {
	if err := c.check(a, "removing"); err != nil {
		return false, err
	}
	err := c.Do(ctx, conn.Write, opOf(a, "removing"), func(ctx context.Context) error {
		return roles.DeleteUser(ctx, c.Own, conn.Segment(a.ProjectID), conn.Segment(a.UserID), conn.Segment(a.RoleID)).ExtractErr()
	})
	if errors.Is(err, keystone.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// HasAssignment implements [keystone.Identity]. In Identity v2.0, a role also counts if the user has it through a group, through
// inheritance or through another role, because Keystone does not show the difference.
func (c *Cloud) HasAssignment(ctx context.Context, a keystone.Assignment) (bool, error) {
	if err := c.check(a, "reading"); err != nil {
		return false, err
	}
	assigned, err := c.AssignedRoles(ctx, a.ProjectID, a.UserID)
	return slices.Contains(assigned, a.RoleID), err
}

func (c *Cloud) check(a keystone.Assignment, doing string) error {
	return conn.CheckIDs(doing+" a role assignment", a.ProjectID, a.UserID, a.RoleID)
}

func opOf(a keystone.Assignment, doing string) string {
	return fmt.Sprintf("%s the assignment of role %s to user %s on project %s",
		doing, conn.Label(a.RoleName, a.RoleID), conn.Label(a.UserName, a.UserID), conn.Label(a.ProjectName, a.ProjectID))
}

// AssignedRoles implements [keystone.Identity]: see [Cloud.HasAssignment] for the roles that count. If the project does not exist, the
// list is empty.
func (c *Cloud) AssignedRoles(ctx context.Context, projectID, userID string) ([]string, error) {
	if err := conn.CheckIDs("listing roles", projectID, userID); err != nil {
		return nil, err
	}
	op := fmt.Sprintf("listing roles of user %s on project %s", userID, projectID)
	path := "tenants/" + conn.Segment(projectID) + "/users/" + conn.Segment(userID) + "/roles"
	found, err := conn.List[roleBody](ctx, c.Conn, conn.Listing{Op: op, Path: path, Field: "roles"})
	if err != nil && !errors.Is(err, keystone.ErrNotFound) {
		return nil, err
	}
	ids := []string{}
	for _, r := range found {
		if r.ID == "" {
			return nil, conn.Incomplete(op)
		}
		ids = append(ids, r.ID)
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}
