package api

import (
	"cmp"
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
	"github.com/tenantry/tenantry/workflows"
)

// problemError is an error that the API answers with a problem.
type problemError struct {
	kind       kind
	detail     string // shown to the caller; if the status is 500 or more, it contains no text from an upstream
	params     []InvalidParam
	methods    [][]string // the combinations of login methods that the user needs
	instance   string
	code       string // a code that is more specific than the kind's name
	step       string
	fixBy      FixBy
	upstream   *Upstream
	challenge  string
	retryAfter time.Duration
	policy     string // the RateLimit-Policy that the request violates
	cause      error  // for the log
}

func (r *problemError) Error() string {
	if r.cause != nil {
		return fmt.Sprintf("%s: %s: %s", r.kind.name, r.detail, r.cause)
	}
	return r.kind.name + ": " + r.detail
}

func (r *problemError) Unwrap() error { return r.cause }

func refuse(k kind, format string, args ...any) *problemError {
	return &problemError{kind: k, detail: fmt.Sprintf(format, args...)}
}

func invalid(params ...InvalidParam) *problemError {
	return &problemError{kind: invalidParams, detail: params[0].Detail, params: params}
}

// The function `problem` converts an error to the problem in the API's answer. No other code chooses the problem for an error.
func problem(err error) *problemError {
	if r, ok := errors.AsType[*problemError](err); ok {
		return r
	}
	if e, ok := errors.AsType[*saga.RefusedError](err); ok {
		return refuse(actionRefused, "%s", e.Why)
	}
	if e, ok := errors.AsType[*saga.RetryRefusedError](err); ok {
		r := refuse(retryRefused, "%s", e.Detail)
		r.code, r.fixBy = string(e.Code), FixBy(e.FixBy)
		return r
	}
	if e, ok := errors.AsType[*workflows.AdmissionError](err); ok {
		return notAdmitted(e)
	}
	if e, ok := errors.AsType[*echo.HTTPError](err); ok {
		return routing(e)
	}
	if e, ok := errors.AsType[*upstream.Error](err); ok {
		return unavailable(e, err)
	}
	switch {
	case errors.Is(err, saga.ErrNotFound):
		return refuse(runNotFound, "there is no such run")
	case errors.Is(err, saga.ErrChanged):
		return refuse(preconditionFailed, "the run has changed, or has an action that it has not applied yet: read the run again")
	case errors.Is(err, merchants.ErrNotFound):
		return refuse(merchantNotFound, "there is no such merchant")
	case errors.Is(err, merchants.ErrExists):
		return refuse(merchantExists, "the merchant is already registered")
	case errors.Is(err, context.DeadlineExceeded):
		return &problemError{
			kind: upstreamUnavailable, detail: "the service could not check the request in time", retryAfter: defaultRetry, cause: err,
			fixBy: FixByOperator,
		}
	case cutOff(err):
		return &problemError{
			kind: upstreamUnavailable, detail: databaseFault(err), retryAfter: defaultRetry, cause: err,
		}
	}
	return &problemError{kind: internalError, detail: "the service failed: search the service's log for this request_id", cause: err}
}

// notAdmitted converts the refusal of an order to a problem. The code of the refusal is the name of a problem type.
func notAdmitted(e *workflows.AdmissionError) *problemError {
	all := kinds()
	i := slices.IndexFunc(all, func(k kind) bool { return k.name == string(e.Code) })
	if i < 0 {
		return &problemError{kind: internalError, detail: "the service failed: search the service's log for this request_id", cause: e}
	}
	r := &problemError{kind: all[i], detail: e.Detail, fixBy: FixBy(e.FixBy), cause: e.Err}
	for _, p := range e.Params {
		r.params = append(r.params, InvalidParam{Pointer: &p.Pointer, Detail: p.Detail})
	}
	return r
}

