package main

import (
	"os"
	"path/filepath"
	"testing"
)

// The service does not start with a portal that cannot work. An operator can read each fault on a line of its own.
func TestServeRefusesAFileOfPortalsWithFaults(t *testing.T) {
	file := filepath.Join(t.TempDir(), "portals.yaml")
	text := "portals: [{merchant: 5d1a7b8e-36b2-4f0a-9e0a-0a8f5f6f1f10, name: ACME, secret_file: nowhere}]"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	env := append(newDatabase(t), "TENANTRY_PORTALS="+file, "OS_AUTH_URL=http://127.0.0.1:1/v3", "OS_USERNAME=u", "OS_PASSWORD=p", "OS_PROJECT_ID=p")
	of := "tenantry: portals: " + file + `: portal 1 "5d1a7b8e-36b2-4f0a-9e0a-0a8f5f6f1f10": `
	want := of + "key is missing: write the API key that `tenantry merchant create` has printed\n" +
		of + "secret_file: stat " + filepath.Join(filepath.Dir(file), "nowhere") + ": no such file or directory\n"
	if code, _, stderr := line(t, env, "serve"); code != exitUsage || stderr != want {
		t.Errorf("got %d, %q, want %q", code, stderr, want)
	}
}
