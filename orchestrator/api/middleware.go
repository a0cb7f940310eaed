package api

import (
	"cmp"
	"fmt"
	"net/http"
	"regexp"
	"runtime/debug"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

const (
	headerRequestID    = "X-Openstack-Request-Id"
	headerSubjectToken = "X-Subject-Token"
	headerAuthToken    = "X-Auth-Token" //nolint:gosec // the name of a header
)

const (
	contextRequestID = "request_id"
	contextCaller    = "caller"
	contextOperation = "operation"
)

var globalID = regexp.MustCompile(`^req-[a-f0-9]{8}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{12}$`)

// The method `identify` gives every request an id. Calls to upstreams carry the global request id that the caller sent. If the
// caller sent no global request id, the calls carry the new id.
func (s *server) identify(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		id := "req-" + uuid.NewString()
		c.Set(contextRequestID, id)
		r := c.Request()
		c.SetRequest(r.WithContext(upstream.WithCaller(r.Context(), upstream.Caller{RequestID: cmp.Or(globalRequestID(r), id)})))
		h := c.Response().Header()
		h.Set(headerRequestID, id)
		h.Set(echo.HeaderXContentTypeOptions, "nosniff")
		h.Set(echo.HeaderCacheControl, "no-store")
		return next(c)
	}
}

// globalRequestID returns the request id that the caller sent. globalRequestID returns an empty string if this id is missing or not
// valid.
func globalRequestID(r *http.Request) string {
	if given := r.Header.Get(headerRequestID); globalID.MatchString(given) {
		return given
	}
	return ""
}

func requestID(c echo.Context) string {
	id, _ := c.Get(contextRequestID).(string)
	return id
}

// logAccess writes one log line per request. The line has no headers and no query, because they may contain secrets. The
// path and the method in the line are each cut to 1 KiB, because both may be as long as all headers together.
func (s *server) logAccess(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		began := time.Now()
		if err := next(c); err != nil {
			c.Error(err) // write the answer now, so that the log line below contains its status
		}
		line := s.Log.Info().Str("request_id", requestID(c)).Str("method", upstream.Clean(c.Request().Method)).
			Str("path", upstream.Clean(c.Request().URL.EscapedPath())).Int("status", c.Response().Status).
			Dur("ms", time.Since(began)).Str("remote", c.Request().RemoteAddr)
		if given := globalRequestID(c.Request()); given != "" {
			line = line.Str("global_request_id", given)
		}
		if who, ok := c.Get(contextCaller).(caller); ok {
			line = line.Str("caller", who.String())
		}
		line.Msg("request")
		return nil
	}
}

// recoverPanics answers a panic with an internal error. The log contains the stack.
func recoverPanics(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			switch cause := recover(); cause {
			case nil:
			case http.ErrAbortHandler:
				panic(cause)
			default:
				err = fmt.Errorf("panic: %v\n%s", cause, debug.Stack())
			}
		}()
		return next(c)
	}
}
