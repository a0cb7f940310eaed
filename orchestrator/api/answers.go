package api

import (
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"
)

const (
	maxAnswers = 64 << 20 // maximum number of bytes of the answers to all GET requests in progress
	maxPage    = 4 << 20  // number of bytes that are reserved for the longest page of a list
)

// contextAnswer is the context key of a GET request's reservation.
const contextAnswer = "answer"

// The type `reservation` is the memory that the answer to a GET request holds until the caller has read the answer.
type reservation struct {
	server *server
	who    string
	leave  func()
}

// The method `change` replaces the reservation by a reservation of n bytes. If n bytes are too many for the caller, `change` returns a
// problem and reserves nothing.
func (r *reservation) change(n int) error {
	r.leave()
	leave, refused := r.server.answers.take(r.who, n)
	r.leave = leave
	if refused != nil {
		return r.server.later(refused)
	}
	return nil
}

// The method `reserve` reserves memory for the answers of an operation that reads. For a page of a list, `reserve` reserves a part of
// maxPage, in proportion to the query parameter `limit`. When the answer is encoded, answerJSON replaces the reservation by the length of
// the answer. The memory of each caller is limited. Therefore a caller that does not read its answers cannot use up the memory for the
// other callers.
func (s *server) reserve(o operation) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		if o.method != http.MethodGet || o.Security == nil || o.open() {
			return next
		}
		return func(c echo.Context) error {
			r := &reservation{s, callerOf(c).name(), func() {}}
			defer func() { r.leave() }()
			if err := r.change(o.pageSize(c)); err != nil {
				return err
			}
			c.Set(contextAnswer, r)
			return next(c)
		}
	}
}

// pageSize returns the number of bytes to reserve for an answer of the operation, before the length of the answer is known.
func (o operation) pageSize(c echo.Context) int {
	limit := o.parameters.GetByInAndName("query", "limit")
	if limit == nil || o.streams() && acceptsType(c.Request().Header, eventStreamType) {
		return maxPage / 200
	}
	objects, err := strconv.ParseFloat(c.QueryParam("limit"), 64)
	if err != nil {
		objects, _ = limit.Schema.Value.Default.(float64)
	}
	return int(objects / *limit.Schema.Value.Max * maxPage)
}

// The method `streams` reports whether callers can have a stream of events instead of a page.
func (o operation) streams() bool {
	return o.Responses.Status(http.StatusOK).Value.Content[eventStreamType] != nil
}

// The function `reserved` returns the reservation of a request. Only a GET request with a credential has a reservation.
func reserved(c echo.Context) *reservation {
	r, _ := c.Get(contextAnswer).(*reservation)
	return r
}
