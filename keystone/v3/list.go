package v3

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// The function `list` sends one GET request and returns the list in the answer. The list is in the field that has the name of the
// resource. `list` ignores links to a next page: Keystone sends the whole list in one page, and a link could contain the address of
// another server.
//
// Keystone ignores an unknown filter and then lists all resources. Therefore, callers must filter the result again.
func list[T any](ctx context.Context, c *Cloud, op, resource string, query url.Values) (found []T, err error) {
	err = c.do(ctx, read, op, func(ctx context.Context) error {
		address := c.identity.ServiceURL(resource)
		if len(query) > 0 {
			address += "?" + query.Encode()
		}
		return c.readList(ctx, address, resource, listLimits, func(d *json.Decoder) error {
			var one T
			err := d.Decode(&one)
			found = append(found, one)
			return err
		})
	})
	if e, ok := errors.AsType[*upstream.Error](err); ok && errors.Is(err, keystone.ErrNotFound) && !strings.Contains(resource, "/") {
		e.Class, e.Err = upstream.Unavailable, nil // a collection is never absent
	}
	if err != nil { // an incomplete list would be wrong: callers create an object if it is not in the list
		return nil, err
	}
	return found, nil
}

// listLimits are the limits of the answers to list. Most of these answers have one element, because the query names the object. The
// longest answers list the roles that roles imply: a role that implies a thousand roles needs less than 512 KiB.
var listLimits = upstream.Limits{Bytes: 2 << 20, Values: 20_000, Flat: 3, List: 2, Elements: 5_000, Element: 512 << 10}

// readList sends one GET request, and calls `take` for each element of the list in the answer's field.
func (c *Cloud) readList(ctx context.Context, address, field string, limits upstream.Limits, take func(*json.Decoder) error) error {
	noteOf(ctx).limits = limits
	resp, err := c.identity.Get(ctx, address, nil, &gophercloud.RequestOpts{KeepResponseBody: true})
	if err != nil {
		return err
	}
	if err := errors.Join(upstream.ReadList(resp.Body, field, take), resp.Body.Close()); err != nil {
		return fmt.Errorf("%w: %w", errIncomplete, err)
	}
	return nil
}

// The function `single` returns the only element of the list that Keystone returned for a name. The name of the element can differ
// from the name in the request, because Keystone on MySQL ignores case and accents in comparisons. `single` returns ErrNotFound for
// an empty list. For a longer list, `single` returns ErrAmbiguous with the names of the elements.
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
