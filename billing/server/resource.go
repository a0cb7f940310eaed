package server

import (
	"bufio"
	"encoding/json"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/billing"
)

// The type `body` is the JSON body of a POST or PATCH request for an object of type T.
type body[T any] interface {
	// The method `put` changes a new or stored object: each field that the body contains gets the value in the body. merchantID is
	// the merchant's id in the path.
	put(c *changes, merchantID string, to *T)
	// idOf returns the object's id.
	idOf(T) string
}

// The type `resource` serves the requests for one collection and its objects.
type resource[B body[T], T any] struct {
	table   Table[T]
	view    func(T) any
	columns []string // columns that filters may name
}

func newResource[B body[T], T any](table Table[T], view func(T) any, columns ...string) resource[B, T] {
	return resource[B, T]{table: table, view: view, columns: columns}
}

func (r resource[B, T]) register(g *echo.Group, path string) {
	g.GET(path, r.list)
	g.POST(path, r.create)
	g.GET(path+"/:id", r.item(r.get))
	g.PATCH(path+"/:id", r.item(r.update))
	g.DELETE(path+"/:id", r.item(r.remove))
}

// The method `item` answers 404 to an invalid id without reading the database. A path with a trailing slash is an unknown route.
func (r resource[B, T]) item(next func(c echo.Context, id string) error) echo.HandlerFunc {
	return func(c echo.Context) error {
		id := c.Param("id")
		if id == "" {
			return echo.ErrNotFound
		}
		if !billing.ValidID(id) {
			return notFound(id)
		}
		if _, err := conditions(c.QueryParams(), nil); err != nil {
			return err
		}
		return next(c, id)
	}
}

func (r resource[B, T]) list(c echo.Context) error {
	where, err := conditions(c.QueryParams(), r.columns)
	if err != nil {
		return err
	}
	c.Response().Header().Set(echo.HeaderContentType, echo.MIMEApplicationJSON)
	out := bufio.NewWriterSize(c.Response(), listBuffer)
	begun := "["
	err = r.table.Each(c.Request().Context(), c.Param("merchant"), where, func(one T) error {
		if _, err := out.WriteString(begun); err != nil {
			return err
		}
		begun = ","
		return json.NewEncoder(out).Encode(r.view(one))
	})
	switch {
	case err != nil && !c.Response().Committed: // nothing was sent
		return err
	case err != nil:
		panic(http.ErrAbortHandler) // the client sees that the list is cut off
	case begun == "[":
		begun = "[]"
	default:
		begun = "]"
	}
	if _, err := out.WriteString(begun + "\n"); err != nil {
		return err
	}
	return out.Flush()
}

// listBuffer is the number of bytes of a list that are encoded before the answer begins.
const listBuffer = 64 << 10

func (r resource[B, T]) create(c echo.Context) error {
	if _, err := conditions(c.QueryParams(), nil); err != nil {
		return err
	}
	b, err := decode[B](c)
	if err != nil {
		return err
	}
	var made T
	change := changes{created: true}
	b.put(&change, c.Param("merchant"), &made)
	if change.err != nil {
		return change.err
	}
	if err := r.table.Create(c.Request().Context(), c.Param("merchant"), made); err != nil {
		return refused(err, b.idOf(made))
	}
	return c.JSON(http.StatusAccepted, r.view(made))
}

func (r resource[B, T]) get(c echo.Context, id string) error {
	where := []billing.Condition{{Field: "id", Op: "eq", Value: id}}
	found, err := r.table.List(c.Request().Context(), c.Param("merchant"), where)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return notFound(id)
	}
	return c.JSON(http.StatusOK, r.view(found[0]))
}

func (r resource[B, T]) update(c echo.Context, id string) error {
	b, err := decode[B](c)
	if err != nil {
		return err
	}
	changed, err := r.table.Update(c.Request().Context(), c.Param("merchant"), id, func(stored *T) error {
		var change changes
		b.put(&change, c.Param("merchant"), stored)
		return change.err
	})
	if err != nil {
		return refused(err, id)
	}
	return c.JSON(http.StatusOK, r.view(changed))
}

func (r resource[B, T]) remove(c echo.Context, id string) error {
	if err := r.table.Delete(c.Request().Context(), c.Param("merchant"), id); err != nil {
		return refused(err, id)
	}
	return c.NoContent(http.StatusNoContent)
}
