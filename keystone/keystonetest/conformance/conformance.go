// Package conformance runs the same tests against a real Keystone and against the in-memory Keystone.
package conformance

import (
	"slices"
	"testing"
)

// Conformance tests every method of keystone/v3, or of keystone/v2 if the target has an address of Identity v2.0. The name of each subtest
// contains the tested method and the tested situation.
func Conformance(t *testing.T, target Target) {
	t.Helper()
	parts := slices.Concat(common, onlyV3)
	if target.Public != "" {
		prepare(t, target)
		parts = slices.Concat(common, onlyV2)
	}
	for _, part := range parts {
		t.Run(part.name, func(t *testing.T) { part.run(t, newFixture(t, target)) })
	}
}

type part struct {
	name string
	run  func(*testing.T, *fixture)
}

// The variable `common` contains the tests for both Identity versions.
var common = []part{
	{"Domain, by id and by name", domainKnown},
	{"Domain, absent", domainAbsent},
	{"Roles, by name", rolesKnown},
	{"Roles, one absent", rolesAbsent},
	{"Roles, admin", rolesAdmin},
	{"User, enabled, disabled and deleted user", user},
	{"User, absent, with an id as in LDAP", userOfLDAP},
	{"Forget, role created again", forgetRole},

	{"EnsureProject, repeated", ensureProjectRepeated},
	{"EnsureProject, eight at once", ensureProjectAtOnce},
	{"EnsureProject, name of maximum length, and longer name", ensureProjectLongName},
	{"EnsureProject, malformed tag", ensureProjectMalformedTag},
	{"FindProject, known and absent", findProject},
	{"RemoveProject, project with the tag of another run", removeProjectOfAnotherRun},
	{"RemoveProject, repeated", removeProjectRepeated},
	{"RemoveProject, project created again under another id", removeProjectMadeAgain},

	{"Project, known and absent", projectKnown},
	{"DisableProject and EnableProject, repeated", disableRepeated},
	{"DisableProject, eight at once", disableAtOnce},
	{"DisableProject and EnableProject, disabled by an administrator or another run", disableDisabled},
	{"DisableProject and EnableProject, enabled by an administrator", disableEnabledByAdmin},
	{"DisableProject and EnableProject, deleted project", disableAbsent},
	{"DisableProject, refused", disableRefused},
	{"DisableProject, name, roles and tokens of the project", disabledKeeps},

	{"ChangeProject, state, with and without marks", changeState},
	{"ChangeProject, tags", changeTags},
	{"ChangeProject, late write", changeLate},
	{"ChangeProject, deleted project", changeAbsent},
	{"ChangeProject, refused by the guard", changeGuarded},
	{"ChangeProject, refused by Keystone", changeRefused},
	{"ChangeProject, parent and child", changeFamily},

	{"EnsureAssignment, repeated", ensureAssignmentRepeated},
	{"EnsureAssignment, missing user, role or project", ensureAssignmentAbsent},
	{"RemoveAssignment, repeated", removeAssignmentRepeated},
	{"RemoveAssignment, missing user, role or project", removeAssignmentAbsent},

	{"ValidateToken, unscoped", validateTokenUnscoped},
	{"ValidateToken, scoped", validateTokenScoped},
	{"ValidateToken and ExchangeToken, invalid token", tokenInvalid},
	{"ExchangeToken, missing role or missing project", exchangeTokenWithoutRole},
	{"ExchangeToken, role given", exchangeTokenWithRole},
	{"ProjectsOfToken", projectsOfToken},
	{"ExchangeToken, project disabled", exchangeTokenOfDisabledProject},

	{"EnsureProject, revoked token of Tenantry's own user", ownTokenRevoked},
	{"Ping and EnsureProject, with a wrong password", wrongPassword},
	{"all writes, Tenantry's own user without role admin", withoutRole},
	{"all writes, disabled project of Tenantry's own user", ownProjectDisabled},
	{"all writes, project that is not Tenantry's", notOurs},

	{"FindUser, exact name, other case and absent", findUser},
	{"SimilarUser, other case, characters of patterns and short names", similarUser},
	{"EnsureUser, repeated", ensureUserRepeated},
	{"EnsureUser, eight at once", ensureUserAtOnce},
	{"EnsureUser, name taken by another run or by an administrator, and name that differs in upper and lower case", ensureUserTaken},
	{"EnsureUser, malformed name or password", ensureUserMalformed},
	{"EnsureUser, name of maximum length and attributes", ensureUserAttributes},
	{"SetPassword, repeated", setPassword},
	{"SetPassword, deleted user", setPasswordAbsent},
	{"RemoveUser, repeated, and of another run", removeUser},
	{"RemoveUser, created again", removeUserMadeAgain},
	{"all writes to users, refused by the guard", usersGuarded},
	{"all writes to users, refused by Keystone", usersRefused},
	{"LogIn, right, wrong, unknown and disabled", logIn},
	{"LogIn, default project", logInDefaultProject},

	{"Version, Holder, EachPower and Scopes", describedSelf},
}

// The variable `onlyV3` contains the tests of features that Identity v2.0 does not have or does not show.
var onlyV3 = []part{
	{"HasAssignment, implied role", hasAssignmentImplied},
	{"ValidateToken and ExchangeToken, delegated token", tokenDelegated},
	{"EachProject, by domain and prefix", eachProject},
	{"EachAssignment, of every kind", eachAssignment},
	{"ExchangeToken, inherited role", inheritedRole},
	{"ExchangeToken, role of a group", groupsRole},
	{"EachUser", eachUser},
	{"AllRoles and Implied", allRoles},
	{"Reach, project and system", reach},
	{"all reads, manager of a domain", managersRights},
	{"all reads, administrator of a domain", domainAdministratorsRights},
	{"all reads, member of a project", plainRights},
	{"all reads, member of a domain without role reader", rightsWithoutReader},
	{"all reads, reader of the system", systemReadersRights},
	{"EnsureProject and RemoveProject, with an application credential", applicationCredential},
	{"a login without a scope", unscoped},
	{"SimilarUser, user with nested attributes", similarUserNested},
	{"RemoveUser, user in use", removeUserInUse},
	{"EnsureUser, disabled or other domain", ensureUserDomains},
	{"LogIn, multi-factor rules", logInMultiFactor},
	{"EachPower, of every kind", powersOfEveryKind},
	{"Holder, with an application credential", describedApplicationCredential},
}

// The variable `onlyV2` contains the tests of features that differ between Identity v2.0 and Identity v3.
var onlyV2 = []part{
	{"EnsureProject, chosen id", chosenID},
	{"Domain, only the default domain", onlyDomain},
	{"New, credential without a project", noProject},
	{"all requests, public and admin application", twoApplications},
	{"Reach", reach2},
	{"EachProject and EachUser", lists2},
	{"EachAssignment, tenant by tenant", eachAssignment2},
	{"Access", access2},
}
