package keystone

import (
	"encoding/json"
	"fmt"
	"time"
)

// Token describes a valid token. The struct does not contain the text of the token.
type Token struct {
	UserID       string
	UserName     string
	UserDomainID string

	// ProjectID, DomainID and System describe the token's scope. At most one of these fields is set. If the token is unscoped, none
	// of these fields is set.
	ProjectID string
	DomainID  string
	System    bool

	Methods   []string // the login methods, such as "password" and "token"
	Roles     []Role   // the user's roles in the token's scope
	IssuedAt  time.Time
	ExpiresAt time.Time

	// ApplicationCredential and Trust mark a delegated token. With a delegated token, a user passes rights to the holder of the
	// token. ApplicationCredential means that the token comes from an application credential. Trust means that the token comes from
	// a trust or an OAuth1 access token. A delegated token cannot be exchanged.
	ApplicationCredential bool
	Trust                 bool
}

// Scoped reports whether the token has a scope.
func (t Token) Scoped() bool { return t.ProjectID != "" || t.DomainID != "" || t.System }

// Delegated reports whether the token is delegated, by an application credential or a trust.
func (t Token) Delegated() bool { return t.ApplicationCredential || t.Trust }

// ScopedToken is a token that is scoped to one project. The ID of the token is a secret. If a ScopedToken is printed or encoded,
// the ID is masked.
type ScopedToken struct {
	ID        string
	ProjectID string
	ExpiresAt time.Time
	Roles     []Role
}

const masked = "***"

// String describes the token without its ID.
func (t ScopedToken) String() string {
	return fmt.Sprintf("token %s for project %s, expires %s", masked, t.ProjectID, t.ExpiresAt.UTC().Format(time.RFC3339))
}

// GoString returns the result of String, so that the verb %#v does not print the ID.
func (t ScopedToken) GoString() string { return t.String() }

// Format prints the result of String for every verb.
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
