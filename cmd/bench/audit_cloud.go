package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The type `cloud` is a Keystone in its own process. It is filled with copies of the tenants and the user of one subscription.
type cloud struct {
	url      string // ends in /v3
	password string // of user admin
	token    string // of user admin, on project admin
	pid      int    // of the process
	file     string // the file of the real Keystone's database; empty for the in-memory Keystone
	stop     func() error

	// The function `fill` adds copies of the objects of the subscription `like`: both tenants with their tags and role assignments, and
	// the user. If the Keystone chooses the ids of the copies, `fill` stores these ids in the list `copies`.
	fill func(ctx context.Context, like ids, copies []ids) error
}

const adminPassword = "bench"

// scripts are the files of deploy/testservices with which the real Keystone is started.
var scripts = []string{"keystone", "keystone.wsgi"}

// realCloud starts a real Keystone with the scripts that the tests use. If bench runs as root, Keystone runs as the user postgres, as in
// the tests.
func realCloud(ctx context.Context) (*cloud, error) {
	dir, err := os.MkdirTemp("", "tenantry-bench-keystone-")
	if err != nil {
		return nil, err
	}
	for _, name := range scripts {
		script, err := os.ReadFile(filepath.Join("deploy/testservices", name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), script, 0o755) //nolint:gosec // another user executes it
		}
		if err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
	}
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "keystone"), filepath.Join(dir, "data"), //nolint:gosec // built by us
		address[strings.LastIndex(address, ":")+1:], adminPassword, "true")
	cmd.Dir, cmd.Env = dir, []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=" + dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGINT}
	if cmd.SysProcAttr.Credential, err = owner(dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	c := &cloud{url: "http://" + address + "/v3", password: adminPassword, pid: cmd.Process.Pid, file: filepath.Join(dir, "data/keystone.db")}
	c.stop = func() error {
		err := cmd.Process.Signal(syscall.SIGINT)
		_ = cmd.Wait() //nolint:errcheck // uwsgi's exit code after a signal
		return errors.Join(err, os.RemoveAll(dir))
	}
	c.fill = c.fillFile
	if err := await(ctx, c.url); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %s", err, &log), c.stop())
	}
	return c, c.login(ctx)
}

// The function `owner` returns the credential of the user who runs Keystone, and makes this user the owner of the directory. If bench
// does not run as root, the result is nil.
func owner(dir string) (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil //nolint:nilnil // the user who runs bench
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, os.Chown(dir, int(uid), int(gid))
}

// The method `login` logs user admin in, and stores the user's token.
func (c *cloud) login(ctx context.Context) (err error) {
	c.token, err = c.tokenOf(ctx, "admin", c.password, `{"project": {"name": "admin", "domain": {"id": "default"}}}`)
	return err
}

func (c *cloud) tokenOf(ctx context.Context, name, password, scope string) (string, error) {
	body := fmt.Sprintf(`{"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": %q, "password": %q,
		"domain": {"id": "default"}}}}, "scope": %s}}`, name, password, scope)
	header, err := call(ctx, http.MethodPost, c.url+"/auth/tokens", "", body, nil)
	return header.Get("X-Subject-Token"), err
}

// newUser creates a user, and returns the user's id and unscoped token.
func (c *cloud) newUser(ctx context.Context, name string) (id, token string, err error) {
	var made struct{ User struct{ ID string } }
	body := fmt.Sprintf(`{"user": {"name": %q, "password": "bench", "domain_id": "default"}}`, name)
	if _, err := call(ctx, http.MethodPost, c.url+"/users", c.token, body, &made); err != nil {
		return "", "", err
	}
	token, err = c.tokenOf(ctx, name, "bench", `"unscoped"`)
	return made.User.ID, token, err
}

// newRole creates a role.
func (c *cloud) newRole(ctx context.Context, name string) error {
	_, err := call(ctx, http.MethodPost, c.url+"/roles", c.token, fmt.Sprintf(`{"role": {"name": %q}}`, name), nil)
	return err
}

