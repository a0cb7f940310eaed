package v3_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	v3 "github.com/tenantry/tenantry/keystone/v3"
)

// newLooseHouse returns a Keystone that compares names like a Keystone on MySQL, and a function that creates a Cloud.
func newLooseHouse(t *testing.T) (k *keystonetest.Keystone, open func(allowAdmin bool) *v3.Cloud) {
	t.Helper()
	k = keystonetest.New(keystonetest.Options{LooseNames: true})
	url, stop, err := k.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return k, func(allowAdmin bool) *v3.Cloud {
		cloud, err := v3.New(conn.Config{
			URL: url, AllowAdminRole: allowAdmin, MayWriteDomain: func(string) bool { return true }, MaySignUp: func(string) bool { return true },
			Credential: conn.Credential{Username: "Admin", UserDomainID: "default", Password: "secret", ProjectName: "ADMIN", ProjectDomainName: "DEFAULT"},
		})
		if err != nil {
			t.Fatal(err)
		}
		return cloud
	}
}

func TestTheOneObjectThatKeystoneReturnsForANameIsIt(t *testing.T) {
	k, open := newLooseHouse(t)
	k.AddRole("bs-admin")
	customers := k.AddDomain("Customers")
	cloud := open(false)
	roles, err := cloud.Roles(t.Context(), []string{"Member", "BS-Admin", "member"})
	if err != nil || len(roles) != 3 || roles[0].Name != "member" || roles[1].Name != "bs-admin" || roles[2] != roles[0] {
		t.Errorf("roles: %v, %v", roles, err)
	}
	for name, want := range map[string]keystone.Domain{
		"customers": {ID: customers, Name: "Customers"}, "CUSTÖMERS": {ID: customers, Name: "Customers"}, "default": {ID: "default", Name: "Default"},
		"DEFAULT": {ID: "default", Name: "Default"},
	} {
		if got, err := cloud.Domain(t.Context(), name); err != nil || got != want {
			t.Errorf("domain %s: got %v, %v, want %v", name, got, err, want)
		}
	}
	for _, name := range []string{"", "none"} {
		if got, err := cloud.Roles(t.Context(), []string{name}); !errors.Is(err, keystone.ErrNotFound) {
			t.Errorf("role %q: got %v, %v", name, got, err)
		}
		if got, err := cloud.Domain(t.Context(), name); !errors.Is(err, keystone.ErrNotFound) {
			t.Errorf("domain %q: got %v, %v", name, got, err)
		}
	}
}

func TestRolesAreRefusedByTheNameThatKeystoneReturns(t *testing.T) {
	k, open := newLooseHouse(t)
	k.AddRole("Deputy", "admin")
	cloud := open(false)
	for _, name := range []string{"admin", "ADMIN", "ädmin", "Ádmín", "deputy", "DÉPUTY"} {
		if got, err := cloud.Roles(t.Context(), []string{name}); !errors.Is(err, keystone.ErrRefusedRole) {
			t.Errorf("%s: got %v, %v, want that the role is refused", name, got, err)
		}
	}
	if got, err := open(true).Roles(t.Context(), []string{"ädmin"}); err != nil || got[0].Name != "admin" {
		t.Errorf("with AllowAdminRole: got %v, %v", got, err)
	}
}

func TestSeveralObjectsForOneNameAreAnError(t *testing.T) {
	k, open := newLooseHouse(t)
	for _, name := range []string{"Gold", "gold", "Göld"} {
		k.AddRole(name)
		k.AddDomain(name)
	}
	cloud := open(false)
	for what, err := range map[string]error{
		"role":   only(cloud.Roles(t.Context(), []string{"GOLD"})),
		"domain": only(cloud.Domain(t.Context(), "GOLD")),
	} {
		if !errors.Is(err, keystone.ErrAmbiguous) || !strings.Contains(err.Error(), `Keystone returned 3: "Gold", "gold", "Göld"`) {
			t.Errorf("%s: got %v", what, err)
		}
	}
}
