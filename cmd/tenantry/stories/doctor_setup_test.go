package stories_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/billing/billingtest"
	"github.com/tenantry/tenantry/orchestrator/doctor"
	"github.com/tenantry/tenantry/store/storetest"
)

// The type `setUp` is a right set-up of a server: a service user in a real Keystone, a database of its own in a real PostgreSQL, and a
// BillingStack with the original's quirks.
type setUp struct {
	t      *testing.T
	dir    string
	cloud  cloud
	admin  map[string]string // variables of Keystone's administrator
	env    map[string]string // variables of the server
	before []string          // lines of shell that come before each command of the server

	keystone *upstream
	writes   atomic.Int32 // writes to Keystone in which the server's credential was used
	billing  atomic.Pointer[billingtest.QuirkServer]

	name                  string // a part of the names of all objects of the set-up
	user, project, domain string // ids
	database              string // URL for a superuser
	secrets               []string
}

func newSetUp(t *testing.T) *setUp {
	t.Helper()
	w := &setUp{t: t, dir: t.TempDir(), keystone: &upstream{}, name: "doctor-" + uuid.NewString()[:8]}
	w.cloud = realCloud(t, w.keystone)
	w.keystone.before = func(r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead && !strings.HasSuffix(r.URL.Path, "/auth/tokens") {
			w.writes.Add(1)
		}
	}
	w.admin = map[string]string{
		"OS_AUTH_URL": w.cloud.direct, "OS_USERNAME": "admin", "OS_PASSWORD": w.cloud.password, "OS_PROJECT_NAME": "admin",
		"OS_USER_DOMAIN_ID": "default", "OS_PROJECT_DOMAIN_ID": "default", "OS_IDENTITY_API_VERSION": "3",
	}
	w.user, w.project = w.newUser(w.name), w.newProject(w.name)
	w.cloud.call(t, http.MethodPut, "/projects/"+w.project+"/users/"+w.user+"/roles/"+w.role("admin"), nil, nil)
	var made struct{ Domain struct{ ID string } }
	w.cloud.call(t, http.MethodPost, "/domains", map[string]any{"domain": map[string]any{"name": w.name}}, &made)
	w.domain = made.Domain.ID

	w.billing.Store(billingtest.NewQuirkServer(billingtest.Options{}))
	stack := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.billing.Load().ServeHTTP(rw, r) }))
	t.Cleanup(stack.Close)

	password, key := "canary-"+uuid.NewString(), make([]byte, 32)
	_, _ = rand.Read(key)
	w.secrets = append(w.secrets, "canary", w.cloud.password, password, base64.StdEncoding.EncodeToString(key))
	role := pgx.Identifier{w.name}.Sanitize()
	w.superuser(os.Getenv("TENANTRY_TEST_POSTGRES_URL"), "CREATE ROLE "+role+" LOGIN PASSWORD '"+password+"'")
	t.Cleanup(func() { w.superuser(os.Getenv("TENANTRY_TEST_POSTGRES_URL"), "DROP ROLE "+role) })
	w.database = storetest.PostgreSQL(t)
	u, err := url.Parse(w.database)
	w.ok(err)
	w.superuser(w.database, "ALTER DATABASE "+pgx.Identifier{strings.TrimPrefix(u.Path, "/")}.Sanitize()+" OWNER TO "+role)
	u.User = url.UserPassword(w.name, password)

	w.env = map[string]string{
		"OS_AUTH_URL": w.cloud.url, "OS_USERNAME": w.name, "OS_PASSWORD": "canary-service", "OS_PROJECT_NAME": w.name,
		"OS_USER_DOMAIN_ID": "default", "OS_PROJECT_DOMAIN_ID": "default", "OS_IDENTITY_API_VERSION": "3",
		"TENANTRY_DATABASE_URL": u.String(), "TENANTRY_SECRET_KEY": base64.StdEncoding.EncodeToString(key),
		"TENANTRY_BILLING_URL": stack.URL + "/v2", "TENANTRY_DOMAIN": w.name, "TENANTRY_LISTEN": "127.0.0.1:" + freePort(t),
	}
	return w
}

