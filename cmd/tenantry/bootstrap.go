package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/bootstrap"
	"github.com/tenantry/tenantry/keystone/clouds"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

const bootstrapHelp = `Create the objects that Tenantry needs in Keystone: the roles of users and operators, the domain of users and tenants, and
the service user with its project and its role. Also create Tenantry's service in the catalog, with a public and an
internal endpoint.

With --apply, the command reads the objects first, and then creates the missing objects. It never changes or removes
an object that exists. If an object differs, the output shows the difference, and the command line that would change the
object. You can repeat the command, also after an interruption. The OS_* variables or clouds.yaml must have the
credential of an administrator of the cloud. The command never uses the credential of "tenantry serve".

With --print, the command prints openstack commands that create the same objects. It sends no request, and needs no
credential.

The domain and the roles are settings of the server: TENANTRY_DOMAIN, TENANTRY_ADMIN_ROLE, TENANTRY_CUSTOMER_ROLES and
TENANTRY_SUBSCRIPTION_ROLES. For this command, some of them have other defaults than for the server: see
docs/keystone.md.

If the service user does not exist, it is created with the password in --password-file, or with a new random password.
For a new user, the command writes the file of --credentials. This file has the user's OS_* variables, including the
password, and the settings above. Use the file as the environment of "tenantry serve". Only the owner of the file can
read it. If the file exists already, the command does not change the file, and uses the password in it. The password of
a user who exists is never changed.

--persona admin gives the service user the role admin on its project. Keystone then allows this user everything in the
cloud. --persona domain-manager gives the user the roles manager and service on the domain of users. This persona needs
Keystone 2024.2 or later, and a policy on Keystone's hosts. The command always prints this policy. It cannot find out
whether Keystone has the policy, so the default is admin, which works with every Keystone: see docs/keystone.md.

`

// serviceType is the type of Tenantry's service in Keystone's catalog. No other OpenStack service has this type.
const serviceType = "subscription-orchestration"

// bootstrapFallbacks has the values of settings that are not set. With the defaults of the server, users would be in the domain of the
// cloud's administrators, and each administrator of a project would be an operator.
var bootstrapFallbacks = map[string]string{"domain": "customers", "admin_role": "tenantry-admin"}

func (p *program) bootstrap() *cobra.Command {
	return group("bootstrap", "Prepare Keystone for Tenantry", "Prepare Keystone for Tenantry, before the first start of the service.\n\n"+exitHelp, p.bootstrapKeystone())
}

// The type `bootstrapFlags` has the flags of "bootstrap keystone".
type bootstrapFlags struct {
	print, apply                       bool
	persona, user, userDomain, project string
	region, public, internal           string
	credentials, passwordFile          string
	format                             *format
}

// bootstrapResult is the output of "bootstrap keystone".
type bootstrapResult struct {
	Objects  []bootstrap.Object `json:"objects,omitempty"`
	Commands []string           `json:"commands,omitempty"`
	Policy   string             `json:"policy"`
}

func (p *program) bootstrapKeystone() *cobra.Command {
	c := &cobra.Command{
		Use: "keystone (--print | --apply --credentials FILE)", Short: "Create roles, domain, service user and catalog entry in Keystone",
		Long: bootstrapHelp + exitHelp, Args: exactly(),
	}
	env := variables(p.environ)
	var f bootstrapFlags
	c.Flags().BoolVar(&f.print, "print", false, "print the command lines, and change nothing")
	c.Flags().BoolVar(&f.apply, "apply", false, "create the missing objects")
	c.Flags().StringVar(&f.persona, "persona", string(bootstrap.Admin), "rights of the service user: admin or domain-manager")
	c.Flags().StringVar(&f.user, "service-user", "tenantry", "name of the service user")
	c.Flags().StringVar(&f.userDomain, "service-domain", "default", "name or id of the domain that contains the service user and its project")
	c.Flags().StringVar(&f.project, "service-project", "service", "name of the service user's project")
	c.Flags().StringVar(&f.region, "region", cmp.Or(env["OS_REGION_NAME"], "RegionOne"), "region of the endpoints (default: the value of OS_REGION_NAME)")
	c.Flags().StringVar(&f.public, "public-url", env[envURL], "URL of Tenantry in the catalog (default: the value of "+envURL+")")
	c.Flags().StringVar(&f.internal, "internal-url", "", "URL of Tenantry for other services of the cloud (default: the URL of --public-url)")
	c.Flags().StringVar(&f.credentials, "credentials", "", "new file for the service user's OS_* variables and the settings")
	c.Flags().StringVar(&f.passwordFile, "password-file", "", "file with the password of a new service user; - is standard input")
	f.format = formatFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error { return p.runBootstrap(cmd.Context(), f) }
	return c
}

