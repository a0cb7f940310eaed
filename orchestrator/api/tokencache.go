package api

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"sync"
	"time"

	"github.com/tenantry/tenantry/keystone"
)

const (
	tokenCacheTime   = 300 * time.Second // as in keystonemiddleware
	actionTokenTime  = 60 * time.Second  // for requests that change something
	refusedCacheTime = 5 * time.Second
	tokenCacheSize   = 4096 // the maximum number of valid tokens; also the maximum number of refused tokens
)

// tokenCache caches Keystone's answers about the tokens of operators. The keys are the SHA-256 hashes of the tokens.
type tokenCache struct {
	mu      sync.Mutex
	valid   map[string]checkedToken
	refused map[string]checkedToken
}

type checkedToken struct {
	keystone.Token

	at time.Time // time of the check
}

// The method `get` returns the token if Keystone has accepted it less than `age` ago, and if it has not expired. If Keystone has refused
// the token within refusedCacheTime, the error is keystone.ErrTokenInvalid. In both cases, `found` is true.
func (t *tokenCache) get(text string, now time.Time, age time.Duration) (token keystone.Token, found bool, err error) {
	hash := digest(text)
	t.mu.Lock()
	defer t.mu.Unlock()
	if c, ok := t.valid[hash]; ok && now.Sub(c.at) < age && now.Before(c.ExpiresAt) {
		return c.Token, true, nil
	}
	if c, ok := t.refused[hash]; ok && now.Sub(c.at) < refusedCacheTime {
		return keystone.Token{}, true, keystone.ErrTokenInvalid
	}
	return keystone.Token{}, false, nil
}

// The method `put` caches a token that Keystone has accepted.
func (t *tokenCache) put(text string, now time.Time, token keystone.Token) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.valid = with(t.valid, digest(text), checkedToken{token, now}, tokenCacheTime)
}

// The method `refuse` caches Keystone's refusal of a token.
func (t *tokenCache) refuse(text string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	hash := digest(text)
	delete(t.valid, hash)
	t.refused = with(t.refused, hash, checkedToken{at: now}, refusedCacheTime)
}

// The function `with` adds an entry to a map of at most tokenCacheSize entries. If the map is full, `with` first removes the
// entries that are older than `age`. If no entry is older, `with` removes all entries.
func with(tokens map[string]checkedToken, hash string, token checkedToken, age time.Duration) map[string]checkedToken {
	if len(tokens) >= tokenCacheSize {
		maps.DeleteFunc(tokens, func(_ string, c checkedToken) bool { return token.at.Sub(c.at) >= age })
	}
	if tokens == nil || len(tokens) >= tokenCacheSize {
		tokens = map[string]checkedToken{}
	}
	tokens[hash] = token
	return tokens
}

func digest(text string) string {
	hash := sha256.Sum256([]byte(text))
	return hex.EncodeToString(hash[:])
}
