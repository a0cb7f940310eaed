// Package conformance checks what keystone/v3 and the in-memory Keystone assume about Keystone against a running one.
package conformance

import "testing"

// Conformance calls every method of keystone.Identity, implemented by keystone/v3, on the target. Each part is named after the
// method and the situation in which it is called.
func Conformance(t *testing.T, target Target) {
	t.Helper()
	for _, part := range []struct {
		name string
		run  func(*testing.T, *fixture)
	}{
		{"Domain, by id and by name", domainKnown},
		{"Domain, absent", domainAbsent},
		{"Roles, by name", rolesKnown},
		{"Roles, one absent", rolesAbsent},
		{"Roles, admin", rolesAdmin},
		{"User, enabled, disabled and deleted", user},
		{"Forget, role created again", forgetRole},

		{"EnsureProject, repeated", ensureProjectRepeated},
		{"EnsureProject, eight at once", ensureProjectAtOnce},
		{"EnsureProject, name at and over the limit", ensureProjectLongName},
		{"EnsureProject, malformed tag", ensureProjectMalformedTag},
		{"FindProject, known and absent", findProject},
		{"RemoveProject, another run's tag", removeProjectOfAnotherRun},
		{"RemoveProject, repeated", removeProjectRepeated},
		{"RemoveProject, created again under another id", removeProjectMadeAgain},

		{"EnsureAssignment, repeated", ensureAssignmentRepeated},
		{"EnsureAssignment, user, role or project absent", ensureAssignmentAbsent},
		{"RemoveAssignment, repeated", removeAssignmentRepeated},
		{"RemoveAssignment, user, role or project absent", removeAssignmentAbsent},
		{"HasAssignment, implied role", hasAssignmentImplied},

		{"ValidateToken, unscoped", validateTokenUnscoped},
		{"ValidateToken, scoped", validateTokenScoped},
		{"ValidateToken and ExchangeToken, invalid", tokenInvalid},
		{"ValidateToken and ExchangeToken, delegated", tokenDelegated},
		{"ExchangeToken, no role or no project", exchangeTokenWithoutRole},
		{"ExchangeToken, role given", exchangeTokenWithRole},
		{"ExchangeToken, project disabled", exchangeTokenOfDisabledProject},

		{"EnsureProject, the service's token revoked", ownTokenRevoked},
		{"EnsureProject and RemoveProject, application credential", applicationCredential},
		{"Ping and EnsureProject, wrong password", wrongPassword},
		{"all writes, the service without its role", withoutRole},
		{"all writes, the service's project disabled", ownProjectDisabled},
		{"all writes, not a project of ours", notOurs},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(t, newFixture(t, target)) })
	}
}
