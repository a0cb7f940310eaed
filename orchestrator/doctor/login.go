package doctor

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/orchestrator/explain"
	"github.com/tenantry/tenantry/orchestrator/service"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// The function `credentials` logs in without the scope. A wrong password therefore causes only one refused login. Several refused logins could lock
// the user.
func credentials(ctx context.Context, x *examination) []Line {
	c := x.config.Credential
	byApplication := c.ApplicationCredentialID+c.ApplicationCredentialName != ""
	var err error
	if byApplication {
		err = x.cloud.Ping(ctx)
	} else {
		x.scopes, err = x.cloud.Scopes(ctx)
	}
	e, answered := errors.AsType[*upstream.Error](err)
	refused := upstream.RefusedLogin(err)
	switch {
	case refused != nil && byApplication:
		return []Line{fail(instruction("create an application credential as the service's user, with: openstack application credential create --role admin NAME; "+
			"then set OS_APPLICATION_CREDENTIAL_ID and OS_APPLICATION_CREDENTIAL_SECRET"), "%s", refused.Text)}
	case refused != nil:
		return []Line{fail(instruction("set OS_USERNAME, OS_USER_DOMAIN_NAME and OS_PASSWORD to the service's user; %s shows whether Keystone has the user, and whether "+
			"the user is enabled", command(slices.Concat([]string{"openstack", "user", "show"}, userFlags(c))...).Text), "%s", refused.Text)}
	case answered && (e.Class == upstream.Permanent || e.Class == upstream.Blocked):
		return []Line{fail(instruction("set OS_AUTH_URL to the address of Keystone itself, or let the proxy in front of Keystone pass logins on"), "%s", service.Reason(err))}
	case err != nil:
		return []Line{fail(keystoneAt(x.config.URL).fix(err), "%s", service.Reason(err))}
	}
	if !byApplication {
		return []Line{ok("Keystone accepts the login of %s", c)}
	}
	h, err := x.cloud.Holder(ctx)
	if err != nil || h.Application == nil {
		return []Line{ok("Keystone accepts the login with %s", c)}
	}
	var lines []Line
	if end := h.Application.ExpiresAt; !end.IsZero() && time.Until(end) < expirySoon {
		lines = append(lines, warn(instruction("create another application credential, and set OS_APPLICATION_CREDENTIAL_ID and OS_APPLICATION_CREDENTIAL_SECRET"),
			"application credential %s expires at %s", h.Application.ID, day(end)))
	}
	if h.Application.Unrestricted {
		lines = append(lines, warn(instruction("create another application credential without --unrestricted, and delete this one"),
			"application credential %s is unrestricted: a person who has the credential can create further credentials of the same user", h.Application.ID))
	}
	return orOK(lines, "Keystone accepts the login with %s", c)
}

// userFlags returns the arguments with which `openstack user show` finds the user of a credential.
func userFlags(c conn.Credential) []string {
	if c.UserID != "" {
		return []string{c.UserID}
	}
	var all []string
	if domain := cmp.Or(c.UserDomainID, c.UserDomainName); domain != "" {
		all = []string{"--domain", domain}
	}
	return append(all, c.Username)
}

func scope(ctx context.Context, x *examination) []Line {
	holder, err := x.cloud.Holder(ctx)
	switch {
	case errors.Is(err, keystone.ErrUnscoped):
		fix := instruction("assign a role to the user on a project, and set OS_PROJECT_NAME and OS_PROJECT_DOMAIN_NAME to this project")
		if len(x.scopes) > 0 {
			fix = setting("OS_PROJECT_ID=%s", explain.ShellWord(x.scopes[0].ID))
		}
		return []Line{fail(fix, "the login has no scope; %s", x.usable())}
	case upstream.RefusedLogin(err) != nil:
		return []Line{fail(x.fixOfScope(), "the password is right, but the user has no role on %s; %s", scopeName(x.config.Credential), x.usable())}
	case err != nil:
		return []Line{fail(instruction("correct this, and type tenantry doctor again"), "%s", service.Reason(err))}
	}
	x.holder = holder
	return []Line{ok("%s", x.scopePlace(ctx))}
}

