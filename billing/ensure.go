package billing

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// The type `creation` is a POST of a new object. The POST may be repeated if the caller has chosen the id.
type creation[T any] struct {
	op         string
	merchantID string // empty if the object belongs to no merchant
	collection string
	id         string
	want       T
	idOf       func(T) string
	same       func(found T) bool
}

// The method `ensure` posts the object. After a 409 or 500, `ensure` looks the object up. If the answer is lost, `ensure` returns
// the error without a look-up, because the server may still execute the request.
func (n creation[T]) ensure(ctx context.Context, c *Client) (T, error) {
	made, err := n.create(ctx, c)
	if e, ok := errors.AsType[*upstream.Error](err); !ok || e.Status != http.StatusConflict && e.Status != http.StatusInternalServerError {
		return made, err
	}
	found, lookErr := n.find(ctx, c)
	switch {
	case lookErr == nil:
		return found, nil
	case errors.Is(lookErr, ErrNotFound):
		return found, err
	case errors.Is(lookErr, ErrConflict):
		return found, lookErr
	}
	return found, undecided(err, lookErr)
}

// The method `create` posts the object once. `create` returns ErrConflict if the server ignored the chosen id: each repetition of
// the POST would then create another object.
func (n creation[T]) create(ctx context.Context, c *Client) (T, error) {
	var made, none T
	err := c.call(ctx, request{
		op: n.op, method: http.MethodPost, path: n.collection, item: n.merchantID, body: n.want, out: &made,
	})
	if err != nil {
		return none, err
	}
	if n.id != "" && n.idOf(made) != n.id {
		return none, &upstream.Error{
			Service: Service,
			Class:   upstream.Permanent, Op: n.op, MaybeDone: true, Err: ErrConflict,
			Message: "the server did not give the object the requested id, but " + upstream.Clean(n.idOf(made)),
		}
	}
	return made, nil
}

// The method `find` returns the object with the id n.id. `find` returns ErrConflict if this object differs from the wanted object.
func (n creation[T]) find(ctx context.Context, c *Client) (T, error) {
	found, err := find[T](ctx, c, n.op, n.collection, n.id)
	if err == nil && (n.idOf(found) != n.id || !n.same(found)) {
		var none T
		return none, &upstream.Error{Service: Service, Class: upstream.Permanent, Op: n.op, Err: ErrConflict, Message: "the id belongs to a different object"}
	}
	return found, err
}

// The function `undecided` returns the error for an unknown outcome: the request failed with 409 or 500, and the look-up of the
// object failed too.
func undecided(err, lookErr error) error {
	e, ok := errors.AsType[*upstream.Error](err)
	if !ok {
		return err
	}
	doubt := *e
	doubt.Class, doubt.MaybeDone, doubt.Err = upstream.Transient, true, fmt.Errorf("looking up the object: %w", lookErr)
	return &doubt
}

// The function `remove` deletes an item, and reports whether the item existed. `remove` succeeds if the item does not exist. If the
// server answers 500, `remove` checks whether the item still exists.
func remove[T any](ctx context.Context, c *Client, op, collection, id string) (removed bool, err error) {
	err = c.call(ctx, request{op: op, method: http.MethodDelete, path: collection + "/" + id, item: id})
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if e, ok := errors.AsType[*upstream.Error](err); !ok || e.Status != http.StatusInternalServerError {
		return err == nil, err
	}
	_, lookErr := find[T](ctx, c, op, collection, id)
	switch {
	case errors.Is(lookErr, ErrNotFound):
		return true, nil
	case lookErr != nil:
		return false, undecided(err, lookErr)
	}
	return false, err
}
