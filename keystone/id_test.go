package keystone_test

import (
	"strings"
	"testing"

	"github.com/tenantry/tenantry/keystone"
)

func TestValidID(t *testing.T) {
	for _, id := range []string{
		"3c2a9c5a6f0b4b3f8f3e0d8e6f5c4b3a", strings.Repeat("a", 64), strings.Repeat("é", 64), "default", "john.doe", "m@example.org",
		"cn=Ann Lee,ou=people", "50%", "%2e%2e", "%2f", "a b", " ", "x?y#z", "a;b+c&d=e", `back\slash`, "ü", "日本", "...", ".a", "..a", "a.", "-",
	} {
		if !keystone.ValidID(id) {
			t.Errorf("%q is refused", id)
		}
	}
	for _, id := range []string{
		"", ".", "..", "/", "a/b", "../roles", "a/", "a\x00", "a\nb", "\x7f", "a\u0085", "a\xff", strings.Repeat("a", 65), strings.Repeat("é", 65),
	} {
		if keystone.ValidID(id) {
			t.Errorf("%q is not refused", id)
		}
	}
}
