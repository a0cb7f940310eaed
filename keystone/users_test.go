package keystone_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/keystone"
)

func TestNamesAreFolded(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"Ann@Example.org", "aNN@eXAMPLE.ORG", true},
		{"Émile", "éMILE", true},
		{"ΣΊΣΥΦΟΣ", "σίσυφος", true},
		{"Émile", "Emile", false},
		{"a_b%c", "A_B%C", true},
		{"straße", "STRAßE", true},
		// Keystone does not list these names if a filter contains the ASCII letters.
		{"straße", "strasse", false},
		{"\u212aelvin", "kelvin", false},
		{"ſam", "sam", false},
		{"ﬁn", "fin", false},
		{"İ", "i\u0307", false},
		{"", "", true},
	} {
		if a, b := keystone.FoldedName(c.a), keystone.FoldedName(c.b); (a == b) != c.same {
			t.Errorf("%q and %q become %q and %q", c.a, c.b, a, b)
		}
		if once := keystone.FoldedName(c.a); keystone.FoldedName(once) != once {
			t.Errorf("%q becomes %q, and then %q", c.a, once, keystone.FoldedName(once))
		}
	}
}

func TestSecretsOfUsersAreNotPrinted(t *testing.T) {
	user := keystone.NewUser{Name: "ann", DomainID: "d1", Password: "canary"}
	token := keystone.UserToken{ID: "canary", UserID: "u1", UserName: "ann", ExpiresAt: time.Unix(0, 0)}
	second := &keystone.SecondFactorError{Receipt: "canary", Methods: [][]string{{"password", "totp"}, {"mapped"}}}
	for _, v := range []any{user, &user, struct{ U keystone.NewUser }{user}, token, &token, struct{ T keystone.UserToken }{token}, second} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			if s := fmt.Sprintf(verb, v); strings.Contains(s, "canary") || strings.Contains(s, fmt.Sprintf("%x", "canary")) {
				t.Errorf("%s of %T: %s", verb, v, s)
			}
		}
	}
	for _, v := range []any{token, &token} {
		const want = `{"id":"***","user_id":"u1","user_name":"ann","expires_at":"1970-01-01T00:00:00Z"}`
		token.ExpiresAt = token.ExpiresAt.UTC()
		if got, err := json.Marshal(v); err != nil || strings.Contains(string(got), "canary") || !strings.HasPrefix(string(got), want[:20]) {
			t.Errorf("got  %s (%v)\nwant %s", got, err, want)
		}
	}
	if got, want := second.Error(), "the user needs another login method: password and totp, or mapped"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := (&keystone.SecondFactorError{}).Error(), "the user needs another login method"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
