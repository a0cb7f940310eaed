package main

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/service"
)

var (
	testKey    = []byte("0123456789abcdef0123456789abcdef")
	testKeyEnv = "TENANTRY_SECRET_KEY=" + base64.StdEncoding.EncodeToString(testKey)
)

func defaults() Config {
	return Config{Config: service.Config{
		Listen:              "127.0.0.1:9292",
		DatabaseURL:         "sqlite:/users/ann/.local/share/tenantry/tenantry.db",
		KeystoneConnections: 16,
		BillingListen:       "127.0.0.1:9091",
		BillingConnections:  64,
		CustomerRoles:       []string{"member", "bs-admin"},
		SubscriptionRoles:   []string{"member"},
		Domain:              "default",
		AdminRole:           "admin",
		Lease:               10 * time.Second,
		LateWindow:          90 * time.Second,
		Deadline:            15 * time.Minute,
		GiveUpAfter:         24 * time.Hour,
		KeepTenant:          7 * 24 * time.Hour, KeepBilling: 35 * 24 * time.Hour,
		MaxLiveRuns: 1000, LoginRate: 10, UsageSpoolMiB: 1024,
	}, LogLevel: "info", LogFormat: "json"}
}

// configFile writes content to tenantry.yaml and returns its path.
func configFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tenantry.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadConfig(t *testing.T) {
	cases := map[string]struct {
		file string
		env  []string
		want func(*Config)
	}{
		"nothing given": {
			want: func(*Config) {},
		},
		"a data directory of the user's choice": {
			env:  []string{"XDG_DATA_HOME=/data"},
			want: func(c *Config) { c.DatabaseURL = "sqlite:/data/tenantry/tenantry.db" },
		},
		"a relative data directory is ignored": {
			env:  []string{"XDG_DATA_HOME=data"},
			want: func(*Config) {},
		},
		"a file with lists, comments and a number as a text": {
			file: "# ours\ncustomer_roles: [member, seller]\nsubscription_roles:\n  - reader\ndomain: 0123 # an id\nlate_window: 1s\nlease:\n",
			want: func(c *Config) {
				c.CustomerRoles = []string{"member", "seller"}
				c.SubscriptionRoles = []string{"reader"}
				c.Domain = "0123"
				c.LateWindow = time.Second
			},
		},
		"an empty file": {
			file: "# nothing yet\n",
			want: func(*Config) {},
		},
		"a variable overrides the file, but an empty variable does not": {
			file: "listen: 127.0.0.1:1\nbilling_listen: '[::1]:2'\n",
			env:  []string{"TENANTRY_LISTEN=:3", "TENANTRY_BILLING_LISTEN="},
			want: func(c *Config) { c.Listen, c.BillingListen = ":3", "[::1]:2" },
		},
		"a variable overrides a wrong value in the file": {
			file: "lease: never\n",
			env:  []string{"TENANTRY_LEASE=2s"},
			want: func(c *Config) { c.Lease = 2 * time.Second },
		},
		"PostgreSQL with a key": {
			env:  []string{"TENANTRY_DATABASE_URL=postgres://u:p@h/d", testKeyEnv},
			want: func(c *Config) { c.DatabaseURL, c.SecretKey = "postgres://u:p@h/d", testKey },
		},
		"PostgreSQL behind a connection pooler": {
			env: []string{"TENANTRY_DATABASE_URL=postgres://u:p@pooler/d", "TENANTRY_DATABASE_LISTEN_URL=postgres://u:p@h/d", testKeyEnv},
			want: func(c *Config) {
				c.DatabaseURL, c.DatabaseListenURL, c.SecretKey = "postgres://u:p@pooler/d", "postgres://u:p@h/d", testKey
			},
		},
		"a BillingStack that is not embedded gets one connection": {
			env:  []string{"TENANTRY_BILLING_URL=http://b:9091/v2/"},
			want: func(c *Config) { c.BillingURL, c.BillingConnections = "http://b:9091/v2", 1 },
		},
		"unless the setting allows more": {
			env:  []string{"TENANTRY_BILLING_URL=http://b:9091/v1", "TENANTRY_BILLING_CONNECTIONS=8"},
			want: func(c *Config) { c.BillingURL, c.BillingConnections = "http://b:9091/v1", 8 },
		},
		"admin if it is allowed": {
			env: []string{"TENANTRY_CUSTOMER_ROLES=admin", "TENANTRY_ALLOW_CLOUD_ADMIN_ROLE=true"},
			want: func(c *Config) {
				c.CustomerRoles, c.AllowCloudAdminRole = []string{"admin"}, true
			},
		},
		"TLS": {
			env:  []string{"TENANTRY_TLS_CERT=a.crt", "TENANTRY_TLS_KEY=a.key"},
			want: func(c *Config) { c.TLSCert, c.TLSKey = "a.crt", "a.key" },
		},
		"variables of the tests and of others": {
			env:  []string{"TENANTRY_TEST_POSTGRES_URL=x", "OS_CLOUD=y"},
			want: func(*Config) {},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			env := append([]string{"HOME=/users/ann"}, c.env...)
			if c.file != "" {
				env = append(env, "TENANTRY_CONFIG="+configFile(t, c.file))
			}
			want := defaults()
			c.want(&want)
			got, err := loadConfig("", env)
			got.sources = nil
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
			}
		})
	}
}

