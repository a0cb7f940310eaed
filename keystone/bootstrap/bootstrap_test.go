package bootstrap

import (
	"errors"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/conn"
)

// newSetup returns a setup whose names no other test uses.
func newSetup() Setup {
	n := uuid.NewString()
	return Setup{
		Persona: Admin, Domain: "d-" + n, UserRoles: []string{"member", "u-" + n}, OperatorRole: "o-" + n,
		User: "s-" + n, UserDomain: "default", Project: "p-" + n, Type: "t-" + n, Name: "n-" + n,
		Region: "RegionOne", PublicURL: "http://p", InternalURL: "http://i",
	}
}

func apply(t *testing.T, cfg conn.Config, s Setup, password string) ([]Object, *Bootstrap, error) {
	t.Helper()
	b, err := New(cfg, s)
	if err != nil {
		t.Fatal(err)
	}
	all, err := b.Apply(t.Context(), func(bool) (string, error) { return password, nil })
	return all, b, err
}

func states(all []Object) map[State]int {
	n := map[State]int{}
	for _, o := range all {
		n[o.State]++
	}
	return n
}

func object(t *testing.T, all []Object, kind string) Object {
	t.Helper()
	i := slices.IndexFunc(all, func(o Object) bool { return o.Kind == kind })
	if i < 0 {
		t.Fatalf("there is no %s in %+v", kind, all)
	}
	return all[i]
}

func TestConcurrentBootstrapsMakeEachObjectOnce(t *testing.T) {
	cfg, s := real(t), newSetup()
	var wg sync.WaitGroup
	var created atomic.Int64
	for range 6 {
		wg.Go(func() {
			all, b, err := apply(t, cfg, s, "canary-password")
			if err != nil || b.PasswordRefused() || states(all)[Differs] > 0 {
				t.Errorf("got %v, %+v", err, all)
			}
			created.Add(int64(states(all)[Created]))
		})
	}
	wg.Wait()
	all, _, err := apply(t, cfg, s, "canary-password")
	if err != nil || states(all)[Exists] != len(all) {
		t.Fatalf("at the end: got %v, %+v", err, all)
	}
	const objects = 9                                      // two roles, domain, project, user, role assignment, service, two endpoints
	if n := created.Load(); n < objects || n > objects+5 { // several may have assigned the same role
		t.Errorf("%d objects were created, want %d", n, objects)
	}
}

// The other process creates its object after the first list, and before the list that follows the creation.
func TestASecondServiceIsRemovedAgain(t *testing.T) {
	cfg, s := real(t), newSetup()
	first, err := New(cfg, s)
	if err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	var other Object
	all, err := first.Apply(t.Context(), func(bool) (string, error) { // called between the reads and the creation of the service
		once.Do(func() {
			seen, _, err := apply(t, cfg, s, "canary-password")
			if err != nil {
				t.Error(err)
			}
			other = object(t, seen, "service")
		})
		return "canary-password", nil
	})
	if err != nil || other.State != Created || object(t, all, "service").State != Exists || object(t, all, "user").State != Exists {
		t.Errorf("got %v, %+v after %+v", err, all, other)
	}
	last, _, err := apply(t, cfg, s, "canary-password")
	if err != nil || states(last)[Exists] != len(last) {
		t.Errorf("at the end: got %v, %+v", err, last)
	}
}

func TestAForeignUserGetsNoRole(t *testing.T) {
	cfg, s := real(t), newSetup()
	squatter := s
	squatter.Project, squatter.Type = s.Project+"-other", s.Type+"-other"
	if _, _, err := apply(t, cfg, squatter, "canary-of-the-squatter"); err != nil {
		t.Fatal(err)
	}
	for what, password := range map[string]string{"unknown password": "", "another password": "canary-password"} {
		all, b, err := apply(t, cfg, s, password)
		if got := object(t, all, "role assignment"); err != nil || got.State != Differs || got.Fix[0] != s.lineOfGrant("admin") {
			t.Errorf("%s: got %v, %+v", what, err, got)
		}
		if b.PasswordRefused() != (password != "") {
			t.Errorf("%s: the password is refused: %t", what, b.PasswordRefused())
		}
	}
	if all, _, err := apply(t, cfg, s, "canary-of-the-squatter"); err != nil || object(t, all, "role assignment").State != Created {
		t.Errorf("with its own password: got %v, %+v", err, all)
	}
}

