package doctor

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/explain"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/service"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

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
		return instruction("set the domain of the merchant to the domain's id, with: tenantry merchant update %s --domain ID", explain.ShellWord(f.Merchant))
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
	return instruction("set other roles for the merchant, with: tenantry merchant update %s --customer-roles ROLES --subscription-roles ROLES", explain.ShellWord(f.Merchant))
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
