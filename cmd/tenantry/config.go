package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tenantry/tenantry/orchestrator/service"
)

// Config has all settings. Its values are valid, as far as that can be checked without calling anything. The clouds are not among
// them: they are read from clouds.yaml and OS_*, as for every OpenStack client.
type Config struct {
	service.Config // SecretKey may be nil: see withSecretKey

	secretKeySource string // where SecretKey was read

	LogLevel  string // debug, info, warn or error
	LogFormat string // json or console
}

// given is the text of a setting and where it was found.
type given struct{ text, source string }

// loadConfig reads the file at path, or at TENANTRY_CONFIG if path is empty, and then the TENANTRY_* variables of environ, which
// win. The file may be missing; an empty value counts as not set. The error joins all faults, each with the key, what is wrong
// and an example. It contains no secret.
func loadConfig(path string, environ []string) (Config, error) {
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

	var c Config
	for _, s := range c.settings() {
		value, ok := values[s.key]
		delete(values, s.key)
		if !ok {
			value.text = s.fallback
		}
		if value.text == "" {
			continue
		}
		if err := s.read(value.text); err != nil {
			faults = append(faults, fault(s.key, value.source, err.Error(), s.example))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		faults = append(faults, fmt.Errorf("%s (%s): there is no such setting", key, values[key].source))
	}
	c.DatabaseURL = cmp.Or(c.DatabaseURL, defaultDatabase(env))
	if c.BillingConnections == 0 {
		c.BillingConnections = defaultBillingConnections(c.BillingURL)
	}
	if len(faults) == 0 { // otherwise check would report values that could not be read
		faults = c.check()
	}
	if len(faults) > 0 {
		return Config{}, errors.Join(faults...)
	}
	return c, nil
}

// relation is a rule about several settings.
type relation struct {
	key     string // of the setting that is reported
	rule    string // a phrase for the table of settings
	broken  bool
	wrong   string // what the error says if the rule is broken
	example string
}

// relations returns all such rules.
func (c *Config) relations() []relation {
	all := []relation{
		{
			"tls_key", "set together with `tls_cert`", (c.TLSCert == "") != (c.TLSKey == ""),
			"tls_cert and tls_key must be set together", "/etc/tenantry/tls.key",
		},
		{
			"database_url", "needed where there is no home directory", c.DatabaseURL == "",
			"there is no home directory for the database", databaseExample,
		},
		{
			"secret_key", "needed with PostgreSQL, the same for all replicas", c.SecretKey == nil && !c.onSQLite() && c.DatabaseURL != "",
			"with PostgreSQL, all replicas need the same key", secretExample,
		},
		{
			"give_up_after", "at least `deadline`", c.GiveUpAfter < c.Deadline,
			fmt.Sprintf("%v is less than the deadline of %v", c.GiveUpAfter, c.Deadline), "24h",
		},
	}
	isAdmin := func(role string) bool { return strings.EqualFold(role, "admin") }
	for _, r := range []struct {
		key   string
		roles []string
	}{{"customer_roles", c.CustomerRoles}, {"subscription_roles", c.SubscriptionRoles}} {
		all = append(all, relation{
			r.key, "not `admin` without `allow_cloud_admin_role`", slices.ContainsFunc(r.roles, isAdmin) && !c.AllowCloudAdminRole,
			"role admin gives every user access to the whole cloud (allow_cloud_admin_role: true allows it)", "member,bs-admin",
		})
	}
	return all
}

// check returns the broken rules about several settings.
func (c *Config) check() []error {
	var faults []error
	for _, r := range c.relations() {
		if r.broken {
			faults = append(faults, fault(r.key, "", r.wrong, r.example))
		}
	}
	slices.SortFunc(faults, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	return faults
}

func (c *Config) onSQLite() bool { return strings.HasPrefix(c.DatabaseURL, "sqlite:") }

// fault returns an error about a setting, with an example of a valid value. If source is empty, the error names the setting's
// variable.
func fault(key, source, wrong, example string) error {
	return fmt.Errorf("%s (%s): %s; for example %s", key, cmp.Or(source, variable(key)), wrong, example)
}

// variable returns the name of a setting's environment variable.
func variable(key string) string { return "TENANTRY_" + strings.ToUpper(key) }

// notSettings reports whether a variable with the prefix TENANTRY_ is not a setting.
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

// defaultDatabase returns an SQLite file in the user's data directory (XDG Base Directory Specification), or "" without a home
// directory.
func defaultDatabase(env map[string]string) string {
	data := env["XDG_DATA_HOME"]
	if !filepath.IsAbs(data) { // the specification says that a relative path is ignored
		if !filepath.IsAbs(env["HOME"]) {
			return ""
		}
		data = filepath.Join(env["HOME"], ".local", "share")
	}
	return "sqlite:" + filepath.Join(data, "tenantry", "tenantry.db")
}

// defaultBillingConnections is 1 for a BillingStack that is not embedded: the original serves one connection at a time, and an
// idle one blocks all others.
func defaultBillingConnections(url string) int {
	if url != "" {
		return 1
	}
	return 64
}
