package v3

import (
	"fmt"
	"net/url"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// checkIDs returns an error if one of the ids cannot be a segment in the path of a request.
func checkIDs(op string, ids ...string) error {
	for _, id := range ids {
		if !keystone.ValidID(id) {
			return &upstream.Error{Service: keystone.Service, Class: upstream.Permanent, Op: op, Message: fmt.Sprintf(
				"%q cannot be used as an id: use 1 to 64 characters, without slashes and control characters, and not . or ..",
				upstream.Clean(id))}
		}
	}
	return nil
}

// The function `segment` percent-encodes an id, so that the id is one segment in the path of a request. gophercloud joins the
// segments of a path without encoding them.
func segment(id string) string { return url.PathEscape(id) }
