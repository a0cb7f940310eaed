package stories_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/doctor"
)

// A set-up that follows the documentation has no fault, on a real Keystone and PostgreSQL, while the server runs and while it does not.
func TestARightSetUpHasNoFault(t *testing.T) {
	w := newSetUp(t)
	w.migrated()
	w.withTLS(w.certificate("127.0.0.1", nil), "https://"+w.env["TENANTRY_LISTEN"])
	before := w.stored()
	for _, running := range []bool{false, true} {
		if running {
			w.serve()
		}
		lines, code := w.doctor()
		if code != 0 {
			t.Errorf("running: %t: the exit code is %d", running, code)
		}
		for _, line := range lines {
			if line.Status == doctor.Fail || line.Status == doctor.Skipped && line.Check != "disk" {
				t.Errorf("running: %t: got %+v", running, line)
			}
			if running && line.Check == "ports" && !strings.HasPrefix(line.Text, "a server of Tenantry listens on ") {
				t.Errorf("the running server is not seen: %+v", line)
			}
		}
		if at := slices.IndexFunc(lines, func(l doctor.Line) bool { return l.Check == "blast-radius" && l.Status == doctor.Warn }); at < 0 ||
			!strings.Contains(lines[at].Text, "administrator of the whole cloud") {
			t.Errorf("running: %t: nothing says what the service's user can do: %+v", running, lines)
		}
		if !running {
			if after := w.stored(); after != before {
				t.Errorf("the doctor has changed the database from %s to %s", before, after)
			}
		}
	}
	if keystone, stack := w.writes.Load(), w.billing.Load(); keystone != 0 || stack.Count("subscription")+stack.Count("usage") != 0 {
		t.Errorf("the doctor has sent %d writes to Keystone, or BillingStack has stored something", keystone)
	}
}

// A good set-up can have warnings. A warning says what a person should know, and does not change the exit code.
func TestWarningsOfTheDoctor(t *testing.T) {
	w := newSetUp(t)
	other := w.newProject(w.name + "-other")
	w.cloud.call(t, http.MethodPut, "/projects/"+other+"/users/"+w.user+"/roles/"+w.role("member"), nil, nil)
	w.cloud.call(t, http.MethodPut, "/system/users/"+w.user+"/roles/"+w.role("admin"), nil, nil)
	w.applicationCredential("admin", 10*24*time.Hour, "unrestricted")
	settings := filepath.Join(w.dir, "tenantry.yaml")
	w.ok(os.WriteFile(settings, []byte("secret_key: "+w.env["TENANTRY_SECRET_KEY"]+"\n"), 0o644))
	delete(w.env, "TENANTRY_SECRET_KEY")
	w.env["TENANTRY_CONFIG"] = settings
	w.env["TENANTRY_LISTEN"] = "0.0.0.0:" + freePort(t)
	lines, code := w.doctor()
	for _, want := range []struct{ check, text, fix string }{
		{"files", "other users may read or change the file " + settings, "chmod 600 " + settings},
		{"credentials", " expires at 20", "create another application credential"},
		{"credentials", " is unrestricted", "without --unrestricted"},
		{"blast-radius", "role admin on project " + w.name + " (", "A narrower service user"},
		{"blast-radius", "role admin on the system", "A narrower service user"},
		{"blast-radius", "roles that Tenantry does not use: member on project " + w.name + "-other (", "--user " + w.user},
		{"address", "without TLS: it refuses the credentials of callers on other hosts", "TENANTRY_TLS_CERT"},
	} {
		if !slices.ContainsFunc(lines, func(l doctor.Line) bool {
			return l.Check == want.check && l.Status == doctor.Warn && strings.Contains(l.Text, want.text) && strings.Contains(l.Fix.Text, want.fix)
		}) {
			t.Errorf("nothing warns of %+v in %s", want, shown(lines))
		}
	}
	if n := doctor.Count(lines, doctor.Warn); code != 0 || n != 7 || doctor.Count(lines, doctor.Fail) != 0 {
		t.Errorf("got exit code %d and %d warnings, want 0 and 7: %s", code, n, shown(lines))
	}
	w.apply(*lines[slices.IndexFunc(lines, func(l doctor.Line) bool { return l.Check == "files" })].Fix)
	if lines, _ := w.doctor(); doctor.Count(lines, doctor.Warn) != 6 {
		t.Errorf("after the fix of the file: %s", shown(lines))
	}
}

