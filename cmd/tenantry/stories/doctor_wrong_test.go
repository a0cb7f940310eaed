package stories_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing/billingtest"
	"github.com/tenantry/tenantry/orchestrator/doctor"
	"github.com/tenantry/tenantry/store/storetest"
)

// wrongSetUp is a set-up with one fault.
type wrongSetUp struct {
	name string
	// The function `spoil` makes the set-up wrong. If the fix is an instruction, the function that it returns follows the instruction.
	spoil func(*setUp) (mend func())

	check, says string // the check that fails, and a part of its text
	fix         doctor.FixKind
	fixSays     string
}

// The function `without` returns a function that changes a variable, and whose result sets the variable to its old value.
func without(name, value string) func(*setUp) func() {
	return func(w *setUp) func() {
		right := w.env[name]
		w.env[name] = value
		return func() { w.env[name] = right }
	}
}

// unreachable is an address at which nobody listens.
const unreachable = "127.0.0.1:1"

var wrongSetUps = []wrongSetUp{
	{"an invalid setting", without("TENANTRY_LEASE", "soon"), "configuration", `lease (TENANTRY_LEASE): "soon" is not a duration`, doctor.Instruction, "10s"},
	{"no address of Keystone", without("OS_AUTH_URL", ""), "keystone-settings", "OS_AUTH_URL is not set", doctor.Instruction, "OS_*"},
	{"no Keystone at the address", without("OS_AUTH_URL", "http://"+unreachable+"/v3"), "keystone", "connection refused", doctor.Instruction, "OS_AUTH_URL"},
	{"another server at the address", func(w *setUp) func() {
		return without("OS_AUTH_URL", w.env["TENANTRY_BILLING_URL"][:len(w.env["TENANTRY_BILLING_URL"])-len("/v2")])(w)
	}, "keystone", "", doctor.Instruction, "OS_AUTH_URL"},
	{
		"a failing Keystone", func(w *setUp) func() {
			w.keystone.around = func(a *httptest.ResponseRecorder, _ *http.Request, _ http.Handler) {
				a.WriteHeader(http.StatusServiceUnavailable)
			}
			return func() { w.keystone.around = nil }
		},
		"keystone", "answers, but fails: ", doctor.Instruction, "start Keystone again",
	},
	{
		"the expired certificate of Keystone", expiredKeystone,
		"keystone", "certificate has expired", doctor.Instruction, "renew the certificate of Keystone",
	},
	{"a clock that differs", skewedKeystone, "clock-keystone", "ahead of the clock of this host", doctor.Instruction, "NTP"},
	{"a wrong password", without("OS_PASSWORD", "canary-wrong"), "credentials", "the password is wrong", doctor.Instruction, "openstack user show --domain default doctor-"},
	{"a wrong domain of the user", func(w *setUp) func() { return without("OS_USER_DOMAIN_ID", w.domain)(w) }, "credentials", "refuses the login", doctor.Instruction, "OS_USER_DOMAIN_NAME"},
	{
		"an expired application credential", func(w *setUp) func() {
			w.applicationCredential("admin", 5*time.Second) // Keystone refuses a time that is over when the request arrives
			w.awaitExpiry()
			return func() { w.applicationCredential("admin", 0) }
		},
		"credentials", "has expired or was deleted", doctor.Instruction, "openstack application credential create --role admin",
	},
	{"no role on the project", func(w *setUp) func() { w.revoke(); return nil }, "scope", "the password is right, but the user has no role", doctor.Command, "openstack role add"},
	{"no scope", func(w *setUp) func() { delete(w.env, "OS_PROJECT_NAME"); return nil }, "scope", "the user has a role on: doctor-", doctor.Setting, "OS_PROJECT_ID="},
	{"a user without role admin", func(w *setUp) func() { w.grant("member"); w.revoke(); return nil }, "permissions", "with these roles, Keystone permits no changes", doctor.Command, "openstack role add"},
	{
		"an application credential without role admin", func(w *setUp) func() {
			password, name := w.env["OS_PASSWORD"], w.env["OS_USERNAME"]
			w.applicationCredential("reader", 0)
			return func() {
				w.env["OS_USERNAME"], w.env["OS_PASSWORD"] = name, password
				w.applicationCredential("admin", 0)
			}
		},
		"permissions", "has the roles reader", doctor.Instruction, "--role admin",
	},
	{"no domain", func(w *setUp) func() { w.env["TENANTRY_DOMAIN"] = w.name + " 2"; return nil }, "domain", "not found", doctor.Command, "openstack domain create 'doctor-"},
	{
		"a disabled domain", func(w *setUp) func() {
			w.cloud.call(w.t, http.MethodPatch, "/domains/"+w.domain, map[string]any{"domain": map[string]any{"enabled": false}}, nil)
			return nil
		},
		"domain", "is disabled, so its users cannot log in", doctor.Command, "openstack domain set --enable ",
	},
	{
		"another project", func(w *setUp) func() {
			w.newProject(w.name + "-other")
			return without("OS_PROJECT_NAME", w.name+"-other")(w)
		},
		"scope", "the user has a role on: doctor-", doctor.Instruction, "set OS_PROJECT_NAME",
	},
	{
		"a domain on which the user has no role", func(w *setUp) func() {
			delete(w.env, "OS_PROJECT_NAME")
			w.env["OS_DOMAIN_ID"] = w.domain
			return func() {
				delete(w.env, "OS_DOMAIN_ID")
				w.env["OS_PROJECT_NAME"] = w.name
			}
		},
		"scope", "the user has no role on domain ", doctor.Instruction, "set a project as the scope, and give the user the role admin",
	},
	{"no role", func(w *setUp) func() { w.env["TENANTRY_SUBSCRIPTION_ROLES"] = w.name; return nil }, "roles", "not found", doctor.Command, "openstack role create doctor-"},
	{
		"a role that makes users operators", func(w *setUp) func() {
			operators := w.name + "-operators"
			w.cloud.call(w.t, http.MethodPut, "/roles/"+w.newRole(w.name)+"/implies/"+w.newRole(operators), nil, nil)
			w.env["TENANTRY_ADMIN_ROLE"] = operators
			w.env["TENANTRY_CUSTOMER_ROLES"], w.env["TENANTRY_SUBSCRIPTION_ROLES"] = "member,"+w.name, w.name+",reader"
			return nil
		},
		"roles", "users must not get the role", doctor.Setting, "TENANTRY_CUSTOMER_ROLES=member TENANTRY_SUBSCRIPTION_ROLES=reader",
	},
	{
		"role admin for users", func(w *setUp) func() { return without("TENANTRY_SUBSCRIPTION_ROLES", "admin")(w) },
		"configuration", "role admin gives every user access to the whole cloud", doctor.Instruction, "member,bs-admin",
	},
	{"a role of a merchant that was deleted", merchantsRole, "roles", "merchant ACME (", doctor.Command, "openstack role create doctor-"},
	{"no entry in clouds.yaml", without("TENANTRY_AUDIT_CLOUD", "reader"), "clouds", "cloud reader: ", doctor.Instruction, "clouds.yaml"},
	{
		"a wrong password in clouds.yaml", func(w *setUp) func() {
			write := func(password string) {
				w.ok(os.WriteFile(filepath.Join(w.dir, "clouds.yaml"), []byte(`clouds: {reader: {identity_api_version: 3, auth: {auth_url: "`+w.cloud.url+`", username: "`+w.name+
					`", user_domain_id: default, project_name: "`+w.name+`", project_domain_id: default, password: "`+password+`"}}}`), 0o600))
			}
			write("canary-wrong")
			w.env["TENANTRY_AUDIT_CLOUD"] = "reader"
			return func() { write("canary-service") }
		},
		"clouds", "cloud reader: ", doctor.Instruction, "correct the credential",
	},
	{"no BillingStack", without("TENANTRY_BILLING_URL", "http://"+unreachable+"/v2"), "billingstack", "connection refused", doctor.Instruction, "TENANTRY_BILLING_URL"},
	{
		"the released BillingStack", func(w *setUp) func() {
			right := w.billing.Swap(billingtest.NewQuirkServer(billingtest.Options{Unrepaired: true}))
			return func() {
				if w.billing.Load().Count("subscription") != 0 {
					w.t.Error("the doctor has created a subscription")
				}
				w.billing.Store(right)
			}
		},
		"billingstack-version", "create_subscription() takes exactly 3 arguments (4 given)", doctor.Instruction, "controllers/subscription.py",
	},
	{
		"no database", func(w *setUp) func() {
			return without("TENANTRY_DATABASE_URL", "postgres://ann:canary-database@"+unreachable+"/tenantry")(w)
		},
		"database", "connection refused", doctor.Instruction, "start PostgreSQL at postgres://127.0.0.1:1/tenantry",
	},
	{
		"a wrong password of the database", func(w *setUp) func() {
			u, err := url.Parse(w.env["TENANTRY_DATABASE_URL"])
			w.ok(err)
			u.User = url.UserPassword(w.name, "canary-wrong")
			return without("TENANTRY_DATABASE_URL", u.String())(w)
		},
		"database", "password authentication failed", doctor.Instruction, "TENANTRY_DATABASE_URL",
	},
	{
		"no PostgreSQL behind the connection pooler", func(w *setUp) func() {
			w.env["TENANTRY_DATABASE_LISTEN_URL"] = "postgres://ann:canary-database@" + unreachable + "/tenantry"
			return func() { delete(w.env, "TENANTRY_DATABASE_LISTEN_URL") }
		},
		"database", "connection refused", doctor.Instruction, "TENANTRY_DATABASE_LISTEN_URL (postgres://127.0.0.1:1/tenantry)",
	},
	{
		"an older schema", func(w *setUp) func() {
			w.migrated()
			w.superuser(w.database, fmt.Sprintf("%s; DELETE FROM goose_db_version WHERE version_id = %d", newest.down, newest.version))
			return nil
		},
		"schema", fmt.Sprintf("the database has version %d of the schema, and this release needs version %d", newest.version-1, newest.version), doctor.Command, "tenantry migrate",
	},
	{
		"a newer schema", func(w *setUp) func() {
			w.migrated()
			w.superuser(w.database, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, true)")
			return func() { w.superuser(w.database, "DELETE FROM goose_db_version WHERE version_id = 9999") }
		},
		"schema", "the database has version 9999 of the schema", doctor.Instruction, "use the release",
	},
	{
		"a user of the database without rights", func(w *setUp) func() {
			u, err := url.Parse(storetest.PostgreSQL(w.t))
			w.ok(err)
			w.database = u.String()
			own, err := url.Parse(w.env["TENANTRY_DATABASE_URL"])
			w.ok(err)
			u.User = own.User
			w.env["TENANTRY_DATABASE_URL"] = u.String()
			w.t.Cleanup(func() { w.superuser(w.database, `DROP OWNED BY "`+w.name+`"`) })
			return nil
		},
		"rights", "may not create tables", doctor.SQL, "GRANT CREATE ON SCHEMA",
	},
	{
		"too few connections", func(w *setUp) func() {
			w.superuser(w.database, `ALTER ROLE "`+w.name+`" CONNECTION LIMIT 5`)
			return nil
		},
		"connections", "a replica opens up to 17 connections to PostgreSQL, and the limit of the role is 5", doctor.SQL, "CONNECTION LIMIT",
	},
	{"no secret key", func(w *setUp) func() { delete(w.env, "TENANTRY_SECRET_KEY"); return nil }, "secret-key", "TENANTRY_SECRET_KEY is not set", doctor.Setting, "openssl rand"},
	{
		"another secret key", func(w *setUp) func() {
			w.migrated()
			return without("TENANTRY_SECRET_KEY", "Y2FuYXJ5LWNhbmFyeS1jYW5hcnktY2FuYXJ5LTEyMzQ=")(w)
		},
		"secret-key", "was created with another secret key", doctor.Instruction, "backup",
	},
	{
		"a secret key that others may read", func(w *setUp) func() {
			w.ok(os.Chmod(w.sqlite()+".key", 0o644))
			return nil
		},
		"secret-key", "other users may read", doctor.Command, "chmod 600 ",
	},
	{
		"the secret key of SQLite is lost", func(w *setUp) func() {
			path := w.sqlite() + ".key"
			w.ok(os.Rename(path, path+".backup"))
			return func() { w.ok(os.Rename(path+".backup", path)) }
		},
		"secret-key", "is missing", doctor.Instruction, "backup",
	},
	{
		"a full disk", func(w *setUp) func() {
			small, err := newDisk(w.t, filepath.Join(w.dir, "spool"), 80<<20, os.Getuid())
			if err != nil {
				w.t.Fatalf("run this test as root, which may mount a small disk: %v", err)
			}
			w.ok(small.fill())
			w.env["TENANTRY_USAGE_SPOOL"], w.env["TENANTRY_USAGE_SPOOL_MIB"] = small.dir, "16"
			return func() { w.ok(small.free()) }
		},
		"disk", "spool: only 0 MiB are free", doctor.Instruction, "free some space",
	},
	{
		"a wrong file of meters", func(w *setUp) func() {
			path := filepath.Join(w.dir, "meters.yaml")
			w.ok(os.WriteFile(path, []byte("meters:\n  - {meter: vcpus, product: vCPU, divide_by: none}\n"), 0o600))
			w.env["TENANTRY_METERS"] = path
			return func() { w.ok(os.WriteFile(path, []byte("meters:\n  - {meter: vcpus, product: vCPU}\n"), 0o600)) }
		},
		"meters", "divide_by", doctor.Instruction, "correct the file",
	},
	{
		"a portal whose API key does not exist", func(w *setUp) func() {
			w.migrated()
			w.portal(uuid.NewString(), "tk_x", "ts_x")
			return func() { w.portal(w.merchant("--sign-up")) }
		},
		"portals", "is not accepted", doctor.Instruction, "tenantry merchant rotate-key",
	},
	{
		"a portal that cannot register users", func(w *setUp) func() { w.portal(w.merchant()); return nil },
		"portals", "may neither register users", doctor.Command, "--sign-up=true",
	},
	{
		"a wrong file of portals", func(w *setUp) func() {
			w.portal("ACME", "tk_x", "ts_x")
			return func() { w.portal(w.merchant("--sign-up")) }
		},
		"portals", "merchant is not the id of a merchant", doctor.Instruction, "docs/portal.md",
	},
	{
		"a spool that is no folder", func(w *setUp) func() {
			path := filepath.Join(w.dir, "file")
			w.ok(os.WriteFile(path, nil, 0o600))
			return without("TENANTRY_USAGE_SPOOL", filepath.Join(path, "spool"))(w)
		},
		"spool", "cannot be written: not a directory", doctor.Instruction, "TENANTRY_USAGE_SPOOL",
	},
	{
		"an expired certificate", func(w *setUp) func() {
			w.withTLS(w.certificate("127.0.0.1", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), "https://"+w.env["TENANTRY_LISTEN"])
			return func() { w.withTLS(w.certificate("127.0.0.1", nil), w.env["TENANTRY_URL"]) }
		},
		"certificate", "has expired", doctor.Instruction, "renew",
	},
	{
		"the key of another certificate", func(w *setUp) func() {
			right, other := w.certificate("127.0.0.1", nil), w.certificate("127.0.0.1", nil)
			w.withTLS(certified{right.certificate, other.key}, "https://"+w.env["TENANTRY_LISTEN"])
			return func() { w.withTLS(right, w.env["TENANTRY_URL"]) }
		},
		"certificate", "private key does not match", doctor.Instruction, "its private key",
	},
	{
		"a port in use", func(w *setUp) func() {
			l, err := net.Listen("tcp", w.env["TENANTRY_LISTEN"])
			w.ok(err)
			return func() { w.ok(l.Close()) }
		},
		"ports", "another program listens on 127.0.0.1:", doctor.Instruction, "ss -ltnp 'sport = :",
	},
	{
		"an embedded BillingStack for everybody", func(w *setUp) func() {
			delete(w.env, "TENANTRY_BILLING_URL")
			w.env["TENANTRY_BILLING_LISTEN"] = "0.0.0.0:" + freePort(w.t)
			return nil
		},
		"ports", "does not authenticate its callers", doctor.Setting, "TENANTRY_BILLING_LISTEN=127.0.0.1:",
	},
	{
		"a public address without TLS", func(w *setUp) func() {
			w.withTLS(w.certificate("tenantry.example.org", nil), "http://tenantry.example.org")
			return nil
		},
		"address", "TENANTRY_URL begins with http://", doctor.Setting, "TENANTRY_URL=https://tenantry.example.org",
	},
	{
		"a proxy without TLS", func(w *setUp) func() {
			w.env["TENANTRY_URL"] = "http://tenantry.example.org"
			return func() { w.env["TENANTRY_URL"] = "https://tenantry.example.org" }
		},
		"address", "in plain text", doctor.Instruction, "TENANTRY_URL=https://tenantry.example.org",
	},
	{
		"few open files", func(w *setUp) func() {
			w.before = append(w.before, "ulimit -n 200")
			return func() { w.before = nil }
		},
		"open-files", "a process may open 200 files", doctor.Instruction, "LimitNOFILE=4096",
	},
}