// The method `usable` names the projects that the service's user could use as the scope.
func (x *examination) usable() string {
	var names []string
	for _, p := range x.scopes {
		names = append(names, cmp.Or(p.Name, p.ID))
	}
	if len(names) == 0 {
		return "the user has no role on any project"
	}
	return "the user has a role on: " + strings.Join(names, ", ")
}

func scopeName(c conn.Credential) string {
	switch {
	case c.System:
		return "the system"
	case c.ProjectID+c.ProjectName != "":
		return "project " + cmp.Or(c.ProjectName, c.ProjectID) + ", or the project does not exist or is disabled"
	}
	return "domain " + cmp.Or(c.DomainName, c.DomainID) + ", or the domain does not exist or is disabled"
}

// fixOfScope returns the fix for a user who has no role on the configured scope. If the user has a role on a project, the scope may be wrong.
func (x *examination) fixOfScope() Fix {
	c, grant := x.config.Credential, x.grantOnScope()
	switch {
	case len(x.scopes) > 0 && c.ProjectID+c.ProjectName != "":
		return instruction("set OS_PROJECT_NAME to a project on which the user has a role, and set the domain of this project; or give the user a role on the configured project: %s", grant.Text)
	case !c.System && c.ProjectID+c.ProjectName == "":
		return instruction("type %s; if Keystone is older than 2024.2, it has no domain managers: set a project as the scope, and give the user the role admin on this project", grant.Text)
	}
	return grant
}

// grantOnScope returns the command that assigns role admin to the service's user in the scope of its credential. On a domain, role manager is
// enough.
func (x *examination) grantOnScope() Fix {
	c := x.config.Credential
	words := []string{"openstack", "role", "add"}
	switch user := cmp.Or(c.UserID, x.holder.UserID); {
	case user != "":
		words = append(words, "--user", user)
	default:
		words = append(words, "--user", c.Username)
		if domain := cmp.Or(c.UserDomainID, c.UserDomainName); domain != "" {
			words = append(words, "--user-domain", domain)
		}
	}
	role := "admin"
	switch {
	case x.holder.ProjectID != "":
		words = append(words, "--project", x.holder.ProjectID)
	case c.System:
		words = append(words, "--system", "all")
	case c.ProjectID != "":
		words = append(words, "--project", c.ProjectID)
	case c.ProjectName != "":
		words = append(words, "--project", c.ProjectName)
		if domain := cmp.Or(c.ProjectDomainID, c.ProjectDomainName); domain != "" {
			words = append(words, "--project-domain", domain)
		}
	default:
		words, role = append(words, "--domain", cmp.Or(c.DomainID, c.DomainName)), "manager"
	}
	return command(append(words, role)...)
}

// powerless are roles with which Keystone's default policies do not permit the writes that Tenantry needs.
var powerless = []string{"member", "_member_", "reader", "service"}

// The function `permissions` looks at the roles of the token, because only a write could prove that Keystone permits writes.
func permissions(_ context.Context, x *examination) []Line {
	var names []string
	manages, unknown := false, false
	for _, r := range x.holder.Roles {
		names = append(names, r.Name)
		manages = manages || keystone.IsAdminRole(r.Name) || x.holder.DomainID != "" && keystone.SameRole(r.Name, "manager")
		unknown = unknown || !slices.ContainsFunc(powerless, func(name string) bool { return keystone.SameRole(name, r.Name) })
	}
	slices.Sort(names)
	has := "the user has the roles " + strings.Join(names, ", ")
	fix := x.grantOnScope()
	if a := x.holder.Application; a != nil {
		fix = instruction("create an application credential with role admin as the service's user, with: openstack application credential create --role admin NAME; " +
			"then set OS_APPLICATION_CREDENTIAL_ID and OS_APPLICATION_CREDENTIAL_SECRET")
		has = "application credential " + a.ID + " has the roles " + strings.Join(names, ", ")
	}
	switch {
	case manages:
		return []Line{ok("%s", has)}
	case unknown:
		return []Line{warn(fix, "%s, but not admin: Keystone's policy must permit the user to create projects and role assignments", has)}
	}
	return []Line{fail(fix, "%s; with these roles, Keystone permits no changes", has)}
}
