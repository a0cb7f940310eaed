package stories_test

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/store/storetest"
)

// TestTheProcess carries out each line of subscriptions.rst with curl, on a real Keystone with Identity v3 and on the in-memory Keystone with
// Identity v2.0. It fails if an answer or a call to Keystone or BillingStack is not the one that docs/process.md shows.
func TestTheProcess(t *testing.T) {
	t.Parallel()
	var both sync.WaitGroup
	for _, second := range []bool{false, true} {
		both.Go(func() {
			t.Run(identityVersion(second), func(t *testing.T) { carryOut(t, second) })
		})
	}
	both.Wait()
	if t.Failed() {
		return
	}
	page := pageOfProcess()
	if path := os.Getenv("TENANTRY_TEST_PROCESS"); path != "" {
		if err := os.WriteFile(path, page, 0o644); err != nil {
			t.Error(err)
		}
		return
	}
	written, err := os.ReadFile("../../../docs/process.md")
	if err != nil {
		t.Error(err)
	}
	if !bytes.Equal(written, page) {
		t.Error("docs/process.md is out of date: run `make process`, and commit the page")
	}
}

// carryOut carries out the process for three visitors: line by line, with one call, and literally.
func carryOut(t *testing.T, second bool) {
	w := newWalk(t, second)
	for _, l := range prerequisites {
		w.line(l)
	}
	first := w.site.serve()
	w.names["TENANTRY_URL"] = first.url
	w.line(tenantryItself)

	w.visitor("ann", func() {
		for _, l := range slices.Concat(theProcess(false), []line{usage, existing(false)}) {
			w.line(l)
		}
	})
	w.visitor("bob", func() {
		w.line(oneCall)
		w.line(usage)
		w.line(existing(false))
	})

	first.kill()
	w.line(literalRoles)
	w.names["TENANTRY_URL"] = w.site.serve(literalSettings...).url
	w.visitor("cleo", func() {
		for _, l := range slices.Concat(theProcess(true), []line{usage, existing(true)}) {
			w.line(l)
		}
	})
}

// The type `walk` carries out the process on one Keystone.
type walk struct {
	t      *testing.T
	site   *site
	second bool // Keystone has Identity v2.0
	names  names

	mu   sync.Mutex
	seen []seenCall // calls since the beginning of the line
}

// seenCall is a call of Tenantry to Keystone or BillingStack.
type seenCall struct {
	method, path string
	status       int
	body         []byte
}

func newWalk(t *testing.T, second bool) *walk {
	t.Helper()
	w := &walk{t: t, second: second}
	toKeystone, toBilling := &upstream{around: w.record}, &upstream{around: w.record}
	c := w.keystone(toKeystone)
	w.site = emptySite(t, storetest.PostgreSQL(t), c, toBilling)
	path, err := binary()
	w.site.ok(err)
	w.site.env = append(w.site.env, "PATH="+filepath.Dir(path)+":"+os.Getenv("PATH"), "no_proxy=127.0.0.1")
	w.site.run("migrate") // if the replica created the tables, it would check the set-up, and the calls of this check would be recorded

	file := filepath.Join(t.TempDir(), "meters.yaml")
	w.site.ok(os.WriteFile(file, []byte(meters), 0o600))
	w.site.env = append(w.site.env, "TENANTRY_METERS="+file)

	direct := httptest.NewServer(toBilling.next) // the calls of the merchant are not recorded
	t.Cleanup(direct.Close)
	hour := time.Now().UTC().Add(-75 * time.Minute).Truncate(time.Hour) // the newest hour whose usage can be computed
	w.names = names{
		"BILLING_URL": direct.URL + "/v2", "KEYSTONE_URL": c.direct, "ADMIN_TOKEN": c.token, "USER_PASSWORD": "correct horse",
		"THE_HOUR": hour.Format("2006-01-02T15"), "NEXT_HOUR": hour.Add(time.Hour).Format("2006-01-02T15"),
	}
	if second {
		w.names["KEYSTONE_URL"] = strings.TrimSuffix(c.direct, "/v3") + "/v2.0"
	}
	return w
}

