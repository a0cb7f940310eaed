package stories_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tenantry/tenantry/store"
	"github.com/tenantry/tenantry/store/storetest"
)

// The test repeatedly kills the only replica during several concurrent runs. Because several runs are in progress, most kills
// interrupt a database commit. Every order must end, and no invariant may be violated. If three replicas in a row are killed before
// a step of a run has ended, the run is held. An operator retries these runs.
func TestKilledInACommitOfSQLite(t *testing.T) {
	const kills, portals = 15, 6
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	s := newSite(t, storetest.SQLite(t), memoryCloud(t, &upstream{}), &upstream{around: refuseEvery(5)})
	tokens := make([]string, portals)
	for i := range tokens {
		tokens[i] = s.newToken()
	}
	r := s.keepReplica()
	var all sync.WaitGroup
	stop, allEnded := make(chan struct{}), make(chan struct{})
	operated := make(chan int)
	go func() {
		operated <- s.operate(allEnded, func(int) string { return cmp.Or(r.address(), "http://127.0.0.1:1") })
	}()
	ended := make([]int, portals)
	for i := range portals {
		all.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				p := s.portal(order{key: fmt.Sprint("order-", i, "-", n), token: tokens[i]})
				if _, err := s.insistAt(r.await, p, time.Minute); err != nil {
					t.Error(err)
					return
				}
				ended[i]++
			}
		})
	}
	for done := 0; done < kills && !t.Failed(); {
		r.await()
		time.Sleep(time.Duration(rng.Int64N(int64(time.Second))))
		if r.kill(0) {
			done++
		}
	}
	close(stop)
	all.Wait()
	close(allEnded)
	t.Logf("an operator retried %d runs that were taken over too often", <-operated)
	total := 0
	for _, n := range ended {
		total += n
	}
	t.Logf("killed %d times while %d orders were made", kills, total)
	if total < kills {
		t.Error("hardly any kill hit a run under way")
	}
	if n := r.refusals(); n > 0 {
		t.Errorf("%d times the replica did not start", n)
	}
}

// If `tenantry serve` cannot write to an SQLite database, it ends at once with an error. The error contains the database's path and
// the remedy.
func TestAnSQLiteFileThatMayNotBeWrittenIsNotServed(t *testing.T) {
	for what, modes := range map[string]struct{ file, dir os.FileMode }{
		"the file":            {0o444, 0o777},
		"the directory":       {0o666, 0o555},
		"both":                {0o444, 0o555},
		"not readable either": {0o000, 0o777},
	} {
		t.Run(what, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "tenantry-readonly-") //nolint:usetesting // tenantry serve runs as a user who cannot read t.TempDir
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := errors.Join(os.Chmod(dir, 0o700), os.RemoveAll(dir)); err != nil {
					t.Error(err)
				}
			})
			path := filepath.Join(dir, "t.db")
			st, err := store.Open(t.Context(), "sqlite:"+path, secretKey)
			if err == nil {
				_, err = st.Migrate(t.Context())
				err = errors.Join(err, st.Close())
			}
			if err = errors.Join(err, os.Chmod(path, modes.file), os.Chmod(dir, modes.dir)); err != nil {
				t.Fatal(err)
			}
			out, code := asNobody(t, "sqlite:"+path, "serve")
			t.Log(out)
			if code != 5 || !strings.Contains(out, path) || !strings.Contains(out, "written") || strings.Contains(out, "out of memory") {
				t.Errorf("exit %d: %s", code, out)
			}
		})
	}
}

// asNobody runs a `tenantry` command as a user without privileges, and waits until the process ends.
func asNobody(t *testing.T, database string, args ...string) (out string, code int) {
	t.Helper()
	s := newSite(t, storetest.SQLite(t), memoryCloud(t, &upstream{}), &upstream{})
	path, err := binary()
	s.ok(err)
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = slices.Concat(s.env, []string{"TENANTRY_LISTEN=127.0.0.1:0", "TENANTRY_DATABASE_URL=" + database})
	if os.Geteuid() == 0 {
		nobody, err := user.Lookup("nobody")
		s.ok(err)
		uid, err := strconv.ParseUint(nobody.Uid, 10, 32)
		s.ok(err)
		s.ok(os.Chmod(filepath.Dir(path), 0o755))
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	}
	return s.toTheEnd(cmd)
}

// toTheEnd runs a command, and kills the command if it has not ended after 20 s.
func (s *site) toTheEnd(cmd *exec.Cmd) (out string, code int) {
	s.t.Helper()
	timer := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	text, err := cmd.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return string(text), exit.ExitCode()
	}
	s.ok(err)
	return string(text), 0
}

