package usage

import (
	"crypto/sha256"
	"io"
	"time"

	"github.com/tenantry/tenantry/orchestrator/merchants"
)

// MeterKey is a key with which the Ceilometer of a cloud posts samples. Only Ceilometer knows the secret of the key.
type MeterKey struct {
	Key        string // public; identifies the key in logs
	Cloud      string
	SecretHash [sha256.Size]byte
	CreatedAt  time.Time
	RevokedAt  *time.Time
}

// NewKey returns a new key and its secret. Show the secret once and do not store it. Key and secret consist of letters, digits, "_" and "-",
// because Ceilometer takes them from a URL without decoding them. NewKey returns an error if it cannot read random bytes.
func NewKey(random io.Reader, cloud string, now time.Time) (MeterKey, string, error) {
	name, secret, hash, err := merchants.NewSecret(random, "tm_")
	if err != nil {
		return MeterKey{}, "", err
	}
	return MeterKey{Key: name, Cloud: cloud, SecretHash: hash, CreatedAt: now}, secret, nil
}

// Accepts reports whether the argument is the key's secret. If the key is revoked, Accepts returns false.
func (k MeterKey) Accepts(secret string) bool {
	return merchants.Matches(k.SecretHash, secret) && k.RevokedAt == nil
}
