// Package apitools checks the OpenAPI document of the server with the linters of Redocly and Spectral. The package also generates a
// TypeScript client from this document with openapi-typescript, and calls the server with this client. Other tests use Install, for axe-core.
package apitools

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// Install installs the npm packages in package-lock.json. The argument is the path of this folder. Install does nothing if the packages are
// already installed. Tests of several packages may call it at the same time.
func Install(t *testing.T, folder string) {
	t.Helper()
	path := filepath.Join(folder, "package-lock.json")
	lock, err := os.ReadFile(path)
	must(t, err)
	file, err := os.Open(path)
	must(t, err)
	defer file.Close() // unlocks the file
	must(t, syscall.Flock(int(file.Fd()), syscall.LOCK_EX))
	sum := sha256.Sum256(lock)
	want, stamp := hex.EncodeToString(sum[:]), filepath.Join(folder, "node_modules", ".lock-sum")
	if have, err := os.ReadFile(stamp); err == nil && string(have) == want {
		return
	}
	command := exec.CommandContext(t.Context(), "npm", "ci")
	command.Dir = folder
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	must(t, os.WriteFile(stamp, []byte(want), 0o600)) //nolint:gosec // the caller is a test, which names this folder
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
