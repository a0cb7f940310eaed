package v3

import (
	"context"
	"encoding/json"
	"net/url"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// list sends one GET request and returns the list in the answer. The list is in the field that has the name of the resource. It
// ignores links to a next page: Keystone sends the whole list in one page, and a link could contain the address of another server.
//
// Keystone ignores an unknown filter and then lists all resources. Therefore, callers must filter the result again.
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
		if found == nil { // an empty list would be wrong: callers create an object if the list is empty
			return errIncomplete
		}
		return nil
	})
	return found, err
}

func notFound(op string) error {
	return &upstream.Error{Service: keystone.Service, Class: upstream.Permanent, Op: op, Err: keystone.ErrNotFound}
}
