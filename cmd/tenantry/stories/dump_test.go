package stories_test

import (
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/billing"
)

// PostgreSQL is restored from a dump. After the dump, Tenantry has posted more usage, of two subscriptions. Then Ceilometer sends all samples of
// one subscription again, and not all samples of the other one. Nothing is billed twice: the usage in BillingStack stays as it was. Where lost
// samples make a row differ from it, the row is reported.
func TestNothingIsBilledTwiceAfterPostgreSQLIsRestored(t *testing.T) {
	t.Parallel()
	pg := newPostgres(t, newHome(t))
	var hold atomic.Bool // if true, BillingStack answers no post of usage
	var held atomic.Int64
	release := make(chan struct{})
	s := newSite(t, pg.url, memoryCloud(t, &upstream{}), &upstream{around: func(w *httptest.ResponseRecorder, r *http.Request, next http.Handler) {
		if hold.Load() && r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/usage") {
			held.Add(1)
			<-release
		}
		next.ServeHTTP(w, r)
	}})
	s.sells("requests", 0.05)
	r := s.serve()
	url := func() string { return r.url }
	whole, torn := s.metered(r.url), s.metered(r.url) // all samples of the subscription `whole` are sent again
	both := []*metered{whole, torn}
	first := time.Now().UTC().Truncate(time.Hour).Add(-8 * time.Hour)
	at := func(hour int) time.Time { return first.Add(time.Duration(hour) * time.Hour) }
	sent := map[*metered][]measurement{}
	use := func(hour int, volume float64) {
		t.Helper()
		for _, m := range both {
			one := m.used(at(hour), volume)
			m.posts(r.url, one)
			sent[m] = append(sent[m], one)
		}
	}
	allBilled := func(changed bool) {
		t.Helper()
		for _, m := range both {
			m.isBilled(url, changed, func() map[string]*big.Rat { return expected(sent[m]) })
		}
	}

	use(0, 1)
	allBilled(false)
	use(0, 0.25) // this change waits to be billed while the database is dumped
	hold.Store(true)
	use(1, 2) // and this usage is being posted
	s.ok(awaitTrue(t.Context(), pg.url, "SELECT count(*) = 2 FROM usage_unbilled WHERE hour = $1", at(0).UnixMicro()))
	s.ok(awaitTrue(t.Context(), pg.url, "SELECT count(*) = 2 FROM usage_rows WHERE hour = $1", at(1).UnixMicro()))
	s.eventually("usage is being posted", func() bool { return held.Load() > 0 })
	dump := filepath.Join(t.TempDir(), "dump")
	pg.tool("pg_dump", "--format=custom", "--file="+dump, pg.url)

	hold.Store(false)
	close(release)
	use(1, 0.5)
	use(2, 3)
	use(3, 4)
	allBilled(true)
	use(2, 0.25) // after the restoration, `whole` sends both samples of this hour at once, so its first row differs
	allBilled(true)
	before := map[*metered]map[string]billing.Usage{whole: whole.inBillingStack(), torn: torn.inBillingStack()}
	for _, m := range both { // the restored database has no runs for a part of this usage
		s.others.Usage = slices.AppendSeq(s.others.Usage, maps.Values(before[m]))
	}

	r.kill()
	pg.restore(dump)
	r = s.serve()
	whole.posts(r.url, sent[whole]...)
	other := torn.used(at(1), 0.75)
	torn.posts(r.url, other, sent[torn][6]) // 0.25 of the hour 2
	use(4, 5)                               // new usage is billed as before
	whole.differ(url, at(2).Format(time.RFC3339)+" 0 3.25")
	torn.differ(url, at(1).Format(time.RFC3339)+" 1 0.75", at(2).Format(time.RFC3339)+" 0 0.25")
	for _, m := range both {
		now := m.inBillingStack()
		maps.DeleteFunc(now, func(id string, u billing.Usage) bool {
			_, old := before[m][id]
			return !old && *u.Value == 5 && strings.HasPrefix(u.Measure, "requests "+at(4).Format("2006-01-02T15:04:05"))
		})
		if len(m.inBillingStack()) != len(before[m])+1 || !reflect.DeepEqual(now, before[m]) {
			t.Errorf("BillingStack had %v before the restoration, and has %v and the new usage", before[m], now)
		}
	}
	s.env = append(s.env, "TENANTRY_URL="+r.url)
	out := string(s.run("usage", "unmatched", "--merchant", s.merchant.ID))
	for _, m := range both {
		if strings.Count(out, m.subscription) != 1 || strings.Count(out, "differs") != 2 {
			t.Errorf("`tenantry usage unmatched` prints\n%s", out)
		}
	}
}

// The method `differ` waits until all rows of a subscription are posted, and exactly these rows differ from the usage in BillingStack. A row is
// written as its beginning, its revision and its value.
func (m *metered) differ(url func() string, want ...string) {
	m.t.Helper()
	var found map[string]bool
	m.eventually("these rows differ: "+strings.Join(want, ", "), func() bool {
		m.tenMinutesPass()
		found = map[string]bool{}
		for _, r := range m.account(url()).Rows {
			if r.State == "differing" {
				found[fmt.Sprintf("%s %d %s", r.From.UTC().Format(time.RFC3339), r.Revision, r.Value)] = true
			}
		}
		return len(found) >= len(want) && m.settled()
	})
	if got := slices.Sorted(maps.Keys(found)); !slices.Equal(got, want) {
		m.t.Errorf("the rows %q differ, want %q", got, want)
	}
}

// The method `settled` reports whether no usage of the site waits to be computed, billed or posted.
func (s *site) settled() (yes bool) {
	s.t.Helper()
	s.ok(ask(s.t.Context(), s.database, &yes, `SELECT NOT EXISTS (SELECT 1 FROM usage_due) AND NOT EXISTS (SELECT 1 FROM usage_again)
		AND NOT EXISTS (SELECT 1 FROM usage_taken) AND NOT EXISTS (SELECT 1 FROM usage_unbilled)
		AND NOT EXISTS (SELECT 1 FROM usage_rows WHERE posted_at IS NULL)`))
	return yes
}

// The method `tool` runs a program of PostgreSQL.
func (p *ownPostgres) tool(name string, args ...string) {
	p.t.Helper()
	bins, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if err != nil || len(bins) == 0 {
		p.t.Fatalf("PostgreSQL's program %s is not installed", name)
	}
	if out, err := exec.CommandContext(p.t.Context(), bins[len(bins)-1], args...).CombinedOutput(); err != nil {
		p.t.Fatalf("%s: %v: %s", name, err, out)
	}
}

// The method `restore` replaces the database by a dump.
func (p *ownPostgres) restore(dump string) {
	p.t.Helper()
	ctx := p.t.Context()
	conn, err := pgx.Connect(ctx, strings.Replace(p.url, "/tenantry?", "/postgres?", 1))
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	for _, statement := range []string{"DROP DATABASE tenantry WITH (FORCE)", "CREATE DATABASE tenantry"} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			p.t.Fatal(err)
		}
	}
	p.tool("pg_restore", "--dbname="+p.url, dump)
}
