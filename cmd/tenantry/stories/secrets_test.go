package stories_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/store/storetest"
)

func TestNoSecretIsKeptOfWhatFails(t *testing.T) {
	in := &upstream{before: func(r *http.Request) {
		if r.Method == http.MethodPatch {
			r.Method = http.MethodTrace // BillingStack refuses the HTTP method TRACE
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
		t.Fatalf("%d runs were accepted, want only the run with a valid token", len(page.Runs))
	}
	_, err = s.get(r.url, "/v1/runs/"+page.Runs[0].ID+"/events")
	s.ok(err)
	s.noSecretIn(token)
}

// noSecretIn fails the test if the log, the database or an answer contains a secret.
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
		s.t.Errorf("the log has %d bytes and the database %d: there was nothing to search", len(places["the log"]), len(places["the database"]))
	}
}

// The method `dump` returns every row of every table of a PostgreSQL database, as text.
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
