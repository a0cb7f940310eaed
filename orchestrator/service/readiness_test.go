package service_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/keystone/clouds"
	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/service"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
	"github.com/tenantry/tenantry/orchestrator/usage"
	"github.com/tenantry/tenantry/store/storetest"
)

type readiness struct {
	Status string
	Checks []checked
}

type checked struct {
	Name, Status, Reason string
	Spool                *api.SpoolState
	Usage                *[]api.CloudUsage
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

// readOnly returns a function that changes whether the database of an installation can be written.
func readOnly(t *testing.T, address string) func(bool) {
	t.Helper()
	config, err := pgx.ParseConfig(address)
	must(t, err)
	server, err := pgx.Connect(t.Context(), os.Getenv("TENANTRY_TEST_POSTGRES_URL"))
	must(t, err)
	t.Cleanup(func() { must(t, server.Close(context.WithoutCancel(t.Context()))) })
	return func(on bool) {
		t.Helper()
		setting := map[bool]string{true: "SET default_transaction_read_only = on", false: "RESET default_transaction_read_only"}[on]
		_, err := server.Exec(t.Context(), "ALTER DATABASE "+config.Database+" "+setting)
		must(t, err)
		_, err = server.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", config.Database)
		must(t, err)
	}
}

// anyServer returns the address of a database, to which a service also connects if it is read-only.
func anyServer(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	must(t, err)
	query := u.Query()
	query.Set("target_session_attrs", "any")
	u.RawQuery = query.Encode()
	return u.String()
}

// The database cannot be written. The answer shows what waits in the spool, that the spool becomes full, and that it is emptied later.
func TestTheSpoolIsShown(t *testing.T) {
	address := storetest.PostgreSQL(t)
	in := servicetest.New(t, servicetest.Options{Database: anyServer(t, address), Change: func(o *service.Options) {
		o.UsageSpool, o.UsageSpoolMiB = t.TempDir(), 1
	}})
	key, secret, err := usage.NewKey(rand.Reader, merchants.DefaultCloud, time.Now())
	must(t, err)
	must(t, in.Store.Usage().CreateMeterKey(t.Context(), key))
	post := func(samples int) int {
		t.Helper()
		one := fmt.Sprintf(`{"name": "m", "type": "delta", "unit": "", "volume": 1, "project_id": "p", "resource_id": "r", "timestamp": %q,
			"source": "s", "id": "i"},`, time.Now().UTC().Format(time.RFC3339))
		body := "[" + strings.TrimSuffix(strings.Repeat(one, samples), ",") + "]"
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, in.URL+"/v1/usage/ceilometer", strings.NewReader(body))
		must(t, err)
		req.Header.Set("Content-Type", "application/json")
		req.SetBasicAuth(key.Key, secret)
		resp, err := in.Client.Do(req)
		must(t, err)
		must(t, resp.Body.Close())
		return resp.StatusCode
	}
	// The function `shows` waits until the check of the spool has this status, and the answer this status code.
	shows := func(what string, code int, status string, fits func(api.SpoolState) bool) (reason string) {
		t.Helper()
		within(t, what, func() (string, bool) {
			got, all := ready(t, in)
			i := slices.IndexFunc(all.Checks, func(c checked) bool { return c.Name == "spool" })
			c := all.Checks[i]
			reason = c.Reason
			return fmt.Sprintf("%d %s %+v", got, c.Status, *c.Spool), got == code && c.Status == status && c.Spool.MaxBytes == 1<<20 && fits(*c.Spool)
		})
		return reason
	}
	empty := func(s api.SpoolState) bool { return s.Posts == 0 && s.Bytes == 0 && !s.Draining }
	shows("an empty spool", http.StatusOK, "ok", empty)
	if status := post(1); status != http.StatusAccepted {
		t.Errorf("a post was answered with %d", status)
	}
	change := readOnly(t, address)
	change(true)
	for range 3 {
		within(t, "a post that waits", func() (string, bool) { status := post(1); return fmt.Sprint(status), status == http.StatusAccepted })
	}
	shows("three posts", http.StatusServiceUnavailable, "ok", func(s api.SpoolState) bool { return s.Posts == 3 && s.Bytes > 450 && !s.Draining })
	for n := 0; post(1000) == http.StatusAccepted; n++ {
		if n > 10 {
			t.Fatal("the spool does not become full")
		}
	}
	reason := shows("a full spool", http.StatusServiceUnavailable, "down", func(s api.SpoolState) bool { return s.Posts > 3 && s.Bytes > 1<<19 })
	if !strings.Contains(reason, "the spool is full") || !strings.Contains(in.Log.String(), "spool: down, ") {
		t.Errorf("the reason is %q", reason)
	}
	change(false)
	shows("an empty spool at the end", http.StatusOK, "ok", empty)
}

