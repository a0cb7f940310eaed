package main

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// A command with --local needs no server and no credential. It needs an existing database with the schema of this release.
func TestLocalNeedsTheDatabaseOfTheServer(t *testing.T) {
	keystoneEnv(t, "http://127.0.0.1:1/v3")
	env := append(newDatabase(t), "TENANTRY_URL=http://127.0.0.1:1", "TENANTRY_API_KEY=k", "TENANTRY_API_SECRET=s")
	path := strings.TrimPrefix(env[0], "TENANTRY_DATABASE_URL=sqlite:")
	id := uuid.NewString()
	for _, args := range [][]string{
		{"list", "--attention"},
		{"show", id},
		{"events", id},
		{"watch", id},
		{"retry", id, "--why", "x"},
		{"skip", id, "s", "--why", "x"},
		{"compensate", id, "--why", "x"},
		{"hold", id, "--why", "x"},
		{"cancel", id, "--why", "x"},
	} {
		args = append([]string{"runs", "--local"}, args...)
		code, out, stderr := line(t, env, args...)
		if code != exitUnreachable || out != "" || !strings.Contains(stderr, path+" does not exist") ||
			!strings.Contains(stderr, "TENANTRY_DATABASE_URL") {
			t.Errorf("%v: got %d, %s%s", args, code, out, stderr)
		}
	}
	if files, err := os.ReadDir(filepath.Dir(path)); err != nil || len(files) > 0 {
		t.Fatalf("files were made: %v, %v", files, err)
	}

	if code, _, stderr := line(t, env, "migrate"); code != 0 {
		t.Fatal(stderr)
	}
	if err := os.Remove(path + ".key"); err != nil {
		t.Fatal(err)
	}
	code, out, stderr := line(t, env, "runs", "list", "--attention", "--local")
	if code != 0 || out != noRuns || stderr != "tenantry: using the database sqlite:"+path+"\n" {
		t.Errorf("without runs: got %d, %s%s", code, out, stderr)
	}
	code, out, stderr = line(t, env, "runs", "show", id, "--local", "-f", "json")
	if code != exitRefused || out != "" || !strings.Contains(stderr, "there is no such run") {
		t.Errorf("no run: got %d, %s%s", code, out, stderr)
	}
	if _, err := os.Stat(path + ".key"); err == nil {
		t.Error("a secret key was made")
	}
	code, _, stderr = line(t, append(env, "TENANTRY_DATABASE_URL=postgres://127.0.0.1:1/d"), "runs", "list", "--local")
	if code != exitUnreachable || strings.Contains(stderr, "secret_key") {
		t.Errorf("PostgreSQL without the secret key: got %d, %s", code, stderr)
	}
	code, _, stderr = line(t, append(env, "TENANTRY_LEASE=soon"), "runs", "list", "--local")
	if code != exitUsage || !strings.Contains(stderr, "TENANTRY_LEASE") {
		t.Errorf("a wrong setting: got %d, %s", code, stderr)
	}
}

// A fault of the database is printed as plain text, with its cause.
func TestLocalPrintsNoLog(t *testing.T) {
	env := newDatabase(t)
	if code, _, stderr := line(t, env, "migrate"); code != 0 {
		t.Fatal(stderr)
	}
	db, err := sql.Open("sqlite", strings.TrimPrefix(env[0], "TENANTRY_DATABASE_URL=sqlite:"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(t.Context(), "ALTER TABLE runs RENAME TO gone"); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := line(t, env, "runs", "list", "--local")
	if code != exitUnreachable || strings.Contains(stderr, "{") || !strings.Contains(stderr, "no such table: runs") {
		t.Errorf("got %d, %s", code, stderr)
	}
}
