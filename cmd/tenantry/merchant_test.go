package main

import (
	"encoding/json"
	"strings"
	"testing"
)

const someMerchant = "01234567-89ab-4cde-8f01-23456789abcd"

func TestMerchantLife(t *testing.T) {
	env := newDatabase(t)
	code, out, stderr := line(t, env, "merchant", "create", someMerchant, "--name", "ACME", "--domain", "acme",
		"--customer-roles", "member,seller", "--on-failure", "hold", "-f", "json")
	if code != 0 || stderr != "tenantry: BillingStack has no merchant "+someMerchant+" yet\n" {
		t.Fatalf("create: got %d, %s", code, stderr)
	}
	var created map[string]any
	if err := json.Unmarshal([]byte(out), &created); err != nil {
		t.Fatal(err)
	}
	key, _ := created["api_key"].(string)
	secret, _ := created["api_secret"].(string)
	if !strings.HasPrefix(key, "tk_") || !strings.HasPrefix(secret, "ts_") || created["merchant_id"] != someMerchant {
		t.Errorf("create: got %v", created)
	}

	if code, out, _ = line(t, env, "merchant", "create", someMerchant, "--name", "ACME"); code != exitRefused || out != "" {
		t.Errorf("create again: got %d, %q, want %d and nothing", code, out, exitRefused)
	}
	code, out, stderr = line(t, env, "merchant", "update", someMerchant, "--name", "Acme", "--customer-roles", "",
		"--max-live-runs", "7", "-f", "yaml")
	want := "adopt_unmarked: false\ncloud: default\n"
	if code != 0 || !strings.HasPrefix(out, want) || !strings.Contains(out, "\nname: Acme\n") ||
		!strings.Contains(out, "\ndomain: acme\n") || !strings.Contains(out, "\nmax_live_runs: 7\n") || !strings.Contains(out, "\ncustomer_roles: []\n") {
		t.Errorf("update: got %d, %s%s", code, out, stderr)
	}
	if code, out, _ = line(t, env, "merchant", "rotate-key", someMerchant); code != 0 || strings.Contains(out, secret) {
		t.Errorf("first rotation: got %d, %s", code, out)
	}
	if code, out, _ = line(t, env, "merchant", "rotate-key", someMerchant); code != 0 || !strings.Contains(out, key) {
		t.Errorf("second rotation: got %d, %s, want %s among the revoked", code, out, key)
	}
	if code, out, _ = line(t, env, "merchant", "disable", someMerchant, "-f", "json"); code != 0 || !strings.Contains(out, "disabled_at") {
		t.Errorf("disable: got %d, %s", code, out)
	}
	if code, out, _ = line(t, env, "merchant", "enable", someMerchant, "-f", "json"); code != 0 || strings.Contains(out, "disabled_at") {
		t.Errorf("enable: got %d, %s", code, out)
	}
	code, out, _ = line(t, env, "merchant", "list")
	want = "MERCHANT                              NAME  CLOUD    DOMAIN  ON FAILURE  DISABLED\n" +
		someMerchant + "  Acme  default  acme    hold        -\n"
	if code != 0 || out != want {
		t.Errorf("list: got %d\n%swant\n%s", code, out, want)
	}
}

func TestRefusedCommandLines(t *testing.T) {
	env := newDatabase(t)
	for name, c := range map[string]struct {
		args []string
		env  []string
		code int
		says string
	}{
		"no such command":        {args: []string{"subscribers"}, code: exitUsage, says: `unknown command "subscribers" for "tenantry"`},
		"no such action":         {args: []string{"merchant", "eat"}, code: exitUsage, says: `unknown command "eat" for "tenantry merchant"`},
		"no such flag":           {args: []string{"merchant", "list", "--all"}, code: exitUsage, says: "unknown flag: --all"},
		"an unknown format":      {args: []string{"merchant", "list", "-f", "xml"}, code: exitUsage, says: `"xml" is not one of table, json, yaml`},
		"no merchant":            {args: []string{"merchant", "create"}, code: exitUsage, says: "expected 1 arguments"},
		"an invalid merchant id": {args: []string{"merchant", "create", "ACME", "--name", "A"}, code: exitUsage, says: `"ACME" is not a merchant's id`},
		"no name":                {args: []string{"merchant", "create", someMerchant}, code: exitUsage, says: "--name is required"},
		"a name with an emoji":   {args: []string{"merchant", "create", someMerchant, "--name", "A🦊"}, code: exitUsage, says: "--name: must be"},
		"a negative limit": {
			args: []string{"merchant", "create", someMerchant, "--name", "A", "--max-live-runs", "-1"},
			code: exitUsage, says: "--max-live-runs: must be 0 to 1000000",
		},
		"the role admin": {
			args: []string{"merchant", "create", someMerchant, "--name", "A", "--subscription-roles", "member,Admin"},
			code: exitUsage, says: "--subscription-roles: role admin gives access to the whole cloud",
		},
		"an unknown value of --on-failure": {
			args: []string{"merchant", "create", someMerchant, "--name", "A", "--on-failure", "weep"},
			code: exitUsage, says: `--on-failure: "weep" must be compensate or hold`,
		},
		"an unknown merchant": {args: []string{"merchant", "disable", someMerchant}, code: exitRefused, says: "no such merchant"},
		"a wrong setting":     {args: []string{"migrate"}, env: []string{"TENANTRY_LEASE=no"}, code: exitUsage, says: "lease (TENANTRY_LEASE)"},
		"no database": {
			args: []string{"migrate"}, code: exitUnreachable, says: "reaching the database",
			env: []string{"TENANTRY_DATABASE_URL=postgres://u:hunter2@127.0.0.1:1/d", testKeyEnv},
		},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, stderr := line(t, append(env[:1:1], c.env...), c.args...)
			if code != c.code || !strings.Contains(stderr, c.says) || out != "" {
				t.Errorf("got %d, %q, %q, want %d and %q", code, out, stderr, c.code, c.says)
			}
			if strings.Contains(stderr, "hunter2") {
				t.Errorf("the error contains the password: %s", stderr)
			}
		})
	}
}
