package conn

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// Listing describes a GET request for a list.
type Listing struct {
	Op    string
	Path  string // of the list, after the API's address
	Field string // the field of the answer that contains the list; if empty, Path
	Query url.Values
}

// List sends one GET request and returns the list in the answer. If Keystone has cut the list, List returns an error. Otherwise, callers
// would create objects that exist, but are not in the list.
//
// Keystone ignores an unknown filter and then lists all resources. Therefore, callers must filter the result again.
func List[T any](ctx context.Context, c *Conn, l Listing) (found []T, err error) {
	cut, err := each(ctx, c, l, listLimits, 0, func(one T) error {
		found = append(found, one)
		return nil
	})
	if err == nil && cut {
		err = ErrCut(l.Op)
	}
	if err != nil {
		return nil, err
	}
	return found, nil
}

// Bulk sends one GET request for a list that can be very long. While Bulk reads the answer, it calls take for each element. The result
// `cut` reports whether Keystone has cut the list. If take returns an error, the answer counts as incomplete.
func Bulk[T any](ctx context.Context, c *Conn, l Listing, take func(T) error) (cut bool, err error) {
	return each(ctx, c, l, bulkLimits, c.bulkTimeout, take)
}

func each[T any](
	ctx context.Context, c *Conn, l Listing, limits upstream.Limits, timeout time.Duration, take func(T) error,
) (cut bool, err error) {
	err = c.Do(ctx, Read, l.Op, func(ctx context.Context) error {
		address := c.Own.ServiceURL(l.Path)
		if len(l.Query) > 0 {
			address += "?" + l.Query.Encode()
		}
		call := CallOf(ctx)
		call.Limits, call.Timeout = limits, timeout
		var err error
		cut, err = c.ReadList(ctx, address, cmp.Or(l.Field, l.Path), func(d *json.Decoder) error {
			var one T
			if err := d.Decode(&one); err != nil {
				return err
			}
			return take(one)
		})
		return err
	})
	if e, ok := errors.AsType[*upstream.Error](err); ok && errors.Is(err, keystone.ErrNotFound) && !strings.Contains(l.Path, "/") {
		e.Class, e.Err = upstream.Unavailable, nil // Keystone always has this list, so the 404 is a fault of the service
	}
	return cut, err
}

// listLimits are the limits of the answers to the function List. Most of these answers have one element, because the query names the
// object. The longest answers list implied roles: each element contains all roles that one role implies. An element with a thousand
// implied roles needs less than 512 KiB.
var listLimits = upstream.Limits{Bytes: 2 << 20, Values: 20_000, Flat: 3, List: 2, Elements: 5_000, Element: 512 << 10}

// bulkLimits are the limits of the answers to the function Bulk. Only one element is in memory at a time, so the limit Element bounds
// the memory. A project with 80 tags has about a hundred values.
var bulkLimits = upstream.Limits{Bytes: 1 << 30, Values: 100_000_000, Flat: 3, List: 2, Elements: 1_000_000, Element: 512 << 10}

// ReadList sends one GET request, and calls take for each element of the list in the answer's field. The result `cut` reports whether
// Keystone has cut the list. If Keystone 22 cuts a list, it sets the field "truncated". Keystone 22 sends no pages, but a later release
// may. ReadList does not follow the link to the next page, because the link could contain the address of another server. A list with such
// a link counts as cut.
func (c *Conn) ReadList(ctx context.Context, address, field string, take func(*json.Decoder) error) (cut bool, err error) {
	return readList(ctx, c.Own, nil, address, field, take)
}

// ReadListAs is like ReadList, but sends the request with the given token.
func (c *Conn) ReadListAs(ctx context.Context, token, address, field string, take func(*json.Decoder) error) (cut bool, err error) {
	return readList(ctx, c.Bare, map[string]string{"X-Auth-Token": token}, address, field, take)
}

func readList(
	ctx context.Context, client *gophercloud.ServiceClient, headers map[string]string, address, field string, take func(*json.Decoder) error,
) (cut bool, err error) {
	resp, err := client.Get(ctx, address, nil, &gophercloud.RequestOpts{KeepResponseBody: true, MoreHeaders: headers})
	if err != nil {
		return false, err
	}
	var links struct {
		Next string `json:"next"`
	}
	err = upstream.ReadListAnd(resp.Body, field, take, map[string]any{"truncated": &cut, "links": &links})
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return false, fmt.Errorf("%w: %w", ErrIncomplete, err)
	}
	return cut || links.Next != "", nil
}

// ProjectsOfToken lists the ids of the projects of a token's user, as keystone.Identity specifies. The parameter `field` names the field of
// the answer that contains the list. If Keystone has cut the list, the result has the projects that Keystone returned.
func ProjectsOfToken(ctx context.Context, c *Conn, address, field, token string) (ids []string, err error) {
	const op = "listing the projects of a token"
	if !IsToken(token) {
		return nil, TokenInvalid(op)
	}
	err = c.Do(ctx, Exchange, op, func(ctx context.Context) error {
		call := CallOf(ctx)
		call.Limits, call.Public = ownProjectsLimits, true
		_, err := c.ReadListAs(ctx, token, address, field, func(d *json.Decoder) error {
			var one struct {
				ID string `json:"id"`
			}
			if err := d.Decode(&one); err != nil {
				return err
			}
			ids = append(ids, one.ID)
			return nil
		})
		return err
	}, token)
	if errors.Is(err, keystone.ErrNoAccess) { // Keystone lists the projects of every valid token
		return nil, TokenInvalid(op)
	}
	if err != nil {
		return nil, err
	}
	slices.Sort(ids)
	return ids, nil
}

// ownProjectsLimits are the limits of the answer to ProjectsOfToken.
var ownProjectsLimits = upstream.Limits{Bytes: 4 << 20, Values: 100_000, Flat: 3, List: 2, Elements: 1_000, Element: 64 << 10}

// ErrCut returns the error for a list that Keystone has cut.
func ErrCut(op string) error {
	return &upstream.Error{Service: keystone.Service, Class: upstream.Unavailable, Op: op, Err: keystone.ErrCut}
}

// Single returns the only element of the list that Keystone returned for a name. The name of the element can differ
// from the name in the request, because Keystone on MySQL ignores case and accents in comparisons. Single returns ErrNotFound for
// an empty list. For a longer list, Single returns ErrAmbiguous with the names of the elements.
func Single[T any](op string, found []T, nameOf func(T) string) (one T, err error) {
	switch len(found) {
	case 0:
		return one, NotFound(op)
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

// NotFound returns the error for an object that Keystone does not have.
func NotFound(op string) error {
	return &upstream.Error{Service: keystone.Service, Class: upstream.Permanent, Op: op, Err: keystone.ErrNotFound}
}

// Incomplete returns the error for an answer that does not contain the requested data.
func Incomplete(op string) error {
	return &upstream.Error{Service: keystone.Service, Class: upstream.Transient, Op: op, Err: ErrIncomplete}
}
