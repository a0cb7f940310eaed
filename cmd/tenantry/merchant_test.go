package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/orchestrator/api/client"
	"github.com/tenantry/tenantry/orchestrator/merchants"
)

const someMerchant = "01234567-89ab-4cde-8f01-23456789abcd"

func TestMerchantLife(t *testing.T) {
	env := newDatabase(t)
	fake := keystonetest.New(keystonetest.Options{AdminPassword: "canary-password"})
	fake.AddDomain("acme")
	fake.AddRole("seller")
	url, stop, err := fake.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	keystoneEnv(t, url)
	code, out, stderr := line(t, env, "merchant", "create", someMerchant, "--name", "ACME", "--domain", "acme",
		"--customer-roles", "member,seller", "--on-failure", "hold", "--sign-up", "-f", "json")
	database := strings.TrimPrefix(env[0], "TENANTRY_DATABASE_URL=")
	if code != 0 || stderr != "tenantry: wrote merchant "+someMerchant+" to the database "+database+"\n"+
		"tenantry: BillingStack has no merchant "+someMerchant+" yet\n" {
		t.Fatalf("create: got %d, %s", code, stderr)
	}
	var created map[string]any
	if err := json.Unmarshal([]byte(out), &created); err != nil {
		t.Fatal(err)
	}
	key, _ := created["api_key"].(string)
	secret, _ := created["api_secret"].(string)
	if !strings.HasPrefix(key, "tk_") || !strings.HasPrefix(secret, "ts_") || created["merchant_id"] != someMerchant || created["sign_up"] != true {
		t.Errorf("create: got %v", created)
	}

	if code, out, _ = line(t, env, "merchant", "create", someMerchant, "--name", "ACME"); code != exitRefused || out != "" {
		t.Errorf("create again: got %d, %q, want %d and nothing", code, out, exitRefused)
	}
	code, out, stderr = line(t, env, "merchant", "update", someMerchant, "--name", "Acme", "--customer-roles", "",
		"--max-live-runs", "7", "--sign-up=false", "-f", "yaml")
	want := "adopt_unmarked: false\ncloud: default\n"
	if code != 0 || !strings.HasPrefix(out, want) || !strings.Contains(out, "\nname: Acme\n") ||
		!strings.Contains(out, "\ndomain: acme\n") || !strings.Contains(out, "\nmax_live_runs: 7\n") || !strings.Contains(out, "\nsign_up: false\n") || !strings.Contains(out, "\ncustomer_roles: []\n") {
		t.Errorf("update: got %d, %s%s", code, out, stderr)
	}
	if code, out, _ = line(t, env, "merchant", "rotate-key", someMerchant); code != 0 || strings.Contains(out, secret) {
		t.Errorf("first rotation: got %d, %s", code, out)
	}
	if code, out, _ = line(t, env, "merchant", "rotate-key", someMerchant); code != 0 || !strings.Contains(out, key) {
		t.Errorf("second rotation: got %d, %s, want %s among the revoked keys", code, out, key)
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

// The list of merchants is read in pages, and printed whole.
func TestAListOfManyMerchants(t *testing.T) {
	const n = 450
	env := newDatabase(t)
	s, _, err := open(t.Context(), withDatabase(strings.TrimPrefix(env[0], "TENANTRY_DATABASE_URL=")))
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		m := merchants.Merchant{ID: uuid.NewString(), Name: fmt.Sprint("shop ", i%7), OnFailure: merchants.Hold, CreatedAt: now()}
		key, _, err := newKey(m)
		if err := errors.Join(err, s.Merchants().Create(t.Context(), m, key)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	code, out, stderr := line(t, env, "merchant", "list", "-f", "json")
	var list client.MerchantList
	if err := json.Unmarshal([]byte(out), &list); err != nil || code != 0 {
		t.Fatalf("got %d, %v, %s", code, err, stderr)
	}
	seen := map[string]bool{}
	for _, m := range list.Merchants {
		seen[m.MerchantID] = true
	}
	if len(seen) != n || len(list.Merchants) != n {
		t.Errorf("got %d merchants, %d of them different, want %d", len(list.Merchants), len(seen), n)
	}
	code, out, stderr = line(t, env, "merchant", "list", "--name", "OP 3", "-f", "json")
	if err := json.Unmarshal([]byte(out), &list); err != nil || code != 0 || len(list.Merchants) != n/7 || list.Merchants[0].Name != "shop 3" {
		t.Errorf("by name: got %d, %v, %d merchants, want %d; %s", code, err, len(list.Merchants), n/7, stderr)
	}
}

func TestSettingsThatKeystoneDoesNotKnow(t *testing.T) {
	cloud := keystonetest.New(keystonetest.Options{AdminPassword: "canary-password"})
	cloud.AddRole("tenantry-admin")
	cloud.AddRole("deputy", "tenantry-admin")
	url, stop, err := cloud.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	create := []string{"create", someMerchant, "--name", "ACME"}
	for name, c := range map[string]struct {
		url, password string
		exists        bool
		args          []string
		code          int
		says          string
	}{
		"an unknown domain":         {args: append(create[:4:4], "--domain", "nosuch"), code: exitRefused, says: `--domain: finding domain "nosuch": not found`},
		"an unknown role":           {args: append(create[:4:4], "--customer-roles", "member,nosuch"), code: exitRefused, says: `--customer-roles: finding role "nosuch": not found`},
		"another list of roles":     {args: append(create[:4:4], "--subscription-roles", "nosuch"), code: exitRefused, says: `--subscription-roles: finding role "nosuch"`},
		"the operators' role":       {args: append(create[:4:4], "--customer-roles", "deputy"), code: exitRefused, says: `--customer-roles: finding role "deputy": users must not get the role: the role implies role "tenantry-admin"`},
		"an update":                 {exists: true, args: []string{"update", someMerchant, "--domain", "nosuch"}, code: exitRefused, says: "--domain: "},
		"an update of other fields": {url: "http://127.0.0.1:1", exists: true, args: []string{"update", someMerchant, "--name", "A"}, says: "wrote merchant"},
		"Keystone is down":          {url: "http://127.0.0.1:1", args: append(create[:4:4], "--domain", "nosuch"), says: "cannot check the domain and roles of the merchant in Keystone: "},
		"a wrong password":          {password: "wrong", args: append(create[:4:4], "--domain", "nosuch"), says: "cannot check the domain"},
		"no credential":             {password: "none", args: append(create[:4:4], "--domain", "nosuch"), says: "cannot check the domain"},
		"a cloud without an entry":  {args: append(create[:4:4], "--cloud", "nowhere"), says: "cannot check the domain"},
	} {
		t.Run(name, func(t *testing.T) {
			keystoneEnv(t, cmp.Or(c.url, url))
			switch c.password {
			case "":
			case "none":
				t.Setenv("OS_PASSWORD", "")
			default:
				t.Setenv("OS_PASSWORD", c.password)
			}
			env := append(newDatabase(t), "TENANTRY_ADMIN_ROLE=tenantry-admin")
			if c.exists {
				if code, _, stderr := line(t, env, append([]string{"merchant"}, create...)...); code != 0 {
					t.Fatalf("got %d, %s", code, stderr)
				}
			}
			code, _, stderr := line(t, env, append([]string{"merchant"}, c.args...)...)
			if code != c.code || !strings.Contains(stderr, c.says) || c.url != "" && c.exists && strings.Contains(stderr, "cannot check the domain") {
				t.Errorf("got %d, %s, want %d and %q", code, stderr, c.code, c.says)
			}
			_, list, _ := line(t, env, "merchant", "list", "-f", "json")
			if stored := strings.Contains(list, someMerchant); stored != (c.exists || c.code == 0) || c.code != 0 && strings.Contains(list, "nosuch") {
				t.Errorf("the merchants afterwards: %s", list)
			}
		})
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
			code: exitUsage, says: "--subscription-roles: role admin gives every user access to the whole cloud",
		},
		"the operators' role": {
			args: []string{"merchant", "create", someMerchant, "--name", "A", "--customer-roles", "Tenantry-Admin"},
			env:  []string{"TENANTRY_ADMIN_ROLE=tenantry-admin"},
			code: exitUsage, says: "--customer-roles: role Tenantry-Admin makes every user an operator of Tenantry",
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
