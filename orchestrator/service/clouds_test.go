package service

import (
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/upstream"
	"github.com/tenantry/tenantry/store"
	"github.com/tenantry/tenantry/store/storetest"
)

const aMerchant = "01234567-89ab-4cde-8f01-23456789abcd"

// newClouds returns clouds for the Keystone at url and the merchants in s.
func newClouds(t *testing.T, url string, s *store.Store) *cloudClients {
	t.Helper()
	u, err := newUpstreams(Options{
		Config: Config{Domain: "default", KeystoneConnections: 4, BillingConnections: 4},
		Cloud: func(string) (conn.Config, error) {
			return conn.Config{URL: url, Credential: conn.Credential{
				Username: "admin", Password: "secret", UserDomainID: "default", ProjectName: "admin", ProjectDomainID: "default",
			}}, nil
		},
	}, "http://127.0.0.1:1/v2", s.Merchants())
	if err != nil {
		t.Fatal(err)
	}
	return u.clouds
}

func TestOnlyDomainsOfMerchantsAreWritten(t *testing.T) {
	fake := keystonetest.New(keystonetest.Options{})
	url, stop, err := fake.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	s, _, err := Open(t.Context(), Config{DatabaseURL: storetest.SQLite(t), SecretKey: make([]byte, store.KeySize)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	member, err := fake.Role("member")
	if err != nil {
		t.Fatal(err)
	}
	acme, other := fake.AddDomain("acme"), fake.AddDomain("other")
	identity, err := newClouds(t, url, s).identity("default")
	if err != nil {
		t.Fatal(err)
	}
	create := func(domain string) (keystone.Project, error) {
		p, _, err := identity.EnsureProject(t.Context(), keystone.NewProject{Name: "bs-customer-1", DomainID: domain, RunTag: "m"})
		return p, err
	}

	if _, err := create(keystonetest.DefaultDomain); err != nil {
		t.Errorf("the configuration's domain: %v", err)
	}
	if _, err := create(acme); !errors.Is(err, keystone.ErrGuard) {
		t.Errorf("a domain that no merchant has: got %v, want %v", err, keystone.ErrGuard)
	}
	for _, m := range []merchants.Merchant{
		{ID: aMerchant, Name: "ACME", Cloud: "default", Domain: "acme", CreatedAt: time.Now()},
		{ID: aMerchant[:35] + "0", Name: "Lost", Cloud: "default", Domain: "nowhere", CreatedAt: time.Now()},
		{ID: aMerchant[:35] + "1", Name: "Far", Cloud: "far", Domain: "other", CreatedAt: time.Now()},
	} {
		key, _, err := merchants.NewKey(rand.Reader, m.ID, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Merchants().Create(t.Context(), m, key); err != nil {
			t.Fatal(err)
		}
	}
	p, err := create(acme)
	if err != nil {
		t.Fatalf("the domain of a merchant that was added meanwhile: %v", err)
	}
	if _, err := create(other); !errors.Is(err, keystone.ErrGuard) {
		t.Errorf("a domain of a merchant on another cloud: got %v, want %v", err, keystone.ErrGuard)
	}

	// A second replica has not read any of these domains yet.
	if identity, err = newClouds(t, url, s).identity("default"); err != nil {
		t.Fatal(err)
	}
	user := fake.AddUser(keystonetest.User{Name: "u", DomainID: acme})
	a := keystone.Assignment{ProjectID: p.ID, UserID: user, RoleID: member.ID}
	if err := identity.EnsureAssignment(t.Context(), a); err != nil {
		t.Errorf("assigning a role: %v", err)
	}
	if removed, err := identity.RemoveAssignment(t.Context(), a); err != nil || !removed {
		t.Errorf("revoking a role: got %v, %v", removed, err)
	}
	if after, changed, err := identity.ChangeProject(t.Context(), p, keystone.ProjectChange{Enabled: new(false)}); err != nil || !changed || after.Enabled {
		t.Errorf("disabling the project: got %+v, %t, %v", after, changed, err)
	}
	if removed, err := identity.RemoveProject(t.Context(), p, "m"); err != nil || removed.ID != p.ID {
		t.Errorf("removing the project: got %v, %v", removed, err)
	}
}

func TestAKeystoneOutOfReachFailsAWriteForNow(t *testing.T) {
	s, _, err := Open(t.Context(), Config{DatabaseURL: storetest.SQLite(t), SecretKey: make([]byte, store.KeySize)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	identity, err := newClouds(t, "http://127.0.0.1:1", s).identity("default")
	if err != nil {
		t.Fatal(err)
	}
	p := keystone.Project{Name: "bs-customer-1", DomainID: "default"}
	_, _, made := identity.EnsureProject(t.Context(), keystone.NewProject{Name: p.Name, DomainID: p.DomainID, RunTag: "m"})
	_, removed := identity.RemoveProject(t.Context(), p, "m")
	given := identity.EnsureAssignment(t.Context(), keystone.Assignment{ProjectID: "p", UserID: "u", RoleID: "r"})
	_, taken := identity.RemoveAssignment(t.Context(), keystone.Assignment{ProjectID: "p", UserID: "u", RoleID: "r"})
	_, _, changed := identity.ChangeProject(t.Context(), keystone.Project{ID: "p", DomainID: "default"}, keystone.ProjectChange{Enabled: new(false)})
	for what, err := range map[string]error{"making": made, "removing": removed, "giving": given, "taking": taken, "changing": changed} {
		e, ok := errors.AsType[*upstream.Error](err)
		if !ok || e.Class != upstream.Unavailable || e.MaybeDone {
			t.Errorf("%s: got %#v, want class Unavailable without MaybeDone", what, err)
		}
	}
}

// The domains are read before sign-up is switched on for the merchant. Then the database fails. The writes to a user must fail with a
// transient error. A refusal by the guard would be permanent.
func TestADatabaseThatFailsDoesNotMakeAUserForeign(t *testing.T) {
	fake := keystonetest.New(keystonetest.Options{})
	url, stop, err := fake.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	s, _, err := Open(t.Context(), Config{DatabaseURL: storetest.SQLite(t), SecretKey: make([]byte, store.KeySize)})
	if err != nil {
		t.Fatal(err)
	}
	identity, err := newClouds(t, url, s).identity("default")
	if err != nil {
		t.Fatal(err)
	}
	domain := keystonetest.DefaultDomain
	if _, _, err := identity.EnsureProject(t.Context(), keystone.NewProject{Name: "bs-customer-1", DomainID: domain, RunTag: "m"}); err != nil {
		t.Fatal(err)
	}
	user := fake.AddUser(keystonetest.User{Name: "ada"})
	s.Close()
	_, _, _, made := identity.EnsureUser(t.Context(), keystone.NewUser{Name: "ada", DomainID: domain, Password: "p", RunID: "1"})
	_, _, removed := identity.RemoveUser(t.Context(), domain, "ada", "1")
	set := identity.SetPassword(t.Context(), user, "p")
	for what, err := range map[string]error{"making": made, "removing": removed, "setting the password": set} {
		if e, ok := errors.AsType[*upstream.Error](err); !ok || e.Class != upstream.Transient || e.MaybeDone {
			t.Errorf("%s: got %#v, want class Transient without MaybeDone", what, err)
		}
	}
}

// TestADatabaseThatFailsDoesNotMakeAProjectForeign closes the database, so that the merchants' domains cannot be read. It then calls the
// writes whose arguments contain the domain of the project. These writes must fail with a transient error. A refusal by the guard
// would be permanent.
func TestADatabaseThatFailsDoesNotMakeAProjectForeign(t *testing.T) {
	fake := keystonetest.New(keystonetest.Options{})
	url, stop, err := fake.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	s, _, err := Open(t.Context(), Config{DatabaseURL: storetest.SQLite(t), SecretKey: make([]byte, store.KeySize)})
	if err != nil {
		t.Fatal(err)
	}
	identity, err := newClouds(t, url, s).identity("default")
	if err != nil {
		t.Fatal(err)
	}
	tags := append(keystone.TenantTags("1", "m", "i"), keystone.DisabledTag("1"))
	p := keystone.Project{Name: "bs-customer-1", DomainID: keystonetest.DefaultDomain, Tags: tags}
	p.ID = fake.AddProject(p)
	s.Close()
	_, _, made := identity.EnsureProject(t.Context(), keystone.NewProject{Name: p.Name, DomainID: p.DomainID, RunTag: "m"})
	_, removed := identity.RemoveProject(t.Context(), p, keystone.RunTag("1"))
	_, disabled := identity.DisableProject(t.Context(), p, keystone.DisabledTag("2"))
	_, _, enabled := identity.EnableProject(t.Context(), p, keystone.DisabledTag("1"))
	_, _, changed := identity.ChangeProject(t.Context(), p, keystone.ProjectChange{Enabled: new(false)})
	for what, err := range map[string]error{
		"making": made, "removing": removed, "disabling": disabled, "enabling": enabled, "changing": changed,
	} {
		if e, ok := errors.AsType[*upstream.Error](err); !ok || e.Class != upstream.Transient || e.MaybeDone {
			t.Errorf("%s: got %#v, want class Transient without MaybeDone", what, err)
		}
	}
}
