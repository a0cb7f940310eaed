package stories_test

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenantry/tenantry/store/storetest"
)

// The test uses the default lease of 10 s, so that the measured time of the take-over is realistic.
func TestThreeReplicasTwoKilledTheThirdFinishesAll(t *testing.T) {
	t.Parallel()
	var writes atomic.Int64
	slow := &upstream{before: func(r *http.Request) {
		if r.Method != http.MethodGet {
			time.Sleep(50 * time.Millisecond) // Keystone must be slow, so that runs are under way at the time of the kill
			writes.Add(1)
		}
	}}
	s := newSite(t, storetest.PostgreSQL(t), memoryCloud(t, slow), &upstream{})
	s.env = append(s.env, "TENANTRY_LEASE=10s") // overrides the lease of 1 s that newSite sets
	replicas := []*replica{s.serve(), s.serve(), s.serve()}
	const n = 30
	ids := make([]string, n)
	var all sync.WaitGroup
	for i := range n {
		_, token := s.cloud.newUser(t)
		all.Go(func() {
			a, err := s.subscribe(replicas[i%3].url, fmt.Sprint("key-", i), token, "Prefer", "respond-async")
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
	replicas[1].kill()
	killed := time.Now()
	for _, id := range ids {
		s.until(replicas[2].url, id, "succeeded")
	}
	took := time.Since(killed)
	t.Logf("the third replica finished all runs after %s", took)
	if took > 30*time.Second {
		t.Error("that is more than 30 s")
	}
	customers, err := s.billing.Customers(t.Context(), s.merchant.ID)
	s.ok(err)
	subscriptions, err := s.billing.Subscriptions(t.Context(), s.merchant.ID)
	s.ok(err)
	projects := s.cloud.marked(t, s.merchant.ID)
	if len(customers) != n || len(subscriptions) != n || len(projects) != 2*n {
		t.Errorf("%d customers, %d subscriptions, %d projects; want %d, %d, %d", len(customers), len(subscriptions), len(projects), n, n, 2*n)
	}
}
