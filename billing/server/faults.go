package server

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/billing"
)

// requestError is an answer to a request that something is wrong with.
type requestError struct {
	status int
	text   string
}

func (r *requestError) Error() string { return r.text }

func badRequest(format string, args ...any) error {
	return &requestError{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// notFound says no more than the id, as the original does.
func notFound(id string) error { return &requestError{http.StatusNotFound, id} }

// refused turns what a Table says about the object with that id into an answer.
func refused(err error, id string) error {
	switch {
	case errors.Is(err, billing.ErrNotFound):
		return notFound(id)
	case errors.Is(err, billing.ErrConflict):
		return &requestError{http.StatusConflict, id + ": the id is taken, or something refers to it"}
	case errors.Is(err, billing.ErrReference):
		return badRequest("a foreign key names an object that this merchant does not have")
	}
	return err
}

// answerError writes the original's shape. What the router refuses is plain text, as there: a client can tell a missing
// route from a missing object.
func answerError(c echo.Context, err error, failed func(*http.Request, error)) {
	if c.Response().Committed {
		failed(c.Request(), err)
		return
	}
	if status, ok := isRoute(err); ok {
		err = c.String(status, http.StatusText(status)+"\n")
	} else {
		r, ok := errors.AsType[*requestError](err)
		code := "Client"
		if !ok {
			failed(c.Request(), err)
			r, code = &requestError{http.StatusInternalServerError, "internal error"}, "Server"
		}
		err = c.JSON(r.status, map[string]any{"faultcode": code, "faultstring": r.text, "debuginfo": nil})
	}
	if err != nil {
		failed(c.Request(), err)
	}
}