// expiredKeystone puts a server with an expired certificate in front of Keystone.
func expiredKeystone(w *setUp) (mend func()) {
	front := func(c certified) {
		pair, err := tls.LoadX509KeyPair(c.certificate, c.key)
		w.ok(err)
		s := httptest.NewUnstartedServer(w.keystone)
		s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
		s.Config.ErrorLog = nil
		s.StartTLS()
		w.t.Cleanup(s.Close)
		w.env["OS_AUTH_URL"], w.env["OS_CACERT"] = s.URL+"/v3", c.certificate
	}
	front(w.certificate("127.0.0.1", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }))
	return func() { front(w.certificate("127.0.0.1", nil)) }
}

// skewedKeystone makes Keystone's clock three minutes fast.
func skewedKeystone(w *setUp) (mend func()) {
	w.keystone.around = func(a *httptest.ResponseRecorder, r *http.Request, next http.Handler) {
		next.ServeHTTP(a, r)
		a.Header().Set("Date", time.Now().UTC().Add(3*time.Minute).Format(http.TimeFormat))
	}
	return func() { w.keystone.around = nil }
}

// The method `merchant` registers a merchant, and returns its id, and its API key with the secret.
func (w *setUp) merchant(options ...string) (id, key, secret string) {
	w.t.Helper()
	id = uuid.NewString()
	out, code := w.shell("exec tenantry merchant create "+id+" --name ACME "+strings.Join(options, " "), w.environ())
	for word := range strings.FieldsSeq(out) {
		switch {
		case strings.HasPrefix(word, "tk_"):
			key = word
		case strings.HasPrefix(word, "ts_"):
			secret = word
		}
	}
	if code != 0 || key == "" || secret == "" {
		w.t.Fatalf("creating a merchant: %d, %s", code, out)
	}
	return id, key, secret
}

