package api

import (
	"context"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/orchestrator/loopback"
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

// Dependency is the state of one dependency of the service, such as the database or an upstream.
type Dependency struct {
	Name   string
	Needed bool // this replica cannot answer requests without the dependency
	Status CheckStatus
	Reason string    // why the status is not ok; contains no secrets
	Since  time.Time // when the status last changed
	Spool  *SpoolState
	Usage  *[]CloudUsage
}

// readyTokenTime is the time limit for the check of an operator's token by GetReadiness. The limit ensures that health checks are
// answered in time.
const readyTokenTime = 3 * time.Second

// GetReadiness answers 503 if the replica lacks a dependency that it needs. Only operators, and callers on the same host, see the
// dependencies, because names and reasons reveal details of the installation.
func (s *server) GetReadiness(c echo.Context) error {
	all := s.Ready(c.Request().Context())
	answer, code := Readiness{Status: statusOf(all), Version: s.Version}, http.StatusOK
	if answer.Ready = answer.Status != ReadinessUnavailable; !answer.Ready {
		code = http.StatusServiceUnavailable
	}
	if s.mayLookInside(c) {
		checks := viewChecks(all)
		answer.Checks = &checks
	}
	return answerJSON(c, code, answer)
}

// The function `statusOf` returns the status of a replica with these dependencies.
func statusOf(all []Dependency) ReadinessStatus {
	status := ReadinessOK
	for _, d := range all {
		switch {
		case d.Status == CheckOK:
		case d.Needed:
			return ReadinessUnavailable
		default:
			status = ReadinessDegraded
		}
	}
	return status
}

func viewChecks(all []Dependency) []CheckResult {
	checks := make([]CheckResult, len(all))
	for i, d := range all {
		checks[i] = CheckResult{Name: d.Name, Needed: d.Needed, Status: d.Status, Reason: some(d.Reason), Since: d.Since, Spool: d.Spool, Usage: d.Usage}
	}
	return checks
}

// mayLookInside reports whether the caller is an operator, or is on the same host: see loopback.Request.
func (s *server) mayLookInside(c echo.Context) bool {
	r := c.Request()
	if len(r.Header.Values(headerAuthToken)) > 0 {
		ctx, cancel := context.WithTimeout(r.Context(), readyTokenTime)
		defer cancel()
		c.SetRequest(r.WithContext(ctx))
		_, err := s.caller(c, s.document.operations["getReadiness"])
		return err == nil
	}
	return loopback.Request(r)
}