func TestDifferencesAreShownAndLeft(t *testing.T) {
	cfg, s := real(t), newSetup()
	if _, _, err := apply(t, cfg, s, "canary-password"); err != nil {
		t.Fatal(err)
	}
	run := func(line string) { t.Helper(); bash(t, cfg, line) }
	run("openstack domain set --disable " + s.Domain + "; openstack user set --disable " + s.User + "; openstack service set --disable --name x " + s.Type +
		"; openstack implied role create " + s.UserRoles[1] + " --implied-role " + s.OperatorRole)
	other := s
	other.PublicURL = "http://elsewhere"
	all, _, err := apply(t, cfg, other, "canary-password")
	want := map[string]string{ // by kind
		"domain": "it is disabled", "user": "it is disabled", "endpoint": `its URL is "http://p", not "http://elsewhere"`,
		"service": `its name is "x", not "` + s.Name + `"`, "role": "users must not get it",
	}
	for kind, differs := range want {
		i := slices.IndexFunc(all, func(o Object) bool {
			return o.Kind == kind && o.State == Differs && strings.HasPrefix(o.Differs[0], differs)
		})
		if i < 0 {
			t.Errorf("no %s differs with %q in %+v", kind, differs, all)
		}
	}
	if err != nil || states(all)[Created] != 0 || states(all)[Differs] != len(want) {
		t.Errorf("got %v, %+v", err, all)
	}
	for _, o := range all {
		for _, line := range o.Fix {
			if o.Kind != "role" { // its line only lists
				run(line)
			}
		}
	}
	run("openstack implied role delete " + s.UserRoles[1] + " --implied-role " + s.OperatorRole)
	if all, _, err := apply(t, cfg, other, "canary-password"); err != nil || states(all)[Exists] != len(all) {
		t.Errorf("after the printed lines: got %v, %+v", err, all)
	}
}

func TestWhatIsRequiredIsNotCreated(t *testing.T) {
	cfg := real(t)
	for what, change := range map[string]func(*Setup){
		"an unknown region":            func(s *Setup) { s.Region = "nowhere" },
		"an unknown domain of users":   func(s *Setup) { s.UserDomain = "nowhere" },
		"the id of an unknown domain":  func(s *Setup) { s.Domain = strings.Repeat("a", 32) },
		"a Keystone without a persona": func(s *Setup) { s.Persona = DomainManager },
	} {
		s := newSetup()
		change(&s)
		all, b, err := apply(t, cfg, s, "canary-password")
		if !errors.Is(err, ErrRequired) || len(all) != 0 {
			t.Errorf("%s: got %v, %+v", what, err, all)
		}
		if o := (Object{Name: s.OperatorRole}); b.findRole(t.Context(), &o) != nil || o.State != missing {
			t.Errorf("%s: the role of operators was created", what)
		}
	}
}

func TestACredentialWithoutRightsIsRefused(t *testing.T) {
	cfg, s := real(t), newSetup()
	wrong := cfg
	wrong.Credential.Password = "canary-wrong"
	if _, _, err := apply(t, wrong, s, "canary-password"); !errors.Is(err, keystone.ErrLoginRefused) || strings.Contains(err.Error(), "canary") {
		t.Errorf("wrong password: got %v", err)
	}
	if _, _, err := apply(t, cfg, s, "canary-password"); err != nil {
		t.Fatal(err)
	}
	bash(t, cfg, "openstack role remove --user "+s.User+" --project "+s.Project+" admin && openstack role add --user "+s.User+" --project "+s.Project+" member")
	member := cfg
	member.Credential = conn.Credential{
		Username: s.User, UserDomainID: "default", Password: "canary-password", ProjectName: s.Project, ProjectDomainID: "default",
	}
	if all, _, err := apply(t, member, newSetup(), "canary-password"); !errors.Is(err, keystone.ErrForbidden) || len(all) > 0 {
		t.Errorf("a member: got %v, %+v", err, all)
	}
}

// If the catalog has two services of the type already, the printed line does not create a third one.
func TestThePrintedLineCreatesNoThirdService(t *testing.T) {
	cfg, s := real(t), newSetup()
	bash(t, cfg, "openstack service create "+s.Type+"; openstack service create "+s.Type)
	bash(t, cfg, s.lineOfService())
	if n := strings.Count(bash(t, cfg, "openstack service list -f value -c Type"), s.Type); n != 2 {
		t.Errorf("the catalog has %d services of the type", n)
	}
}

