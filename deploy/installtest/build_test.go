package installtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// built is the directory of the programs that the tests build.
var built = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "tenantry-installtest-") })

// builder returns a function that builds a program once for all tests, and returns the program's path.
func builder(name, module, pkg string) func() (string, error) {
	return sync.OnceValues(func() (string, error) {
		directory, err := built()
		if err != nil {
			return "", err
		}
		path := filepath.Join(directory, name)
		build := exec.Command("go", "build", "-trimpath", "-o", path, pkg)
		build.Dir, build.Env = module, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return "", fmt.Errorf("building %s: %w: %s", name, err, out)
		}
		return path, nil
	})
}

var (
	buildTenantry       = builder("tenantry", root, "./cmd/tenantry")
	buildContainertools = builder("containertools", "../containertools", ".")
)

// The function `binary` returns the path of the binary tenantry.
func binary(t *testing.T) string {
	t.Helper()
	path, err := buildTenantry()
	must(t, err)
	return path
}

// The function `containertools` runs a command of deploy/containertools, and returns what it prints.
func containertools(t *testing.T, args ...string) string {
	t.Helper()
	path, err := buildContainertools()
	must(t, err)
	return run(t, ".", nil, path, args...)
}

func TestMain(m *testing.M) {
	code := m.Run()
	directory, err := built()
	if err := errors.Join(err, os.RemoveAll(directory)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}
