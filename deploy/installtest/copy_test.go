// Package installtest installs Tenantry in each way that docs/installation.md describes, as far as this is possible without a container
// engine, and checks the files in the folders beside it.
package installtest

import (
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const root = "../.."

// The function `copied` copies the repository to a new directory, and returns the directory. The copy has all files that git tracks,
// and new files that git does not ignore.
func copied(t *testing.T) string {
	t.Helper()
	directory := t.TempDir()
	names := run(t, root, nil, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	for name := range strings.SplitSeq(strings.Trim(names, "\x00"), "\x00") {
		if info, err := os.Lstat(filepath.Join(root, name)); err == nil && info.Mode().IsRegular() { // else it was deleted, or is no file
			copyFile(t, filepath.Join(root, name), filepath.Join(directory, name))
		}
	}
	return directory
}

// copyFile copies a file, with its mode, and creates the folders above the copy.
func copyFile(t *testing.T, from, to string) {
	t.Helper()
	info, err := os.Stat(from)
	must(t, err)
	content, err := os.ReadFile(from)
	must(t, errors.Join(err, os.MkdirAll(filepath.Dir(to), 0o755)))
	must(t, os.WriteFile(to, content, info.Mode()))
}

// The function `run` executes a command, and returns what it writes to standard output. If the command fails, `run` ends the test. The
// command has the variables of this process, except those of make, and the variables in env.
func run(t *testing.T, directory string, env []string, name string, args ...string) string {
	t.Helper()
	out, err := try(t, directory, env, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v", name, strings.Join(args, " "), err)
	}
	return out
}

// The function `try` is like `run`, but returns an error if the command fails.
func try(t *testing.T, directory string, env []string, name string, args ...string) (string, error) {
	t.Helper()
	var stderr strings.Builder
	command := exec.CommandContext(t.Context(), name, args...)
	command.Dir, command.Stderr = directory, &stderr
	for _, line := range os.Environ() {
		if !strings.HasPrefix(line, "MAKE") && !strings.HasPrefix(line, "MFLAGS") {
			command.Env = append(command.Env, line)
		}
	}
	command.Env = append(command.Env, env...)
	out, err := command.Output()
	if err != nil {
		err = errors.Join(err, errors.New(stderr.String()))
	}
	return string(out), err
}

// freePort returns a free TCP port. The port is below the kernel's range for outgoing connections.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		port := strconv.Itoa(15000 + rand.IntN(17000))
		if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			must(t, l.Close())
			return port
		}
	}
	t.Fatal("no port is free")
	return ""
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
