package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
)

// The function `line` executes a `tenantry` command in the test's process, and returns the command's exit code and output.
func line(t *testing.T, environ []string, args ...string) (code int, out, err string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	p := program{in: strings.NewReader(""), out: &stdout, err: &stderr, environ: environ}
	code = p.run(t.Context(), args)
	return code, stdout.String(), stderr.String()
}

// newDatabase returns an environment that configures a new SQLite database.
func newDatabase(t *testing.T) []string {
	t.Helper()
	return []string{"TENANTRY_DATABASE_URL=sqlite:" + filepath.Join(t.TempDir(), "t.db")}
}

func TestMigrate(t *testing.T) {
	env := newDatabase(t)
	if code, out, stderr := line(t, env, "migrate"); code != 0 || strings.HasPrefix(out, "0 ") {
		t.Errorf("got %d, %q, %q", code, out, stderr)
	}
	if code, out, stderr := line(t, env, "migrate"); code != 0 || out != "0 migrations ran\n" {
		t.Errorf("again: got %d, %q, %q", code, out, stderr)
	}
}

func TestAnotherSecretKeyIsRefusedByItsSource(t *testing.T) {
	key := "TENANTRY_SECRET_KEY=" + strings.Repeat("A", 43) + "="
	made, configured := newDatabase(t), append(newDatabase(t), key)
	for what, c := range map[string]struct{ first, then []string }{
		"a configured one instead of the file": {made, append(made, key)},
		"a file instead of the configured one": {configured, configured[:1]},
	} {
		t.Run(what, func(t *testing.T) {
			if code, _, stderr := line(t, c.first, "migrate"); code != 0 {
				t.Fatalf("got %d, %s", code, stderr)
			}
			source := "from secret_key (TENANTRY_SECRET_KEY)"
			if len(c.then) == 1 {
				source = "t.db.key, because TENANTRY_SECRET_KEY is not set"
			}
			if code, _, stderr := line(t, c.then, "migrate"); code != exitUsage || !strings.Contains(stderr, source) {
				t.Errorf("got %d, %s, want %d and %q", code, stderr, exitUsage, source)
			}
		})
	}
}
