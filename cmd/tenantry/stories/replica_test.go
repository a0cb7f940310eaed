package stories_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"
)

// The type `replica` is one process of the service.
type replica struct {
	cmd  *exec.Cmd
	url  string
	dead chan struct{}
}

// tenantryServe returns `tenantry serve`, the default command of a replica. If a test uses another command for replicas, that
// command must read the environment variables of `tenantry serve`, and log the message "serving" with the replica's URL.
func tenantryServe() (*exec.Cmd, error) {
	path, err := binary()
	if err != nil {
		return nil, err
	}
	return exec.Command(path, "serve"), nil
}

// The method `launch` starts a replica with additional environment variables. The returned channel receives the replica's address
// when the replica accepts requests.
func (s *site) launch(env ...string) (*replica, <-chan string, error) {
	cmd, err := s.replica()
	if err != nil {
		return nil, nil, err
	}
	r := &replica{cmd: cmd, dead: make(chan struct{})}
	r.cmd.Env = slices.Concat(s.env, cmd.Env, []string{"TENANTRY_LISTEN=127.0.0.1:0"}, env)
	reader, writer := io.Pipe()
	r.cmd.Stdout, r.cmd.Stderr = writer, writer
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := r.cmd.Start(); err != nil {
		return nil, nil, err
	}
	go func() { _ = r.cmd.Wait(); _ = writer.Close(); close(r.dead) }()
	serving := make(chan string, 1)
	go s.keepLog(reader, serving)
	return r, serving, nil
}

// The method `serve` starts a replica with additional environment variables, and waits until the replica is ready.
func (s *site) serve(env ...string) *replica {
	s.t.Helper()
	r, serving, err := s.launch(env...)
	s.ok(err)
	s.t.Cleanup(r.kill)
	select {
	case r.url = <-serving:
	case <-r.dead:
		s.t.Fatalf("the server ended: %s", s.log.read())
	case <-time.After(20 * time.Second):
		s.t.Fatalf("the server does not serve: %s", s.log.read())
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		resp, err := s.web.Get(r.url + "/readyz")
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return r
			}
		}
		select {
		case <-r.dead:
			s.t.Fatalf("the server ended: %s", s.log.read())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the server is not ready: %v: %s", err, s.log.read())
		}
	}
}

// keepLog stores a replica's output, and sends the replica's address to the channel `serving`.
func (s *site) keepLog(from io.Reader, serving chan<- string) {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		_, _ = s.log.Write(append(lines.Bytes(), '\n'))
		var line struct{ Message, URL string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Message == "serving" {
			serving <- line.URL
		}
	}
}

func (r *replica) kill() {
	_ = r.cmd.Process.Kill()
	<-r.dead
}

// logFile collects the output of all replicas.
type logFile struct {
	mu   sync.Mutex
	path string
}

func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, err := os.OpenFile(l.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	return f.Write(p)
}

func (l *logFile) read() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	data, err := os.ReadFile(l.path)
	if err != nil {
		return err.Error()
	}
	return string(data)
}
