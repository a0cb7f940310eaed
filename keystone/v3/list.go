package v3

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

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

// single returns the only element of the list that Keystone returned for a name. The name of the element can differ from the name
// in the request, because Keystone on MySQL ignores case and accents in comparisons. single returns ErrNotFound for an empty list.
// For a longer list, single returns ErrAmbiguous with the names of the elements.
func single[T any](op string, found []T, nameOf func(T) string) (one T, err error) {
	switch len(found) {
	case 0:
		return one, notFound(op)
	case 1:
		return found[0], nil
	}
	var names []string
	for _, one := range found[:min(len(found), 10)] {
		names = append(names, fmt.Sprintf("%q", upstream.Clean(nameOf(one))))
	}
	return one, &upstream.Error{
		Service: keystone.Service, Class: upstream.Permanent, Op: op, Err: keystone.ErrAmbiguous,
		Message: fmt.Sprintf("Keystone returned %d: %s", len(found), strings.Join(names, ", ")),
	}
}

func notFound(op string) error {
	return &upstream.Error{Service: keystone.Service, Class: upstream.Permanent, Op: op, Err: keystone.ErrNotFound}
}
