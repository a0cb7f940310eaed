package installtest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// The type `project` is the part of a Compose project that the tests read.
type project struct {
	Services map[string]composeService
}

type composeService struct {
	Environment map[string]string
	ReadOnly    bool     `json:"read_only"`
	CapDrop     []string `json:"cap_drop"`
	SecurityOpt []string `json:"security_opt"`
	Privileged  bool
	Healthcheck *struct{ Test []string }
	Ports       []struct {
		HostIP string `json:"host_ip"`
	}
}

// The function `secrets` returns what make-secrets writes, and checks that a second call keeps it.
func secrets(t *testing.T) []string {
	t.Helper()
	folder := t.TempDir()
	copyFile(t, "../compose/make-secrets", filepath.Join(folder, "make-secrets"))
	read := func() string {
		run(t, "/", nil, filepath.Join(folder, "make-secrets"))
		text, err := os.ReadFile(filepath.Join(folder, ".env"))
		must(t, err)
		return string(text)
	}
	text := read()
	if again := read(); again != text {
		t.Error("make-secrets has replaced the secrets")
	}
	if info, err := os.Stat(filepath.Join(folder, ".env")); err != nil || info.Mode() != 0o600 {
		t.Errorf("the mode of .env: %v, %v", info.Mode(), err)
	}
	return strings.Fields(text)
}

// The function `composed` returns the project in compose.yaml with the values of variables.
func composed(t *testing.T, values ...string) (p project) {
	t.Helper()
	must(t, json.Unmarshal([]byte(containertools(t, append([]string{"compose", "../compose/compose.yaml"}, values...)...)), &p))
	return p
}

func (s composeService) env(more ...string) []string {
	env := more
	for name, value := range s.Environment {
		env = append(env, name+"="+value)
	}
	return env
}

// compose.yaml conforms to the Compose specification. No service has capabilities that it does not need, and no port is open to other
// hosts.
func TestTheComposeFile(t *testing.T) {
	p := composed(t, secrets(t)...)
	if got := slices.Sorted(maps.Keys(p.Services)); !slices.Equal(got, []string{"keystone", "postgres", "prepare", "tenantry"}) {
		t.Fatalf("got the services %v", got)
	}
	for name, s := range p.Services {
		if !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") || s.Privileged {
			t.Errorf("%s is not hardened: %+v", name, s)
		}
		if !s.ReadOnly && name != "postgres" {
			t.Errorf("%s can write to its root", name)
		}
		if s.Healthcheck == nil && name != "prepare" {
			t.Errorf("%s has no health check", name)
		}
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s has a port at the address %q", name, port.HostIP)
			}
		}
	}
	for _, name := range []string{"TENANTRY_LISTEN", "TENANTRY_BILLING_LISTEN"} {
		if address := p.Services["tenantry"].Environment[name]; !strings.HasPrefix(address, "127.0.0.1:") {
			t.Errorf("%s is %q", name, address)
		}
	}
	tool, err := buildContainertools()
	must(t, err)
	if _, err := try(t, ".", nil, tool, "compose", "../compose/compose.yaml"); err == nil || !strings.Contains(err.Error(), "./make-secrets") {
		t.Errorf("without secrets: got %v", err)
	}
	faulty := filepath.Join(t.TempDir(), "compose.yaml")
	must(t, os.WriteFile(faulty, []byte("services: {a: {image: b, read-only: true}}\n"), 0o600))
	if _, err := try(t, ".", nil, tool, "compose", faulty); err == nil || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("a file that does not conform: got %v", err)
	}
}