// The table on the screen has a line for each result, and the fix below it. The texts of other systems cannot add a line.
func TestTheReportOfTheDoctor(t *testing.T) {
	w := newSetUp(t)
	w.env["TENANTRY_DATABASE_URL"] = "postgres://nobody:canary-database@127.0.0.1:1/tenantry"
	w.env["TENANTRY_DOMAIN"] = "\x1b[31m"
	out, code := w.shell("exec tenantry doctor", w.environ())
	if code != 6 || strings.Contains(out, "\x1b") || !strings.HasPrefix(out, "fail     configuration         domain (TENANTRY_DOMAIN): ") {
		t.Errorf("with an escape sequence in a setting: got %d and\n%s", code, out)
	}
	w.noSecretIn(out)
	w.env["TENANTRY_DOMAIN"] = "nosuch"
	out, code = w.shell("exec tenantry doctor", w.environ())
	lines := strings.Split(strings.TrimSpace(out), "\n")
	has := func(want string) bool { return slices.Contains(lines, want) }
	if code != 6 || !has("         run: openstack domain create nosuch") || !has("skipped  connections           not checked, because database failed") ||
		!slices.ContainsFunc(lines, func(l string) bool {
			return strings.HasPrefix(l, "fail     database              reaching the database: ")
		}) {
		t.Errorf("got %d and\n%s", code, out)
	}
	w.noSecretIn(out)
}

// If requests to Keystone go through a proxy, the fix names the proxy, whether the proxy does not answer or refuses the requests.
func TestTheDoctorNamesTheProxy(t *testing.T) {
	refusing := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusForbidden) }))
	t.Cleanup(refusing.Close)
	for name, proxy := range map[string]string{"absent": unreachable, "refusing": refusing.Listener.Addr().String()} {
		w := &setUp{t: t, dir: t.TempDir(), secrets: []string{"canary"}, env: map[string]string{
			"OS_AUTH_URL": "http://keystone.invalid:5000/v3", "OS_USERNAME": "tenantry", "OS_PASSWORD": "canary", "OS_PROJECT_NAME": "service",
			"OS_USER_DOMAIN_ID": "default", "OS_PROJECT_DOMAIN_ID": "default", "HTTP_PROXY": "http://ann:canary@" + proxy,
		}}
		lines, _ := w.doctor()
		at := slices.IndexFunc(lines, func(l doctor.Line) bool { return l.Check == "keystone" })
		if l := lines[at]; l.Status != doctor.Fail || !strings.Contains(l.Fix.Text, "to the proxy "+proxy+";") || !strings.Contains(l.Fix.Text, "NO_PROXY") {
			t.Errorf("%s: got %s", name, shown(lines[at:at+1]))
		}
	}
}

// Each set-up is wrong in one way. The doctor finds this fault and no other one, and the set-up is right after the fix was applied as printed.
func TestWrongSetUps(t *testing.T) {
	for _, c := range wrongSetUps {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newSetUp(t)
			mend := c.spoil(w)
			if mend == nil && c.fix == doctor.Instruction {
				t.Fatal("the test does not say how an instruction is followed")
			}
			lines, code := w.doctor()
			failed := slices.DeleteFunc(slices.Clone(lines), func(l doctor.Line) bool { return l.Status != doctor.Fail })
			if len(failed) != 1 || failed[0].Check != c.check || !strings.Contains(failed[0].Text, c.says) || code != 6 {
				t.Fatalf("got exit code %d and %s, want one fault of %s with %q", code, shown(failed), c.check, c.says)
			}
			fix := failed[0].Fix
			if fix == nil || fix.Kind != c.fix || !strings.Contains(fix.Text, c.fixSays) {
				t.Fatalf("got the fix %+v, want %s with %q", fix, c.fix, c.fixSays)
			}
			t.Logf("%s: %s; fix (%s): %s", failed[0].Check, failed[0].Text, fix.Kind, fix.Text)
			switch fix.Kind {
			case doctor.Instruction:
				mend()
			default:
				w.apply(*fix)
			}
			lines, code = w.doctor()
			failed = slices.DeleteFunc(lines, func(l doctor.Line) bool { return l.Status != doctor.Fail })
			if len(failed) > 0 || code != 0 {
				t.Errorf("after the fix %q: got exit code %d and %s", fix.Text, code, shown(failed))
			}
		})
	}
	if len(wrongSetUps) < 20 {
		t.Errorf("only %d set-ups", len(wrongSetUps))
	}
}

func shown(lines []doctor.Line) string {
	text, err := json.MarshalIndent(lines, "", "  ")
	if err != nil {
		return err.Error()
	}
	return string(text)
}
