package v3

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// The type `listing` describes a GET request for a list. The answer contains the list in a field with the name of the resource.
type listing struct {
	op, resource string
	query        url.Values
	limits       upstream.Limits
	timeout      time.Duration // zero means Config.Timeout
}

// The function `list` sends one GET request and returns the list in the answer. Callers create an object if it is not in the list.
// Therefore `list` returns an error if Keystone has cut the list.
//
// Keystone ignores an unknown filter and then lists all resources. Therefore, callers must filter the result again.
func list[T any](ctx context.Context, c *Cloud, op, resource string, query url.Values) (found []T, err error) {
	cut, err := each(ctx, c, listing{op: op, resource: resource, query: query, limits: listLimits}, func(one T) error {
		found = append(found, one)
		return nil
	})
	if err == nil && cut {
		err = errCut(op)
	}
	if err != nil {
		return nil, err
	}
	return found, nil
}

// The function `bulk` sends one GET request for a list that can be very long. While `bulk` reads the answer, it calls take for each
// element. The result `cut` reports whether Keystone has cut the list.
func bulk[T any](ctx context.Context, c *Cloud, op, resource string, query url.Values, take func(T) error) (cut bool, err error) {
	return each(ctx, c, listing{op, resource, query, bulkLimits, c.bulkTimeout}, take)
}

// The function `each` is like `bulk`, but uses the limits and the timeout of l. If take returns an error, the answer counts as incomplete.
func each[T any](ctx context.Context, c *Cloud, l listing, take func(T) error) (cut bool, err error) {
	err = c.do(ctx, read, l.op, func(ctx context.Context) error {
		address := c.identity.ServiceURL(l.resource)
		if len(l.query) > 0 {
			address += "?" + l.query.Encode()
		}
		note := noteOf(ctx)
		note.limits, note.timeout = l.limits, l.timeout
		var err error
		cut, err = c.readList(ctx, address, l.resource, func(d *json.Decoder) error {
			var one T
			if err := d.Decode(&one); err != nil {
				return err
			}
			return take(one)
		})
		return err
	})
	if e, ok := errors.AsType[*upstream.Error](err); ok && errors.Is(err, keystone.ErrNotFound) && !strings.Contains(l.resource, "/") {
		e.Class, e.Err = upstream.Unavailable, nil // Keystone always has this list, so the 404 is a fault of the service
	}
	return cut, err
}

// listLimits are the limits of the answers to the function `list`. Most of these answers have one element, because the query names the
// object. The longest answers list implied roles: each element contains all roles that one role implies. An element with a thousand
// implied roles needs less than 512 KiB.
var listLimits = upstream.Limits{Bytes: 2 << 20, Values: 20_000, Flat: 3, List: 2, Elements: 5_000, Element: 512 << 10}

// bulkLimits are the limits of the answers to the function `bulk`. Only one element is in memory at a time, so the limit Element bounds
// the memory. A project with 80 tags has about a hundred values.
var bulkLimits = upstream.Limits{Bytes: 1 << 30, Values: 100_000_000, Flat: 3, List: 2, Elements: 1_000_000, Element: 512 << 10}

// readList sends one GET request, and calls take for each element of the list in the answer's field. The result `cut` reports whether
// Keystone has cut the list. If Keystone 22 cuts a list, it sets the field "truncated". Keystone 22 sends no pages, but a later release
// may. readList does not follow the link to the next page, because the link could contain the address of another server. A list with such
// a link counts as cut.
func (c *Cloud) readList(ctx context.Context, address, field string, take func(*json.Decoder) error) (cut bool, err error) {
	resp, err := c.identity.Get(ctx, address, nil, &gophercloud.RequestOpts{KeepResponseBody: true})
	if err != nil {
		return false, err
	}
	var links struct {
		Next string `json:"next"`
	}
	err = upstream.ReadListAnd(resp.Body, field, take, map[string]any{"truncated": &cut, "links": &links})
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return false, fmt.Errorf("%w: %w", errIncomplete, err)
	}
	return cut || links.Next != "", nil
}

func errCut(op string) error {
	return &upstream.Error{Service: keystone.Service, Class: upstream.Unavailable, Op: op, Err: keystone.ErrCut}
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