func (w *setUp) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *setUp) newUser(name string) string {
	w.t.Helper()
	var made struct{ User struct{ ID string } }
	w.cloud.call(w.t, http.MethodPost, "/users", map[string]any{"user": map[string]any{
		"name": name, "password": "canary-service", "domain_id": "default",
	}}, &made)
	return made.User.ID
}

func (w *setUp) newProject(name string) string {
	w.t.Helper()
	var made struct{ Project struct{ ID string } }
	w.cloud.call(w.t, http.MethodPost, "/projects", map[string]any{"project": map[string]any{"name": name, "domain_id": "default"}}, &made)
	return made.Project.ID
}

// The method `role` returns the id of a role.
func (w *setUp) role(name string) string {
	w.t.Helper()
	var found struct{ Roles []struct{ ID string } }
	w.cloud.call(w.t, http.MethodGet, "/roles?name="+name, nil, &found)
	if len(found.Roles) != 1 {
		w.t.Fatalf("%d roles have the name %s", len(found.Roles), name)
	}
	return found.Roles[0].ID
}

func (w *setUp) newRole(name string) string {
	w.t.Helper()
	var made struct{ Role struct{ ID string } }
	w.cloud.call(w.t, http.MethodPost, "/roles", map[string]any{"role": map[string]any{"name": name}}, &made)
	return made.Role.ID
}

// The method `revoke` revokes role admin from the service user.
func (w *setUp) revoke() {
	w.t.Helper()
	w.cloud.call(w.t, http.MethodDelete, "/projects/"+w.project+"/users/"+w.user+"/roles/"+w.role("admin"), nil, nil)
}

func (w *setUp) grant(role string) {
	w.t.Helper()
	w.cloud.call(w.t, http.MethodPut, "/projects/"+w.project+"/users/"+w.user+"/roles/"+w.role(role), nil, nil)
}

// applicationCredential makes the server log in with a new application credential with the role. The options are names of properties to switch on.
func (w *setUp) applicationCredential(role string, expires time.Duration, options ...string) {
	w.t.Helper()
	own := w.cloud
	own.token = own.login(w.t, w.name, "canary-service", `{"project":{"id":"`+w.project+`"}}`)
	fields := map[string]any{"name": uuid.NewString(), "roles": []any{map[string]any{"name": role}}}
	for _, name := range options {
		fields[name] = true
	}
	if expires > 0 {
		fields["expires_at"] = time.Now().UTC().Add(expires).Format("2006-01-02T15:04:05.000000")
	}
	var made struct {
		Made struct{ ID, Secret string } `json:"application_credential"`
	}
	own.call(w.t, http.MethodPost, "/users/"+w.user+"/application_credentials", map[string]any{"application_credential": fields}, &made)
	for _, name := range []string{"OS_USERNAME", "OS_PASSWORD", "OS_PROJECT_NAME", "OS_USER_DOMAIN_ID", "OS_PROJECT_DOMAIN_ID"} {
		delete(w.env, name)
	}
	w.secrets = append(w.secrets, made.Made.Secret)
	w.env["OS_AUTH_TYPE"] = "v3applicationcredential"
	w.env["OS_APPLICATION_CREDENTIAL_ID"], w.env["OS_APPLICATION_CREDENTIAL_SECRET"] = made.Made.ID, made.Made.Secret
}

// awaitExpiry waits until Keystone refuses the application credential.
func (w *setUp) awaitExpiry() {
	w.t.Helper()
	body := fmt.Sprintf(`{"auth": {"identity": {"methods": ["application_credential"], "application_credential": {"id": %q, "secret": %q}}}}`,
		w.env["OS_APPLICATION_CREDENTIAL_ID"], w.env["OS_APPLICATION_CREDENTIAL_SECRET"])
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		resp, err := http.Post(w.cloud.direct+"/auth/tokens", "application/json", strings.NewReader(body))
		w.ok(err)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusCreated {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatal("the application credential does not expire")
		}
	}
}

