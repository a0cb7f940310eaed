package installtest

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// systemd accepts the installed unit without a warning, and rates its exposure as 2.0 of 10 or less.
func TestTheUnitPassesSystemdAnalyze(t *testing.T) {
	prefix := t.TempDir()
	must(t, os.Mkdir(filepath.Join(prefix, "bin"), 0o755))
	must(t, os.WriteFile(filepath.Join(prefix, "bin/tenantry"), []byte("#!/bin/true\n"), 0o755)) // only has to be executable
	unit := installedUnit(t, prefix)
	if out := run(t, ".", nil, "sh", "-c", `systemd-analyze verify "$0" 2>&1`, unit); out != "" {
		t.Errorf("systemd-analyze verify: %s", out)
	}
	out, err := try(t, ".", nil, "systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", unit)
	t.Log(out)
	if err != nil {
		t.Errorf("systemd-analyze security: %v", err)
	}
}

// installedUnit writes the unit as `make install` does, and returns its path.
func installedUnit(t *testing.T, prefix string) string {
	t.Helper()
	text, err := os.ReadFile("../systemd/tenantry.service")
	must(t, err)
	path := filepath.Join(prefix, "tenantry.service")
	must(t, os.WriteFile(path, []byte(strings.ReplaceAll(string(text), "/usr/local/bin", filepath.Join(prefix, "bin"))), 0o644))
	return path
}

// If the process crashes, it ends with a signal, not with exit code 2: systemd starts it again. Exit code 2 is a wrong configuration.
func TestACrashIsNotAWrongConfiguration(t *testing.T) {
	text, err := os.ReadFile("../systemd/tenantry.service")
	must(t, err)
	unit := regexp.MustCompile(`(?m)^Environment=(.*)$`).FindStringSubmatch(string(text))
	if unit == nil || !strings.Contains(string(text), "\nRestartPreventExitStatus=2\n") {
		t.Fatal("the unit has no variables, or restarts after exit code 2")
	}
	serve := exec.CommandContext(t.Context(), binary(t), "serve")
	serve.Env = append(serveEnv(t), unit[1])
	lines, err := serve.StderrPipe()
	must(t, err)
	must(t, serve.Start())
	for log := bufio.NewScanner(lines); log.Scan() && !strings.Contains(log.Text(), `"serving"`); {
		continue
	}
	must(t, serve.Process.Signal(syscall.SIGABRT)) // the runtime of Go handles this signal like a panic
	_, _ = io.Copy(io.Discard, lines)
	_ = serve.Wait()
	if status, ok := serve.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() || status.Signal() != syscall.SIGABRT {
		t.Errorf("after a crash: %v, want a signal", serve.ProcessState)
	}
}

// serveEnv returns variables with which `tenantry serve` starts on a new SQLite database. Its Keystone does not answer.
func serveEnv(t *testing.T) []string {
	t.Helper()
	return []string{
		"TENANTRY_LISTEN=127.0.0.1:0", "TENANTRY_BILLING_LISTEN=127.0.0.1:0", "TENANTRY_DATABASE_URL=sqlite:" + filepath.Join(t.TempDir(), "t.db"),
		"OS_AUTH_URL=http://127.0.0.1:1/v3", "OS_USERNAME=tenantry", "OS_PASSWORD=x", "OS_USER_DOMAIN_NAME=Default",
		"OS_PROJECT_NAME=service", "OS_PROJECT_DOMAIN_NAME=Default",
	}
}

// A shell and systemd read the same values from tenantry.env: each line is a comment or NAME='value'.
func TestTheSampleOfVariables(t *testing.T) {
	text, err := os.ReadFile("../config/tenantry.env")
	must(t, err)
	line := regexp.MustCompile(`^(#.*||[A-Z_]+='[^'\\$]*')$`)
	for l := range strings.Lines(string(text)) {
		if l = strings.TrimSuffix(l, "\n"); !line.MatchString(l) {
			t.Errorf("%q is not NAME='value'", l)
		}
	}
	commented := regexp.MustCompile(`(?m)^#([A-Z_]+=)`)
	all := commented.ReplaceAllString(string(text), "$1")
	file := filepath.Join(t.TempDir(), "tenantry.env")
	must(t, os.WriteFile(file, []byte(all), 0o600))
	printed := run(t, ".", nil, "sh", "-c", `set -a; . "$0"; env`, file)
	for _, want := range []string{"TENANTRY_CONFIG=/etc/tenantry/tenantry.yaml\n", "OS_PROJECT_DOMAIN_NAME=Default\n"} {
		if !strings.Contains(printed, want) {
			t.Errorf("a shell does not read %s", want)
		}
	}
}
