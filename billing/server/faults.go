package server

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/billing"
)

// requestError is the error answer to an invalid request.
type requestError struct {
	status int
	text   string
}

func (r *requestError) Error() string { return r.text }

func badRequest(format string, args ...any) error {
	return &requestError{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// notFound returns a 404. The error text of the 404 is only the object's id, as in the original BillingStack.
func notFound(id string) error { return &requestError{http.StatusNotFound, id} }

// The function `refused` returns the answer for an error of a Table. The argument `id` is the id of the object.
func refused(err error, id string) error {
	switch {
	case errors.Is(err, billing.ErrNotFound):
		return notFound(id)
	case errors.Is(err, billing.ErrConflict):
		return &requestError{http.StatusConflict, id + ": the id is taken, or another object refers to this object"}
	case errors.Is(err, billing.ErrReference):
		return badRequest("the body refers to an object that this merchant does not have")
	}
	return err
}

// answerError writes an error in the format of the original BillingStack. Errors of the router are plain text, so that a client
// can distinguish a missing route from a missing object.
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
