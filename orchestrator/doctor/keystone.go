package doctor

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/clouds"
	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/orchestrator/explain"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/service"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// keystoneTime is the time limit of each request to Keystone.
const keystoneTime = 10 * time.Second

func keystoneSettings(_ context.Context, x *examination) []Line {
	var err error
	if x.config, err = x.Cloud(merchants.DefaultCloud); err == nil {
		x.keystone.next = conn.NewTransport(x.config.TLS)
		x.config.Base = &x.keystone
		x.cloud, err = x.client(x.config)
	}
	if err != nil {
		return []Line{fail(instruction("set the OS_* variables, or OS_CLOUD and clouds.yaml, as for the openstack command"), "%s", oneLine(err))}
	}
	return []Line{ok("%s at %s", x.config.Credential, x.config.URL)}
}

// The method `client` returns a client of a cloud's Keystone. The client refuses all writes.
func (x *examination) client(c conn.Config) (keystone.Cloud, error) {
	c.Timeout, c.BulkTimeout = keystoneTime, keystoneTime
	c.OperatorRole, c.AllowAdminRole = x.AdminRole, x.AllowCloudAdminRole
	return clouds.Open(c)
}

// ussuri is the minor version of the Identity API that all releases of Keystone since Ussuri (2020) have.
const ussuri = 14

func keystoneAnswers(ctx context.Context, x *examination) []Line {
	version, err := x.cloud.Version(ctx)
	e, answered := errors.AsType[*upstream.Error](err)
	switch {
	case answered && e.Status != 0 && proxyFor(x.config.URL) != "": // perhaps the proxy has answered
		return []Line{fail(keystoneAt(x.config.URL).fix(err), "%s: %s", x.config.URL, service.Reason(err))}
	case answered && e.Status >= http.StatusInternalServerError:
		return []Line{fail(instruction("look at the logs of Keystone and of the proxy in front of it, and start Keystone again"),
			"%s answers, but fails: %s", x.config.URL, service.Reason(err))}
	case answered && (e.Status != 0 || errors.Is(err, conn.ErrIncomplete)):
		return []Line{fail(instruction("set OS_AUTH_URL to the address of Keystone's Identity API, such as http://keystone.example.org:5000/v3"),
			"%s is not the address of an Identity API: %s", x.config.URL, service.Reason(err))}
	case err != nil:
		return []Line{fail(keystoneAt(x.config.URL).fix(err), "%s: %s", x.config.URL, service.Reason(err))}
	}
	if minor, isV3 := strings.CutPrefix(version, "v3."); !isV3 {
		return []Line{warn(instruction("upgrade Keystone, and use Identity v3"),
			"Identity %s: vulnerabilities in releases of Keystone with this version are no longer fixed", version)}
	} else if n, err := strconv.Atoi(minor); err == nil && n < ussuri {
		return []Line{warn(instruction("upgrade Keystone"), "Identity %s: this Keystone is older than Ussuri (2020), and its vulnerabilities are no longer fixed", version)}
	}
	return []Line{ok("Identity %s; Keystone does not show its release, so its known vulnerabilities are not assessed", version)}
}

// keystoneAt describes the Keystone of the default cloud.
func keystoneAt(address string) server {
	return server{"Keystone", address, "OS_AUTH_URL", "OS_CACERT", true}
}

func keystoneTLS(_ context.Context, x *examination) []Line {
	lines := x.keystone.transport(x.config.URL, "OS_AUTH_URL")
	if t := x.config.TLS; t != nil && t.InsecureSkipVerify && strings.HasPrefix(x.config.URL, "https:") {
		lines = append(lines, warn(instruction("remove OS_INSECURE, and set OS_CACERT to a PEM file with the authority's certificate"),
			"the certificate of Keystone is not checked, so another server can pretend to be Keystone and get the password"))
	}
	return lines
}

func clockOfKeystone(ctx context.Context, x *examination) []Line {
	for range 3 { // the answers arrive in different parts of a second, so together they show the difference more exactly
		if _, err := x.cloud.Version(ctx); err != nil {
			break
		}
	}
	return x.keystone.clock.line("Keystone")
}

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
			"application credential %s is unrestricted: a person who has it can create further credentials of its user", h.Application.ID))
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
		return instruction("set OS_PROJECT_NAME and the project's domain to a project of the user; or give the user a role on the configured project: %s", grant.Text)
	case !c.System && c.ProjectID+c.ProjectName == "":
		return instruction("type %s; a Keystone older than 2024.2 has no managers of domains, and needs a project and the role admin as the scope", grant.Text)
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
	return []Line{fail(fix, "%s, with which Keystone permits no changes", has)}
}

func domain(ctx context.Context, x *examination) []Line {
	n := x.needs(ctx)[merchants.DefaultCloud]
	return orOK(faultsOfDomains(ctx, x.cloud, n), "Keystone has all domains of users and tenants (%d)", len(n.Domains))
}

// faultsOfDomains returns the domains that a cloud lacks, or that are disabled.
func faultsOfDomains(ctx context.Context, c keystone.Cloud, n service.Needs) (lines []Line) {
	for _, f := range n.CheckDomains(ctx, c) {
		lines = append(lines, fail(fixOfDomain(f), "%s", upstream.ForOperator(f.Err)))
	}
	for _, name := range sorted(n.Domains) {
		if d, err := c.Domain(ctx, name); err == nil && d.Disabled {
			lines = append(lines, fail(command("openstack", "domain", "set", "--enable", d.ID), "domain %s is disabled, so its users cannot log in", name))
		}
	}
	return lines
}