// The method `superuser` executes a statement as a superuser of PostgreSQL.
func (w *setUp) superuser(database, statement string) {
	w.t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, database)
	w.ok(err)
	_, err = conn.Exec(ctx, statement)
	w.ok(errors.Join(err, conn.Close(ctx)))
}

// The method `migrated` migrates the database as the service's user.
func (w *setUp) migrated() {
	w.t.Helper()
	if out, code := w.shell("exec tenantry migrate", w.environ()); code != 0 {
		w.t.Fatalf("migrating: %d, %s", code, out)
	}
}

// The method `stored` returns every row of every table as text.
func (w *setUp) stored() (rows string) {
	w.t.Helper()
	conn, err := pgx.Connect(w.t.Context(), w.database)
	w.ok(err)
	err = conn.QueryRow(w.t.Context(), `SELECT string_agg(query_to_xml('SELECT * FROM ' || quote_ident(tablename), true, false, '')::text, '')
		FROM pg_tables WHERE schemaname = 'public'`).Scan(&rows)
	w.ok(errors.Join(err, conn.Close(w.t.Context())))
	return rows
}

// The method `sqlite` gives the server a migrated SQLite database, and returns the path of the database.
func (w *setUp) sqlite() string {
	w.t.Helper()
	path := filepath.Join(w.dir, "data", "tenantry.db")
	w.env["TENANTRY_DATABASE_URL"] = "sqlite:" + path
	delete(w.env, "TENANTRY_SECRET_KEY")
	w.migrated()
	return path
}

// The method `environ` returns the environment of the server.
func (w *setUp) environ() []string { return environOf(w.dir, w.env) }

func environOf(home string, variables map[string]string) []string {
	binary, err := binary()
	if err != nil {
		panic(err)
	}
	all := []string{"PATH=" + filepath.Dir(binary) + ":/usr/bin:/bin:/usr/sbin:/sbin", "HOME=" + home, "LANG=C.UTF-8"}
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		all = append(all, name+"="+variables[name])
	}
	return all
}

// The method `shell` executes a script, and returns its output and its exit code.
func (w *setUp) shell(script string, environ []string) (out string, code int) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", script)
	cmd.Env, cmd.Dir = environ, w.dir
	var both bytes.Buffer
	cmd.Stdout, cmd.Stderr = &both, &both
	err := cmd.Run()
	if exit, failed := errors.AsType[*exec.ExitError](err); failed {
		return both.String(), exit.ExitCode()
	}
	w.ok(err)
	return both.String(), 0
}

// The method `doctor` runs the doctor in the environment of the server, and checks its output.
func (w *setUp) doctor() (lines []doctor.Line, code int) {
	w.t.Helper()
	out, code := w.shell(strings.Join(append(slices.Clone(w.before), "exec tenantry doctor -f json 2>/dev/null"), "\n"), w.environ())
	if err := json.Unmarshal([]byte(out), &lines); err != nil {
		w.t.Fatalf("%v: %s", err, out)
	}
	w.noSecretIn(out)
	var names []string
	for _, line := range lines {
		if !slices.Contains(names, line.Check) {
			names = append(names, line.Check)
		}
		if line.Text == "" || (line.Status == doctor.Warn || line.Status == doctor.Fail) != (line.Fix != nil && line.Fix.Text != "") {
			w.t.Errorf("a line without a text, or a fault without a fix: %+v", line)
		}
	}
	if !slices.Equal(names, doctor.Names()) {
		w.t.Errorf("got the checks %q, want %q", names, doctor.Names())
	}
	return lines, code
}

