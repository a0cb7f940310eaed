package stories_test

import (
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/tenantry/tenantry/store/storetest"
)

// Two replicas reach their database through PgBouncer in transaction mode. One replica accepts the orders. When both replicas
// execute runs of these orders, the replica that accepted the orders is killed. The other replica then finishes all runs.
func TestSubscribesThroughPgBouncer(t *testing.T) {
	t.Parallel()
	direct := storetest.PostgreSQL(t)
	s := newSite(t, direct, memoryCloud(t, &upstream{}), &upstream{})
	s.env = append(s.env, "TENANTRY_DATABASE_URL="+storetest.PgBouncer(t, direct)) // overrides the URL that newSite sets

	path, err := binary()
	s.ok(err)
	refused := exec.CommandContext(t.Context(), path, "serve")
	refused.Env = s.env
	output, _ := refused.CombinedOutput()
	if refused.ProcessState.ExitCode() != 2 || !strings.Contains(string(output), "set database_listen_url") {
		t.Errorf("without a listen URL: exit code %d, %s; want 2 and the name of the setting", refused.ProcessState.ExitCode(), output)
	}

	s.env = append(s.env, "TENANTRY_DATABASE_LISTEN_URL="+direct)
	replicas := []*replica{s.serve(), s.serve()}
	user, token := s.cloud.newUser(t)
	a, err := s.subscribe(replicas[0].url, "first", token)
	s.ok(err)
	if a.status != http.StatusCreated {
		t.Fatalf("%d: %s", a.status, a.body)
	}
	var first run
	s.unmarshal(a.body, &first)
	s.whole(first, user)

	const n = 20
	ids := make([]string, n)
	var all sync.WaitGroup
	for i := range n {
		_, token := s.cloud.newUser(t)
		all.Go(func() {
			a, err := s.subscribe(replicas[0].url, fmt.Sprint("key-", i), token, "Prefer", "respond-async")
			if err != nil || a.status != http.StatusAccepted {
				t.Errorf("%v, %d: %s", err, a.status, a.body)
				return
			}
			var r run
			s.unmarshal(a.body, &r)
			ids[i] = r.ID
		})
	}
	all.Wait()
	replicas[0].kill()
	for _, id := range ids {
		s.until(replicas[1].url, id, "succeeded")
	}
	customers, err := s.billing.Customers(t.Context(), s.merchant.ID)
	s.ok(err)
	if len(customers) != n+1 {
		t.Errorf("%d customers exist, want %d", len(customers), n+1)
	}
	log := s.log.read()
	if !strings.Contains(log, "lack settings that keep statements fast") {
		t.Error("the log does not warn that the settings of the planner are missing")
	}
	u, err := url.Parse(direct)
	s.ok(err)
	if password, _ := u.User.Password(); strings.Contains(log+string(output), password) {
		t.Error("the output contains the password of the database")
	}
}
