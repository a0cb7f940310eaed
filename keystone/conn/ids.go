package conn

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// CheckIDs returns an error if one of the ids cannot be a segment in the path of a request.
func CheckIDs(op string, ids ...string) error {
	for _, id := range ids {
		if !keystone.ValidID(id) {
			return &upstream.Error{Service: keystone.Service, Class: upstream.Permanent, Op: op, Message: fmt.Sprintf(
				"%q cannot be used as an id: use 1 to 64 characters, without slashes and control characters, and not . or ..",
				upstream.Clean(id))}
		}
	}
	return nil
}

// Segment percent-encodes an id, so that the id is one segment in the path of a request. gophercloud joins the
// segments of a path without encoding them.
func Segment(id string) string { return url.PathEscape(id) }

// Label returns the text by which errors name an object: the object's id and, if known, its name.
func Label(name, id string) string {
	if name == "" {
		return id
	}
	return fmt.Sprintf("%q (%s)", name, id)
}

// IsToken reports whether the text may be a token. A text that an HTTP header cannot contain is not a token.
func IsToken(s string) bool {
	return s != "" && len(s) <= 8192 && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// TokenInvalid returns the error for a text that is not a valid token.
func TokenInvalid(op string) error {
	return &upstream.Error{Service: keystone.Service, Class: upstream.Permanent, Op: op, Err: keystone.ErrTokenInvalid}
}

// Query returns a query with one parameter.
func Query(name, value string) string { return url.Values{name: {value}}.Encode() }