// cutOff reports whether the database is unavailable: its connection is missing or broken, or PostgreSQL is read-only,
// starting, shutting down or out of resources. The caller, the function `problem`, has already handled the errors of upstreams.
// Therefore each remaining network error comes from the database.
func cutOff(err error) bool {
	var told interface{ SQLState() string }
	if errors.As(err, &told) && len(told.SQLState()) == 5 {
		if told.SQLState() == "25006" { // the server is read-only
			return true
		}
		switch told.SQLState()[:2] { // https://www.postgresql.org/docs/current/errcodes-appendix.html
		case "08", "53", "57", "58": // connection, insufficient resources, operator intervention, system error
			return true
		}
	}
	if errors.Is(err, saga.ErrUnavailable) {
		return true
	}
	_, network := errors.AsType[*net.OpError](err)
	return network || errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// databaseFault returns the reason why the database is unavailable. The text contains neither the name nor the address of the
// database, because portals read the text.
func databaseFault(err error) string {
	var told interface{ SQLState() string }
	code := ""
	if errors.As(err, &told) {
		code = told.SQLState()
	}
	switch {
	case errors.Is(err, saga.ErrDiskFull), code == "53100":
		return "the database could not be written: its disk is full"
	case errors.Is(err, saga.ErrReadOnly), code == "25006":
		return "the database could not be written: it is read-only"
	}
	return "the database could not be reached"
}

// defaultRetry is the value of Retry-After if there is no estimate.
const defaultRetry = 5 * time.Second

func unavailable(e *upstream.Error, cause error) *problemError {
	k, detail, fixBy := upstreamUnavailable, e.Service.Name+" could not be reached", FixByAdministrator
	switch {
	case e.Class == upstream.Blocked:
		k, detail = configurationFault, e.Service.Name+" refuses a request that this service must send"
		if !errors.Is(e, keystone.ErrForbidden) {
			fixBy = FixByOperator
		}
	case upstream.RefusedLogin(e) != nil:
		detail, fixBy = "the server's own login to "+e.Service.Name+" is refused (OS_* or clouds.yaml of tenantry serve)", FixByOperator
	case ownCredential(e):
		detail = e.Service.Name + " does not accept the server's own credential (OS_* or clouds.yaml of tenantry serve)"
		fixBy = FixByOperator
	case answered(e):
		detail = strings.TrimSpace(fmt.Sprintf("%s answered %d %s", e.Service.Name, e.Status, http.StatusText(e.Status)))
	}
	return &problemError{
		kind: k, detail: detail, fixBy: fixBy, retryAfter: cmp.Or(e.RetryAfter, defaultRetry),
		upstream: &Upstream{Service: e.Service.ID, Status: some(e.Status), RequestID: some(e.RequestID)}, cause: cause,
	}
}

// The function `answered` reports whether the upstream has answered with an error that is not about this service's rights.
func answered(e *upstream.Error) bool {
	return e.Status != 0 && e.Class != upstream.Blocked && !ownCredential(e)
}

func ownCredential(e *upstream.Error) bool {
	return e.OwnCredential || errors.Is(e, keystone.ErrUnscoped)
}

// The function `routing` converts an error of Echo or of the generated code to a problem.
func routing(e *echo.HTTPError) *problemError {
	switch e.Code {
	case http.StatusNotFound:
		return refuse(routeNotFound, "there is no such path")
	case http.StatusMethodNotAllowed:
		return refuse(methodNotAllowed, "the path does not allow this method")
	case http.StatusBadRequest:
		return invalid(InvalidParam{Detail: fmt.Sprint(e.Message)})
	}
	return &problemError{kind: internalError, detail: "the service failed: search the service's log for this request_id", cause: e}
}

// The method `refuse` answers the request with the problem for the error, and logs the error if the status is 500 or more.
func (s *server) refuse(err error, c echo.Context) {
	r := problem(err)
	if r.kind.status >= http.StatusInternalServerError && !errors.Is(err, context.Canceled) {
		s.Log.Error().Err(err).Str("request_id", requestID(c)).Str("problem", r.kind.name).Msg("answering")
	}
	if c.Response().Committed {
		return
	}
	h := c.Response().Header()
	h.Set(echo.HeaderContentType, "application/problem+json")
	switch {
	case r.challenge != "":
		h.Set(echo.HeaderWWWAuthenticate, r.challenge)
	case r.kind.status == http.StatusUnauthorized:
		h.Set(echo.HeaderWWWAuthenticate, s.keystoneChallenge())
	}
	if r.retryAfter > 0 {
		h.Set(echo.HeaderRetryAfter, seconds(r.retryAfter))
	}
	text, err := json.Marshal(r.body(requestID(c), fixer(c)))
	if err != nil {
		s.Log.Error().Err(err).Msg("encoding a problem")
	}
	c.Response().WriteHeader(r.kind.status)
	if c.Request().Method != http.MethodHead {
		if _, err := c.Response().Write(append(text, '\n')); err != nil {
			s.Log.Debug().Err(err).Str("request_id", requestID(c)).Msg("the caller has disconnected")
		}
	}
}

// The function `fixer` returns the kind of caller that can correct and repeat the request: a portal or an operator. If callers of the
// sender's kind may use the operation, the result is this kind. Otherwise, the result is the other kind. For Ceilometer, the result is an
// operator, because an operator configures Ceilometer.
func fixer(c echo.Context) FixBy {
	o, _ := c.Get(contextOperation).(operation)
	r := c.Request()
	byToken := len(r.Header.Values(headerAuthToken)) > 0 && r.Header.Get(echo.HeaderAuthorization) == ""
	w, known := c.Get(contextCaller).(caller)
	portal, operator := o.accepts(portalScheme), o.accepts(operatorScheme)
	switch {
	case known && w.merchant == nil, !known && byToken && (operator || !portal), operator && !portal, o.accepts(meterScheme):
		return FixByOperator
	}
	return FixByMerchant
}

// The method `body` returns the body of the answer. The body depends only on the problem, the request id and the parameter `fixer`:
// the kind of caller that can correct and repeat the request.
func (r *problemError) body(requestID string, fixer FixBy) Problem {
	const service = "subscription-orchestration."
	page := "/problems/" + r.kind.name
	code := service + cmp.Or(r.code, r.kind.name)
	fixBy := cmp.Or(r.fixBy, r.kind.fixBy())
	if fixBy == fixByCaller {
		fixBy = fixer
	}
	var violated *[]string
	if r.policy != "" {
		violated = &[]string{r.policy}
	}
	return Problem{
		Type: page, Title: r.kind.title(), Status: r.kind.status, Detail: some(r.detail), Instance: some(r.instance), Code: code,
		RequestID: requestID, Retryable: r.kind.retryable, FixBy: some(fixBy), Step: some(r.step),
		Upstream: r.upstream, InvalidParams: list(shown(r.params)), RequiredAuthMethods: list(r.methods), ViolatedPolicies: violated,
		Errors: []APIError{{
			RequestID: requestID, Code: code, Status: r.kind.status, Title: r.kind.title(), Detail: r.detail,
			Links: Links{{Rel: "help", Href: page}},
		}},
	}
}

const (
	maxFaults = 20  // in one answer
	maxName   = 200 // in bytes; an answer omits pointers and parameters that exceed this length
)

// The function `shown` returns at most maxFaults faults, and omits names longer than maxName. Otherwise a large request would cause
// a large answer.
func shown(faults []InvalidParam) []InvalidParam {
	faults = slices.Clone(faults[:min(len(faults), maxFaults)])
	for i, fault := range faults {
		if len(text(fault.Pointer)) > maxName || len(text(fault.Parameter)) > maxName {
			faults[i] = InvalidParam{Detail: fault.Detail + " (the name of the field or parameter is too long to repeat)"}
		}
	}
	return faults
}

// The function `seconds` formats a duration as a whole number of seconds, rounded up. The result is rounded up because an earlier
// retry would be refused.
func seconds(d time.Duration) string { return strconv.Itoa(int((d + time.Second - 1) / time.Second)) }

// The function `some` returns &v, or nil if v is zero. A body omits a field that is nil.
func some[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// The function `list` returns a pointer to the slice l, or nil if l is empty.
func list[T any](l []T) *[]T {
	if len(l) == 0 {
		return nil
	}
	return &l
}
