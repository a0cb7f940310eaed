package readmetest

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The constant `done` is the line that a shell prints after each block. If a command fails, the shell ends without printing this
// line.
const done = "-- the block is done --"

// The type `shell` is one of the two shells in which the test runs the README's commands. The shell has its own process group, and
// the test sends ^C to this group.
type shell struct {
	t     *testing.T
	name  string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	ends  chan struct{} // receives a value after each finished block; closed when the shell has ended

	mu     sync.Mutex
	output strings.Builder
}

func newShell(t *testing.T, name, directory string, env []string) *shell {
	t.Helper()
	s := &shell{t: t, name: name, cmd: exec.CommandContext(t.Context(), "bash"), ends: make(chan struct{}, 100)}
	s.cmd.Dir, s.cmd.Env = directory, env
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	s.cmd.WaitDelay = time.Minute
	s.cmd.Cancel = func() error { return syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) }
	var err error
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.Stdout, s.cmd.Stderr = w, w
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	go s.read(r)
	s.send("set -euo pipefail; shopt -s inherit_errexit")
	return s
}

// The method `read` stores the shell's output.
func (s *shell) read(r io.ReadCloser) {
	defer close(s.ends)
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if lines.Text() == done {
			s.ends <- struct{}{}
			continue
		}
		s.mu.Lock()
		s.output.WriteString(lines.Text() + "\n")
		s.mu.Unlock()
	}
	_ = r.Close()
}

// The method `start` starts a block. The block's commands cannot read the shell's standard input, because the test writes the next
// block to the standard input.
func (s *shell) start(b block) {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "block")
	if err := os.WriteFile(file, []byte(b.text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.send(". " + file + " </dev/null; printf '\\n%s\\n' '" + done + "'")
}

// The method `await` waits until a started block has ended.
func (s *shell) await(b block) {
	s.t.Helper()
	select {
	case _, ok := <-s.ends:
		if !ok {
			s.t.Fatalf("README.md line %d: a command failed in shell %s", b.line, s.name)
		}
	case <-time.After(3 * time.Minute):
		s.t.Fatalf("README.md line %d: the block in shell %s did not end within 3 minutes", b.line, s.name)
	}
}

// The method `interrupt` sends ^C to the shell.
func (s *shell) interrupt() {
	if err := syscall.Kill(-s.cmd.Process.Pid, syscall.SIGINT); err != nil {
		s.t.Errorf("interrupting shell %s: %v", s.name, err)
	}
}

func (s *shell) send(line string) {
	s.t.Helper()
	if _, err := io.WriteString(s.stdin, line+"\n"); err != nil {
		s.t.Fatalf("shell %s has ended: %v", s.name, err)
	}
}

// The method `end` closes the shell's standard input, waits until the shell has ended, and logs the shell's output. If the test has
// failed, the method first kills the shell and all commands that still run in the shell.
func (s *shell) end() {
	_ = s.stdin.Close()
	if s.t.Failed() {
		_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	}
	_ = s.cmd.Wait()
	s.t.Logf("shell %s:\n%s", s.name, s.printed())
}

func (s *shell) printed() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.output.String()
}
