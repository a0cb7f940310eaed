package v3

import (
	"context"
	"encoding/json"
	"net/url"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// list makes one GET and reads the list that stands under the resource's name. Keystone does not page the lists that we ask for, and
// a link to a next page could lead anywhere.
//
// Keystone ignores a filter that it does not know, and then lists everything: compare what comes back.
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
		if found == nil { // must not pass for an empty list, which means "make it"
			return errIncomplete
		}
		return nil
	})
	return found, err
}

func notFound(op string) error {
	return &upstream.Error{Service: keystone.Service, Class: upstream.Permanent, Op: op, Err: keystone.ErrNotFound}
}