// The method `portal` configures the portal of a merchant.
func (w *setUp) portal(merchant, key, secret string) {
	w.t.Helper()
	path := filepath.Join(w.dir, "portals.yaml")
	w.ok(os.WriteFile(filepath.Join(w.dir, "portal.secret"), []byte(secret), 0o600))
	w.ok(os.WriteFile(path, []byte("portals: [{merchant: "+merchant+", name: ACME, key: "+key+", secret_file: portal.secret}]\n"), 0o600))
	w.env["TENANTRY_PORTALS"] = path
}

// merchantsRole deletes a role that only a merchant needs.
func merchantsRole(w *setUp) (mend func()) {
	id := w.newRole(w.name)
	const merchant = "f47f51dd-e7db-47e2-bdb1-83935a50cf87"
	out, code := w.shell("exec tenantry merchant create "+merchant+" --name ACME --subscription-roles "+w.name, w.environ())
	if code != 0 || !strings.Contains(out, merchant) {
		w.t.Fatalf("creating a merchant: %d, %s", code, out)
	}
	w.cloud.call(w.t, http.MethodDelete, "/roles/"+id, nil, nil)
	return nil
}

// The variable `newest` is the newest migration of the database: its number, and the statements that revert it.
var newest = func() (m struct {
	version int
	down    string
},
) {
	all, err := filepath.Glob("../../../store/migrations/*.sql")
	if err != nil || len(all) == 0 {
		panic(fmt.Sprint("there are no migrations: ", err))
	}
	file := slices.Max(all)
	content, err := os.ReadFile(file)
	if err != nil {
		panic(err)
	}
	_, m.down, _ = strings.Cut(string(content), "-- +goose Down\n")
	if _, err := fmt.Sscanf(filepath.Base(file), "%d_", &m.version); err != nil {
		panic(err)
	}
	return m
}()
