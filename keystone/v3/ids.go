package v3

import (
	"fmt"
	"regexp"

	"github.com/tenantry/tenantry/keystone"
)

// anID is what ids look like: Keystone's own are 32 hex digits, those of users from LDAP 64, and the default domain's is "default".
var anID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,254}$`)

// validID tells whether the id may enter a URL's path.
func validID(id string) bool { return anID.MatchString(id) }

// checkIDs refuses what would ask for something else than it seems to.
func checkIDs(op string, ids ...string) error {
	for _, id := range ids {
		if !validID(id) {
			return &keystone.Error{Kind: keystone.Permanent, Op: op, Message: fmt.Sprintf("%q is no id", keystone.Clean(id))}
		}
	}
	return nil
}