// The function `bash` executes a line with the administrator's credential, and returns its output.
func bash(t *testing.T, cfg conn.Config, line string) string {
	t.Helper()
	cmd := exec.Command("bash", "-c", line)
	cmd.Env = append(os.Environ(), "OS_AUTH_URL="+cfg.URL, "OS_USERNAME=admin", "OS_PASSWORD="+cfg.Credential.Password, "OS_PROJECT_NAME=admin",
		"OS_USER_DOMAIN_ID=default", "OS_PROJECT_DOMAIN_ID=default", "OS_IDENTITY_API_VERSION=3")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", line, err, out)
	}
	return string(out)
}

func TestTheGuardOnlyCreates(t *testing.T) {
	endpoint, err := url.Parse("http://k/v3/")
	if err != nil {
		t.Fatal(err)
	}
	g := newGuard(endpoint, nil)
	g.created("services", "mine")
	for line, want := range map[string]bool{
		"GET http://k/v3/users":                          true,
		"GET http://other/v3/users":                      false,
		"GET http://k/v2.0/users":                        false,
		"POST http://k/v3/auth/tokens":                   true,
		"POST http://k/v3/users":                         true,
		"POST http://k/v3/credentials":                   false,
		"POST http://k/v3/users/u/password":              false,
		"PUT http://k/v3/projects/p/users/u/roles/r":     true,
		"PUT http://k/v3/domains/d/users/u/roles/r":      true,
		"PUT http://k/v3/projects/p/groups/g/roles/r":    false,
		"PUT http://k/v3/system/users/u/roles/r":         false,
		"PUT http://k/v3/projects/../users/u/roles/r":    false,
		"PATCH http://k/v3/users/u":                      false,
		"DELETE http://k/v3/users/u":                     false,
		"DELETE http://k/v3/services/mine":               true,
		"DELETE http://k/v3/services/other":              false,
		"DELETE http://k/v3/endpoints/mine":              false,
		"DELETE http://k/v3/projects/p/users/u/roles/r":  false,
		"PATCH http://k/v3/endpoints/e":                  false,
		"POST http://k/v3/regions":                       false,
		"POST http://k/v3/users/":                        false,
		"PUT http://k/v3/domains/d/users/u/roles/r/more": false,
	} {
		method, address, _ := strings.Cut(line, " ")
		req, err := http.NewRequest(method, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := g.allows(req); got != want {
			t.Errorf("%s: got %t, want %t", line, got, want)
		}
	}
}

func TestThePolicyNamesTheRolesOfUsers(t *testing.T) {
	s := Setup{UserRoles: []string{"member", "bs-admin", "two words", "it's", "x\ny"}}
	got := Policy(s)
	if !strings.Contains(got, `or 'reader':%(target.role.name)s or 'bs-admin':%(target.role.name)s"`+"\n") || strings.Count(got, "'member'") != 1 ||
		!strings.Contains(got, `# Roles that are left out, because a policy cannot name them: "two words", "it's", "x\ny"`+"\n") || strings.Contains(got, "'admin'") {
		t.Errorf("got %s", got)
	}
	s = newSetup()
	s.Persona, s.UserRoles = DomainManager, []string{"two words"}
	if err := s.CheckNames(); err == nil || !strings.Contains(err.Error(), "two words") {
		t.Errorf("got %v", err)
	}
}

// The client of this package may write what the guard of the service refuses. The service and all packages that it is built from do not
// import this package.
func TestTheServiceCannotReachThisPackage(t *testing.T) {
	const here = "github.com/tenantry/tenantry/keystone/bootstrap"
	out, err := exec.Command("go", "list", "-deps", "github.com/tenantry/tenantry/orchestrator/...", "github.com/tenantry/tenantry/workflows/...",
		"github.com/tenantry/tenantry/keystone/clouds").Output()
	if err != nil || !strings.Contains(string(out), "/orchestrator/service\n") {
		t.Fatalf("%v: %s", err, out)
	}
	if slices.Contains(strings.Fields(string(out)), here) {
		t.Errorf("a package of the service imports %s", here)
	}
	found, err := exec.Command("git", "-C", "../..", "grep", "--untracked", "-lE", `NewGuardedBy\(|Guard:`, "--", "*.go").Output()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"keystone/bootstrap/bootstrap.go", "keystone/bootstrap/bootstrap_test.go", "keystone/v3/cloud.go"}
	if got := strings.Fields(string(found)); !slices.Equal(got, want) {
		t.Errorf("another guard is used in %v, want %v", got, want)
	}
}