func (p *program) runBootstrap(ctx context.Context, f bootstrapFlags) error {
	config, err := loadConfigOr(bootstrapFallbacks, "", p.environ, "secret_key", "database_url")
	if err != nil {
		return exit(exitUsage, err)
	}
	s, err := f.setup(config)
	if err != nil {
		return exit(exitUsage, err)
	}
	if f.print {
		result := bootstrapResult{Commands: bootstrap.Lines(s), Policy: bootstrap.Policy(s)}
		return f.format.print(p.out, result, func(w io.Writer) { script(w, s, config, result) })
	}
	return p.applyBootstrap(ctx, f, config, s)
}

// The method `setup` checks the flags, and returns the objects that must exist.
func (f bootstrapFlags) setup(c Config) (bootstrap.Setup, error) {
	s := bootstrap.Setup{
		Persona: bootstrap.Persona(f.persona), Domain: c.Domain, OperatorRole: c.AdminRole,
		UserRoles: slices.Compact(slices.Sorted(slices.Values(slices.Concat(c.CustomerRoles, c.SubscriptionRoles)))),
		User:      f.user, UserDomain: f.userDomain, Project: f.project,
		Type: serviceType, Name: "tenantry", Region: f.region, PublicURL: f.public, InternalURL: cmp.Or(f.internal, f.public),
	}
	switch {
	case f.print == f.apply:
		return s, errors.New("one of --print and --apply is required")
	case s.Persona != bootstrap.Admin && s.Persona != bootstrap.DomainManager:
		return s, fmt.Errorf("--persona: %q is neither %s nor %s", f.persona, bootstrap.Admin, bootstrap.DomainManager)
	case f.apply && f.credentials == "" && f.passwordFile == "":
		return s, errors.New("--credentials is required: the name of a new file for the password of the service user")
	}
	for _, address := range []flagValue{{"--public-url", s.PublicURL}, {"--internal-url", s.InternalURL}} {
		if err := address.isURL(); err != nil {
			return s, err
		}
	}
	for _, n := range []flagValue{{"--service-user", f.user}, {"--service-domain", f.userDomain}, {"--service-project", f.project}, {"--region", f.region}} {
		if _, err := text.parse(n.value); err != nil || n.value == "" {
			return s, fmt.Errorf("%s: %w", n.flag, cmp.Or(err, errors.New("the name is empty")))
		}
	}
	return s, s.CheckNames()
}

type flagValue struct{ flag, value string }

// isURL returns an error without the value, which may contain a password.
func (n flagValue) isURL() error {
	u, err := url.Parse(n.value)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("%s must be an http:// or https:// URL without user, password and parameters", n.flag)
	}
	return nil
}

