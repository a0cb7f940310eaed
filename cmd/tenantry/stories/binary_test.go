package stories_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// buildDir creates the directory in which the binary is built.
var buildDir = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "tenantry-stories-") })

// The function `binary` builds the binary `tenantry` once for all tests, and returns the path of the binary. The flags are those of
// `make build`, so that no package is compiled twice.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := buildDir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "tenantry")
	build := exec.Command("go", "build", "-trimpath", "-o", path, "github.com/tenantry/tenantry/cmd/tenantry")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the command: %w: %s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	if os.Getenv(serveTrialsEnv) != "" {
		fmt.Fprintln(os.Stderr, serveTrials())
		os.Exit(1)
	}
	code := m.Run()
	dir, err := buildDir()
	if err := errors.Join(err, os.RemoveAll(dir)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}