// faultsOfRoles returns the roles that a cloud lacks, or that users must not get.
func (x *examination) faultsOfRoles(ctx context.Context, c keystone.Cloud, n service.Needs) (lines []Line) {
	for _, f := range n.CheckRoles(ctx, c) {
		lines = append(lines, fail(x.fixOfRole(f), "%s", upstream.ForOperator(f.Err)))
	}
	return lines
}

func roles(ctx context.Context, x *examination) []Line {
	n := x.needs(ctx)[merchants.DefaultCloud]
	text := "Keystone has all roles of users (%d), and none implies a role that users must not get"
	if len(x.holder.NotShown) > 0 {
		text = "Keystone has all roles of users (%d); Identity v2.0 does not show which roles they imply"
	}
	return orOK(x.faultsOfRoles(ctx, x.cloud, n), text, len(n.Roles))
}

// The method `needs` returns what orders need from Keystone. The merchants are read only if the database has the schema of this release.
func (x *examination) needs(ctx context.Context) map[string]service.Needs {
	if x.store == nil || x.schema.Version != x.schema.Release {
		return service.NeedsOf(ctx, x.Config, nil)
	}
	return service.NeedsOf(ctx, x.Config, x.store.Merchants())
}

func fixOfDomain(f service.Fault) Fix {
	switch {
	case errors.Is(f.Err, keystone.ErrNotFound):
		return command("openstack", "domain", "create", f.Name)
	case is(f.Err, keystone.ErrAmbiguous, keystone.ErrForbidden) && f.Merchant == "":
		return instruction("set TENANTRY_DOMAIN to the id of the domain")
	case is(f.Err, keystone.ErrAmbiguous, keystone.ErrForbidden):
		return instruction("type the domain's id in: tenantry merchant update %s --domain ID", explain.ShellWord(f.Merchant))
	}
	return instruction("correct this, and type tenantry doctor again")
}

func (x *examination) fixOfRole(f service.Fault) Fix {
	switch {
	case errors.Is(f.Err, keystone.ErrNotFound):
		return command("openstack", "role", "create", f.Name)
	case errors.Is(f.Err, keystone.ErrForbidden):
		return instruction("permit the service's user to list roles and implied roles: see \"A narrower service user\" in docs/operations.md")
	case errors.Is(f.Err, keystone.ErrRefusedRole) && f.Merchant == "":
		var settings []string
		for _, s := range []struct {
			name  string
			roles []string
		}{{"TENANTRY_CUSTOMER_ROLES", x.CustomerRoles}, {"TENANTRY_SUBSCRIPTION_ROLES", x.SubscriptionRoles}} {
			if rest := slices.DeleteFunc(slices.Clone(s.roles), func(role string) bool { return role == f.Name }); len(rest) > 0 && len(rest) < len(s.roles) {
				settings = append(settings, s.name+"="+explain.ShellWord(strings.Join(rest, ",")))
			} else if len(rest) == 0 {
				return instruction("set %s to other roles", s.name)
			}
		}
		return setting("%s", strings.Join(settings, " "))
	case f.Merchant == "":
		return instruction("rename one of the roles, or set TENANTRY_CUSTOMER_ROLES and TENANTRY_SUBSCRIPTION_ROLES to other roles")
	}
	return instruction("type other roles in: tenantry merchant update %s --customer-roles ROLES --subscription-roles ROLES", explain.ShellWord(f.Merchant))
}

// otherClouds checks the clouds of merchants, and the entries of clouds.yaml for audits and for the check that a tenant is empty.
func otherClouds(ctx context.Context, x *examination) []Line {
	needs := x.needs(ctx)
	delete(needs, merchants.DefaultCloud)
	for _, entry := range []string{x.ResourcesCloud, x.AuditCloud} {
		if _, known := needs[entry]; entry != "" && entry != merchants.DefaultCloud && !known {
			needs[entry] = service.Needs{}
		}
	}
	var lines []Line
	for _, name := range sorted(needs) {
		lines = append(lines, x.otherCloud(ctx, name, needs[name])...)
	}
	return orOK(lines, "no other cloud is configured")
}

func (x *examination) otherCloud(ctx context.Context, name string, n service.Needs) []Line {
	config, err := x.Cloud(name)
	var c keystone.Cloud
	if err == nil {
		c, err = x.client(config)
	}
	if err != nil {
		return []Line{fail(instruction("add the cloud to clouds.yaml, or correct its entry"), "cloud %s: %s", name, oneLine(err))}
	}
	if err := c.Ping(ctx); err != nil {
		fix := server{"Keystone", config.URL, "auth_url of the entry in clouds.yaml", "cacert of the entry", true}.fix(err)
		if upstream.RefusedLogin(err) != nil || errors.Is(err, keystone.ErrUnscoped) {
			fix = instruction("correct the credential in the entry of the cloud in clouds.yaml")
		}
		return []Line{fail(fix, "cloud %s: %s", name, service.Reason(err))}
	}
	var lines []Line
	for _, fault := range slices.Concat(faultsOfDomains(ctx, c, n), x.faultsOfRoles(ctx, c, n)) {
		lines = append(lines, fail(inCloud(name, *fault.Fix), "cloud %s: %s", name, fault.Text))
	}
	return orOK(lines, "cloud %s answers, and accepts the login of %s", name, config.Credential)
}

// inCloud returns the fix for another cloud: a command of openstack must name the cloud.
func inCloud(name string, f Fix) Fix {
	if rest, found := strings.CutPrefix(f.Text, "openstack "); found {
		f.Text = "openstack --os-cloud " + explain.ShellWord(name) + " " + rest
	}
	return f
}
