package stories_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The type `daemon` keeps a PostgreSQL or Keystone process running for one test. Each time the process ends, the daemon starts it
// again, until the test ends.
type daemon struct {
	t    testing.TB
	argv []string
	log  string // path of the file with the daemon's output
	home home

	mu      sync.Mutex
	process *exec.Cmd // nil if the daemon is not running
	resume  time.Time // the process is not started before this time
	over    bool
	ends    int // number of times that the process has ended
	gone    chan struct{}
}

// The type `home` has the directory of a test's daemons, and the user who runs them. PostgreSQL and Keystone refuse to run as root.
// If the test runs as root, the test starts both services as the user `postgres`, which PostgreSQL's package creates.
type home struct {
	dir string
	as  *syscall.Credential // nil means the user who runs the test
}

func newHome(t testing.TB) home {
	t.Helper()
	dir, err := os.MkdirTemp("", "tenantry-daemons-") //nolint:usetesting // other users cannot read t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	h := home{dir: dir}
	// Copy the scripts, because the user who runs the daemons may have no access to the repository.
	for _, name := range []string{"postgres", "keystone", "keystone.wsgi"} {
		script, err := os.ReadFile("../../../deploy/testservices/" + name)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), script, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if os.Geteuid() != 0 {
		return h
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		t.Fatalf("%v: run the test with `deploy/testservices/run`, which installs PostgreSQL", err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	h.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return h
}

// The method `uid` returns the id of the user who runs the daemons.
func (h home) uid() int {
	if h.as == nil {
		return os.Geteuid()
	}
	return int(h.as.Uid)
}

// newDaemon starts a script of deploy/testservices as a daemon.
func newDaemon(t testing.TB, h home, script string, args ...string) *daemon {
	t.Helper()
	d := &daemon{
		t: t, home: h, argv: append([]string{filepath.Join(h.dir, script)}, args...),
		log: filepath.Join(h.dir, script+".log"), gone: make(chan struct{}),
	}
	go d.keep()
	t.Cleanup(d.stop)
	return d
}

// The method `keep` starts the daemon, and starts it again each time it has ended.
func (d *daemon) keep() {
	defer close(d.gone)
	for {
		cmd, err := d.start()
		switch {
		case err != nil:
			d.t.Error(err)
			return
		case cmd != nil:
			_ = cmd.Wait()
			d.mu.Lock()
			d.process = nil
			d.ends++
			d.mu.Unlock()
		}
		d.mu.Lock()
		over, pause := d.over, max(50*time.Millisecond, time.Until(d.resume))
		d.mu.Unlock()
		if over {
			return
		}
		time.Sleep(pause)
	}
}

// The method `start` starts the daemon. If the test has ended or keeps the daemon down, `start` does nothing.
func (d *daemon) start() (*exec.Cmd, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over || time.Now().Before(d.resume) {
		return nil, nil //nolint:nilnil // the daemon must stay down for now
	}
	out, err := os.OpenFile(d.log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }()
	cmd := exec.Command(d.argv[0], d.argv[1:]...)
	cmd.Dir = d.home.dir
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=" + d.home.dir}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: d.home.as, Setsid: true, Pdeathsig: syscall.SIGINT}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	d.process = cmd
	return cmd, nil
}

// The method `signal` sends a signal to the daemon's process group. The result is false if the daemon is not running.
func (d *daemon) signal(s syscall.Signal) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.process != nil && syscall.Kill(-d.process.Process.Pid, s) == nil
}

// The method `down` stops the daemon with a signal, and keeps it down for the duration `away`. The result is false if the daemon
// was not running.
func (d *daemon) down(s syscall.Signal, away time.Duration) bool {
	d.mu.Lock()
	d.resume = time.Now().Add(away)
	d.mu.Unlock()
	return d.signal(s)
}

// The method `ended` returns the number of times that the daemon has ended.
func (d *daemon) ended() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ends
}

// The method `family` returns the process ids of the daemon and of its children.
func (d *daemon) family() (pids []int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.process == nil {
		return nil
	}
	pid := d.process.Process.Pid
	pids = []int{pid}
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	for pid := range strings.FieldsSeq(string(children)) {
		if n, err := strconv.Atoi(pid); err == nil {
			pids = append(pids, n)
		}
	}
	return pids
}

// The method `stop` ends the daemon, and does not start it again.
func (d *daemon) stop() {
	d.mu.Lock()
	d.over = true
	d.mu.Unlock()
	d.signal(syscall.SIGINT)
	select {
	case <-d.gone:
	case <-time.After(10 * time.Second):
		d.signal(syscall.SIGKILL)
		<-d.gone
	}
}

// The method `printed` returns the daemon's output so far.
func (d *daemon) printed() string {
	text, err := os.ReadFile(d.log)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// The method `await` waits until the daemon answers.
func (d *daemon) await(answers func() error) {
	d.t.Helper()
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if err = answers(); err == nil {
			return
		}
	}
	d.t.Fatalf("%s does not answer: %v: %s", d.argv[0], err, d.printed())
}

// freePort returns a free TCP port. The port is below the kernel's range for outgoing connections. Therefore no outgoing
// connection can take the port while the daemon is down.
func freePort(t testing.TB) string {
	t.Helper()
	for range 100 {
		port := strconv.Itoa(15000 + rand.IntN(17000))
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err == nil {
			err = l.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		return port
	}
	t.Fatal("no port is free")
	return ""
}