func TestLoadConfigRefuses(t *testing.T) {
	cases := map[string]struct {
		file string
		env  []string
		want string
	}{
		"several faults at once": {
			file: "listen: here\nlisten_to: x\nlease: 1ms\ndomain: {id: x}\n",
			env:  []string{"TENANTRY_LEASES=1s", "TENANTRY_LOG_LEVEL=loud"},
			want: "domain (tenantry.yaml:4): the value must be a text, a number or a list\n" +
				`listen (tenantry.yaml:1): "here" is not host:port; for example 0.0.0.0:9292` + "\n" +
				"lease (tenantry.yaml:3): 1ms is less than the minimum of 1s; for example 10s\n" +
				`log_level (TENANTRY_LOG_LEVEL): "loud" is not one of debug, info, warn, error; for example debug` + "\n" +
				"leases (TENANTRY_LEASES): unknown setting; docs/configuration.md lists all settings\n" +
				"listen_to (tenantry.yaml:2): unknown setting; docs/configuration.md lists all settings",
		},
		"an invalid port": {
			env:  []string{"TENANTRY_LISTEN=h:70000"},
			want: `listen (TENANTRY_LISTEN): "70000" is not a port from 0 to 65535; for example 0.0.0.0:9292`,
		},
		"a certificate without a key": {
			env:  []string{"TENANTRY_TLS_CERT=a.crt"},
			want: "tls_key (TENANTRY_TLS_KEY): tls_cert and tls_key must be set together; for example /etc/tenantry/tls.key",
		},
		"another database, whose password is not repeated": {
			env:  []string{"TENANTRY_DATABASE_URL=mysql://u:hunter2@h/d"},
			want: "database_url (TENANTRY_DATABASE_URL): the value must be a valid postgres:// URL or sqlite:PATH; for example " + databaseExample,
		},
		"a database URL that cannot be read": {
			env:  []string{"TENANTRY_DATABASE_URL=postgres://u:hunter2%zz@h/d"},
			want: "database_url (TENANTRY_DATABASE_URL): the value must be a valid postgres:// URL or sqlite:PATH; for example " + databaseExample,
		},
		"a database in memory": {
			env:  []string{"TENANTRY_DATABASE_URL=sqlite::memory:"},
			want: "database_url (TENANTRY_DATABASE_URL): sqlite: must be followed by the path of a file; for example " + databaseExample,
		},
		"a listen URL that cannot be read, and whose password is not repeated": {
			env:  []string{"TENANTRY_DATABASE_LISTEN_URL=sqlite://u:hunter2@h/d"},
			want: "database_listen_url (TENANTRY_DATABASE_LISTEN_URL): the value must be a valid postgres:// URL; for example " + listenExample,
		},
		"a listen URL with SQLite": {
			env:  []string{"TENANTRY_DATABASE_LISTEN_URL=postgres://u:hunter2@h/d"},
			want: "database_listen_url (TENANTRY_DATABASE_LISTEN_URL): must not be set with SQLite; for example " + listenExample,
		},
		"PostgreSQL without a key": {
			env:  []string{"TENANTRY_DATABASE_URL=postgres://h/d"},
			want: "secret_key (TENANTRY_SECRET_KEY): must be set with PostgreSQL, to the same key on all replicas; for example " + secretExample,
		},
		"a key that is too short": {
			env:  []string{"TENANTRY_SECRET_KEY=aHVudGVyMg=="},
			want: "secret_key (TENANTRY_SECRET_KEY): the key must be 32 bytes in base64; for example " + secretExample,
		},
		"a BillingStack without its version": {
			env: []string{"TENANTRY_BILLING_URL=http://b:9091"},
			want: `billing_url (TENANTRY_BILLING_URL): "http://b:9091" must end in /v1 or /v2, the version of BillingStack's API;` +
				" for example http://billing.example.org:9091/v2",
		},
		"a BillingStack with a password": {
			env: []string{"TENANTRY_BILLING_URL=http://u:hunter2@b/v2"},
			want: "billing_url (TENANTRY_BILLING_URL): the URL must have only a scheme, a host and a path;" +
				" for example http://billing.example.org:9091/v2",
		},
		"no connection to BillingStack": {
			env:  []string{"TENANTRY_BILLING_CONNECTIONS=0"},
			want: `billing_connections (TENANTRY_BILLING_CONNECTIONS): "0" is not a number above 0; for example 1`,
		},
		"a role twice": {
			env:  []string{"TENANTRY_CUSTOMER_ROLES=member, member"},
			want: `customer_roles (TENANTRY_CUSTOMER_ROLES): "member" is listed twice; for example member,bs-admin`,
		},
		"an empty role": {
			env:  []string{"TENANTRY_SUBSCRIPTION_ROLES=member,"},
			want: `subscription_roles (TENANTRY_SUBSCRIPTION_ROLES): the list "member," contains an empty name; for example member`,
		},
		"the role of the cloud's admin": {
			env: []string{"TENANTRY_SUBSCRIPTION_ROLES=member,Admin"},
			want: "subscription_roles (TENANTRY_SUBSCRIPTION_ROLES): role admin gives every user access to the whole cloud:" +
				" remove the role, or set allow_cloud_admin_role to true; for example member,bs-admin",
		},
		"the operators' role": {
			env: []string{"TENANTRY_ADMIN_ROLE=tenantry-admin", "TENANTRY_CUSTOMER_ROLES=member,Tenantry-Admin"},
			want: "customer_roles (TENANTRY_CUSTOMER_ROLES): role Tenantry-Admin makes every user an operator of Tenantry:" +
				" remove the role, or choose another admin_role; for example member,bs-admin",
		},
		"the operators' role, though admin is allowed": {
			env: []string{"TENANTRY_ADMIN_ROLE=ops", "TENANTRY_SUBSCRIPTION_ROLES=ops", "TENANTRY_ALLOW_CLOUD_ADMIN_ROLE=true"},
			want: "subscription_roles (TENANTRY_SUBSCRIPTION_ROLES): role ops makes every user an operator of Tenantry:" +
				" remove the role, or choose another admin_role; for example member,bs-admin",
		},
		"yes for true": {
			env:  []string{"TENANTRY_ALLOW_CLOUD_ADMIN_ROLE=yes"},
			want: `allow_cloud_admin_role (TENANTRY_ALLOW_CLOUD_ADMIN_ROLE): "yes" is neither true nor false; for example true`,
		},
		"no late window": {
			env:  []string{"TENANTRY_LATE_WINDOW=0s"},
			want: "late_window (TENANTRY_LATE_WINDOW): 0s is less than the minimum of 1s; for example 90s",
		},
		"giving up before the deadline": {
			env:  []string{"TENANTRY_GIVE_UP_AFTER=1m"},
			want: "give_up_after (TENANTRY_GIVE_UP_AFTER): 1m0s is less than the deadline of 15m0s; for example 24h",
		},
		"no home": {
			env:  []string{"HOME="},
			want: "database_url (TENANTRY_DATABASE_URL): must be set, because the user has no home directory; for example " + databaseExample,
		},
		"a key twice in the file": {
			file: "lease: 10s\nlease: 11s\n",
			want: `reading the configuration: tenantry.yaml: line 2: mapping key "lease" already defined at [1:1]`,
		},
		"a file with only a text": {
			file: "hunter2\n",
			want: "reading the configuration: tenantry.yaml must be a YAML mapping of keys to values",
		},
		"a file that is not YAML, which is not repeated": {
			file: "secret_key: \"hunter2\nlease: 10s\n",
			want: "reading the configuration: tenantry.yaml: line 1: could not find end character of double-quoted text",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			env := append([]string{"HOME=/users/ann"}, c.env...)
			path := ""
			if c.file != "" {
				path = configFile(t, c.file)
			}
			got, err := loadConfig(path, env)
			if err == nil || err.Error() != c.want {
				t.Errorf("got  %+v,\n%v\nwant\n%v", got, err, c.want)
			}
		})
	}
}

