package keystone

import (
	"encoding/json"
	"fmt"
	"time"
)

// Token describes a valid token. It never has the token's text.
type Token struct {
	UserID       string
	UserName     string
	UserDomainID string

	// ProjectID, DomainID and System are the token's scope: at most one is set, none for an unscoped token.
	ProjectID string
	DomainID  string
	System    bool

	Methods   []string // how the user logged in: "password", "token", ...
	Roles     []Role   // within its scope
	IssuedAt  time.Time
	ExpiresAt time.Time

	// ApplicationCredential and Trust mark a token by which its user delegated rights to its holder: it was made by an application
	// credential, or by a trust or an OAuth1 access token. Such a token cannot be exchanged.
	ApplicationCredential bool
	Trust                 bool
}

// Scoped reports whether the token is scoped to anything.
func (t Token) Scoped() bool { return t.ProjectID != "" || t.DomainID != "" || t.System }

// Delegated reports whether the user delegated rights by this token.
func (t Token) Delegated() bool { return t.ApplicationCredential || t.Trust }

// ScopedToken is a token for one project. Its ID is a secret: printing or encoding the struct shows it masked.
type ScopedToken struct {
	ID        string
	ProjectID string
	ExpiresAt time.Time
	Roles     []Role
}

const masked = "***"

// String shows the token without its ID.
func (t ScopedToken) String() string {
	return fmt.Sprintf("token %s for project %s, expires %s", masked, t.ProjectID, t.ExpiresAt.UTC().Format(time.RFC3339))
}

// GoString is String, for %#v.
func (t ScopedToken) GoString() string { return t.String() }

// Format prints String for every verb.
func (t ScopedToken) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprint(f, t.String())
}

// MarshalJSON encodes the token without its ID.
func (t ScopedToken) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		ID        string    `json:"id"`
		ProjectID string    `json:"project_id"`
		ExpiresAt time.Time `json:"expires_at"`
		Roles     []Role    `json:"roles"`
	}{masked, t.ProjectID, t.ExpiresAt, t.Roles})
}
