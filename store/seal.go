package store

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// KeySize is the length of the secret key in bytes.
const KeySize = 32

// ErrOtherKey means that the database was created with another secret key.
var ErrOtherKey = errors.New("the database was created with another secret key")

// The type `sealer` encrypts credentials with AES-256-GCM. The additional authenticated data of the encryption names the object to which
// the credential belongs, such as a run with its id. The zero value has no key: it seals and opens nothing.
type sealer struct {
	aead  cipher.AEAD
	keyID string
}

func newSealer(secret []byte) (*sealer, error) {
	if len(secret) != KeySize {
		return nil, fmt.Errorf("the secret key has %d bytes, but must have %d", len(secret), KeySize)
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("tenantry key id"))
	return &sealer{aead, hex.EncodeToString(mac.Sum(nil)[:8])}, nil
}

func (s *sealer) close(runID, token string) (string, error) {
	if s.aead == nil {
		return "", errors.New("sealing a token: the database was opened without a secret key")
	}
	nonce := make([]byte, s.aead.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(s.aead.Seal(nonce, nonce, []byte(token), []byte(runID))), nil
}

func (s *sealer) open(runID, sealed string) (string, error) {
	data, err := base64.StdEncoding.DecodeString(sealed)
	if err != nil || len(data) < s.aead.NonceSize() {
		return "", errors.New("opening a sealed token: the stored text is not Base64, or is too short")
	}
	n := s.aead.NonceSize()
	token, err := s.aead.Open(nil, data[:n], data[n:], []byte(runID))
	if err != nil {
		return "", fmt.Errorf("opening a sealed token: %w", err)
	}
	return string(token), nil
}

type tokenRow struct {
	RunID     string `gorm:"column:run_id" json:"run_id"`
	KeyID     string `gorm:"column:key_id" json:"key_id"`
	Sealed    string `gorm:"column:sealed" json:"sealed"`
	ExpiresAt int64  `gorm:"column:expires_at" json:"expires_at"`
}

// TableName returns the table's name for gorm.
func (tokenRow) TableName() string { return "tokens" }

// Token returns the user's token that is stored for a run. Token returns saga.ErrNoToken if no token is stored, or if the token
// is sealed with another secret key.
func (s *Store) Token(ctx context.Context, runID string) (string, error) {
	var rows []tokenRow
	err := s.db.WithContext(ctx).Select("run_id, key_id, sealed, expires_at").Where("run_id = ?", runID).Find(&rows).Error
	switch {
	case err != nil:
		return "", fmt.Errorf("reading the token of run %s: %w", runID, err)
	case len(rows) == 0 || rows[0].KeyID != s.seal.keyID:
		return "", saga.ErrNoToken
	}
	return s.seal.open(runID, rows[0].Sealed)
}

// DeleteExpiredTokens deletes the tokens that expired before now.
func (s *Store) DeleteExpiredTokens(ctx context.Context, now time.Time) error {
	return s.db.WithContext(ctx).Where("expires_at < ?", now.UnixMicro()).Delete(&tokenRow{}).Error
}

// secretKeyID is the setting with the id of the secret key.
const secretKeyID = "secret-key-id"

// HasKey compares the given key with the id of the secret key in the database. The result `known` is true if the database has such an id,
// which the first migration stores. The result `same` is true if this id is the id of the given key. HasKey only reads.
func (s *Store) HasKey(ctx context.Context, secret []byte) (known, same bool, err error) {
	stored, err := s.setting(ctx, secretKeyID)
	if err != nil || stored == "" || len(secret) == 0 {
		return stored != "", false, err
	}
	given, err := newSealer(secret)
	if err != nil {
		return true, false, err
	}
	return true, given.keyID == stored, nil
}

// checkKey stores the id of the secret key if the database has no key id. checkKey returns ErrOtherKey if the database has the id of
// another key.
func (s *Store) checkKey(ctx context.Context) error {
	stored, err := s.setOnce(ctx, secretKeyID, s.seal.keyID)
	if err == nil && stored != s.seal.keyID {
		return ErrOtherKey
	}
	return err
}