// The function `call` sends a request, and decodes the answer.
func call(ctx context.Context, method, url, token, body string, into any) (http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("X-Auth-Token", token)
	}
	resp, err := (&http.Client{Timeout: 10 * time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return nil, err
	}
	answer, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return nil, err
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return nil, fmt.Errorf("%s %s: %s: %s", method, url, resp.Status, answer)
	}
	if into == nil {
		return resp.Header, nil
	}
	return resp.Header, json.Unmarshal(answer, into)
}

// The variable `copies` has the statements that fill the real Keystone's database. The table `fresh` has a row for each copy.
var copies = []string{
	`INSERT INTO user (id, extra, enabled, created_at, domain_id)
		SELECT n.user, o.extra, o.enabled, o.created_at, o.domain_id FROM fresh n, user o WHERE o.id = '{user}'`,
	`INSERT INTO local_user (user_id, domain_id, name, failed_auth_count)
		SELECT n.user, o.domain_id, n.user, o.failed_auth_count FROM fresh n, local_user o WHERE o.user_id = '{user}'`,
	`INSERT INTO password (local_user_id, self_service, password_hash, created_at_int, created_at)
		SELECT l.id, p.self_service, p.password_hash, p.created_at_int, p.created_at
		FROM fresh n JOIN local_user l ON l.user_id = n.user,
			(SELECT * FROM password WHERE local_user_id = (SELECT id FROM local_user WHERE user_id = '{user}')) p`,
	`INSERT INTO project (id, name, extra, description, enabled, domain_id, parent_id, is_domain)
		SELECT n.customer_tenant, replace(o.name, '{customer}', n.customer), o.extra, o.description, o.enabled, o.domain_id, o.parent_id, o.is_domain
		FROM fresh n, project o WHERE o.id = '{customer_tenant}'`,
	`INSERT INTO project (id, name, extra, description, enabled, domain_id, parent_id, is_domain)
		SELECT n.subscription_tenant, replace(o.name, '{subscription}', n.subscription), o.extra, o.description, o.enabled, o.domain_id, o.parent_id,
			o.is_domain
		FROM fresh n, project o WHERE o.id = '{subscription_tenant}'`,
	`INSERT INTO project_tag (project_id, name)
		SELECT CASE o.project_id WHEN '{customer_tenant}' THEN n.customer_tenant ELSE n.subscription_tenant END, replace(o.name, '{run}', n.run)
		FROM fresh n, project_tag o WHERE o.project_id IN ('{customer_tenant}', '{subscription_tenant}')`,
	`INSERT INTO assignment (type, actor_id, target_id, role_id, inherited)
		SELECT o.type, n.user, CASE o.target_id WHEN '{customer_tenant}' THEN n.customer_tenant ELSE n.subscription_tenant END, o.role_id, o.inherited
		FROM fresh n, assignment o WHERE o.target_id IN ('{customer_tenant}', '{subscription_tenant}')`,
}

// fillFile fills the file of the real Keystone's database while Keystone is running.
func (c *cloud) fillFile(ctx context.Context, like ids, all []ids) error {
	rows := make([]map[string]string, len(all))
	for i, n := range all {
		rows[i] = map[string]string{}
		for j, value := range n.values() {
			rows[i][marks[j]] = value
		}
	}
	columns := make([]string, len(marks))
	for i, m := range marks {
		columns[i] = fmt.Sprintf("value->>'%s' AS %[1]s", m)
	}
	statements := []string{"CREATE TEMP TABLE fresh AS SELECT " + strings.Join(columns, ", ") + " FROM json_each(:rows)"}
	for _, s := range copies {
		statements = append(statements, like.in(s))
	}
	return c.execute(ctx, rows, statements)
}

// The method `execute` executes statements in the file of the real Keystone's database, in one transaction.
func (c *cloud) execute(ctx context.Context, rows any, statements []string) error {
	const script = `
import json, sqlite3, sys
told = json.load(sys.stdin)
c = sqlite3.connect(told["file"], timeout=60)
for s in told["statements"]:
    c.execute(s, {"rows": json.dumps(told["rows"])})
c.commit()`
	told, err := json.Marshal(map[string]any{"file": c.file, "rows": rows, "statements": statements})
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "/usr/bin/python3", "-c", script)
	cmd.Stdin = bytes.NewReader(told)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("writing Keystone's database: %w: %s", err, out)
	}
	return nil
}
