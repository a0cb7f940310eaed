package keystone_test

import (
	"testing"

	"github.com/tenantry/tenantry/keystone"
)

func TestTenantTagsAreRecognized(t *testing.T) {
	for _, c := range []struct {
		tags []string
		want bool
	}{
		{keystone.TenantTags("1", "m", "i"), true},
		{keystone.TenantTags("1", "m", ""), true},
		{append([]string{"a", "tenantry-disabled-2"}, keystone.TenantTags("1", "m", "i")...), true},
		{nil, false},
		{[]string{"tenantry-disabled-1"}, false},
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
