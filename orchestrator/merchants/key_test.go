package merchants_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/merchants"
)

var now = time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)

func TestKey(t *testing.T) {
	key, secret, err := merchants.NewKey(rand.Reader, "m", now)
	if err != nil {
		t.Fatal(err)
	}
	other, otherSecret, err := merchants.NewKey(rand.Reader, "m", now)
	if err != nil {
		t.Fatal(err)
	}
	if key.Key == other.Key || secret == otherSecret {
		t.Errorf("two keys are alike: %s, %s", key.Key, other.Key)
	}
	revoked := key
	revoked.RevokedAt = &now
	for _, c := range []struct {
		name   string
		key    merchants.APIKey
		secret string
		want   bool
	}{
		{"its own secret", key, secret, true},
		{"another key's secret", key, otherSecret, false},
		{"no secret", key, "", false},
		{"a part of the secret", key, secret[:len(secret)-1], false},
		{"the public part", key, key.Key, false},
		{"a revoked key", revoked, secret, false},
		{"a key that was never made", merchants.APIKey{}, "", false},
	} {
		if got := c.key.Accepts(c.secret); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
	encoded, err := json.Marshal(key)
	if err != nil {
		t.Fatal(err)
	}
	if shown := fmt.Sprintf("%+v %s", key, encoded); strings.Contains(shown, secret) {
		t.Errorf("the key shows its secret: %s", shown)
	}
}

func TestKeyWantsRandomness(t *testing.T) {
	if key, secret, err := merchants.NewKey(bytes.NewReader(make([]byte, 43)), "m", now); err == nil {
		t.Errorf("got %v with secret %q from 43 bytes, want an error", key, secret)
	}
}

func TestDisable(t *testing.T) {
	later := now.Add(time.Hour)
	var m merchants.Merchant
	m.Disable(now)
	m.Disable(later)
	if m.DisabledAt == nil || !m.DisabledAt.Equal(now) {
		t.Errorf("disabled twice: got %v, want the first time %v", m.DisabledAt, now)
	}
	m.Enable()
	if m.DisabledAt != nil {
		t.Errorf("enabled: got %v, want nil", m.DisabledAt)
	}
}
