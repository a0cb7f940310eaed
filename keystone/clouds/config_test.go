package clouds_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/keystone/clouds"
	"github.com/tenantry/tenantry/keystone/conn"
)

// The function `environment` sets the variables in vars and clears all other OS_* variables.
func environment(t *testing.T, vars map[string]string) {
	t.Helper()
	for _, line := range os.Environ() {
		if name, _, _ := strings.Cut(line, "="); strings.HasPrefix(name, "OS_") {
			t.Setenv(name, "")
		}
	}
	for name, value := range vars {
		t.Setenv(name, value)
	}
}

func TestTheEnvironmentIsRead(t *testing.T) {
	for _, c := range []struct {
		what string
		vars map[string]string
		want conn.Credential
	}{
		{
			"a password and a project",
			map[string]string{
				"OS_USERNAME": "u", "OS_PASSWORD": "p", "OS_USER_DOMAIN_NAME": "Default", "OS_PROJECT_NAME": "admin", "OS_PROJECT_DOMAIN_ID": "default",
			},
			conn.Credential{Username: "u", Password: "p", UserDomainName: "Default", ProjectName: "admin", ProjectDomainID: "default"},
		},
		{
			"one domain for both",
			map[string]string{"OS_USERNAME": "u", "OS_PASSWORD": "p", "OS_DOMAIN_NAME": "D", "OS_PROJECT_NAME": "admin"},
			conn.Credential{Username: "u", Password: "p", UserDomainName: "D", ProjectName: "admin", ProjectDomainName: "D"},
		},
		{
			"a domain as the scope",
			map[string]string{"OS_USER_ID": "u", "OS_PASSWORD": "p", "OS_DOMAIN_ID": "d"},
			conn.Credential{UserID: "u", Password: "p", DomainID: "d"},
		},
		{
			"the system as the scope",
			map[string]string{"OS_USER_ID": "u", "OS_PASSWORD": "p", "OS_SYSTEM_SCOPE": "all"},
			conn.Credential{UserID: "u", Password: "p", System: true},
		},
		{
			"an application credential, with other variables set as well",
			map[string]string{
				"OS_APPLICATION_CREDENTIAL_ID": "a", "OS_APPLICATION_CREDENTIAL_SECRET": "s", "OS_USERNAME": "u", "OS_PASSWORD": "p", "OS_PROJECT_NAME": "x",
			},
			conn.Credential{ApplicationCredentialID: "a", ApplicationCredentialSecret: "s"},
		},
	} {
		t.Run(c.what, func(t *testing.T) {
			c.vars["OS_AUTH_URL"] = "http://k:5000"
			environment(t, c.vars)
			got, err := clouds.FromCloud(clouds.DefaultCloud)
			if err != nil || got.URL != "http://k:5000" || !reflect.DeepEqual(got.Credential, c.want) {
				t.Errorf("got %v, %s", err, show(got.Credential))
			}
		})
	}
}

func TestAllThatIsMissingIsReported(t *testing.T) {
	environment(t, map[string]string{"OS_USERNAME": "u", "OS_CACERT": "/nowhere"})
	_, err := clouds.FromEnv()
	for _, want := range []string{"OS_AUTH_URL", "OS_* variables", "OS_CACERT"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to mention %s", err, want)
		}
	}
	_, err = clouds.Open(conn.Config{URL: "keystone"})
	for _, want := range []string{"URL", "credential"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to mention %s", err, want)
		}
	}
}

func TestCloudsYAMLIsRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "clouds.yaml")
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`
clouds:
  one:
    auth: {auth_url: http://one/v3, username: u, password: p, user_domain_name: Default, project_name: admin, project_domain_id: d}
  two:
    auth_type: v3applicationcredential
    auth: {auth_url: http://two, application_credential_id: a, application_credential_secret: s}
  none:
    auth: {auth_url: http://none, username: u}
`)
	environment(t, map[string]string{"OS_CLIENT_CONFIG_FILE": file})
	for name, want := range map[string]conn.Config{
		"one": {URL: "http://one/v3", Credential: conn.Credential{
			Username: "u", Password: "p", UserDomainName: "Default", ProjectName: "admin", ProjectDomainID: "d",
		}},
		"two": {URL: "http://two", Credential: conn.Credential{ApplicationCredentialID: "a", ApplicationCredentialSecret: "s"}},
	} {
		got, err := clouds.FromCloud(name)
		if err != nil || got.URL != want.URL || got.Credential != want.Credential {
			t.Errorf("%s: got %v, %s, %s", name, err, got.URL, show(got.Credential))
		}
		if _, err := clouds.Open(got); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"none", "absent"} {
		if _, err := clouds.FromCloud(name); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	t.Setenv("OS_CLOUD", "two")
	if got, err := clouds.FromCloud(clouds.DefaultCloud); err != nil || got.URL != "http://two" {
		t.Errorf("by OS_CLOUD: got %v, %s", err, got.URL)
	}

	write("clouds:\n  one:\n    auth: canary\n")
	if _, err := clouds.FromCloud("one"); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("got %v", err)
	}
}

func TestKeystonesAddress(t *testing.T) {
	for url, good := range map[string]bool{
		"http://k:5000": true, "https://k/identity": true, "https://k/identity/v3/": true,
		"": false, "k:5000": false, "ftp://k": false, "http://k/v2.0": false, "http://u:canary@k": false, "http://k?x": false, "http://\x7f": false,
	} {
		_, err := clouds.Open(conn.Config{URL: url, Credential: conn.Credential{ApplicationCredentialID: "a", ApplicationCredentialSecret: "s"}})
		if (err == nil) != good || err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: got %v", url, err)
		}
	}
}

func TestACredentialIsNeverPrinted(t *testing.T) {
	c := conn.Credential{Username: "u", Password: "canary", ApplicationCredentialSecret: "canary"}
	encoded, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{fmt.Sprintf("%v %+v %#v %s", c, c, c, struct{ C conn.Credential }{c}), string(encoded)} {
		if strings.Contains(s, "canary") {
			t.Errorf("got %s", s)
		}
	}
}

// The function `show` prints all fields of a credential, including the secrets of the test.
func show(c conn.Credential) string {
	type open conn.Credential
	return fmt.Sprintf("%+v", open(c))
}
