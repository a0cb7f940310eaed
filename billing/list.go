package billing

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// BillingStack has no paging. A list of BillingStack is decoded element by element. A list of 100,000 subscriptions has about 32 MiB.
// A plan with 500 items has less than 256 KiB.
var (
	// listLimits are the limits of a list whose elements decode to a struct of texts and numbers.
	listLimits = upstream.Limits{Bytes: 32 << 20, Values: 4_000_000, Flat: 2, List: 1, Elements: 100_000, Element: 256 << 10}
	// catalogLimits are the limits of a list of plans or of products. These elements also contain lists and maps.
	catalogLimits = upstream.Limits{Bytes: 32 << 20, Values: 100_000, Flat: 2, List: 1, Elements: 20_000, Element: 256 << 10}
	// bulkLimits are the limits of a list whose elements are passed on one by one, and not collected in memory. An element may be a plan with
	// 15,000 items. Reading such a list needs at most 64 MiB.
	bulkLimits = upstream.Limits{
		Bytes: 1 << 30, Values: 1 << 30, Flat: 2, List: 1, Elements: 1_000_000, Element: 8 << 20, ElementValues: 200_000,
	}
	// objectLimits are the limits of any other answer.
	objectLimits = upstream.Limits{Bytes: 1 << 20, Values: 20_000, Flat: 1}
)

// limitsOf returns the limits of a list of elements of type T.
func limitsOf[T any]() upstream.Limits {
	switch any(*new(T)).(type) {
	case Plan, Product:
		return catalogLimits
	}
	return listLimits
}

// The function `each` reads a list and calls the function `take` for each of its elements. If `each` returns an error, the list is
// incomplete, and `take` may have been called. The query contains the conditions of the parameter `where`.
func each[T any](ctx context.Context, c *Client, op, path string, where []Condition, take func(T)) error {
	return eachWithin(ctx, c, limitsOf[T](), op, path, where, take)
}

// eachWithin is like `each`, but with the given limits.
func eachWithin[T any](
	ctx context.Context, c *Client, limits upstream.Limits, op, path string, where []Condition, take func(T),
) error {
	return c.call(ctx, request{
		op: op, method: http.MethodGet, path: path + filter(where), limits: limits,
		element: func(d *json.Decoder) error {
			var one T
			if err := d.Decode(&one); err != nil {
				return err
			}
			take(one)
			return nil
		},
	})
}

// The function `read` returns the elements of a list.
func read[T any](ctx context.Context, c *Client, op, path string, where []Condition) ([]T, error) {
	all := []T{}
	if err := each(ctx, c, op, path, where, func(one T) { all = append(all, one) }); err != nil {
		return nil, err
	}
	return all, nil
}

// Page selects a part of a list that is sorted by id.
type Page struct {
	After string // the page contains only objects with greater ids
	Limit int    // maximum number of objects
}

// The function `page` reads a list and returns the objects of one page, sorted by id. The whole list is read, but only the objects of
// the page are kept in memory.
func page[T any](ctx context.Context, c *Client, op, path string, where []Condition, p Page, idOf func(T) string) ([]T, error) {
	byID := func(one T, id string) int { return strings.Compare(idOf(one), id) }
	var kept []T
	err := each(ctx, c, op, path, where, func(one T) {
		id := idOf(one)
		if id <= p.After || len(kept) == p.Limit && id >= idOf(kept[len(kept)-1]) {
			return
		}
		i, _ := slices.BinarySearchFunc(kept, id, byID)
		if kept = slices.Insert(kept, i, one); len(kept) > p.Limit {
			kept = kept[:p.Limit]
		}
	})
	if err != nil {
		return nil, err
	}
	return kept, nil
}