// The method `keystone` starts a new Keystone, which has only the objects of its installation.
func (w *walk) keystone(in *upstream) cloud {
	w.t.Helper()
	if w.second {
		in.next = keystonetest.New(keystonetest.Options{AdminPassword: "canary-password", Pike: true})
		c := front(w.t, in, "canary-password")
		c.second = true
		return c
	}
	base, password, _ := startKeystone(w.t, newHome(w.t))
	in.next = passedOn(w.t, base)
	return front(w.t, in, password)
}

// The method `record` records a call, unless it only reads or is a login of the service user. It also records a list of plans.
func (w *walk) record(answer *httptest.ResponseRecorder, r *http.Request, next http.Handler) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.t.Error(err)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	next.ServeHTTP(answer, r)
	login := strings.HasSuffix(r.URL.Path, "/tokens") && bytes.Contains(body, []byte(`"admin"`))
	reads := r.Method == http.MethodGet && (r.URL.RawQuery != "" || !strings.HasSuffix(r.URL.Path, "/plans"))
	if login || reads {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = append(w.seen, seenCall{r.Method, r.URL.Path, answer.Code, body})
}

// The method `visitor` carries out a part of the process for one visitor, whose names have their own values.
func (w *walk) visitor(name string, do func()) {
	before := maps.Clone(w.names)
	w.names["USER_NAME"] = name
	do()
	w.names = before
}

// The method `line` runs the commands of a line, and checks their answers and the calls that they cause.
func (w *walk) line(l line) {
	w.t.Helper()
	w.mu.Lock()
	w.seen = nil
	w.mu.Unlock()
	for _, c := range l.commands {
		if c.only == "" || c.only == identityVersion(w.second) {
			w.command(c)
		}
	}
	w.calls(l)
}

// The method `command` runs a command. If the command is repeated, `command` runs it until the answer is the expected one.
func (w *walk) command(c command) {
	w.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		answer := w.run(c)
		err := w.names.answer(c.answer, answer)
		switch {
		case err == nil:
			return
		case !c.repeat || time.Now().After(deadline):
			log := w.site.log.read()
			w.t.Fatalf("%v\nthe command: %s\nthe answer: %s\nthe end of the log: %s", err, c.text, answer, log[max(0, len(log)-3000):])
		}
	}
}

func (w *walk) run(c command) string {
	w.t.Helper()
	if c.sql {
		conn, err := pgx.Connect(w.t.Context(), w.site.database)
		w.site.ok(err)
		defer func() { _ = conn.Close(w.t.Context()) }()
		done, err := conn.Exec(w.t.Context(), w.names.in(c.text))
		w.site.ok(err)
		return done.String()
	}
	bash := exec.CommandContext(w.t.Context(), "bash", "-c", "set -euo pipefail\n"+c.text)
	bash.Env = slices.Clone(w.site.env)
	for name, value := range w.names {
		bash.Env = append(bash.Env, name+"="+value)
	}
	var out, complaints bytes.Buffer
	bash.Stdout, bash.Stderr = &out, &complaints
	if err := bash.Run(); err != nil {
		w.t.Fatalf("%s: %v: %s%s", c.text, err, out.String(), complaints.String())
	}
	return out.String()
}

// The method `calls` compares the calls since the beginning of a line with the calls that the line shows. The calls may have any order.
func (w *walk) calls(l line) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	left := w.seen
	for _, want := range l.allCalls(w.second) {
		at := slices.IndexFunc(left, func(got seenCall) bool { return w.names.call(want, got) })
		if at < 0 {
			w.t.Errorf("line %q: the call is missing: %s", l.title, w.names.in(want.head+" "+want.body))
			continue
		}
		left = slices.Delete(left, at, at+1)
		if want.again {
			left = slices.DeleteFunc(left, func(got seenCall) bool { return w.names.call(want, got) })
		}
	}
	for _, got := range left {
		w.t.Errorf("line %q: docs/process.md does not show the call %s %s %s: %d", l.title, got.method, got.path, got.body, got.status)
	}
}

// The method `call` reports whether a call is the expected one.
func (n names) call(want request, got seenCall) bool {
	found := maps.Clone(n)
	if !found.text(want.head, got.method+" "+got.path) || want.status != got.status {
		return false
	}
	if want.body != "" {
		var body any
		if json.Unmarshal(got.body, &body) != nil || found.value(parsed(want.body), body) != nil {
			return false
		}
	}
	maps.Copy(n, found)
	return true
}
