package stories_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/store/storetest"
)

// The type `unprepared` is a real Keystone as its installation leaves it, for one test.
type unprepared struct {
	cloud
	t    *testing.T
	in   *upstream // the proxy between the commands and Keystone
	home home
	env  []string
}

func newUnprepared(t *testing.T) *unprepared {
	t.Helper()
	u := &unprepared{t: t, in: &upstream{}, home: newHome(t)}
	url, password, _ := startKeystone(t, u.home)
	u.in.next = passedOn(t, url)
	u.cloud = front(t, u.in, password)
	u.env = append(u.cloud.env(), "PATH="+os.Getenv("PATH"), "HOME="+t.TempDir(), "LC_ALL=C.UTF-8", "TENANTRY_URL=http://tenantry.example.org:9292")
	return u
}

// bootstrapped is the output of `tenantry bootstrap keystone -f json`.
type bootstrapped struct {
	Objects []struct {
		Kind, Name, State string
		Differs, Fix      []string
	}
	Commands []string
	Policy   string
}

// The method `states` returns the number of objects in each state.
func (b bootstrapped) states() map[string]int {
	n := map[string]int{}
	for _, o := range b.Objects {
		n[o.State]++
	}
	return n
}

// The method `bootstrap` runs `tenantry bootstrap keystone` with the administrator's credential and additional variables.
func (u *unprepared) bootstrap(env []string, args ...string) (b bootstrapped, code int, all string) {
	u.t.Helper()
	path, err := binary()
	if err != nil {
		u.t.Fatal(err)
	}
	cmd := exec.CommandContext(u.t.Context(), path, append([]string{"bootstrap", "keystone", "-f", "json"}, args...)...)
	cmd.Env = append(slices.Clone(u.env), env...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, _ := cmd.Output()
	if len(out) > 0 {
		if err := json.Unmarshal(out, &b); err != nil {
			u.t.Fatalf("%v in %s", err, out)
		}
	}
	return b, cmd.ProcessState.ExitCode(), string(out) + stderr.String()
}

// variablesIn returns the variables that a shell reads from a file.
func variablesIn(t *testing.T, file string) []string {
	t.Helper()
	out, err := exec.Command("env", "-i", "sh", "-c", `set -a; . "$1"; env`, "sh", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

func valueIn(variables []string, name string) string {
	for _, v := range variables {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	return ""
}

// domainManagers are the rules for the persona "domain manager", as far as Tenantry needs them, in the words of Keystone 22. Keystone has
// the persona since release 2024.2.
const domainManagers = `
"of_domain": "role:manager and domain_id:%(target.project.domain_id)s and not None:%(target.project.domain_id)s"
"identity:create_project": "rule:admin_required or rule:of_domain"
"identity:update_project": "rule:admin_required or rule:of_domain"
"identity:delete_project": "rule:admin_required or rule:of_domain"
"managed_grant": "role:manager and domain_id:%(target.user.domain_id)s and domain_id:%(target.project.domain_id)s and rule:domain_managed_target_role"
"identity:create_grant": "rule:admin_required or rule:managed_grant"
"identity:revoke_grant": "rule:admin_required or rule:managed_grant"
"identity:list_roles": "rule:admin_required or (role:manager and not domain_id:None)"
"identity:validate_token": "rule:service_or_admin or rule:token_subject"
`

// TestBootstrapPreparesAKeystoneForASubscribe subscribes a user with the service user that bootstrap has created, and with nothing but
// the file that bootstrap has written.
func TestBootstrapPreparesAKeystoneForASubscribe(t *testing.T) {
	t.Parallel()
	for _, persona := range []string{"admin", "domain-manager"} {
		t.Run(persona, func(t *testing.T) {
			u := newUnprepared(t)
			if persona == "domain-manager" {
				u.becomeNewer()
			}
			file := filepath.Join(t.TempDir(), "service.env")
			args := []string{"--apply", "--persona", persona, "--credentials", file}
			first, code, all := u.bootstrap(nil, args...)
			if code != 0 || first.states()["created"] < 9 {
				t.Fatalf("got %d, %s", code, all)
			}
			second, code, again := u.bootstrap(nil, args...)
			if code != 0 || second.states()["exists"] != len(second.Objects) || len(second.Objects) != len(first.Objects) {
				t.Fatalf("repeated: got %d, %s", code, again)
			}
			if _, code, other := u.bootstrap(nil, "--apply", "--persona", persona, "--credentials", file+"2"); code != 0 ||
				!strings.Contains(other, file+"2 was not written, because user tenantry existed before") {
				t.Errorf("another file for the same user: got %d, %s", code, other)
			}
			settings := variablesIn(t, file)
			password := valueIn(settings, "OS_PASSWORD")
			if strings.Contains(all+again, password) || len(password) != 43 {
				t.Errorf("the output contains the password, or the password has not 32 bytes")
			}
			if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
				t.Errorf("got %v, %v", info.Mode(), err)
			}
			if persona == "domain-manager" {
				u.addPolicy(first.Policy)
			}

			var found struct{ Domains []struct{ ID string } }
			u.call(t, http.MethodGet, "/domains?name=customers", nil, &found)
			u.domain = found.Domains[0].ID
			s := newSite(t, storetest.SQLite(t), u.cloud, &upstream{})
			s.env = append(s.env, settings...)
			r := s.serve()
			user, token := s.cloud.newUser(t)
			a, err := s.subscribe(r.url, uuid.NewString(), token)
			s.ok(err)
			if a.status != http.StatusCreated {
				t.Fatalf("%d: %s: %s", a.status, a.body, s.log.read())
			}
			var made run
			s.unmarshal(a.body, &made)
			s.whole(made, user)
			if strings.Contains(s.log.read(), password) {
				t.Error("the log of the service contains the password")
			}
			if persona == "domain-manager" {
				u.checkReach(settings, user, s.cloud.project(t, "bs-customer-"+made.of("customer_id")).ID)
			}
		})
	}
}

// becomeNewer gives Keystone 22 the roles and the rules of a Keystone with domain managers.
func (u *unprepared) becomeNewer() {
	ids := map[string]string{}
	for _, name := range []string{"manager", "service"} {
		var made struct{ Role struct{ ID string } }
		u.call(u.t, http.MethodPost, "/roles", map[string]any{"role": map[string]any{"name": name}}, &made)
		ids[name] = made.Role.ID
	}
	var found struct{ Roles []struct{ ID string } }
	u.call(u.t, http.MethodGet, "/roles?name=member", nil, &found)
	u.call(u.t, http.MethodPut, "/roles/"+ids["manager"]+"/implies/"+found.Roles[0].ID, nil, nil)
	u.addPolicy(domainManagers)
}

// addPolicy adds rules to Keystone's policy. Keystone reads the file again when it has changed.
func (u *unprepared) addPolicy(rules string) {
	u.t.Helper()
	path := filepath.Join(u.home.dir, "keystone.d", "policy.yaml")
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err == nil {
		_, err = file.WriteString(rules)
	}
	if err != nil || file.Close() != nil {
		u.t.Fatal(err)
	}
}

// checkReach checks that Keystone refuses the service user everything outside of the customers' domain, and the role admin.
func (u *unprepared) checkReach(settings []string, user, project string) {
	u.t.Helper()
	of := func(name string) string { return valueIn(settings, name) }
	body := fmt.Sprintf(`{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":%q,"password":%q,"domain":{"id":%q}}}},"scope":{"domain":{"id":%q}}}}`,
		of("OS_USERNAME"), of("OS_PASSWORD"), of("OS_USER_DOMAIN_ID"), of("OS_DOMAIN_ID"))
	resp, err := http.Post(u.direct+"/auth/tokens", "application/json", strings.NewReader(body))
	if err != nil {
		u.t.Fatal(err)
	}
	_ = resp.Body.Close()
	token := resp.Header.Get("X-Subject-Token")
	var found struct{ Roles []struct{ ID string } }
	u.call(u.t, http.MethodGet, "/roles?name=admin", nil, &found)
	for _, c := range []struct {
		method, path, body string
		want               int
	}{
		{http.MethodPost, "/projects", `{"project":{"name":"bs-customer-x","domain_id":"` + of("OS_DOMAIN_ID") + `"}}`, http.StatusCreated},
		{http.MethodPost, "/projects", `{"project":{"name":"bs-customer-x","domain_id":"default"}}`, http.StatusForbidden},
		{http.MethodPut, "/projects/" + project + "/users/" + user + "/roles/" + found.Roles[0].ID, "", http.StatusForbidden},
		{http.MethodPost, "/roles", `{"role":{"name":"x"}}`, http.StatusForbidden},
		{http.MethodPost, "/services", `{"service":{"type":"x"}}`, http.StatusForbidden},
	} {
		req, err := http.NewRequest(c.method, u.direct+c.path, strings.NewReader(c.body))
		if err != nil {
			u.t.Fatal(err)
		}
		req.Header.Set("X-Auth-Token", token)
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			u.t.Fatal(err)
		}
		if _ = resp.Body.Close(); resp.StatusCode != c.want {
			u.t.Errorf("%s %s %s by the service user: got %d, want %d", c.method, c.path, c.body, resp.StatusCode, c.want)
		}
	}
}

// hostile are settings with names that a shell, an option parser or a URL could misread.
var hostile = []string{
	"TENANTRY_DOMAIN=-rf /;'$(id)' \"é\u202e", "TENANTRY_ADMIN_ROLE=--or-show", "TENANTRY_CUSTOMER_ROLES=a b,c'd?e=f&g,member", "TENANTRY_SUBSCRIPTION_ROLES=$HOME",
}

var hostileArgs = []string{"--service-user", "-u; `id`", "--service-project=--help", "--public-url", "http://t.example.org/a'b;c", "--internal-url", "http://i.example.org"}

// TestThePrintedLinesMakeTheSameObjects carries out the printed lines with bash and the openstack command on one Keystone, and --apply
// on another Keystone.
func TestThePrintedLinesMakeTheSameObjects(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ env, args []string }{
		"the defaults":  {},
		"hostile names": {hostile, hostileArgs},
	} {
		t.Run(name, func(t *testing.T) {
			applied, printed := newUnprepared(t), newUnprepared(t)
			file := filepath.Join(t.TempDir(), "service.env")
			if _, code, all := applied.bootstrap(c.env, append(c.args, "--apply", "--credentials", file)...); code != 0 {
				t.Fatalf("got %d, %s", code, all)
			}
			if settings := variablesIn(t, file); c.env != nil && valueIn(settings, "TENANTRY_DOMAIN") != strings.TrimPrefix(c.env[0], "TENANTRY_DOMAIN=") {
				t.Errorf("the shell reads the domain %q", valueIn(settings, "TENANTRY_DOMAIN"))
			}
			lines, code, all := printed.bootstrap(append(c.env, "OS_AUTH_URL=", "OS_PASSWORD="), append(c.args, "--print")...)
			if code != 0 {
				t.Fatalf("--print without a credential: got %d, %s", code, all)
			}
			script := strings.ReplaceAll(strings.Join(lines.Commands, "\n"), " --password-prompt ", " --password canary ")
			for _, times := range []string{"once", "again"} {
				cmd := exec.CommandContext(t.Context(), "bash", "-e", "-o", "pipefail", "-c", script)
				cmd.Env = printed.env
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%s: %v\n%s\n%s", times, err, script, out)
				}
				if c.env != nil {
					break // the second time shows nothing new about the names
				}
			}
			if got, want := printed.all(), applied.all(); !slices.Equal(got, want) {
				t.Errorf("the lines made\n%s\n--apply made\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			if left, code, all := printed.bootstrap(c.env, append(c.args, "--apply", "--credentials", file+"2")...); code != 0 || left.states()["exists"] != len(left.Objects) {
				t.Errorf("--apply after the lines: got %d, %s", code, all)
			}
		})
	}
}

// The method `all` describes all objects that bootstrap may create, without ids.
func (u *unprepared) all() (all []string) {
	u.t.Helper()
	names := map[string]string{"": "-"}
	var lists [6][]map[string]any
	for i, kind := range []string{"roles", "domains", "regions", "projects", "users", "services"} {
		var found map[string]json.RawMessage
		u.call(u.t, http.MethodGet, "/"+kind, nil, &found)
		if err := json.Unmarshal(found[kind], &lists[i]); err != nil {
			u.t.Fatal(err)
		}
		for _, o := range lists[i] {
			names[fmt.Sprint(o["id"])] = fmt.Sprint(o["name"])
		}
		for _, o := range lists[i] {
			all = append(all, fmt.Sprint(kind, " ", o["name"], " type ", o["type"], " enabled ", o["enabled"], " in ", names[fmt.Sprint(o["domain_id"])],
				" ", o["description"]))
		}
	}
	var found struct {
		Endpoints []struct {
			ServiceID string `json:"service_id"`
			Interface string
			RegionID  string `json:"region_id"`
			URL       string
			Enabled   bool
		}
	}
	u.call(u.t, http.MethodGet, "/endpoints", nil, &found)
	for _, e := range found.Endpoints {
		if names[e.ServiceID] != "keystone" {
			all = append(all, fmt.Sprint("endpoint ", names[e.ServiceID], " ", e.Interface, " ", e.RegionID, " ", e.URL, " ", e.Enabled))
		}
	}
	var assigned struct {
		Assigned []struct {
			Role, User struct{ ID string }
			Scope      struct{ Project, Domain struct{ ID string } }
		} `json:"role_assignments"`
	}
	u.call(u.t, http.MethodGet, "/role_assignments", nil, &assigned)
	for _, a := range assigned.Assigned {
		all = append(all, fmt.Sprint("assignment ", names[a.Role.ID], " ", names[a.User.ID], " ", names[a.Scope.Project.ID], " ", names[a.Scope.Domain.ID]))
	}
	slices.Sort(all)
	return all
}

// TestAnInterruptedBootstrapIsRepeated interrupts bootstrap at each of its writes, before the write and after it. The same command is
// then repeated, and completes.
func TestAnInterruptedBootstrapIsRepeated(t *testing.T) {
	t.Parallel()
	u := newUnprepared(t)
	write := regexp.MustCompile(`^/v3/(roles|domains|projects|users|services|endpoints)`)
	want := u.bootstrapOnce("whole", nil)
	for n := 0; ; n++ {
		writes := 0
		for _, done := range []bool{false, true} {
			writes = 0
			u.removeService()
			broken := func(w *httptest.ResponseRecorder, r *http.Request, next http.Handler) {
				if r.Method == http.MethodGet || r.Method == http.MethodHead || !write.MatchString(r.URL.Path) {
					next.ServeHTTP(w, r)
					return
				}
				if writes++; writes <= n {
					next.ServeHTTP(w, r)
					return
				}
				if done && writes == n+1 {
					next.ServeHTTP(httptest.NewRecorder(), r)
				}
				panic(http.ErrAbortHandler) // also at the following writes
			}
			name := fmt.Sprintf("n%d-%t", n, done)
			if got := u.bootstrapOnce(name, broken); got != want {
				t.Errorf("%s: got %s, want %s", name, got, want)
			}
		}
		if writes <= n { // nothing was interrupted
			if n < 8 {
				t.Errorf("bootstrap made only %d writes", n)
			}
			return
		}
	}
}

// bootstrapOnce runs bootstrap with names of its own, with a broken connection to Keystone, until it succeeds. It returns the
// kinds of the objects of the last run.
func (u *unprepared) bootstrapOnce(name string, broken func(*httptest.ResponseRecorder, *http.Request, http.Handler)) string {
	u.t.Helper()
	env := []string{"TENANTRY_DOMAIN=" + name, "TENANTRY_ADMIN_ROLE=" + name, "TENANTRY_CUSTOMER_ROLES=member,x" + name}
	file := filepath.Join(u.t.TempDir(), "service.env")
	args := []string{"--apply", "--credentials", file, "--service-user", name, "--service-project", name}
	u.in.around = broken
	_, code, all := u.bootstrap(env, args...)
	u.in.around = nil
	if broken != nil && code != 0 && code != 5 {
		u.t.Errorf("%s: interrupted: got %d, %s", name, code, all)
	}
	last, code, again := u.bootstrap(env, args...)
	if code != 0 {
		u.t.Errorf("%s: repeated: got %d, %s\nafter %s", name, code, again, all)
	}
	if files, err := filepath.Glob(filepath.Join(filepath.Dir(file), "*")); err != nil || len(files) != 1 {
		u.t.Errorf("%s: files %v, %v", name, files, err)
	}
	var kinds []string
	for _, o := range last.Objects {
		kinds = append(kinds, o.Kind)
	}
	return strings.Join(kinds, ", ")
}

func (u *unprepared) removeService() {
	var found struct{ Services []struct{ ID string } }
	u.call(u.t, http.MethodGet, "/services?type=subscription-orchestration", nil, &found)
	for _, s := range found.Services {
		u.call(u.t, http.MethodDelete, "/services/"+s.ID, nil, nil)
	}
}
