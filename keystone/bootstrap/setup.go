// Package bootstrap creates the objects that Tenantry needs in Keystone: roles, the customers' domain, the service user, and Tenantry's
// entry in the catalog. It only creates: it never changes or removes an object that somebody else has made.
//
// The package has a client of its own, with the credential of an administrator. The client may send writes that the guard of Tenantry's
// service refuses. Therefore only the command `tenantry bootstrap` imports the package.
package bootstrap

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/tenantry/tenantry/keystone"
)

// Persona is the kind of the service user's rights.
type Persona string

const (
	// Admin gives the service user the role admin on a project of its own. Keystone then allows the service user everything in the cloud.
	Admin Persona = "admin"
	// DomainManager gives the service user the roles manager and service on the customers' domain. Keystone must have the persona "domain
	// manager" (release 2024.2 or later), and the policy of the function Policy.
	DomainManager Persona = "domain-manager"
)

// The method `roles` returns the roles that the service user gets. Keystone must have these roles already, because a role has no rights
// by itself: Keystone's policy gives the rights.
func (p Persona) roles() []string {
	if p == DomainManager {
		return []string{"manager", "service"}
	}
	return []string{"admin"}
}

// Setup describes the objects that must exist. All fields are required, except Project of a [DomainManager].
type Setup struct {
	Persona Persona
	// Domain is the name or the id of the customers' domain. If the domain does not exist, and Domain can be the
	// name of a domain, Apply creates the domain.
	Domain string
	// UserRoles are the roles that users get. OperatorRole is the role of Tenantry's operators.
	UserRoles    []string
	OperatorRole string
	// User is the name of the service user in UserDomain. Project is the name of the service user's project in UserDomain. UserDomain is
	// the name or the id of a domain that exists, or equal to Domain.
	User, UserDomain, Project string
	// Type and Name are the type and the name of Tenantry's service in the catalog.
	Type, Name string
	// Region is the id of a region that exists. PublicURL and InternalURL are Tenantry's addresses.
	Region, PublicURL, InternalURL string
}

// CheckNames returns an error if a name cannot be used.
func (s Setup) CheckNames() error {
	for _, n := range s.names() {
		if n.name == "" || keystone.HasControl(n.name) {
			return fmt.Errorf("%s: %q is empty or contains control characters", n.what, n.name)
		}
	}
	if reserved, found := keystone.FindReserved([]string{s.OperatorRole}, s.UserRoles); found {
		return fmt.Errorf("role %s is the role of operators, so users must not get it", reserved)
	}
	if s.Persona != DomainManager {
		return nil
	}
	for _, role := range s.UserRoles {
		if !inPolicy(role) {
			return fmt.Errorf("role %q: a domain manager cannot assign this role, because a policy of Keystone can name only roles "+
				"whose names consist of letters, digits, and the characters . _ and -; choose another name", role)
		}
	}
	return nil
}

type named struct{ what, name string }

func (s Setup) names() []named {
	all := []named{
		{"domain", s.Domain},
		{"operators' role", s.OperatorRole},
		{"service user", s.User},
		{"service user's domain", s.UserDomain},
		{"region", s.Region},
		{"type of the service", s.Type},
		{"name of the service", s.Name},
	}
	if s.Persona == Admin {
		all = append(all, named{"service project", s.Project})
	}
	for _, role := range s.UserRoles {
		all = append(all, named{"role", role})
	}
	return all
}

// The method `roles` returns the names of all roles that must exist, without duplicates.
func (s Setup) roles() []string {
	var all []string
	for _, role := range slices.Concat(s.UserRoles, []string{s.OperatorRole}, s.Persona.roles()) {
		if !slices.ContainsFunc(all, func(r string) bool { return keystone.SameRole(r, role) }) {
			all = append(all, role)
		}
	}
	return all
}

// isRequired reports whether Keystone must have the role already.
func (s Setup) isRequired(role string) bool {
	return slices.ContainsFunc(s.Persona.roles(), func(r string) bool { return keystone.SameRole(r, role) })
}

var domainID = regexp.MustCompile(`^([0-9a-f]{32}|default)$`)

// isDomainID reports whether the text is the id of a domain, and not a name. A domain with such a name is not created, because the
// administrator has probably meant an id.
func isDomainID(text string) bool { return domainID.MatchString(text) }
