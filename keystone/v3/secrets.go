package v3

import (
	"slices"
	"sync"
)

// ownSecrets has the secrets of Tenantry's own credential, and the last tokens of Tenantry's logins. No error may contain them.
type ownSecrets struct {
	password, secret string // of the user, and of the application credential

	mu     sync.Mutex
	tokens []string // the newest token last
}

// keptTokens is the number of tokens that a Cloud keeps as secrets. An answer that arrives late can contain an earlier token.
const keptTokens = 4

// add stores the token of a new login.
func (s *ownSecrets) add(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens = append(slices.Clone(s.tokens[max(0, len(s.tokens)-keptTokens+1):]), token)
}

// all returns all secrets. A secret may be empty.
func (s *ownSecrets) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{s.password, s.secret}, s.tokens...)
}
