package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/service"
)

// Config has all settings of the server. loadConfig checks the values without network calls. Config does not contain the clouds. As
// for every OpenStack client, clouds.yaml and the OS_* variables describe the clouds.
type Config struct {
	service.Config // SecretKey may be nil until withSecretKey sets it

	secretKeySource string            // source of SecretKey, for error texts
	sources         map[string]string // where each setting comes from, by key: a variable, or a file and a line; defaults are not in it

	LogLevel  string // debug, info, warn or error
	LogFormat string // json or console
}

// The type `given` has the text of a setting, and the source of this text: a variable, or a line of the file.
type given struct{ text, source string }

// loadConfig reads the file at path, and then the TENANTRY_* variables of environ. The variables override the file. If path is
// empty, loadConfig reads the file that TENANTRY_CONFIG names, if any. An empty value counts as not set. The returned error lists
// all faults and contains no secret. Each fault names the setting and the problem. A setting whose key is in the list unneeded may be
// missing.
func loadConfig(path string, environ []string, unneeded ...string) (Config, error) {
	return loadConfigOr(nil, path, environ, unneeded...)
}

// loadConfigOr is like loadConfig, but with other defaults for some settings. The map `fallbacks` has these defaults, by the key of the
// setting.
func loadConfigOr(fallbacks map[string]string, path string, environ []string, unneeded ...string) (Config, error) {
	env := variables(environ)
	values, faults := map[string]given{}, []error(nil)
	if path = cmp.Or(path, env["TENANTRY_CONFIG"]); path != "" {
		var err error
		if values, faults, err = readFile(path); err != nil {
			return Config{}, err
		}
	}
	for name, text := range env {
		if key, ours := strings.CutPrefix(name, "TENANTRY_"); ours && text != "" && !notSettings(name) {
			values[strings.ToLower(key)] = given{text, name}
		}
	}

	c := Config{sources: map[string]string{}}
	for _, s := range c.settings() {
		value, ok := values[s.key]
		if ok {
			c.sources[s.key] = value.source
		}
		delete(values, s.key)
		if !ok {
			value.text = cmp.Or(fallbacks[s.key], s.fallback)
		}
		if value.text == "" {
			continue
		}
		if err := s.read(value.text); err != nil {
			faults = append(faults, fault(s.key, value.source, err.Error(), s.example))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		faults = append(faults, fmt.Errorf("%s (%s): unknown setting; docs/configuration.md lists all settings", key, values[key].source))
	}
	c.DatabaseURL = cmp.Or(c.DatabaseURL, defaultDatabase(env))
	if c.BillingConnections == 0 {
		c.BillingConnections = defaultBillingConnections(c.BillingURL)
	}
	if len(faults) == 0 { // check compares settings with each other, so each setting must be valid
		faults = c.check(unneeded)
	}
	if len(faults) > 0 {
		return Config{}, errors.Join(faults...)
	}
	return c, nil
}

// The type `relation` is a rule about several settings.
type relation struct {
	key     string // key of the setting that the error names
	rule    string // the rule, as a phrase for docs/configuration.md
	broken  bool
	wrong   string // text of the error if the rule is broken
	example string
}

// The method `relations` returns all rules about several settings.
func (c *Config) relations() []relation {
	all := []relation{
		{
			"tls_key", "set together with `tls_cert`", (c.TLSCert == "") != (c.TLSKey == ""),
			"tls_cert and tls_key must be set together", "/etc/tenantry/tls.key",
		},
		{
			"database_url", "required if the user has no home directory", c.DatabaseURL == "",
			"must be set, because the user has no home directory", databaseExample,
		},
		{
			"database_listen_url", "only with PostgreSQL", c.DatabaseListenURL != "" && c.onSQLite(),
			"must not be set with SQLite", listenExample,
		},
		{
			"secret_key", "required with PostgreSQL; the same key on all replicas", c.SecretKey == nil && !c.onSQLite() && c.DatabaseURL != "",
			"must be set with PostgreSQL, to the same key on all replicas", secretExample,
		},
		{
			"give_up_after", "at least `deadline`", c.GiveUpAfter < c.Deadline,
			fmt.Sprintf("%v is less than the deadline of %v", c.GiveUpAfter, c.Deadline), "24h",
		},
	}
	for _, r := range []struct {
		key   string
		roles []string
	}{{"customer_roles", c.CustomerRoles}, {"subscription_roles", c.SubscriptionRoles}} {
		all = append(all, relation{
			r.key, "the role in `admin_role` is not allowed; `admin` is allowed only with `allow_cloud_admin_role: true`",
			c.reserved(r.roles) != "", c.reserved(r.roles), "member,bs-admin",
		})
	}
	return all
}

// The method `reserved` looks for a role that users must not get, and returns the reason why users must not get this role. If users
// may get all of the roles, the result is empty.
func (c *Config) reserved(roles []string) string {
	name, found := keystone.FindReserved(roles, keystone.ReservedRoles(c.AdminRole, c.AllowCloudAdminRole))
	switch {
	case !found:
		return ""
	case keystone.IsAdminRole(name):
		return "role admin gives every user access to the whole cloud: remove the role, or set allow_cloud_admin_role to true"
	}
	return fmt.Sprintf("role %s makes every user an operator of Tenantry: remove the role, or choose another admin_role", name)
}

// The method `check` returns an error for each broken rule about several settings, except the rules of unneeded settings.
func (c *Config) check(unneeded []string) []error {
	var faults []error
	for _, r := range c.relations() {
		if r.broken && !slices.Contains(unneeded, r.key) {
			faults = append(faults, fault(r.key, "", r.wrong, r.example))
		}
	}
	slices.SortFunc(faults, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	return faults
}

func (c *Config) onSQLite() bool { return strings.HasPrefix(c.DatabaseURL, "sqlite:") }

// The function `fault` returns an error about a setting, with an example of a valid value. If source is empty, the error names the
// setting's variable.
func fault(key, source, wrong, example string) error {
	return fmt.Errorf("%s (%s): %s; for example %s", key, cmp.Or(source, variable(key)), wrong, example)
}

// The function `variable` returns the name of a setting's environment variable.
func variable(key string) string { return "TENANTRY_" + strings.ToUpper(key) }

// notSettings reports whether a TENANTRY_* variable is not a setting of the server. There are three kinds of such variables: the
// variables of the client commands, the variables of the tests, and TENANTRY_CONFIG, which names the file of settings.
func notSettings(name string) bool {
	ofClients := []string{envURL, envAPIKey, envAPISecret, envUserToken}
	return name == "TENANTRY_CONFIG" || slices.Contains(ofClients, name) || strings.HasPrefix(name, "TENANTRY_TEST_")
}

func variables(environ []string) map[string]string {
	env := make(map[string]string, len(environ))
	for _, line := range environ {
		name, value, _ := strings.Cut(line, "=")
		env[name] = value
	}
	return env
}

// defaultDatabase returns the URL of an SQLite file in the user's data directory. The XDG Base Directory Specification defines this
// directory. If the user has no home directory, defaultDatabase returns "".
func defaultDatabase(env map[string]string) string {
	data := env["XDG_DATA_HOME"]
	if !filepath.IsAbs(data) { // the XDG specification: ignore a relative path
		if !filepath.IsAbs(env["HOME"]) {
			return ""
		}
		data = filepath.Join(env["HOME"], ".local", "share")
	}
	return "sqlite:" + filepath.Join(data, "tenantry", "tenantry.db")
}

// defaultBillingConnections returns the default of billing_connections. If BillingStack is not embedded, the default is 1, because
// the original BillingStack serves one connection at a time, and an idle connection blocks all other connections.
func defaultBillingConnections(url string) int {
	if url != "" {
		return 1
	}
	return 64
}
