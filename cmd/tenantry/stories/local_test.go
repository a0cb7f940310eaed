package stories_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenantry/tenantry/store"
	"github.com/tenantry/tenantry/store/storetest"
)

// The type `night` is a site whose Keystone can be stopped, and whose BillingStack can refuse to attach tenants.
type night struct {
	*site

	stopped     atomic.Bool  // if true, Keystone closes every connection without an answer
	noExchange  atomic.Bool  // if true, Keystone answers 503 to the exchange of a user's token
	exchanges   atomic.Int64 // number of exchanges of a user's token that have begun
	booksClosed atomic.Bool
	replicaURL  string
}

func newNight(t *testing.T, database string) *night {
	t.Helper()
	n := &night{}
	keystone := &upstream{around: func(w *httptest.ResponseRecorder, r *http.Request, next http.Handler) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		if strings.Contains(string(body), `"methods":["token"]`) {
			n.exchanges.Add(1)
		}
		switch {
		case n.stopped.Load():
			panic(http.ErrAbortHandler)
		case n.noExchange.Load() && strings.Contains(string(body), `"methods":["token"]`):
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			next.ServeHTTP(w, r)
		}
	}}
	billing := &upstream{around: func(w *httptest.ResponseRecorder, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPatch && n.booksClosed.Load() {
			// Wait until the run exchanges the token. A failed run begins no other step, and could exchange the token only after a retry.
			for end := time.Now().Add(20 * time.Second); n.exchanges.Load() == 0 && time.Now().Before(end); {
				time.Sleep(5 * time.Millisecond)
			}
			http.Error(w, `{"faultstring": "the books are closed"}`, http.StatusBadRequest)
			return
		}
		next.ServeHTTP(w, r)
	}}
	n.site = newSite(t, database, memoryCloud(t, keystone), billing)
	n.run("merchant", "update", n.merchant.ID, "--on-failure", "hold")
	return n
}

// The method `command` runs a `tenantry` command. If `credential` is true, the command has the credential of an operator.
func (n *night) command(credential bool, args ...string) (code int, out, stderr string) {
	n.t.Helper()
	path, err := binary()
	n.ok(err)
	cmd := exec.CommandContext(n.t.Context(), path, args...)
	cmd.Env = slices.Clone(n.env)
	if credential {
		cmd.Env = append(cmd.Env, "TENANTRY_URL="+n.replicaURL)
	} else {
		cmd.Env = slices.DeleteFunc(cmd.Env, func(v string) bool { return strings.HasPrefix(v, "OS_") })
	}
	var stdout, errors bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &errors
	if err := cmd.Run(); cmd.ProcessState == nil {
		n.ok(err)
	}
	return cmd.ProcessState.ExitCode(), stdout.String(), errors.String()
}

// The method `local` runs a command under `tenantry runs` with --local, and checks the exit code.
func (n *night) local(want int, args ...string) (out, stderr string) {
	n.t.Helper()
	code, out, stderr := n.command(false, append([]string{"runs", "--local"}, args...)...)
	if code != want {
		n.t.Fatalf("tenantry runs --local %s: exit code %d, want %d: %s%s", strings.Join(args, " "), code, want, out, stderr)
	}
	return out, stderr
}

// The method `shows` waits until `tenantry runs show --local` prints the text. Several spaces count as one space.
func (n *night) shows(run, text string) {
	n.t.Helper()
	n.eventually(run+" shows "+text, func() bool {
		out, _ := n.local(0, "show", run)
		return strings.Contains(spaces.ReplaceAllString(out, " "), text)
	})
}

// The method `place` places an order, and returns the id of its run.
func (n *night) place(key string) (run string) {
	n.t.Helper()
	a, err := n.subscribe(n.replicaURL, key, n.newToken(), "Prefer", "respond-async")
	n.ok(err)
	run, ok := strings.CutPrefix(a.header.Get("Location"), "/v1/runs/")
	if a.status != http.StatusAccepted || !ok {
		n.t.Fatalf("the order is answered %d: %s", a.status, a.body)
	}
	return run
}

var spaces = regexp.MustCompile(` +`)

var requestID = regexp.MustCompile(`req-[0-9a-f-]{36}`)

func onBoth(t *testing.T, test func(t *testing.T, database string)) {
	for name, database := range map[string]func(testing.TB) string{"SQLite": storetest.SQLite, "PostgreSQL": storetest.PostgreSQL} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, database(t))
		})
	}
}

