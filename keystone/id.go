package keystone

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxIDLength is the maximum length, in characters, of a user's id in Keystone's table of role assignments. Keystone cannot assign a role
// to a user with a longer id.
// https://opendev.org/openstack/keystone/src/branch/master/keystone/assignment/backends/sql.py
const maxIDLength = 64

// ValidID reports whether the id can be one segment in the path of a URL. An id from SQL consists of 32 or 64 hexadecimal digits,
// but an id from LDAP is the value of an attribute, such as "john.doe" or "m@example.org". Some ids cannot be a segment, even if they
// are percent-encoded: "", ".", "..", and ids with a slash or a control character. ValidID refuses these ids, ids that are not UTF-8,
// and ids with more than 64 characters, which Keystone cannot store.
//
// The schema KeystoneID in orchestrator/api/openapi.yaml states the same rule.
func ValidID(id string) bool {
	return id != "" && id != "." && id != ".." && utf8.ValidString(id) && utf8.RuneCountInString(id) <= maxIDLength &&
		!strings.ContainsFunc(id, func(r rune) bool { return r == '/' || unicode.IsControl(r) })
}
