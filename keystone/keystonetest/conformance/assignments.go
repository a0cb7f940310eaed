package conformance

import (
	"slices"
	"testing"

	"github.com/tenantry/tenantry/keystone"
)

// newAssignment creates a user and a project, and returns an assignment of role member to this user on this project. The assignment
// does not exist in Keystone yet.
func (f *fixture) newAssignment() keystone.Assignment {
	f.Helper()
	user, _ := f.user()
	return keystone.Assignment{ProjectID: f.project(newProject()).ID, UserID: user, RoleID: f.role("member")}
}

// The method `has` checks HasAssignment and AssignedRoles: the user of the assignment must have exactly the wanted roles on the
// project of the assignment.
func (f *fixture) has(a keystone.Assignment, want ...string) {
	f.Helper()
	has, err := f.cloud.HasAssignment(f.ctx, a)
	f.ok(err)
	same(f, "has it", has, slices.Contains(want, a.RoleID))
	got, err := f.cloud.AssignedRoles(f.ctx, a.ProjectID, a.UserID)
	f.ok(err)
	slices.Sort(want)
	same(f, "roles", got, append([]string{}, want...))
}

func ensureAssignmentRepeated(_ *testing.T, f *fixture) {
	a := f.newAssignment()
	f.has(a)
	for range 2 {
		f.ok(f.cloud.EnsureAssignment(f.ctx, a))
		f.has(a, a.RoleID)
	}
	reader := a
	reader.RoleID = f.role("reader")
	f.ok(f.cloud.EnsureAssignment(f.ctx, reader))
	f.has(a, a.RoleID, reader.RoleID)
}

func removeAssignmentRepeated(_ *testing.T, f *fixture) {
	a := f.newAssignment()
	reader := a
	reader.RoleID = f.role("reader")
	f.ok(f.cloud.EnsureAssignment(f.ctx, a))
	f.ok(f.cloud.EnsureAssignment(f.ctx, reader))
	for range 2 {
		f.ok(only(f.cloud.RemoveAssignment(f.ctx, a)))
		f.has(a, reader.RoleID)
	}
}

// hasAssignmentImplied assigns role member, which implies role reader, and checks that HasAssignment returns false for reader.
func hasAssignmentImplied(_ *testing.T, f *fixture) {
	a := f.newAssignment()
	f.ok(f.cloud.EnsureAssignment(f.ctx, a))
	reader := a
	reader.RoleID = f.role("reader")
	has, err := f.cloud.HasAssignment(f.ctx, reader)
	f.ok(err)
	same(f, "HasAssignment of role reader, which is implied and not assigned", has, false)
}

// The function `absences` returns three copies of the assignment. Each copy has one id that does not exist.
func absences(a keystone.Assignment) []keystone.Assignment {
	return []keystone.Assignment{
		{ProjectID: a.ProjectID, UserID: "nope", RoleID: a.RoleID},
		{ProjectID: a.ProjectID, UserID: a.UserID, RoleID: "nope"},
		{ProjectID: "nope", UserID: a.UserID, RoleID: a.RoleID},
	}
}

func ensureAssignmentAbsent(_ *testing.T, f *fixture) {
	for _, wrong := range absences(f.newAssignment()) {
		f.wants(f.cloud.EnsureAssignment(f.ctx, wrong), keystone.ErrNotFound)
	}
}

func removeAssignmentAbsent(_ *testing.T, f *fixture) {
	for _, wrong := range absences(f.newAssignment()) {
		f.ok(only(f.cloud.RemoveAssignment(f.ctx, wrong)))
	}
}
