package service_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/keystone/clouds"
	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/service"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
	"github.com/tenantry/tenantry/store/storetest"
)

type readiness struct {
	Status string
	Checks []struct{ Name, Status, Reason string }
}

// The function `ready` checks the dependencies, and returns the answer of /readyz.
func ready(t *testing.T, in *servicetest.Installation) (status int, got readiness) {
	t.Helper()
	in.Service.CheckDependencies(t.Context())
	resp, err := in.Client.Get(in.URL + "/readyz")
	must(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	must(t, json.Unmarshal(body, &got))
	return resp.StatusCode, got
}

// The function `credential` returns an option that changes the credential with which the service logs in.
func credential(change func(*conn.Config)) func(*service.Options) {
	return func(o *service.Options) {
		known := o.Cloud
		o.Cloud = func(name string) (conn.Config, error) {
			c, err := known(name)
			change(&c)
			return c, err
		}
	}
}

// A fault that makes the service refuse every order is reported before the first order.
func TestWhatOrdersNeedIsChecked(t *testing.T) {
	change := func(change func(*merchants.Merchant)) func(*testing.T, *servicetest.Installation) {
		return func(t *testing.T, in *servicetest.Installation) {
			_, err := in.Store.Merchants().Update(t.Context(), in.Other.ID, func(m *merchants.Merchant) error { change(m); return nil })
			must(t, err)
		}
	}
	for name, c := range map[string]struct {
		change               func(*service.Options)
		before               func(*testing.T, *servicetest.Installation)
		check, state, reason string
	}{
		"a role that does not exist":   {func(o *service.Options) { o.CustomerRoles = []string{"nosuch"} }, nil, "keystone", "misconfigured", `finding role "nosuch": not found`},
		"a role that is refused":       {func(o *service.Options) { o.SubscriptionRoles = []string{"admin"} }, nil, "keystone", "misconfigured", `finding role "admin": users must not get the role`},
		"a domain that does not exist": {func(o *service.Options) { o.Domain = "nosuch" }, nil, "keystone", "misconfigured", `finding domain "nosuch": not found`},
		"a login without a scope":      {credential(func(c *conn.Config) { c.Credential.ProjectName, c.Credential.ProjectDomainID = "", "" }), nil, "keystone", "misconfigured", "OS_PROJECT_NAME"},
		"a wrong password":             {credential(func(c *conn.Config) { c.Credential.Password = "canary" }), nil, "keystone", "down", "Keystone refuses the login of user admin (domain default) on project admin: the password is wrong, or"},
		"no Keystone there":            {credential(func(c *conn.Config) { c.URL = "http://127.0.0.1:1/v3" }), nil, "keystone", "down", "connection refused"},
		"no BillingStack there":        {func(o *service.Options) { o.BillingURL = "http://127.0.0.1:1/v2" }, nil, "billingstack", "down", "connection refused"},
		"a merchant's role":            {nil, change(func(m *merchants.Merchant) { m.SubscriptionRoles = []string{"nosuch"} }), "keystone", "misconfigured", "merchant Other ("},
		"a merchant's domain":          {nil, change(func(m *merchants.Merchant) { m.Domain = "nosuch" }), "keystone", "misconfigured", "merchant Other ("},
		"a merchant's cloud":           {nil, change(func(m *merchants.Merchant) { m.Cloud = "far" }), "keystone/far", "misconfigured", `there is no cloud "far"`},
	} {
		t.Run(name, func(t *testing.T) {
			in := servicetest.New(t, servicetest.Options{Change: c.change})
			if c.before != nil {
				c.before(t, in)
			}
			status, got := ready(t, in)
			if status != http.StatusOK || got.Status != "degraded" {
				t.Errorf("got %d %+v, want 200 and degraded", status, got)
			}
			found := false
			for _, check := range got.Checks {
				found = found || check.Name == c.check
				if check.Name == c.check && (check.Status != c.state || !strings.Contains(check.Reason, c.reason)) || check.Name != c.check && check.Status != "ok" {
					t.Errorf("got %+v, want %s %s with %q, and all others ok", check, c.check, c.state, c.reason)
				}
			}
			if log := in.Log.String(); !found || !strings.Contains(log, c.check+": "+c.state+", ") || strings.Contains(log, "canary") {
				t.Errorf("the check is in the answer: %t; the log: %s", found, log)
			}
		})
	}
}

// A change in Keystone is seen at the next check, although domains and roles are cached.
func TestChangesInKeystoneAreSeenAtTheNextCheck(t *testing.T) {
	in := servicetest.New(t, servicetest.Options{Change: func(o *service.Options) { o.CustomerRoles = []string{"later"} }})
	if status, got := ready(t, in); status != http.StatusOK || got.Status != "degraded" {
		t.Errorf("without the role: got %d %+v", status, got)
	}
	role := in.Keystone.AddRole("later")
	if status, got := ready(t, in); status != http.StatusOK || got.Status != "ok" {
		t.Errorf("with the role: got %d %+v", status, got)
	}
	token, err := clouds.Login(t.Context(), conn.Config{URL: in.KeystoneURL, Credential: conn.Credential{
		Username: "admin", Password: "secret", UserDomainID: "default", ProjectName: "admin", ProjectDomainID: "default",
	}})
	must(t, err)
	gone, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, strings.TrimSuffix(in.KeystoneURL, "/v3")+"/v3/roles/"+role, nil)
	must(t, err)
	gone.Header.Set("X-Auth-Token", token)
	resp, err := http.DefaultClient.Do(gone)
	must(t, err)
	must(t, resp.Body.Close())
	if status, got := ready(t, in); resp.StatusCode != http.StatusNoContent || status != http.StatusOK || got.Status != "degraded" {
		t.Errorf("after the role was deleted (%s): got %d %+v", resp.Status, status, got)
	}
}

