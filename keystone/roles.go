package keystone

import (
	"slices"
	"strings"
)

// adminRole is the role that most services of OpenStack treat as the admin of the whole cloud.
const adminRole = "admin"

// SameRole reports whether two names of roles are equal. Like oslo.policy, SameRole ignores the case.
func SameRole(a, b string) bool { return strings.EqualFold(a, b) }

// IsAdminRole reports whether the name is the name of role admin.
func IsAdminRole(name string) bool { return SameRole(name, adminRole) }

// ReservedRoles returns the names of the roles that users must not get: admin, and the role of Tenantry's operators. If allowAdmin
// is true, users may get role admin, even if it is the operators' role.
func ReservedRoles(operatorRole string, allowAdmin bool) []string {
	reserved := []string{adminRole, operatorRole}
	return slices.DeleteFunc(reserved, func(name string) bool { return name == "" || allowAdmin && IsAdminRole(name) })
}

// FindReserved returns the first name that is among the reserved names. If no name is reserved, the result `found` is false.
func FindReserved(names, reserved []string) (name string, found bool) {
	for _, name := range names {
		if slices.ContainsFunc(reserved, func(r string) bool { return SameRole(r, name) }) {
			return name, true
		}
	}
	return "", false
}

// AvoidReserved returns a text for operators. The text says how to avoid the refusal of a reserved role.
func AvoidReserved(reserved string) string {
	if IsAdminRole(reserved) {
		return "choose another role, or set allow_cloud_admin_role"
	}
	return "choose another role, because Tenantry's operators have this role"
}
