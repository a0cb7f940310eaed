package main_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/store/storetest"
)

func TestOneCallSubscribesAUserOnRealParts(t *testing.T) {
	s := newSite(t, storetest.PostgreSQL(t), realCloud(t, &upstream{}), &upstream{})
	r := s.serve()
	user, token := s.cloud.newUser(t)
	key := uuid.NewString()

	first, err := s.subscribe(r.url, key, token)
	s.ok(err)
	if first.status != http.StatusCreated {
		t.Fatalf("%d: %s", first.status, first.body)
	}
	var made run
	s.unmarshal(first.body, &made)
	customer := s.whole(made, user)
	scoped := first.header.Get("X-Subject-Token")
	if gotUser, gotProject := s.cloud.validate(t, scoped); gotUser != user || gotProject != customer.ID {
		t.Errorf("the token is of user %s for project %s, want %s and %s", gotUser, gotProject, user, customer.ID)
	}

	// 200 more at once, with the same key: the same run, the same bytes.
	var all sync.WaitGroup
	var failed atomic.Int64
	for range 200 {
		all.Go(func() {
			again, err := s.subscribe(r.url, key, token)
			if err != nil || again.status != first.status || string(again.body) != string(first.body) ||
				again.header.Get("Idempotency-Replayed") != "true" || again.header.Get("X-Subject-Token") != "" {
				if failed.Add(1) == 1 {
					t.Errorf("again: %v, %d %v\n got %s\nwant %s", err, again.status, again.header, again.body, first.body)
				}
			}
		})
	}
	all.Wait()
	s.whole(made, user)
	for _, path := range []string{"", "/events", "/events?limit=1", "/nonsense"} {
		_, err := s.get(r.url, "/v1/runs/"+made.ID+path)
		s.ok(err)
	}
	s.noSecretIn(token, scoped)
}

func TestNoSecretIsKeptOfWhatFails(t *testing.T) {
	in := &upstream{before: func(r *http.Request) {
		if r.Method == http.MethodPatch {
			r.Method = http.MethodTrace // which BillingStack refuses
		}
	}}
	s := newSite(t, storetest.PostgreSQL(t), memoryCloud(t, &upstream{}), in)
	r := s.serve()
	_, token := s.cloud.newUser(t)
	for _, wrong := range []string{token + "x", "not a token at all", token} {
		a, err := s.subscribe(r.url, uuid.NewString(), wrong, "Prefer", "wait=2")
		s.ok(err)
		if a.status == http.StatusCreated {
			t.Errorf("it succeeded: %s", a.body)
		}
	}
	listed, err := s.get(r.url, "/v1/runs")
	s.ok(err)
	var page struct{ Runs []run }
	s.unmarshal(listed.body, &page)
	if len(page.Runs) != 1 {
		t.Fatalf("%d runs were accepted, want the one with a good token", len(page.Runs))
	}
	_, err = s.get(r.url, "/v1/runs/"+page.Runs[0].ID+"/events")
	s.ok(err)
	s.noSecretIn(token)
}

func TestTwoHundredFirstCallsWithOneKeyMakeOneRun(t *testing.T) {
	s := newSite(t, storetest.PostgreSQL(t), realCloud(t, &upstream{}), &upstream{})
	r := s.serve()
	user, token := s.cloud.newUser(t)
	answers := make(chan answer, 200)
	var all sync.WaitGroup
	for range 200 {
		all.Go(func() {
			a, err := s.subscribe(r.url, "one-key", token, "Prefer", "wait=30") // on a busy machine all this takes long
			if err != nil {
				t.Error(err)
			}
			answers <- a
		})
	}
	all.Wait()
	close(answers)
	bodies, tokens := map[string]int{}, 0
	for a := range answers {
		bodies[fmt.Sprint(a.status, " ", string(a.body))]++
		if a.header.Get("X-Subject-Token") != "" {
			tokens++
		}
	}
	if len(bodies) != 1 || tokens != 1 {
		t.Errorf("%d different answers, %d with a token; want one each", len(bodies), tokens)
	}
	for body := range bodies {
		var made run
		_, text, _ := strings.Cut(body, " ")
		s.unmarshal([]byte(text), &made)
		s.whole(made, user)
	}
}

// noSecretIn looks for secrets in all that the service has stored and printed.
func (s *site) noSecretIn(secrets ...string) {
	s.t.Helper()
	secrets = append(secrets, s.secret, s.cloud.password, "canary-user-password")
	s.mu.Lock()
	places := map[string]string{"the log": s.log.read(), "the database": s.dump(), "an answer": s.answers.String()}
	s.mu.Unlock()
	for place, text := range places {
		for _, secret := range secrets {
			if secret != "" && strings.Contains(text, secret) {
				s.t.Errorf("%s holds a secret (%.4s...)", place, secret)
			}
		}
	}
	if len(places["the log"]) < 1000 || len(places["the database"]) < 1000 {
		s.t.Errorf("log of %d and database of %d bytes: nothing was looked at", len(places["the log"]), len(places["the database"]))
	}
}

// dump is every row of every table of a PostgreSQL database, as text.
func (s *site) dump() string {
	s.t.Helper()
	var url string
	for _, v := range s.env {
		if u, ok := strings.CutPrefix(v, "TENANTRY_DATABASE_URL="); ok {
			url = u
		}
	}
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, url)
	s.ok(err)
	defer func() { _ = conn.Close(ctx) }()
	var dump string
	err = conn.QueryRow(ctx, `SELECT string_agg(query_to_xml('SELECT * FROM ' || quote_ident(tablename), true, false, '')::text, '')
		FROM pg_tables WHERE schemaname = 'public'`).Scan(&dump)
	s.ok(err)
	return dump
}

// It runs with the default lease, so that what it waits for is what an operator waits for.
func TestThreeReplicasTwoKilledTheThirdFinishesAll(t *testing.T) {
	var writes atomic.Int64
	slow := &upstream{before: func(r *http.Request) {
		if r.Method != http.MethodGet {
			time.Sleep(50 * time.Millisecond) // an upstream that is not infinitely fast, so that the kill hits runs under way
			writes.Add(1)
		}
	}}
	s := newSite(t, storetest.PostgreSQL(t), memoryCloud(t, slow), &upstream{})
	s.env = append(s.env, "TENANTRY_LEASE=10s") // the last one counts
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
	t.Logf("the third replica finished all after %s", took)
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