func (w *setUp) noSecretIn(out string) {
	w.t.Helper()
	for _, secret := range w.secrets {
		if strings.Contains(out, secret) {
			w.t.Errorf("the output contains a secret (%.6s...): %s", secret, out)
		}
	}
}

// The method `apply` applies a fix as it is printed. The commands of openstack are for an administrator of Keystone.
func (w *setUp) apply(f doctor.Fix) {
	w.t.Helper()
	switch {
	case f.Kind == doctor.SQL:
		w.superuser(w.database, f.Text)
	case f.Kind == doctor.Setting:
		w.before = append(w.before, "export "+f.Text)
	case strings.HasPrefix(f.Text, "openstack "):
		if out, code := w.shell(f.Text, environOf(w.dir, w.admin)); code != 0 {
			w.t.Fatalf("%s: %d, %s", f.Text, code, out)
		}
	default:
		if out, code := w.shell(f.Text, w.environ()); code != 0 {
			w.t.Fatalf("%s: %d, %s", f.Text, code, out)
		}
	}
}

// The method `certificate` writes a self-signed certificate for a host. The function `change` may change it.
func (w *setUp) certificate(host string, change func(*x509.Certificate)) certified {
	w.t.Helper()
	return certify(w.t, w.dir, host, change)
}

// withTLS makes the server use the certificate.
func (w *setUp) withTLS(c certified, public string) {
	w.env["TENANTRY_TLS_CERT"], w.env["TENANTRY_TLS_KEY"], w.env["TENANTRY_URL"] = c.certificate, c.key, public
}

// The type `started` is a server process.
type started struct {
	cmd  *exec.Cmd
	log  string // path of the log
	gone chan struct{}
}

// The method `serve` starts the server, and waits until it serves.
func (w *setUp) serve() *started {
	w.t.Helper()
	path, err := binary()
	w.ok(err)
	s := &started{cmd: exec.Command(path, "serve"), log: filepath.Join(w.dir, uuid.NewString()+".log"), gone: make(chan struct{})}
	file, err := os.Create(s.log)
	w.ok(err)
	defer func() { _ = file.Close() }()
	s.cmd.Env, s.cmd.Stdout, s.cmd.Stderr = w.environ(), file, file
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	w.ok(s.cmd.Start())
	go func() { _ = s.cmd.Wait(); close(s.gone) }()
	w.t.Cleanup(func() { w.stop(s) })
	w.awaitText(s, `"message":"serving"`, 1)
	return s
}

// The method `stop` stops a server.
func (w *setUp) stop(s *started) {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.gone:
	case <-time.After(30 * time.Second):
		w.t.Error("the server does not stop")
		_ = s.cmd.Process.Kill()
		<-s.gone
	}
}

// awaitText waits until the text is n times in the log of a server, and returns the log.
func (w *setUp) awaitText(s *started, text string, n int) string {
	w.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		log, err := os.ReadFile(s.log)
		w.ok(err)
		if strings.Count(string(log), text) >= n {
			return string(log)
		}
		select {
		case <-s.gone:
			w.t.Fatalf("the server has ended: %s", log)
		default:
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("want %d times %q in %s", n, text, log)
		}
	}
}

// awaitLog waits for n lines of the doctor in the log of a server, and returns all of them.
func (w *setUp) awaitLog(s *started, n int) (messages []string) {
	w.t.Helper()
	log := w.awaitText(s, `"message":"doctor: `, n)
	for line := range strings.Lines(log) {
		var entry struct{ Message string }
		w.ok(json.Unmarshal([]byte(line), &entry))
		if strings.HasPrefix(entry.Message, "doctor: ") {
			messages = append(messages, entry.Message)
		}
	}
	if len(messages) > 3 {
		w.t.Errorf("got %d lines of the doctor: %q", len(messages), messages)
	}
	w.noSecretIn(fmt.Sprint(messages))
	return messages
}