// The test starts what the containers would run, with the same programs and variables: Keystone, the preparation of Keystone, and
// Tenantry. Only PostgreSQL is the one of the tests. Tenantry then reports that it can use all of its dependencies, and an order succeeds.
func TestTheComposedServicesWorkTogether(t *testing.T) {
	postgres, err := url.Parse(os.Getenv("TENANTRY_TEST_POSTGRES_URL"))
	must(t, err)
	if postgres.Host == "" {
		t.Fatal("TENANTRY_TEST_POSTGRES_URL is not set: run the test with `deploy/testservices/run`")
	}
	values := append(secrets(t), "POSTGRES_PORT="+postgres.Port(), "KEYSTONE_PORT="+freePort(t), "API_PORT="+freePort(t), "BILLING_PORT="+freePort(t))
	p := composed(t, values...)
	createDatabase(t, postgres.String(), p.Services["postgres"].Environment)

	folder, err := os.MkdirTemp("", "tenantry-compose-") //nolint:usetesting // another user cannot read t.TempDir
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(folder)) })
	must(t, os.Chmod(folder, 0o755))
	for _, file := range []string{"../compose/keystone/serve", "../compose/keystone/prepare", "../compose/openrc", binary(t)} {
		copyFile(t, file, filepath.Join(folder, filepath.Base(file)))
	}
	state := filepath.Join(folder, "state")
	must(t, os.Mkdir(state, 0o700))
	if os.Geteuid() == 0 {
		must(t, os.Chown(state, imageUser, imageUser))
	}
	system := []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "no_proxy=127.0.0.1"}
	keystone := p.Services["prepare"].Environment["OS_AUTH_URL"]
	start(t, p.Services["keystone"].env(system...), "Keystone", filepath.Join(folder, "serve"), state, strings.TrimSuffix(strings.TrimPrefix(keystone, "http://"), "/v3"))
	await(t, keystone)
	t.Log("real: keystone")
	t.Log("real: postgres")
	for range 2 { // as with a second `docker compose up`
		prepare := process(t, p.Services["prepare"].env(system...), filepath.Join(folder, "prepare"))
		if out, err := prepare.CombinedOutput(); err != nil {
			t.Fatalf("prepare: %v: %s", err, out)
		}
	}

	tenantry := p.Services["tenantry"]
	tenantry.Environment["TENANTRY_USAGE_SPOOL"] = filepath.Join(state, "spool") // in place of the volume
	start(t, tenantry.env(system...), "Tenantry", filepath.Join(folder, "tenantry"), "serve")
	await(t, "http://"+tenantry.Environment["TENANTRY_LISTEN"]+"/healthcheck")
	check := append([]string{filepath.Join(folder, "tenantry")}, tenantry.Healthcheck.Test[2:]...)
	if out, err := process(t, tenantry.env(system...), check...).CombinedOutput(); err != nil {
		t.Errorf("the health check: %v: %s", err, out)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) { // the first checks take some seconds
		body := await(t, "http://"+tenantry.Environment["TENANTRY_LISTEN"]+"/readyz")
		if strings.Contains(body, `"ready":true,"status":"ok"`) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("got %s, want the status ok within a minute", body)
		}
	}
	must(t, os.WriteFile(filepath.Join(folder, ".env"), []byte(strings.Join(values, "\n")+"\n"), 0o600))
	must(t, os.WriteFile(filepath.Join(folder, "commands"), []byte(firstSubscription(t)), 0o600))
	printed := run(t, folder, append(system, "PATH="+folder+":"+system[0][len("PATH="):]), "bash", "-euo", "pipefail", "commands")
	if !strings.Contains(printed, "HTTP/1.1 201 Created") || !strings.Contains(printed, "| bs-subscription-") {
		t.Errorf("the commands of the first subscription printed %s", printed)
	}
}

// firstSubscription returns the commands of installation.md that need no container engine, and the README's commands from step 5 on.
func firstSubscription(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(root, "docs/installation.md"))
	must(t, err)
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	must(t, err)
	user := regexp.MustCompile(`(?m)^   export ANN_PASSWORD=.*\n   openstack .*$`).FindString(string(page))
	steps := regexp.MustCompile("(?s)   ```sh shell=2\n(.*?)   ```").FindAllStringSubmatch(string(readme), -1)
	if user == "" || len(steps) != 4 {
		t.Fatalf("got the user %q, and %d blocks of the README's second shell", user, len(steps))
	}
	commands := ". ./openrc\n" + user + "\n"
	for _, step := range steps[1:] { // the first block waits for the service
		commands += step[1]
	}
	return commands
}

// createDatabase creates a user and a database, as the image of PostgreSQL does.
func createDatabase(t *testing.T, superuser string, env map[string]string) {
	t.Helper()
	db, err := pgx.Connect(t.Context(), superuser)
	must(t, err)
	user, name := pgx.Identifier{env["POSTGRES_USER"]}.Sanitize(), pgx.Identifier{env["POSTGRES_DB"]}.Sanitize()
	execute := func(ctx context.Context, statement string) {
		t.Helper()
		_, err := db.Exec(ctx, statement)
		must(t, err)
	}
	execute(t.Context(), "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
	execute(t.Context(), "DROP ROLE IF EXISTS "+user)
	execute(t.Context(), "CREATE ROLE "+user+" LOGIN PASSWORD '"+env["POSTGRES_PASSWORD"]+"'")
	execute(t.Context(), "CREATE DATABASE "+name+" OWNER "+user)
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		execute(ctx, "DROP DATABASE "+name+" WITH (FORCE)")
		execute(ctx, "DROP ROLE "+user)
		must(t, db.Close(ctx))
	})
}

// The function `process` returns a command that runs as the images' user, if the test runs as root.
func process(t *testing.T, env []string, argv ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env, cmd.Dir = env, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGINT}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: imageUser, Gid: imageUser}
	}
	return cmd
}

// The function `start` starts a service, which is stopped when the test ends. If the test has failed, the end of its output is logged.
func start(t *testing.T, env []string, what string, argv ...string) {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	must(t, err)
	cmd := process(t, env, argv...)
	cmd.Stdout, cmd.Stderr = log, log
	must(t, cmd.Start())
	t.Cleanup(func() {
		must(t, syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM))
		_ = cmd.Wait()
		if text, err := os.ReadFile(log.Name()); t.Failed() {
			t.Logf("%s: %v\n%s", what, err, text[max(0, len(text)-4000):])
		}
	})
}

// The function `await` waits until a URL answers with 200, and returns the body.
func await(t *testing.T, url string) string {
	t.Helper()
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	var last error
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		resp, err := client.Get(url)
		if err != nil {
			last = err
			continue
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err == nil && resp.StatusCode == http.StatusOK {
			return string(body)
		}
		last = fmt.Errorf("%s: %s", resp.Status, body)
	}
	t.Fatalf("%s does not answer: %v", url, last)
	return ""
}
