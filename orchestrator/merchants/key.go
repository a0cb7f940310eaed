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

// APIKey is one key of a merchant's portal. Its secret is kept by the portal alone.
type APIKey struct {
	Key        string // public; it names the key in logs and events
	MerchantID string
	SecretHash [sha256.Size]byte
	CreatedAt  time.Time
	RevokedAt  *time.Time
}

// NewKey makes a key and its secret of 32 random bytes, which is to be shown once and stored nowhere.
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

// Accepts tells in constant time whether this is the secret of the key, and the key is not revoked.
func (k APIKey) Accepts(secret string) bool {
	hash := sha256.Sum256([]byte(secret)) // the secret is random through and through: a slow hash would add nothing
	return subtle.ConstantTimeCompare(hash[:], k.SecretHash[:]) == 1 && k.RevokedAt == nil
}
