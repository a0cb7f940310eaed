package merchants

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"time"
)

// APIKey is a key of a merchant's portal. Only the portal knows the secret of the key.
type APIKey struct {
	Key        string // public; identifies the key in logs and events
	MerchantID string
	SecretHash [sha256.Size]byte
	CreatedAt  time.Time
	RevokedAt  *time.Time
}

// NewKey returns a new key and its secret of 32 random bytes. Show the secret once and do not store it. NewKey returns an error if
// it cannot read the random bytes.
func NewKey(random io.Reader, merchantID string, now time.Time) (k APIKey, secret string, err error) {
	name, secret, hash, err := NewSecret(random, "tk_")
	if err != nil {
		return APIKey{}, "", err
	}
	return APIKey{Key: name, MerchantID: merchantID, SecretHash: hash, CreatedAt: now}, secret, nil
}

// NewSecret returns the public name of a new key, its secret of 32 random bytes, and the hash of the secret. The name begins with the given
// prefix.
func NewSecret(random io.Reader, prefix string) (name, secret string, hash [sha256.Size]byte, err error) {
	var public [12]byte
	var private [32]byte
	for _, b := range [][]byte{public[:], private[:]} {
		if _, err := io.ReadFull(random, b); err != nil {
			return "", "", hash, fmt.Errorf("making a key: %w", err)
		}
	}
	secret = "ts_" + base64.RawURLEncoding.EncodeToString(private[:])
	return prefix + hex.EncodeToString(public[:]), secret, sha256.Sum256([]byte(secret)), nil
}

// Accepts reports whether the argument is the key's secret. If the key is revoked, Accepts returns false.
func (k APIKey) Accepts(secret string) bool {
	return Matches(k.SecretHash, secret) && k.RevokedAt == nil
}

// Matches reports whether the hash is the hash of the secret. Matches compares in constant time.
func Matches(hash [sha256.Size]byte, secret string) bool {
	given := sha256.Sum256([]byte(secret)) // a slow hash is not needed, because the secret is random
	return subtle.ConstantTimeCompare(given[:], hash[:]) == 1
}
