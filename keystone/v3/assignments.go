package v3

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"

	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/roles"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/conn"
)

// EnsureAssignment implements [keystone.Identity].
func (c *Cloud) EnsureAssignment(ctx context.Context, a keystone.Assignment) error {
	err := c.assignment(ctx, conn.Write, "creating", a, func(ctx context.Context) error {
		return roles.Assign(ctx, c.Own, conn.Segment(a.RoleID), roles.AssignOpts{
			UserID: conn.Segment(a.UserID), ProjectID: conn.Segment(a.ProjectID),
		}).ExtractErr()
	})
	if errors.Is(err, keystone.ErrNotFound) {
		c.forgetRoles()
	}
	return err
}

// RemoveAssignment implements [keystone.Identity].
func (c *Cloud) RemoveAssignment(ctx context.Context, a keystone.Assignment) (bool, error) {
	err := c.assignment(ctx, conn.Write, "removing", a, func(ctx context.Context) error {
		return roles.Unassign(ctx, c.Own, conn.Segment(a.RoleID), roles.UnassignOpts{
			UserID: conn.Segment(a.UserID), ProjectID: conn.Segment(a.ProjectID),
		}).ExtractErr()
	})
	if errors.Is(err, keystone.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// HasAssignment implements [keystone.Identity].
func (c *Cloud) HasAssignment(ctx context.Context, a keystone.Assignment) (bool, error) {
	err := c.assignment(ctx, conn.Read, "reading", a, func(ctx context.Context) error {
		return roles.Validate(ctx, c.Own, conn.Segment(a.RoleID), roles.ValidateOpts{
			UserID: conn.Segment(a.UserID), ProjectID: conn.Segment(a.ProjectID),
		}).ExtractErr()
	})
	if errors.Is(err, keystone.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// The method `assignment` is a helper that validates the ids of a role assignment, and then makes the request.
func (c *Cloud) assignment(
	ctx context.Context, p conn.Purpose, doing string, a keystone.Assignment, request func(context.Context) error,
) error {
	op := fmt.Sprintf("%s the assignment of role %s to user %s on project %s",
		doing, conn.Label(a.RoleName, a.RoleID), conn.Label(a.UserName, a.UserID), conn.Label(a.ProjectName, a.ProjectID))
	if err := conn.CheckIDs(fmt.Sprintf("%s a role assignment", doing), a.ProjectID, a.UserID, a.RoleID); err != nil {
		return err
	}
	return c.Do(ctx, p, op, request)
}

// AssignedRoles implements [keystone.Identity].
func (c *Cloud) AssignedRoles(ctx context.Context, projectID, userID string) ([]string, error) {
	if err := conn.CheckIDs("listing roles", projectID, userID); err != nil {
		return nil, err
	}
	op := fmt.Sprintf("listing roles of user %s on project %s", userID, projectID)
	found, err := conn.List[assignmentBody](ctx, c.Conn, conn.Listing{Op: op, Path: "role_assignments", Query: url.Values{"scope.project.id": {projectID}, "user.id": {userID}}})
	if err != nil {
		return nil, err
	}
	ids := []string{}
	for _, a := range found {
		// An inherited role applies to the child projects of this project, but not to the project itself.
		if a.Scope.Project.ID == projectID && a.User.ID == userID && a.Scope.InheritedTo == "" {
			ids = append(ids, a.Role.ID)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// assignmentBody is a role assignment in the JSON format of Keystone.
type assignmentBody struct {
	Role  ref `json:"role"`
	User  ref `json:"user"`
	Group ref `json:"group"`
	Scope struct {
		Project     ref             `json:"project"`
		Domain      ref             `json:"domain"`
		System      map[string]bool `json:"system"`
		InheritedTo string          `json:"OS-INHERIT:inherited_to"`
	} `json:"scope"`
}

type ref struct {
	ID string `json:"id"`
}

// The method `granted` converts the body to a [keystone.Granted]. The body must contain a role, either a user or a group, and either a
// project or a domain.
func (b assignmentBody) granted() (keystone.Granted, error) {
	g := keystone.Granted{
		RoleID: b.Role.ID, UserID: b.User.ID, GroupID: b.Group.ID, ProjectID: b.Scope.Project.ID, DomainID: b.Scope.Domain.ID,
		Inherited: b.Scope.InheritedTo == "projects",
	}
	if g.RoleID == "" || (g.UserID == "") == (g.GroupID == "") || (g.ProjectID == "") == (g.DomainID == "") ||
		!g.Inherited && b.Scope.InheritedTo != "" {
		return keystone.Granted{}, conn.ErrIncomplete
	}
	return g, nil
}
