package clouds_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/keystone/clouds"
	"github.com/tenantry/tenantry/keystone/conn"
)

// The type `input` is an input for the openstack command: see testdata/openstackclient/answers.py.
type input struct {
	Name  string
	Env   map[string]string
	Files map[string]string
}

// The variable `accepted` lists inputs that Tenantry accepts, although the openstack command ends with an internal error of Python.
var accepted = map[string]string{
	"file: v3password and default_domain_id": "the openstack command passes an unexpected argument to its plugin",
	"secure: fills an empty auth":            "the openstack command cannot merge a mapping into an empty value",
}

// TestTheConfigurationIsReadLikeTheOpenstackCommandReadsIt compares Tenantry's logins with the logins of python3-openstackclient. The
// script testdata/openstackclient/answers.py writes the logins of python3-openstackclient.
func TestTheConfigurationIsReadLikeTheOpenstackCommandReadsIt(t *testing.T) {
	var inputs []input
	var answers map[string]*struct {
		Path string
		Auth any
	}
	read(t, "inputs.json", &inputs)
	read(t, "answers.json", &answers)
	for _, in := range inputs {
		t.Run(in.Name, func(t *testing.T) {
			want, ok := answers[in.Name]
			if !ok {
				t.Fatal("answers.json lacks the input: run answers.py")
			}
			install(t, in)
			cfg, err := clouds.FromEnv()
			if want == nil {
				if why, ok := accepted[in.Name]; ok {
					if err != nil {
						t.Errorf("got %v, want no error, although %s", err, why)
					}
					return
				}
				if err == nil {
					t.Fatalf("got %s at %s, want an error", show(cfg.Credential), cfg.URL)
				}
				if name := in.Env["OS_CLOUD"]; name != "" && !strings.Contains(err.Error(), `"`+name+`"`) && !strings.Contains(err.Error(), ".yaml") {
					t.Errorf("the error names neither the cloud nor a file: %v", err)
				}
				if strings.Contains(err.Error(), "canary") {
					t.Errorf("the error contains a value: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			path, auth := loginOf(t, cfg)
			if path != want.Path {
				t.Errorf("the login goes to %s, want %s", path, want.Path)
			}
			if got := decoded(t, auth); !reflect.DeepEqual(got, want.Auth) {
				t.Errorf("login:\n got %v\nwant %v", got, want.Auth)
			}
		})
	}
}

// TestAFaultNamesTheFileTheCloudAndTheKey checks the texts of errors. These texts must contain no value of the file.
func TestAFaultNamesTheFileTheCloudAndTheKey(t *testing.T) {
	const user = "username: u, password: canary, user_domain_id: d"
	for content, want := range map[string]string{
		"clouds: {}\n":                  `reading cloud "c" in clouds.yaml: clouds has no such entry; the entries are []`,
		"clouds: {a: {}, b: {}}\n":      `reading cloud "c" in clouds.yaml: clouds has no such entry; the entries are ["a" "b"]`,
		"clouds: {c: }\n":               `reading cloud "c" in clouds.yaml: the entry is empty, or not a mapping`,
		"clouds: {c: {auth: canary}}\n": `reading cloud "c" in clouds.yaml: auth is not a mapping`,
		"clouds: [canary]\n":            `reading cloud "c" in clouds.yaml: clouds is not a mapping`,
		"canary\n":                      `clouds.yaml is not a mapping`,
		"clouds:\n  c: {canary: [\n":    `clouds.yaml is not valid YAML (line 2)`,
		"clouds: {c: {auth: {auth_url: http://k, " + user + ", project_name: p}}}\n": `reading cloud "c" in clouds.yaml: auth.project_domain_id or auth.project_domain_name is not set`,
		"clouds: {c: {}}\n": `reading cloud "c" in clouds.yaml: auth.auth_url is not set
auth.password is not set
auth.user_id or auth.username is not set
auth.user_domain_id or auth.user_domain_name is not set`,
		"clouds: {c: {profile: v, auth: {" + user + "}}}\n": `reading cloud "c" in clouds.yaml: clouds-public.yaml has no profile "v"
auth.auth_url is not set`,
		"clouds: {c: {auth: {auth_url: http://k, " + user + "}, regions: [{values: {}}]}}\n":                      `reading cloud "c" in clouds.yaml: regions[0].name is missing`,
		"clouds: {c: {auth: {auth_url: http://k, " + user + "}, regions: [{name: r, values: canary}]}}\n":         `reading cloud "c" in clouds.yaml: regions[0].values is not a mapping`,
		"clouds: {c: {auth: {auth_url: http://k, " + user + "}, cacert: none.pem}}\n":                             `reading cloud "c" in clouds.yaml: reading cacert: open none.pem: no such file or directory`,
		"clouds: {c: {auth_type: v3token, auth: {auth_url: http://k, token: canary, " + user + "}}}\n":            `reading cloud "c" in clouds.yaml: auth_type "v3token" is not supported: use password, v3password or v3applicationcredential`,
		"clouds: {c: {auth: {auth_url: http://k, application_credential_id: a, password: canary}}}\n":             `reading cloud "c" in clouds.yaml: auth.application_credential_secret is not set`,
		"clouds: {c: {auth: {auth_url: http://k, " + user + "}, regions: [{name: r, values: {auth: canary}}]}}\n": `reading cloud "c" in clouds.yaml: auth is not a mapping`,
	} {
		install(t, input{Files: map[string]string{"cwd/clouds.yaml": content}})
		if _, err := clouds.FromCloud("c"); err == nil || err.Error() != want {
			t.Errorf("%sgot  %v\nwant %s", content, err, want)
		}
	}
	install(t, input{})
	if _, err := clouds.FromCloud("c"); err == nil || !strings.Contains(err.Error(), `reading cloud "c": found no clouds.yaml in ., `) {
		t.Errorf("without a file: %v", err)
	}
}

// The OS_* variables describe the default cloud. These variables must not change the login at another cloud.
func TestAnotherCloudDoesNotReadTheVariablesOfTheDefaultCloud(t *testing.T) {
	install(t, input{
		Env: map[string]string{"OS_AUTH_URL": "http://default", "OS_USERNAME": "x", "OS_PASSWORD": "x", "OS_PROJECT_NAME": "x", "OS_REGION_NAME": "x"},
		Files: map[string]string{"cwd/clouds.yaml": "clouds: {c: {auth: {auth_url: http://k, username: u, password: p, user_domain_id: d}, " +
			"regions: [{name: r, values: {auth: {project_id: r}}}]}}\n"},
	})
	cfg, err := clouds.FromCloud("c")
	if want := (conn.Credential{Username: "u", Password: "p", UserDomainID: "d", ProjectID: "r"}); err != nil || cfg.URL != "http://k" || cfg.Credential != want {
		t.Errorf("got %s at %s, %v", show(cfg.Credential), cfg.URL, err)
	}
}

func read(t *testing.T, name string, into any) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", "openstackclient", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(content, into); err != nil {
		t.Fatal(err)
	}
}

func decoded(t *testing.T, value any) (generic any) {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &generic); err != nil {
		t.Fatal(err)
	}
	return generic
}

// The function `install` writes the files of an input to a new directory, and sets the environment and the current directory.
func install(t *testing.T, in input) {
	t.Helper()
	dir := t.TempDir()
	fill := strings.NewReplacer("KEYSTONE", "keystone.test", "DIR", dir).Replace
	for _, name := range []string{"home", "cwd"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range in.Files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(fill(content)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	vars := map[string]string{"HOME": filepath.Join(dir, "home"), "XDG_CONFIG_HOME": ""}
	for name, value := range in.Env {
		vars[name] = fill(value)
	}
	environment(t, vars)
	t.Chdir(filepath.Join(dir, "cwd"))
}

// loginOf logs in at a stub. It returns the path of the login without "/auth/tokens", and the field "auth" in the body.
func loginOf(t *testing.T, cfg conn.Config) (path string, auth any) {
	t.Helper()
	cfg.Base = roundTrip(func(r *http.Request) (*http.Response, error) {
		var body map[string]any
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		path, auth = strings.TrimSuffix(r.URL.Path, "/auth/tokens"), body["auth"]
		return nil, errors.New("no answer")
	})
	if _, err := clouds.Login(t.Context(), cfg); err == nil {
		t.Error("the login returned no error")
	}
	return path, auth
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
