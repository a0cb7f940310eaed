package stories_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Ceilometer posts samples while PostgreSQL is stopped, and while the replica is killed with posts in its spool. Each post that is answered with
// 2xx is answered in time, and each of its samples is in the database once.
func TestNoSampleIsLostWhilePostgreSQLIsAway(t *testing.T) {
	pg := newPostgres(t, newHome(t))
	s := newSite(t, pg.url, memoryCloud(t, &upstream{}), &upstream{})
	env := "TENANTRY_USAGE_SPOOL=" + filepath.Join(t.TempDir(), "spool")
	r := s.serve(env)
	var made struct {
		Result struct {
			Tenant string `json:"subscription_tenant_id"`
		}
	}
	s.unmarshal(s.insist(r.url, s.portal(order{key: "made", token: s.newToken()})).Body, &made)
	var key struct{ Key, Secret string }
	s.unmarshal(s.run("meter-key", "create", "-f", "json"), &key)
	if listed := string(s.run("meter-key", "list")); !strings.Contains(listed, key.Key) || strings.Contains(listed, key.Secret) {
		t.Errorf("the keys are %s", listed)
	}
	client := &http.Client{Timeout: 10 * time.Second}
	post := func(url string, ids ...string) (status int, spooled bool, err error) {
		var all []map[string]any
		for _, id := range ids {
			all = append(all, map[string]any{
				"name": "cpu", "type": "cumulative", "unit": "ns", "volume": 1, "project_id": made.Result.Tenant, "resource_id": "vm",
				"timestamp": time.Now().UTC().Format("2006-01-02T15:04:05.000000"), "source": "openstack", "id": id,
			})
		}
		body, err := json.Marshal(all)
		if err != nil {
			return 0, false, err
		}
		req, err := http.NewRequest(http.MethodPost, url+"/v1/usage/ceilometer?batch=True", strings.NewReader(string(body)))
		if err != nil {
			return 0, false, err
		}
		req.SetBasicAuth(key.Key, key.Secret)
		req.Header.Set("Content-Type", "application/json")
		resp, err := client.Do(req)
		if err != nil {
			return 0, false, err
		}
		defer func() { _ = resp.Body.Close() }()
		var receipt struct{ Spooled bool }
		return resp.StatusCode, receipt.Spooled, json.NewDecoder(resp.Body).Decode(&receipt)
	}
	var mu sync.Mutex
	var answered []string
	var waiting int
	// The function `many` posts samples with several workers for the duration `long`.
	many := func(long time.Duration, url string) {
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for until := time.Now().Add(long); time.Now().Before(until); {
					ids := []string{uuid.NewString(), uuid.NewString()}
					began := time.Now()
					status, spooled, err := post(url, ids...)
					took := time.Since(began)
					mu.Lock()
					switch {
					case err != nil: // the replica was killed
					case status != http.StatusAccepted || took > 5*time.Second:
						t.Errorf("a post was answered with %d after %v", status, took)
					default:
						answered = append(answered, ids...)
					}
					if spooled {
						waiting++
					}
					mu.Unlock()
					time.Sleep(10 * time.Millisecond)
				}
			})
		}
		all.Wait()
	}
	many(time.Second, r.url)
	away := 12 * time.Second
	if !pg.down(syscall.SIGINT, away) {
		t.Fatal("PostgreSQL was not running")
	}
	many(6*time.Second, r.url)
	r.kill() // with posts in the spool
	mu.Lock()
	if waiting == 0 {
		t.Error("no post went to the spool")
	}
	mu.Unlock()
	pg.await(func() error {
		conn, err := pgx.Connect(t.Context(), pg.url)
		if err != nil {
			return err
		}
		return conn.Close(t.Context())
	})
	second := s.serve(env)
	many(time.Second, second.url)
	conn, err := pgx.Connect(t.Context(), pg.url)
	s.ok(err)
	defer func() { _ = conn.Close(t.Context()) }()
	var stored []string
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		rows, err := conn.Query(t.Context(), "SELECT id FROM samples")
		s.ok(err)
		stored, err = pgx.CollectRows(rows, pgx.RowTo[string])
		s.ok(err)
		slices.Sort(stored)
		missing := slices.DeleteFunc(slices.Clone(answered), func(id string) bool { _, found := slices.BinarySearch(stored, id); return found })
		if len(missing) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d samples are not in the database", len(missing), len(answered))
		}
	}
	if len(slices.Compact(stored)) != len(stored) {
		t.Error("a sample is stored twice")
	}
	t.Log(fmt.Sprint(len(answered), " samples, ", waiting, " posts in the spool"))
}
