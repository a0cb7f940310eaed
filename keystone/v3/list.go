package v3

import (
	"context"
	"encoding/json"
	"net/url"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// list makes one GET and returns the list under the resource's name. It does not follow links to a next page: Keystone does not
// page the lists that we ask for, and such a link could lead anywhere.
//
// Keystone ignores a filter that it does not know, and then lists everything. Callers must filter the result again.
func list[T any](ctx context.Context, c *Cloud, op, resource string, query url.Values) (found []T, err error) {
	err = c.do(ctx, read, op, func(ctx context.Context) error {
		address := c.identity.ServiceURL(resource)
		if len(query) > 0 {
			address += "?" + query.Encode()
		}
		var answer map[string]json.RawMessage
		if _, err := c.identity.Get(ctx, address, &answer, nil); err != nil { //nolint:bodyclose // gophercloud has closed it
			return err
		}
		if err := json.Unmarshal(answer[resource], &found); err != nil {
			return err
		}
		if found == nil { // must not be taken for an empty list, which means "create it"
			return errIncomplete
		}
		return nil
	})
	return found, err
}

func notFound(op string) error {
	return &upstream.Error{Service: keystone.Service, Class: upstream.Permanent, Op: op, Err: keystone.ErrNotFound}
}
