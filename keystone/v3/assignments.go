package v3

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"

	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/roles"

	"github.com/tenantry/tenantry/keystone"
)

// EnsureAssignment implements [keystone.Identity].
func (c *Cloud) EnsureAssignment(ctx context.Context, a keystone.Assignment) error {
	err := c.assignment(ctx, write, "creating", a, func(ctx context.Context) error {
		return roles.Assign(ctx, c.identity, segment(a.RoleID), roles.AssignOpts{
			UserID: segment(a.UserID), ProjectID: segment(a.ProjectID),
		}).ExtractErr()
	})
	if errors.Is(err, keystone.ErrNotFound) {
		c.forgetRoles()
	}
	return err
}

// RemoveAssignment implements [keystone.Identity].
func (c *Cloud) RemoveAssignment(ctx context.Context, a keystone.Assignment) (bool, error) {
	err := c.assignment(ctx, write, "removing", a, func(ctx context.Context) error {
		return roles.Unassign(ctx, c.identity, segment(a.RoleID), roles.UnassignOpts{
			UserID: segment(a.UserID), ProjectID: segment(a.ProjectID),
		}).ExtractErr()
	})
	if errors.Is(err, keystone.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// HasAssignment implements [keystone.Identity].
func (c *Cloud) HasAssignment(ctx context.Context, a keystone.Assignment) (bool, error) {
	err := c.assignment(ctx, read, "reading", a, func(ctx context.Context) error {
		return roles.Validate(ctx, c.identity, segment(a.RoleID), roles.ValidateOpts{
			UserID: segment(a.UserID), ProjectID: segment(a.ProjectID),
		}).ExtractErr()
	})
	if errors.Is(err, keystone.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// The method `assignment` is a helper that validates the ids of a role assignment, and then makes the request.
func (c *Cloud) assignment(
	ctx context.Context, p purpose, doing string, a keystone.Assignment, request func(context.Context) error,
) error {
	op := fmt.Sprintf("%s the assignment of role %s to user %s on project %s",
		doing, label(a.RoleName, a.RoleID), label(a.UserName, a.UserID), label(a.ProjectName, a.ProjectID))
	if err := checkIDs(fmt.Sprintf("%s a role assignment", doing), a.ProjectID, a.UserID, a.RoleID); err != nil {
		return err
	}
	return c.do(ctx, p, op, request)
}

// The function `label` returns the text by which errors name an object: the object's name, if it is known, and its id.
func label(name, id string) string {
	if name == "" {
		return id
	}
	return fmt.Sprintf("%q (%s)", name, id)
}

// AssignedRoles implements [keystone.Identity].
func (c *Cloud) AssignedRoles(ctx context.Context, projectID, userID string) ([]string, error) {
	if err := checkIDs("listing roles", projectID, userID); err != nil {
		return nil, err
	}
	op := fmt.Sprintf("listing roles of user %s on project %s", userID, projectID)
	found, err := list[assignmentBody](ctx, c, op, "role_assignments", url.Values{"scope.project.id": {projectID}, "user.id": {userID}})
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
		return keystone.Granted{}, errIncomplete
	}
	return g, nil
}
