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
	tokenCacheTime = 300 * time.Second // as in keystonemiddleware
	tokenCacheSize = 4096
)

// tokenCache caches the valid tokens of operators. The keys are the SHA-256 hashes of the tokens. An entry expires after
// tokenCacheTime, or when its token expires, whichever is first.
type tokenCache struct {
	mu    sync.Mutex
	known map[string]cachedToken
}

type cachedToken struct {
	token keystone.Token
	until time.Time
}

// get returns the token from the cache. If the token is not in the cache, the method get calls ask and caches the result. Errors
// are not cached.
func (t *tokenCache) get(text string, now time.Time, ask func() (keystone.Token, error)) (keystone.Token, error) {
	hash := digest(text)
	t.mu.Lock()
	cached, ok := t.known[hash]
	t.mu.Unlock()
	if ok && now.Before(cached.until) {
		return cached.token, nil
	}
	token, err := ask()
	if err != nil {
		return keystone.Token{}, err
	}
	until := now.Add(tokenCacheTime)
	if token.ExpiresAt.Before(until) {
		until = token.ExpiresAt
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.known) >= tokenCacheSize {
		maps.DeleteFunc(t.known, func(_ string, c cachedToken) bool { return !now.Before(c.until) })
	}
	if t.known == nil || len(t.known) >= tokenCacheSize {
		t.known = map[string]cachedToken{}
	}
	t.known[hash] = cachedToken{token, until}
	return token, nil
}

func digest(text string) string {
	hash := sha256.Sum256([]byte(text))
	return hex.EncodeToString(hash[:])
}
