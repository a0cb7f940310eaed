package api

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
)

// ListVersions lists the versions of the API in the format of OpenStack.
func (s *server) ListVersions(c echo.Context) error {
	return answerJSON(c, http.StatusOK, VersionList{Versions: []APIVersion{{
		ID: "v1.0", Status: CURRENT, MinVersion: "1.0", MaxVersion: "1.0",
		Links: Links{{Rel: "self", Href: "/v1/"}, {Rel: "describedby", Href: "/openapi.json"}, {Rel: "help", Href: "/docs"}},
	}}})
}

// GetHealth answers in the format of oslo.middleware's healthcheck. GetHealth does not call other services.
func (s *server) GetHealth(c echo.Context) error {
	if acceptsType(c.Request().Header, echo.MIMEApplicationJSON) {
		return answerJSON(c, http.StatusOK, Health{Reasons: []string{"OK"}})
	}
	return c.Blob(http.StatusOK, echo.MIMETextPlain, []byte("OK"))
}

// HeadHealth answers health checks of load balancers.
func (s *server) HeadHealth(c echo.Context) error { return c.NoContent(http.StatusNoContent) }

// checkTime is the time limit of the readiness checks.
const checkTime = 3 * time.Second

// GetReadiness runs all readiness checks in parallel. The log says why a check failed.
func (s *server) GetReadiness(c echo.Context) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), checkTime)
	defer cancel()
	answer := Readiness{Ready: true, Version: s.Version, Checks: make([]CheckResult, len(s.Ready))}
	var all sync.WaitGroup
	for i, check := range s.Ready {
		all.Go(func() {
			err := s.ready(ctx, check)
			answer.Checks[i] = CheckResult{Name: check.Name, Ok: err == nil}
			if err != nil {
				s.Log.Warn().Err(err).Str("check", check.Name).Msg("not ready")
			}
		})
	}
	all.Wait()
	status := http.StatusOK
	for _, check := range answer.Checks {
		if !check.Ok {
			answer.Ready, status = false, http.StatusServiceUnavailable
		}
	}
	return answerJSON(c, status, answer)
}

func (s *server) ready(ctx context.Context, check Check) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panic: %v", cause)
		}
	}()
	return check.Ask(ctx)
}
