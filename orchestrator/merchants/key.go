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
	var name [12]byte
	var bytes [32]byte
	for _, b := range [][]byte{name[:], bytes[:]} {
		if _, err := io.ReadFull(random, b); err != nil {
			return APIKey{}, "", fmt.Errorf("making an API key: %w", err)
		}
	}
	secret = "ts_" + base64.RawURLEncoding.EncodeToString(bytes[:])
	return APIKey{
		Key: "tk_" + hex.EncodeToString(name[:]), MerchantID: merchantID,
		SecretHash: sha256.Sum256([]byte(secret)), CreatedAt: now,
	}, secret, nil
}

// Accepts reports whether the argument is the key's secret. If the key is revoked, Accepts returns false. Accepts compares secrets in
// constant time.
func (k APIKey) Accepts(secret string) bool {
	hash := sha256.Sum256([]byte(secret)) // a slow hash is not needed, because the secret is random
	return subtle.ConstantTimeCompare(hash[:], k.SecretHash[:]) == 1 && k.RevokedAt == nil
}
