package keystone_test

import (
	"slices"
	"testing"

	"github.com/tenantry/tenantry/keystone"
)

func TestTheRunsThatDisabledAProjectAreReadFromItsTags(t *testing.T) {
	tags := append(keystone.TenantTags("1", "m", "i"), keystone.DisabledTag("9"), "a", "tenantry-disabled-", keystone.DisabledTag("7"))
	if got, want := (keystone.Project{Tags: tags}).DisabledBy(), []string{"7", "9"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := (keystone.Project{Tags: keystone.TenantTags("1", "m", "i")}).DisabledBy(); len(got) != 0 {
		t.Errorf("got %v for a project without marks", got)
	}
}

func TestTenantTagsAreRecognized(t *testing.T) {
	for _, c := range []struct {
		tags []string
		want bool
	}{
		{keystone.TenantTags("1", "m", "i"), true},
		{keystone.TenantTags("1", "m", ""), true},
		{append([]string{"a", keystone.DisabledTag("2")}, keystone.TenantTags("1", "m", "i")...), true},
		{nil, false},
		{[]string{keystone.DisabledTag("1")}, false},
		{[]string{"tenantry", keystone.RunTag("1"), keystone.InstallationTag("i")}, false},
		{[]string{"tenantry", keystone.MerchantTag("m"), keystone.InstallationTag("i")}, false},
		{[]string{keystone.RunTag("1"), keystone.MerchantTag("m")}, false},
		{[]string{"tenantry", keystone.RunTag(""), keystone.MerchantTag("m")}, false},
	} {
		if got := keystone.HasTenantTags(c.tags); got != c.want {
			t.Errorf("%q: got %t, want %t", c.tags, got, c.want)
		}
	}
}
