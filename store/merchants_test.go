package store_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/store/storetest"
)

func TestMerchants(t *testing.T) {
	for name, url := range map[string]func(testing.TB) string{"SQLite": storetest.SQLite, "PostgreSQL": storetest.PostgreSQL} {
		t.Run(name, func(t *testing.T) {
			s := open(t, url(t), secret)
			if _, err := s.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			story(t, s.Merchants())
		})
	}
}

// The function `story` tests a store: it creates, changes and disables a merchant, and rotates the merchant's API keys.
func story(t *testing.T, all merchants.Store) {
	now := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	m := merchants.Merchant{
		ID: "f47f51dd-e7db-47e2-bdb1-83935a50cf87", Name: "M", Cloud: "default", Domain: "customers",
		CustomerRoles: []string{"member"}, SubscriptionRoles: []string{}, OnFailure: merchants.Hold, AdoptUnmarked: true, SignUp: true, MaxLiveRuns: 7,
		CreatedAt: now,
	}
	first := newKey(t, m.ID, now)
	must(t, all.Create(t.Context(), m, first))
	if err := all.Create(t.Context(), m, newKey(t, m.ID, now)); !errors.Is(err, merchants.ErrExists) {
		t.Errorf("created twice: got %v, want %v", err, merchants.ErrExists)
	}

	key, owner, err := all.Key(t.Context(), first.Key)
	must(t, err)
	same(t, "the key", key, first)
	same(t, "its merchant", owner, m)
	if _, _, err := all.Key(t.Context(), "tk_none"); !errors.Is(err, merchants.ErrNotFound) {
		t.Errorf("no such key: got %v, want %v", err, merchants.ErrNotFound)
	}

	wrong := errors.New("wrong")
	if _, err := all.Update(t.Context(), m.ID, func(m *merchants.Merchant) error { m.Name = "X"; return wrong }); !errors.Is(err, wrong) {
		t.Errorf("a refused change: got %v, want %v", err, wrong)
	}
	changed, err := all.Update(t.Context(), m.ID, func(m *merchants.Merchant) error {
		m.ID, m.Name, m.AdoptUnmarked, m.SignUp = "another", "N", false, false
		m.Disable(now.Add(time.Minute))
		return nil
	})
	must(t, err)
	later := now.Add(time.Minute)
	m.Name, m.AdoptUnmarked, m.SignUp, m.DisabledAt = "N", false, false, &later
	same(t, "the changed merchant", changed, m)
	read, err := all.Merchant(t.Context(), m.ID)
	must(t, err)
	same(t, "the changed merchant, read", read, m)
	list, err := all.List(t.Context(), merchants.Filter{Limit: 10})
	must(t, err)
	same(t, "the list", list, []merchants.Merchant{m})
	list, err = all.List(t.Context(), merchants.Filter{After: "nobody", Limit: 10})
	must(t, err)
	same(t, "the list after an unknown merchant", list, []merchants.Merchant{})

	if got, err := all.Settings(t.Context(), 9); err != nil || len(got) > 0 {
		t.Errorf("the settings of a disabled merchant: got %+v, %v, want none", got, err)
	}
	settings(t, all)

	named(t, all)

	second, third := newKey(t, m.ID, now.Add(1*time.Hour)), newKey(t, m.ID, now.Add(2*time.Hour))
	_, revoked, err := all.Rotate(t.Context(), second)
	must(t, err)
	same(t, "revoked by the second key", revoked, nil)
	_, revoked, err = all.Rotate(t.Context(), third)
	must(t, err)
	first.RevokedAt = &third.CreatedAt
	same(t, "revoked by the third key", revoked, []merchants.APIKey{first})
	keys, err := all.Keys(t.Context(), m.ID, "", 10)
	must(t, err)
	same(t, "the keys", keys, []merchants.APIKey{first, second, third})
	keys, err = all.Keys(t.Context(), m.ID, first.Key, 1)
	must(t, err)
	same(t, "a page of keys", keys, []merchants.APIKey{second})
	early := newKey(t, m.ID, now.Add(30*time.Minute)) // the caller read the time before the third key was stored
	stored, revoked, err := all.Rotate(t.Context(), early)
	must(t, err)
	early.CreatedAt = third.CreatedAt.Add(time.Microsecond)
	same(t, "the stored key", stored, early)
	second.RevokedAt = &early.CreatedAt
	same(t, "revoked by a key with an earlier time", revoked, []merchants.APIKey{second})
	keys, err = all.Keys(t.Context(), m.ID, "", 10)
	must(t, err)
	same(t, "the keys in the order in which they were stored", keys, []merchants.APIKey{first, second, third, early})
	if _, _, err := all.Rotate(t.Context(), newKey(t, "nobody", now)); !errors.Is(err, merchants.ErrNotFound) {
		t.Errorf("a key for nobody: got %v, want %v", err, merchants.ErrNotFound)
	}
}

// The function `settings` checks that Settings returns only one of several merchants with the same settings.
func settings(t *testing.T, all merchants.Store) {
	t.Helper()
	now := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	for i, m := range []merchants.Merchant{
		{ID: "1", Name: "C", Cloud: "default", CustomerRoles: []string{"member"}},
		{ID: "2", Name: "B", Cloud: "default", CustomerRoles: []string{"member"}},
		{ID: "3", Name: "A", Cloud: "far", CustomerRoles: []string{"member"}},
		{ID: "4", Name: "Z", Cloud: "default", SubscriptionRoles: []string{"member"}},
		{ID: "5", Name: "D", Cloud: "default", Domain: "d", CustomerRoles: []string{"member"}},
	} {
		m.CreatedAt = now.Add(time.Duration(i) * time.Second)
		must(t, all.Create(t.Context(), m, newKey(t, m.ID, now)))
	}
	for limit, want := range map[int][]string{9: {"3", "1", "5", "4"}, 2: {"3", "1"}} {
		got, err := all.Settings(t.Context(), limit)
		must(t, err)
		var ids []string
		for _, m := range got {
			ids = append(ids, m.ID)
		}
		same(t, "the merchants with different settings", ids, want)
	}
}

// The function `named` checks that List finds merchants by a part of their names.
func named(t *testing.T, all merchants.Store) {
	t.Helper()
	for i, name := range []string{"Cloud Shop", "100% cloud", "under_score", "Bang!"} {
		m := merchants.Merchant{ID: fmt.Sprint("named", i), Name: name, CreatedAt: time.UnixMicro(1)}
		must(t, all.Create(t.Context(), m, newKey(t, m.ID, m.CreatedAt)))
	}
	for part, want := range map[string][]string{
		"CLOUD": {"named1", "named0"}, "0%": {"named1"}, "r_s": {"named2"}, "r%s": nil, "g!": {"named3"}, "shop": {"named0"}, "none": nil,
	} {
		got, err := all.List(t.Context(), merchants.Filter{Name: part, Limit: 10})
		must(t, err)
		var ids []string
		for _, m := range got {
			ids = append(ids, m.ID)
		}
		same(t, "the merchants with "+part, ids, want)
	}
	got, err := all.List(t.Context(), merchants.Filter{Name: "cloud", After: "named1", Limit: 1})
	must(t, err)
	if len(got) != 1 || got[0].ID != "named0" {
		t.Errorf("the second page: got %+v", got)
	}
}

func newKey(t *testing.T, merchantID string, now time.Time) merchants.APIKey {
	t.Helper()
	key, _, err := merchants.NewKey(rand.Reader, merchantID, now)
	must(t, err)
	return key
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func same[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}