// The test fills the disk of an SQLite database for a while. While the disk is full, the service keeps running, refuses orders with
// 503, and logs the cause. When the disk has space again, the service continues its runs.
func TestTheDiskOfSQLiteIsFull(t *testing.T) {
	if os.Geteuid() != 0 {
		againAsRoot(t)
		return
	}
	d, err := newDisk(t, filepath.Join(t.TempDir(), "disk"), 8<<20, os.Geteuid())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(d.dir, "t.db")
	s := newSite(t, "sqlite:"+path, memoryCloud(t, &upstream{}), &upstream{around: refuseEvery(4)})
	r := s.serve()
	token := s.newToken()
	s.insist(r.url, s.portal(order{key: "before", token: token}))

	var all sync.WaitGroup
	for i := range 12 { // runs under way
		all.Go(func() {
			p := s.portal(order{key: fmt.Sprint("order-", i), token: token})
			if _, err := s.insistAt(func() string { return r.url }, p, time.Minute); err != nil {
				t.Error(err)
			}
		})
	}
	var keys []string
	refused := func() bool {
		keys = append(keys, fmt.Sprint("full-", len(keys)))
		a, err := s.subscribe(r.url, keys[len(keys)-1], token, "Prefer", "respond-async")
		s.ok(err)
		if a.status == http.StatusInternalServerError {
			t.Errorf("a full disk was answered as a fault of the service: %s", a.body)
		}
		var problem struct {
			Type, Detail string
			FixBy        string `json:"fix_by"`
		}
		if json.Unmarshal(a.body, &problem) == nil && problem.Type == "/problems/outcome-unknown" &&
			(problem.FixBy != "administrator" || !strings.Contains(problem.Detail, "its disk is full")) {
			t.Errorf("a full disk was answered %s", a.body)
		}
		return a.status == http.StatusServiceUnavailable &&
			strings.Contains(s.log.read(), path+" cannot be written because its disk is full: free some space on the disk")
	}
	halted := func() bool { return strings.Count(s.log.read(), `"message":"engine"`) >= 3 }
	for deadline := time.Now().Add(20 * time.Second); !refused() || !halted(); time.Sleep(20 * time.Millisecond) {
		s.ok(d.fill())
		if time.Now().After(deadline) {
			t.Fatalf("the full disk has no effect: %s", s.log.read())
		}
	}
	s.eventually("the service is not ready, because the disk is full", func() bool {
		s.ok(d.fill())
		ready, err := s.get(r.url, "/readyz")
		s.ok(err)
		return ready.status == http.StatusServiceUnavailable && strings.Contains(string(ready.body), "its disk is full")
	})
	for range 5 {
		if !refused() {
			t.Error("an order was accepted on a full disk")
		}
	}
	s.ok(d.free())
	s.eventually("it is ready again", func() bool {
		ready, err := s.get(r.url, "/readyz")
		s.ok(err)
		return ready.status == http.StatusOK
	})
	all.Wait()
	for _, key := range append(keys, "before") {
		s.insist(r.url, s.portal(order{key: key, token: token}))
	}
	select {
	case <-r.dead:
		t.Error("the service ended")
	default:
	}
}

// SQLite creates the file PATH-shm when the first process opens the database. In this test, the disk has no space for this file.
func TestOpeningADatabaseOnAFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		againAsRoot(t)
		return
	}
	d, err := newDisk(t, filepath.Join(t.TempDir(), "disk"), 4<<20, os.Geteuid())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(d.dir, "t.db")
	s := newSite(t, "sqlite:"+path, memoryCloud(t, &upstream{}), &upstream{})
	program, err := binary()
	s.ok(err)
	run := func(args ...string) (string, int) {
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Env = slices.Concat(s.env, []string{"TENANTRY_LISTEN=127.0.0.1:0", "TENANTRY_DATABASE_URL=sqlite:" + path})
		return s.toTheEnd(cmd)
	}
	if out, code := run("migrate"); code != 0 {
		t.Fatal(out)
	}
	s.ok(d.fill())
	for _, args := range [][]string{{"serve"}, {"migrate"}, {"runs", "list", "--local"}} {
		out, code := run(args...)
		if code != exitUnavailable || !strings.Contains(out, path+" cannot be written because its disk is full: free some space on the disk") {
			t.Errorf("%v: got %d, %s", args, code, out)
		}
	}
	s.ok(d.free()) // the checks of the site open the database
}

// againAsRoot runs the test again in a new user namespace. In this namespace the current user is root, and can mount a disk.
func againAsRoot(t *testing.T) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "unshare", "--map-root-user", "--mount", os.Args[0], "-test.v", "-test.run=^"+t.Name()+"$")
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatalf("the test ran in a user namespace, because this user is not root: %v", err)
	}
}
