package keystone_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

func TestAScopedTokenNeverShowsItsID(t *testing.T) {
	token := keystone.ScopedToken{
		ID: "gAAAA-canary", ProjectID: "p1", ExpiresAt: time.Unix(0, 0), Roles: []keystone.Role{{ID: "r1", Name: "member"}},
	}
	nested := struct{ T keystone.ScopedToken }{token}
	shown := make([]string, 0, 20)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, v := range []any{token, &token, nested} {
			shown = append(shown, fmt.Sprintf(verb, v))
		}
	}
	for _, v := range []any{token, &token, nested} {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		shown = append(shown, string(b))
	}
	for _, s := range shown {
		if strings.Contains(s, "canary") || strings.Contains(s, fmt.Sprintf("%x", "canary")) {
			t.Errorf("shows the token's ID: %s", s)
		}
	}
	const want = `{"id":"***","project_id":"p1","expires_at":"1970-01-01T00:00:00Z","roles":[{"id":"r1","name":"member"}]}`
	token.ExpiresAt = token.ExpiresAt.UTC()
	if got, err := json.Marshal(token); err != nil || string(got) != want {
		t.Errorf("got  %s (%v)\nwant %s", got, err, want)
	}
}

func TestAnErrorReadsAsASentence(t *testing.T) {
	err := error(&upstream.Error{
		Service: keystone.Service,
		Class:   upstream.Unavailable, Op: `creating project "x"`, Status: 401, RequestID: "req-1", OwnCredential: true, Message: "Go away.",
	})
	const want = `creating project "x": Keystone refuses Tenantry's credential: Keystone answered 401 Unauthorized: Go away. (req-1)`
	if err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
	err = fmt.Errorf("wrapped: %w", &upstream.Error{Service: keystone.Service, Class: upstream.Permanent, Op: `finding project "x"`, Err: keystone.ErrNotFound})
	if want := `wrapped: finding project "x": not found`; err.Error() != want || !errors.Is(err, keystone.ErrNotFound) {
		t.Errorf("got %s (is ErrNotFound: %t), want %s", err, errors.Is(err, keystone.ErrNotFound), want)
	}
}