// PostgreSQL has become read-only, as after a fail-over to a standby. The replica is not ready, and the answer names the reason.
func TestWithAReadOnlyDatabaseAReplicaIsNotReady(t *testing.T) {
	address := storetest.PostgreSQL(t)
	u, err := url.Parse(address)
	must(t, err)
	query := u.Query()
	query.Set("target_session_attrs", "any") // so that the service connects, and only writes are refused
	u.RawQuery = query.Encode()
	in := servicetest.New(t, servicetest.Options{Database: u.String()})
	if status, got := ready(t, in); status != http.StatusOK || got.Checks[0].Status != "ok" {
		t.Fatalf("before: got %d %+v", status, got)
	}
	config, err := pgx.ParseConfig(address)
	must(t, err)
	server, err := pgx.Connect(t.Context(), os.Getenv("TENANTRY_TEST_POSTGRES_URL"))
	must(t, err)
	defer func() { must(t, server.Close(context.WithoutCancel(t.Context()))) }()
	change := func(setting string) {
		t.Helper()
		_, err := server.Exec(t.Context(), "ALTER DATABASE "+config.Database+" "+setting)
		must(t, err)
		_, err = server.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", config.Database)
		must(t, err)
	}
	change("SET default_transaction_read_only = on")
	within(t, "not ready, and the reason", func() (string, bool) {
		status, got := ready(t, in)
		database := got.Checks[0]
		return fmt.Sprintf("%d %+v", status, got), status == http.StatusServiceUnavailable && got.Status == "unavailable" &&
			database.Name == "database" && database.Status == "down" && strings.Contains(strings.ReplaceAll(database.Reason, "-", " "), "read only")
	})
	change("RESET default_transaction_read_only")
	within(t, "ready again", func() (string, bool) {
		status, got := ready(t, in)
		return fmt.Sprintf("%d %+v", status, got), status == http.StatusOK
	})
}

// The function `within` repeats a check until it succeeds. A repetition can be necessary, because the result of a database check is kept
// for a second.
func within(t *testing.T, what string, check func() (got string, ok bool)) {
	t.Helper()
	for last := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		got, ok := check()
		if ok {
			return
		}
		if time.Now().After(last) {
			t.Fatalf("want %s, got %s", what, got)
		}
	}
}

func TestWithoutItsDatabaseAReplicaIsNotReady(t *testing.T) {
	in := servicetest.New(t, servicetest.Options{})
	must(t, in.Service.Store.Close())
	status, got := ready(t, in)
	if status != http.StatusServiceUnavailable || got.Status != "unavailable" || got.Checks[0].Name != "database" || got.Checks[0].Status != "down" {
		t.Errorf("got %d %+v", status, got)
	}
}
