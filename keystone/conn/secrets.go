package conn

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// ownSecrets contains the secrets of Tenantry's own credential, and the last tokens of Tenantry's logins. These secrets and tokens are
// masked in every text from Keystone before the text is stored, logged or shown.
type ownSecrets struct {
	password, secret string // the user's password, and the application credential's secret

	mu     sync.Mutex
	tokens []string // the newest token last
}

// keptTokens is the number of tokens that a Conn keeps as secrets. An answer that arrives late can contain an earlier token.
const keptTokens = 4

// The method `add` stores the token of a new login.
func (s *ownSecrets) add(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens = append(slices.Clone(s.tokens[max(0, len(s.tokens)-keptTokens+1):]), token)
}

// The method `with` returns all secrets of the Conn, the given secrets, and the token in the header of an answer. A secret may be empty.
func (s *ownSecrets) with(secrets []string, answer http.Header) []string {
	return append(append(s.all(), secrets...), answer.Get("X-Subject-Token"))
}

// Masked returns a name from Keystone, and masks the secrets of the Conn and of the request in ctx. A name that Tenantry
// asked for is returned unchanged.
func (c *Conn) Masked(ctx context.Context, name, asked string) string {
	if name == asked {
		return name
	}
	return upstream.Mask(name, c.own.with(CallOf(ctx).secrets, nil)...)
}

// The method `all` returns all secrets of the Conn. A secret may be empty.
func (s *ownSecrets) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{s.password, s.secret}, s.tokens...)
}

// Masker returns a replacer that masks the secrets of the Conn in many names from Keystone. Call Masker after the login.
func (c *Conn) Masker() *strings.Replacer { return upstream.Masker(c.own.all()...) }
