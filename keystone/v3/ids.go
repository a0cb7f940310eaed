package v3

import (
	"fmt"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// checkIDs refuses ids that would change the path of the request.
func checkIDs(op string, ids ...string) error {
	for _, id := range ids {
		if !keystone.ValidID(id) {
			return &upstream.Error{Service: keystone.Service, Class: upstream.Permanent, Op: op, Message: fmt.Sprintf("%q is not a valid id", upstream.Clean(id))}
		}
	}
	return nil
}
