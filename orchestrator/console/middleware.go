package console

import (
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

const keyRequestID = "request_id"

func requestID(e echo.Context) string {
	id, _ := e.Get(keyRequestID).(string)
	return id
}

// The method `identify` gives every request an id. The calls to upstreams carry this id.
func (c *console) identify(next echo.HandlerFunc) echo.HandlerFunc {
	return func(e echo.Context) error {
		id := "req-" + uuid.NewString()
		e.Set(keyRequestID, id)
		r := e.Request()
		e.SetRequest(r.WithContext(upstream.WithCaller(r.Context(), upstream.Caller{RequestID: id})))
		return next(e)
	}
}

// logAccess writes one log line per request. The line has no query, because a search may contain a name.
func (c *console) logAccess(next echo.HandlerFunc) echo.HandlerFunc {
	return func(e echo.Context) error {
		began := time.Now()
		if err := next(e); err != nil {
			e.Error(err)
		}
		line := c.Log.Info().Str("request_id", requestID(e)).Str("method", upstream.Clean(e.Request().Method)).
			Str("path", upstream.Clean(e.Request().URL.EscapedPath())).Int("status", e.Response().Status).
			Dur("ms", time.Since(began)).Str("remote", e.Request().RemoteAddr)
		if p, ok := personOf(e); ok {
			line = line.Str("caller", p.Name)
		}
		line.Msg("console")
		return nil
	}
}

// recoverPanics answers a panic with an internal error. The log contains the stack.
func recoverPanics(next echo.HandlerFunc) echo.HandlerFunc {
	return func(e echo.Context) (err error) {
		defer func() {
			switch cause := recover(); cause {
			case nil:
			case http.ErrAbortHandler:
				panic(cause)
			default:
				err = fmt.Errorf("panic: %v\n%s", cause, debug.Stack())
			}
		}()
		return next(e)
	}
}
