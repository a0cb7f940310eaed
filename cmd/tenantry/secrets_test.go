package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

func TestAnAddressWithUserAndPasswordIsRefusedAndNotShown(t *testing.T) {
	var requests atomic.Int64
	keystone := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
	t.Cleanup(keystone.Close)
	clouds := filepath.Join(t.TempDir(), "clouds.yaml")
	if err := os.WriteFile(clouds, []byte(`
clouds:
  own:
    auth: {auth_url: "http://tenantry:hunter2@k/v3", username: u, password: p, user_domain_id: d, project_id: p}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	serve, list := []string{"serve"}, []string{"runs", "list"}
	portal := []string{"TENANTRY_API_KEY=k", "TENANTRY_API_SECRET=s"}
	for name, c := range map[string]struct {
		env  []string
		os   map[string]string
		args []string
		says string
	}{
		"Keystone's":                {os: map[string]string{"OS_AUTH_URL": "http://tenantry:hunter2@k/v3"}, args: serve, says: "OS_AUTH_URL"},
		"Keystone's, invalid":       {os: map[string]string{"OS_AUTH_URL": "http://tenantry:hunter2@k:port/v3"}, args: serve, says: "OS_AUTH_URL"},
		"Keystone's, v2.0":          {os: map[string]string{"OS_AUTH_URL": "http://tenantry:hunter2@k/v2.0"}, args: serve, says: "OS_AUTH_URL"},
		"Keystone's in clouds.yaml": {os: map[string]string{"OS_CLOUD": "own", "OS_CLIENT_CONFIG_FILE": clouds, "OS_AUTH_URL": ""}, args: serve, says: "auth_url"},
		"Keystone's, of a client":   {os: map[string]string{"OS_AUTH_URL": "http://tenantry:hunter2@k/v3"}, args: list, says: "OS_AUTH_URL"},
		"BillingStack's":            {env: []string{"TENANTRY_BILLING_URL=http://tenantry:hunter2@b/v2"}, args: serve, says: "TENANTRY_BILLING_URL"},
		"BillingStack's, no version": {
			env: []string{"TENANTRY_BILLING_URL=http://tenantry:hunter2@b/"}, args: serve, says: "TENANTRY_BILLING_URL",
		},
		"BillingStack's, invalid":      {env: []string{"TENANTRY_BILLING_URL=http://tenantry:hunter2@b:port/v2"}, args: serve, says: "TENANTRY_BILLING_URL"},
		"BillingStack's, for settings": {env: []string{"TENANTRY_BILLING_URL=http://:hunter2@b/v2"}, args: []string{"serve", "--print-config"}, says: "TENANTRY_BILLING_URL"},
		"the server's":                 {env: []string{"TENANTRY_URL=https://tenantry:hunter2@t"}, args: list, says: "TENANTRY_URL"},
		"the server's, invalid":        {env: []string{"TENANTRY_URL=https://tenantry:hunter2@t:port"}, args: list, says: "TENANTRY_URL"},
		"the server's, of a portal":    {env: append(portal, "TENANTRY_URL=http://tenantry:hunter2@127.0.0.1"), args: list, says: "TENANTRY_URL"},
	} {
		t.Run(name, func(t *testing.T) {
			keystoneEnv(t, keystone.URL+"/v3")
			for name, value := range c.os {
				t.Setenv(name, value)
			}
			env := append(newDatabase(t), "TENANTRY_LISTEN=127.0.0.1:0", "TENANTRY_BILLING_LISTEN=127.0.0.1:0")
			code, stdout, stderr := line(t, append(env, c.env...), c.args...)
			if code != exitUsage || !strings.Contains(stderr, c.says) {
				t.Errorf("got %d, %s, want %d and %q", code, stderr, exitUsage, c.says)
			}
			if strings.Contains(stdout+stderr, "hunter2") {
				t.Errorf("the password is shown: %s%s", stdout, stderr)
			}
			if requests.Load() != 0 {
				t.Errorf("%d requests were sent", requests.Load())
			}
		})
	}
}

func TestAnOperatorsTokenIsNotSentInPlainTextToAnotherHost(t *testing.T) {
	var requests atomic.Int64
	keystone := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
	t.Cleanup(keystone.Close)
	keystoneEnv(t, keystone.URL+"/v3")
	for _, token := range []string{"", "given-token"} { // without OS_TOKEN, the command would log in first
		for _, args := range [][]string{{"runs", "list"}, {"runs", "show", "00000000-0000-4000-8000-000000000000"}, {"runs", "retry", "00000000-0000-4000-8000-000000000000", "--why", "y"}} {
			code, _, stderr := line(t, []string{"TENANTRY_URL=http://tenantry.invalid:9292", "OS_TOKEN=" + token}, args...)
			if code != exitUsage || !strings.Contains(stderr, "TENANTRY_URL must be an https:// URL: an operator's token") {
				t.Errorf("%v with token %q: got %d, %s", args, token, code, stderr)
			}
		}
	}
	if requests.Load() != 0 {
		t.Errorf("%d requests were sent to Keystone", requests.Load())
	}
}