func (p *program) applyBootstrap(ctx context.Context, f bootstrapFlags, config Config, s bootstrap.Setup) error {
	cfg, err := clouds.FromEnv()
	if err != nil {
		return usage("OS_* variables or clouds.yaml must have the credential of an administrator of the cloud: %w", err)
	}
	if cfg.Version == "2.0" {
		return usage("bootstrap needs Identity v3: set OS_IDENTITY_API_VERSION=3")
	}
	cfg.AllowAdminRole = config.AllowCloudAdminRole
	b, err := bootstrap.New(cfg, s)
	if err != nil {
		return exit(exitUsage, err)
	}
	file := credentialsFile{path: f.credentials, content: func(password string) []variableLine {
		return serviceVariables(s, config, cfg.URL, variables(p.environ)["OS_CACERT"], b, password)
	}}
	if f.passwordFile != "" {
		if file.given, err = p.passwordIn(f.passwordFile); err != nil {
			return exit(exitUsage, err)
		}
	}
	objects, err := b.Apply(ctx, file.password)
	if b.PasswordRefused() {
		err = errors.Join(err, file.removeNew())
	}
	if file.object != nil {
		objects = append(objects, *file.object)
	}
	if len(objects) > 0 {
		result := bootstrapResult{Objects: objects, Policy: bootstrap.Policy(s)}
		err = errors.Join(err, f.format.print(p.out, result, func(w io.Writer) { bootstrapTable(w, result) }))
	}
	if err != nil {
		return ofBootstrap(err)
	}
	if s.Persona == bootstrap.Admin {
		p.say("tenantry: warning: a person who has the password of user %s can change everything in the cloud: see docs/keystone.md", s.User)
	}
	if file.object == nil && f.credentials != "" {
		p.say("tenantry: %s was not written, because user %s existed before: only a new user gets a file", f.credentials, s.User)
	}
	if file.object == nil { // no file has the settings
		p.say("tenantry: tenantry serve needs these settings: %s", settingsOf(config, serviceDomain(s, b)))
	}
	if n := len(slices.DeleteFunc(slices.Clone(objects), func(o bootstrap.Object) bool { return o.State != bootstrap.Differs })); n > 0 {
		return exit(exitFindings, fmt.Errorf("%d objects differ, and were left unchanged", n))
	}
	return nil
}

// ofBootstrap adds an exit code, and says who can fix the error.
func ofBootstrap(err error) error {
	e, ok := errors.AsType[*upstream.Error](err)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, bootstrap.ErrRequired):
		return exit(exitRefused, err)
	case errors.Is(err, keystone.ErrForbidden):
		return exit(exitRefused, lines(fmt.Sprintf("%s: Keystone's policy forbids it: %s", e.Op, e.Message),
			"  an administrator of the cloud can run this command: set OS_* to a credential with the role admin"))
	case errors.Is(err, keystone.ErrUnscoped):
		return exit(exitUsage, err)
	case ok && e.Class == upstream.Permanent:
		return exit(exitRefused, err)
	case ok:
		return exit(exitUnreachable, lines(err.Error(), "  you can repeat the command"))
	}
	return err
}

// bootstrapTable prints the objects, then the differences, and then the policy.
func bootstrapTable(w io.Writer, r bootstrapResult) {
	row(w, "KIND", "NAME", "STATE")
	for _, o := range r.Objects {
		row(w, o.Kind, o.Name, o.State)
	}
	for _, o := range r.Objects {
		for i, what := range o.Differs {
			row(w)
			row(w, fmt.Sprintf("%s %s differs: %s. To change it:", o.Kind, o.Name, what))
			row(w, "  "+o.Fix[i])
		}
	}
	row(w)
	for line := range strings.Lines(r.Policy) {
		row(w, strings.TrimSuffix(line, "\n"))
	}
}

// The function `script` prints the command lines as a script for bash.
func script(w io.Writer, s bootstrap.Setup, c Config, r bootstrapResult) {
	row(w, "# Needs OS_* variables or clouds.yaml with the credential of an administrator of the cloud.")
	row(w, "# If the service user exists already, find out who knows its password before you give it a role.")
	for _, line := range r.Commands {
		row(w, line)
	}
	domain := s.Domain
	if s.Persona == bootstrap.DomainManager {
		domain = "ID_OF_THE_DOMAIN"
	}
	row(w, "")
	row(w, "# tenantry serve needs the credential of the service user in OS_* variables, and these settings:")
	row(w, "#   "+settingsOf(c, domain))
	row(w, "")
	row(w, "cat <<'POLICY'")
	for line := range strings.Lines(r.Policy) {
		row(w, strings.TrimSuffix(line, "\n"))
	}
	row(w, "POLICY")
}
