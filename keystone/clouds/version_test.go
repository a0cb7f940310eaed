package clouds_test

import (
	"strings"
	"testing"

	"github.com/tenantry/tenantry/keystone/clouds"
	"github.com/tenantry/tenantry/keystone/conn"
	v2 "github.com/tenantry/tenantry/keystone/v2"
	v3 "github.com/tenantry/tenantry/keystone/v3"
)

// The variable `pike` contains the OS_* variables of a cloud with Identity v2.0.
var pike = map[string]string{
	"OS_AUTH_URL": "http://k:5000/v2.0", "OS_USERNAME": "u", "OS_PASSWORD": "p", "OS_TENANT_NAME": "admin", "OS_IDENTITY_API_VERSION": "2.0",
}

func TestTheIdentityVersionIsChosenAndNeverGuessed(t *testing.T) {
	for _, c := range []struct {
		what string
		vars map[string]string
		want conn.Config
	}{
		{"version 2.0", map[string]string{}, conn.Config{
			URL: "http://k:5000/v2.0", Version: "2.0", Credential: conn.Credential{Username: "u", Password: "p", ProjectName: "admin"},
		}},
		{"version 2, an address without a version, a user's id and all other settings", map[string]string{
			"OS_IDENTITY_API_VERSION": "2", "OS_AUTH_URL": "http://k:5000", "OS_USER_ID": "i", "OS_TENANT_ID": "t", "OS_REGION_NAME": "two",
			"OS_IDENTITY_ENDPOINT_OVERRIDE": "http://k:35357/v2.0", "OS_USER_DOMAIN_NAME": "Default", "OS_PROJECT_DOMAIN_ID": "default",
		}, conn.Config{
			URL: "http://k:5000", Version: "2.0", AdminURL: "http://k:35357/v2.0", Region: "two",
			Credential: conn.Credential{Username: "u", UserID: "i", Password: "p", ProjectID: "t", ProjectName: "admin"},
		}},
		{"version 3.14", map[string]string{
			"OS_IDENTITY_API_VERSION": "3.14", "OS_AUTH_URL": "http://k:5000", "OS_USER_DOMAIN_ID": "d", "OS_PROJECT_DOMAIN_ID": "d", "OS_REGION_NAME": "two",
		}, conn.Config{URL: "http://k:5000", Version: "3", Credential: conn.Credential{
			Username: "u", UserDomainID: "d", Password: "p", ProjectName: "admin", ProjectDomainID: "d",
		}}},
	} {
		t.Run(c.what, func(t *testing.T) {
			environment(t, pike)
			for name, value := range c.vars {
				t.Setenv(name, value)
			}
			got, err := clouds.FromEnv()
			if err != nil {
				t.Fatal(err)
			}
			if show(got.Credential) != show(c.want.Credential) || got.URL != c.want.URL || got.Version != c.want.Version ||
				got.AdminURL != c.want.AdminURL || got.Region != c.want.Region {
				t.Errorf("got %+v with %s, want %+v with %s", got, show(got.Credential), c.want, show(c.want.Credential))
			}
			cloud, err := clouds.Open(got)
			if err != nil {
				t.Fatal(err)
			}
			_, second := cloud.(*v2.Cloud)
			_, third := cloud.(*v3.Cloud)
			if second != (c.want.Version == "2.0") || third == second {
				t.Errorf("got a client of type %T", cloud)
			}
		})
	}
}

func TestFaultsOfAConfigurationForIdentityV2(t *testing.T) {
	for _, c := range []struct {
		vars map[string]string
		want string
	}{
		{map[string]string{"OS_IDENTITY_API_VERSION": "4"}, `OS_IDENTITY_API_VERSION "4" is not supported: use 3 or 2.0`},
		{map[string]string{"OS_AUTH_URL": "http://k:5000/v3"}, "OS_AUTH_URL: keystone URL http://k:5000/v3 is a URL of Identity v3"},
		{map[string]string{"OS_IDENTITY_API_VERSION": ""}, "OS_AUTH_URL: keystone URL http://k:5000/v2.0 is a URL of Identity v2.0"},
		{map[string]string{"OS_IDENTITY_ENDPOINT_OVERRIDE": "k:35357"}, "OS_IDENTITY_ENDPOINT_OVERRIDE: keystone URL must look like"},
		{map[string]string{"OS_AUTH_TYPE": "v3password"}, `OS_AUTH_TYPE "v3password" is not supported with Identity v2.0`},
		{map[string]string{"OS_APPLICATION_CREDENTIAL_ID": "a"}, "OS_APPLICATION_CREDENTIAL_ID cannot be used with Identity v2.0"},
		{map[string]string{"OS_SYSTEM_SCOPE": "all"}, "OS_SYSTEM_SCOPE cannot be used with Identity v2.0"},
		{map[string]string{"OS_USER_DOMAIN_NAME": "customers"}, `OS_USER_DOMAIN_NAME must be "default" or not set`},
		{map[string]string{"OS_TENANT_NAME": ""}, "OS_PROJECT_ID or OS_PROJECT_NAME is not set"},
		{map[string]string{"OS_PASSWORD": ""}, "OS_PASSWORD is not set"},
		{map[string]string{"OS_USERNAME": ""}, "OS_USER_ID or OS_USERNAME is not set"},
	} {
		t.Run(c.want, func(t *testing.T) {
			environment(t, pike)
			for name, value := range c.vars {
				t.Setenv(name, value)
			}
			if _, err := clouds.FromEnv(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}