func TestOperatorsAreNotLockedOutWhileKeystoneIsDown(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, database string) {
		n := newNight(t, database)
		r := n.serve()
		n.replicaURL = r.url
		n.booksClosed.Store(true)
		held := n.place("held")
		n.shows(held, "the books are closed")
		n.booksClosed.Store(false)
		n.noExchange.Store(true)
		unlucky, unwanted := n.place("unlucky"), n.place("unwanted")
		n.shows(unlucky, "\nfailing step scope-token\n")
		n.shows(unwanted, "\nfailing step scope-token\n")
		for _, args := range [][]string{
			{"list", "--state", "waiting,stuck", "--since", "1h", "--limit", "1"},
			{"show", held},
			{"show", held, "-f", "json"},
			{"events", held, "--limit", "3"},
			{"events", held, "-f", "yaml"},
			{"watch", held},
			{"retry", held},
			{"show", unlucky[:8]},
			{"list", "--state", "odd"},
			{"skip", held, "attach-tenant", "--why", "no"},
			{"retry", held, "--why", " "},
			{"cancel", strings.Replace(held, held[:8], "00000000", 1), "--why", "no"},
			{"list", "--limit", "201"},
		} {
			n.sameAnswer(args)
		}

		n.stopped.Store(true)
		code, _, stderr := n.command(true, "runs", "list", "--attention")
		if code != 5 || !strings.Contains(stderr, "use \"tenantry runs --local\" on a host of the server") {
			t.Errorf("with a credential: got %d, %s", code, stderr)
		}
		out, stderr := n.local(0, "list", "--attention")
		if !strings.Contains(out, "\nthen type  tenantry runs retry "+held+" --why REASON --local\n") {
			t.Errorf("the list of runs that need attention: got %s", out)
		}
		if where := store.Address(database); !strings.Contains(stderr, where) {
			t.Errorf("the database is not named: got %s, want %s", stderr, where)
		}

		n.local(0, "retry", held, "--why", "the books are open again")
		n.shows(held, "\nstate succeeded\n")
		n.local(0, "watch", held)
		n.records(held, " action retry ", "the books are open again")

		n.local(0, "hold", unlucky, "--why", "let me look") // a step cannot be skipped during an attempt
		n.shows(unlucky, "\nwaits held until an operator decides: let me look\n")
		n.records(unlucky, " action hold ", "let me look")
		n.local(0, "skip", unlucky, "scope-token", "--why", "the portal logs the user in")
		n.shows(unlucky, "\nstate succeeded\n")
		n.records(unlucky, " action skip ", "the portal logs the user in")
		n.local(0, "compensate", unwanted, "--why", "not wanted")
		n.shows(unwanted, "\nstate compensating")
		n.records(unwanted, " action compensate ", "not wanted")
		if _, stderr := n.local(3, "cancel", unwanted, "--why", "again"); !strings.Contains(stderr, "the run is compensating") {
			t.Errorf("a second compensation: got %s", stderr)
		}

		n.stopped.Store(false)
		n.noExchange.Store(false)
		n.shows(unwanted, "\nstate compensated")
		if _, stderr := n.local(3, "retry", unwanted, "--why", "after all"); !strings.Contains(stderr, "without --local") {
			t.Errorf("a retry of a compensated run: got %s", stderr)
		}

		n.booksClosed.Store(true)
		late := n.place("late")
		n.shows(late, "the books are closed")
		r.kill()
		n.local(0, "cancel", late, "--why", "no server is running")
		n.serve()
		n.shows(late, "\nstate compensated")
		n.records(late, " action cancel ", "no server is running")
	})
}

// sameAnswer executes a command under `tenantry runs` twice: with --local and without. The output and the exit code must be equal.
// sameAnswer repeats both calls until they agree, because a run may change between the calls, and because the server answers 503
// while Keystone's circuit is open.
func (n *night) sameAnswer(args []string) {
	n.t.Helper()
	var there, here string
	defer func() {
		if here != there {
			n.t.Logf("with --local, got %s\nwant %s", here, there)
		}
	}()
	n.eventually("runs "+strings.Join(args, " ")+" prints the same with --local", func() bool {
		code, out, stderr := n.command(true, append([]string{"runs"}, args...)...)
		localCode, localOut, localErr := n.command(false, append([]string{"runs", "--local"}, args...)...)
		localErr = strings.Replace(localErr, "tenantry: using the database "+store.Address(n.database)+"\n", "", 1)
		there = requestID.ReplaceAllString(fmt.Sprint(code, "\n", out, stderr), "req-")
		localOut = strings.ReplaceAll(localOut, " --local", "") // the flag of the commands that the output names
		here = requestID.ReplaceAllString(fmt.Sprint(localCode, "\n", localOut, localErr), "req-")
		return here == there
	})
}

// The method `records` checks that the history of a run has the action, the operating-system user who requested the action, and the
// reason.
func (n *night) records(run, action, why string) {
	n.t.Helper()
	me, err := user.Current()
	n.ok(err)
	out, _ := n.local(0, "events", run)
	for line := range strings.Lines(out) {
		if strings.Contains(line, action) && strings.Contains(line, " local:"+me.Username+" ") && strings.Contains(line, why) {
			return
		}
	}
	n.t.Errorf("the history of %s has no%sby local:%s with the reason %q: %s", run, action, me.Username, why, out)
}

// If the user may not read or write an SQLite database, the command prints the remedy, and changes nothing.
func TestLocalNeedsThePermissionToUseTheDatabase(t *testing.T) {
	dir, err := os.MkdirTemp("", "tenantry-local-") //nolint:usetesting // the command runs as a user who cannot read t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "t.db")
	t.Cleanup(func() {
		if err := errors.Join(os.Chmod(dir, 0o700), os.RemoveAll(dir)); err != nil {
			t.Error(err)
		}
	})
	st, err := store.Open(t.Context(), "sqlite:"+path, secretKey)
	if err == nil {
		_, err = st.Migrate(t.Context())
		err = errors.Join(err, st.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	for what, modes := range map[string]struct{ file, dir os.FileMode }{
		"the directory is closed": {0o600, 0o700},
		"the file is closed":      {0o000, 0o777},
	} {
		t.Run(what, func(t *testing.T) {
			if err := errors.Join(os.Chmod(dir, 0o700), os.Chmod(path, modes.file), os.Chmod(dir, modes.dir)); err != nil {
				t.Fatal(err)
			}
			out, code := asNobody(t, "sqlite:"+path, "runs", "list", "--local")
			if code != 5 || !strings.Contains(out, path) || !strings.Contains(out, "this user may read and write the database") {
				t.Errorf("exit %d: %s", code, out)
			}
			if err := os.Chmod(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != modes.file {
				t.Errorf("the file: %v, %v, want mode %v", info.Mode(), err, modes.file)
			}
		})
	}
}