func TestLoadConfigFileMissing(t *testing.T) {
	if got, err := loadConfig(filepath.Join(t.TempDir(), "absent"), []string{"HOME=/users/ann"}); err == nil {
		t.Errorf("got %+v, want an error", got)
	}
}

func TestPrintedConfigIsReadAgain(t *testing.T) {
	want := defaults()
	want.Domain, want.CustomerRoles = "0123", []string{"a b", "c: d"}
	var out strings.Builder
	if err := want.print(&out); err != nil {
		t.Fatal(err)
	}
	got, err := loadConfig(configFile(t, out.String()), nil)
	if got.sources = nil; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v, %v\nwant %+v\nfrom\n%s", got, err, want, out.String())
	}
}

func TestPrintedConfigMasksSecrets(t *testing.T) {
	c := defaults()
	c.SecretKey = testKey
	c.DatabaseURL = "postgres://u:hunter2@h/d?password=hunter2&sslmode=disable&sslpassword=hunter2"
	c.DatabaseListenURL = "postgres://u:hunter2@h:5432/d"
	var out strings.Builder
	if err := c.print(&out); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(strings.Split(out.String(), "\n")[3:6], "\n")
	want := "database_url: postgres://u:xxxxx@h/d?password=xxxxx&sslmode=disable&sslpassword=xxxxx\n" +
		"database_listen_url: postgres://u:xxxxx@h:5432/d\nsecret_key: xxxxx"
	if got != want || strings.Contains(out.String(), "hunter2") {
		t.Errorf("got\n%s\nwant these lines in it\n%s", out.String(), want)
	}
}

