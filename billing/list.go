package billing

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
)

// A list of BillingStack is decoded element by element, and is refused if it exceeds one of these limits or maxAnswer. BillingStack
// has no paging.
const (
	maxElements = 100_000
	maxElement  = 1 << 20 // bytes
)

// each reads a list and calls the function take for each of its elements. If each returns an error, the list is incomplete, and
// take may have been called. The query contains the conditions of the parameter where.
func each[T any](ctx context.Context, c *Client, op, path string, where []Condition, take func(T)) error {
	return c.call(ctx, request{
		op: op, method: http.MethodGet, path: path + filter(where),
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

// read returns the elements of a list.
func read[T any](ctx context.Context, c *Client, op, path string, where []Condition) ([]T, error) {
	all := []T{}
	if err := each(ctx, c, op, path, where, func(one T) { all = append(all, one) }); err != nil {
		return nil, err
	}
	return all, nil
}

// Page selects a part of a list that is sorted by id.
type Page struct {
	After string // only objects with greater ids; empty: from the beginning
	Limit int    // maximum number of objects
}

// page reads a list and returns the part of the page, sorted by id. The whole list is read, but only the page is kept in memory.
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

// elements decodes a list from an answer's body.
func (r request) elements(body io.Reader) error {
	bounded := &elementReader{body: io.LimitReader(body, maxAnswer), left: maxElement}
	d := json.NewDecoder(bounded)
	if begin, err := d.Token(); err != nil || begin != json.Delim('[') {
		return errors.Join(errors.New("the answer is not a list in JSON"), err)
	}
	for n := 0; d.More(); n++ {
		if n == maxElements {
			return fmt.Errorf("the list has more than %d elements", maxElements)
		}
		if err := r.element(d); err != nil {
			return err
		}
		bounded.left = maxElement
	}
	if _, err := d.Token(); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("the answer continues after the list")
	}
	return nil
}

// elementReader reads at most maxElement bytes for one element.
type elementReader struct {
	body io.Reader
	left int
}

var errLongElement = fmt.Errorf("an element of the list is longer than %d bytes", maxElement)

// Read implements [io.Reader].
func (e *elementReader) Read(p []byte) (int, error) {
	if e.left <= 0 {
		return 0, errLongElement
	}
	n, err := e.body.Read(p[:min(len(p), e.left)])
	e.left -= n
	return n, err
}