// A cloud has a meter key, and sends samples. Then an hour is due that nobody can compute.
func TestTheUsageOfCloudsIsShown(t *testing.T) {
	var ahead atomic.Int64
	address := storetest.PostgreSQL(t)
	in := servicetest.New(t, servicetest.Options{Database: address, Change: func(o *service.Options) {
		o.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	}})
	key, secret, err := usage.NewKey(rand.Reader, merchants.DefaultCloud, time.Now())
	must(t, err)
	must(t, in.Store.Usage().CreateMeterKey(t.Context(), key))
	check := func() (code int, status string, c checked) {
		code, all := ready(t, in)
		return code, all.Status, all.Checks[slices.IndexFunc(all.Checks, func(c checked) bool { return c.Name == "usage" })]
	}
	if code, status, c := check(); code != http.StatusOK || status != "ok" || c.Status != "ok" || c.Usage == nil || len(*c.Usage) != 1 || (*c.Usage)[0] != (api.CloudUsage{Cloud: "default"}) {
		t.Errorf("a cloud that has sent nothing: %d %s %+v", code, status, c)
	}
	received := time.Now().UTC().Truncate(time.Second)
	body := fmt.Sprintf(`[{"name": "m", "type": "delta", "unit": "", "volume": 1, "project_id": "p", "resource_id": "r", "timestamp": %q, "source": "s", "id": "i"}]`,
		received.Format(time.RFC3339))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, in.URL+"/v1/usage/ceilometer", strings.NewReader(body))
	must(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.SetBasicAuth(key.Key, secret)
	resp, err := in.Client.Do(req)
	must(t, err)
	must(t, resp.Body.Close())
	within(t, "the time of the samples", func() (string, bool) {
		_, _, c := check()
		shown := (*c.Usage)[0]
		return fmt.Sprintf("%d %+v", resp.StatusCode, shown), shown.ReceivedAt != nil && !shown.ReceivedAt.Before(received) && shown.OverdueHour == nil
	})

	// The sum of the usage cannot be computed, because a stored volume is no number.
	hour := received.Truncate(time.Hour)
	db, err := pgx.Connect(t.Context(), address)
	must(t, err)
	defer func() { must(t, db.Close(context.WithoutCancel(t.Context()))) }()
	for _, statement := range []string{
		`INSERT INTO series (id, cloud, source, project_id, resource_id, meter, kind, unit, last_day) VALUES ('s', 'default', '', 'p', '', 'm', 'delta', '', 100000)`,
		fmt.Sprintf(`INSERT INTO samples (cloud, day, id, series_id, at, volume) VALUES ('default', 0, 'i', 's', %d, 'much')`, hour.UnixMicro()),
		fmt.Sprintf(`INSERT INTO usage_due (cloud, project_id, hour) VALUES ('default', 'p', %d)`, hour.UnixMicro()),
	} {
		_, err := db.Exec(t.Context(), statement)
		must(t, err)
	}
	ahead.Store(int64(4 * time.Hour))
	within(t, "an overdue hour", func() (string, bool) {
		_, _, c := check()
		return fmt.Sprint(c), c.Status == "ok" && (*c.Usage)[0].OverdueHour != nil
	})
	ahead.Add(int64(6 * time.Minute))
	within(t, "an hour that is overdue for six minutes", func() (string, bool) {
		code, status, c := check()
		return fmt.Sprint(code, status, c), code == http.StatusOK && status == "degraded" && c.Status == "down" &&
			c.Reason == "cloud default: the usage of the hour "+hour.Format(time.RFC3339)+" is not computed" && (*c.Usage)[0].OverdueHour.Equal(hour)
	})
}

// PostgreSQL has become read-only, as after a fail-over to a standby. The replica is not ready, and the answer names the reason.
func TestWithAReadOnlyDatabaseAReplicaIsNotReady(t *testing.T) {
	address := storetest.PostgreSQL(t)
	in := servicetest.New(t, servicetest.Options{Database: anyServer(t, address)}) // so that the service connects, and only writes are refused
	if status, got := ready(t, in); status != http.StatusOK || got.Checks[0].Status != "ok" {
		t.Fatalf("before: got %d %+v", status, got)
	}
	change := readOnly(t, address)
	change(true)
	within(t, "not ready, and the reason", func() (string, bool) {
		status, got := ready(t, in)
		database := got.Checks[0]
		return fmt.Sprintf("%d %+v", status, got), status == http.StatusServiceUnavailable && got.Status == "unavailable" &&
			database.Name == "database" && database.Status == "down" && strings.Contains(strings.ReplaceAll(database.Reason, "-", " "), "read only")
	})
	change(false)
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