// Each setting is shown with its value and its source. No secret is shown, wherever it comes from.
func TestTheSettingsInForceAreShown(t *testing.T) {
	file := configFile(t, "domain: customers\nlog_level: debug\ndatabase_url: postgres://u:hunter2@h/d?sslpassword=hunter2\n")
	c, err := loadConfig("", []string{
		"TENANTRY_CONFIG=" + file, "TENANTRY_LOG_LEVEL=warn", "TENANTRY_DATABASE_LISTEN_URL=postgres://u:hunter2@h/d", testKeyEnv, "TENANTRY_CUSTOMER_ROLES=a,b",
	})
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]service.Setting{}
	for _, s := range c.shown() {
		shown[s.Key] = s
		if all := fmt.Sprintf("%+v", s); strings.Contains(all, "hunter2") || strings.Contains(all, string(testKey)) || strings.Contains(all, testKeyEnv[len("TENANTRY_SECRET_KEY="):]) {
			t.Errorf("a secret is shown: %s", all)
		}
		if s.Meaning == "" || s.Default == "" {
			t.Errorf("%+v lacks its meaning or its default", s)
		}
	}
	if len(shown) != len(c.settings()) {
		t.Errorf("%d settings are shown, want %d", len(shown), len(c.settings()))
	}
	for key, want := range map[string]service.Setting{
		"domain":         {Variable: "TENANTRY_DOMAIN", Value: "customers", Source: service.SourceFile, File: "tenantry.yaml:1", Default: "default"},
		"log_level":      {Variable: "TENANTRY_LOG_LEVEL", Value: "warn", Source: service.SourceVariable, Default: "info"},
		"customer_roles": {Variable: "TENANTRY_CUSTOMER_ROLES", Value: "a,b", Source: service.SourceVariable, Default: "member,bs-admin"},
		"lease":          {Variable: "TENANTRY_LEASE", Value: "10s", Source: service.SourceDefault, Default: "10s"},
		"secret_key":     {Variable: "TENANTRY_SECRET_KEY", Value: "xxxxx", Source: service.SourceVariable, Default: shown["secret_key"].Default},
		"database_url": {
			Variable: "TENANTRY_DATABASE_URL", Value: "postgres://u:xxxxx@h/d?sslpassword=xxxxx", Source: service.SourceFile, File: "tenantry.yaml:3",
			Default: shown["database_url"].Default,
		},
	} {
		want.Key, want.Meaning = key, shown[key].Meaning
		if shown[key] != want {
			t.Errorf("got  %+v\nwant %+v", shown[key], want)
		}
	}
}

// Without a configured key, the key is that of the file beside the database.
func TestTheSourceOfAKeyFileIsShown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.db")
	c, err := loadConfig("", []string{"TENANTRY_DATABASE_URL=sqlite:" + path})
	if err == nil {
		c, err = withSecretKey(c)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range c.shown() {
		if s.Key == "secret_key" && (s.Value != "xxxxx" || s.Source != service.SourceFile || s.File != "t.db.key") {
			t.Errorf("got %+v", s)
		}
	}
}
