package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream/coalesce"
)

// The type `placing` describes the orders of one workflow for the method `place`.
type placing struct {
	route string // part of the fingerprint
	// The field `admit` checks the body of an order and the objects named in the body, and returns the request for a run.
	admit func(ctx context.Context, m merchants.Merchant, body jsontext.Value) (saga.Request, error)
	// If `password` is set, it is the path to a field of the body that may contain a password. The password is no part of the fingerprint. If
	// the run of a repeated order waits for the password, the order hands the password over to the run.
	password []string
	// The function `valid` returns a problem if the body is not valid. It is set if `password` is set.
	valid func(body jsontext.Value) error
	// The field `related` returns the path of the subscription that the succeeded run created or changed. It may be nil.
	related func(Result) string
}

// The method `place` handles the request for an order. `place` first looks up the idempotency key. If a run has this key already,
// `place` answers with that run, calls no upstream, and does not check the user's token.
func (s *server) place(c echo.Context, merchantID string, p placing) error {
	merchant, err := s.merchantOf(c, merchantID)
	if err != nil {
		return err
	}
	body, r := bodyOf(c), c.Request()
	key, err := idempotencyKey(r.Header)
	if err != nil {
		return err
	}
	if isDryRun(body) {
		return s.dryRun(c, merchant, body, p)
	}
	prefer := readPrefer(r.Header)
	c.Response().Header().Add(echo.HeaderVary, "Prefer")
	signed, password := body, ""
	if p.password != nil {
		if signed, password, err = withoutText(body, p.password...); err != nil {
			return err
		}
	}
	sum := fingerprint(p.route, merchant.ID, signed)
	switch run, err := s.known(r.Context(), merchant.ID, key, sum); {
	case err != nil:
		return err
	case run != nil:
		if run, err = s.handOver(r.Context(), run, p, body, password); err != nil {
			return err
		}
		return s.replay(c, p, run, prefer)
	}

	leave, err := s.withinQuota(c, merchant)
	if err != nil {
		return err
	}
	defer leave()
	request, err := s.check(r.Context(), merchant, body, p)
	if err != nil {
		// A concurrent call with this key may have stored the run meanwhile, and the check may have seen the effects of the run.
		if run, failed := s.known(r.Context(), merchant.ID, key, sum); failed == nil && run != nil {
			return s.replay(c, p, run, prefer)
		}
		return err
	}
	request.Key, request.Fingerprint, request.Who, request.Password = key, sum, callerOf(c).String(), password
	take := noToken
	if s.ScopedTokens != nil && prefer.wait > 0 {
		var stop func()
		take, stop = s.ScopedTokens.Await(request.ID)
		defer stop()
	}
	watcher := s.Runs.Watch(request.ID)
	defer watcher.Close()
	run, err := s.start(r.Context(), request)
	leave()
	if errors.Is(err, saga.ErrKeyUsed) { // a concurrent request has used the key
		if run, err = s.known(r.Context(), merchant.ID, key, sum); err != nil {
			return err
		}
		if run == nil {
			return &problemError{
				kind: outcomeUnknown, detail: "another request with this key is being accepted: repeat the call", retryAfter: time.Second,
			}
		}
		return s.replay(c, p, run, prefer)
	}
	if err != nil {
		return err
	}
	return s.answer(c, p, run, watcher, prefer, take)
}

// The method `check` checks an order, with the time limit coalesce.Limit.
func (s *server) check(ctx context.Context, m merchants.Merchant, body jsontext.Value, p placing) (saga.Request, error) {
	ctx, cancel := context.WithTimeout(ctx, coalesce.Limit)
	defer cancel()
	return p.admit(ctx, m, body)
}

// merchantOf returns the merchant with this id. If there is no such merchant, or if the caller is the portal of another merchant,
// merchantOf returns the problem merchant-not-found.
func (s *server) merchantOf(c echo.Context, merchantID string) (merchants.Merchant, error) {
	if callerOf(c).merchant != nil {
		return ownMerchant(c, merchantID)
	}
	return s.Merchants.Merchant(c.Request().Context(), merchantID)
}

// ownMerchant returns the caller's merchant. If the path names another merchant, ownMerchant returns the problem
// merchant-not-found.
func ownMerchant(c echo.Context, merchantID string) (merchants.Merchant, error) {
	w := callerOf(c)
	if w.merchant == nil || w.merchant.ID != merchantID {
		return merchants.Merchant{}, refuse(merchantNotFound, "there is no such merchant")
	}
	return *w.merchant, nil
}

// The function `fingerprint` returns a hash of route, merchant and body. Two requests with the same key and the same hash are the
// same order. The hash does not include the user's token, which changes with every login.
func fingerprint(route, merchantID string, canonicalBody jsontext.Value) string {
	hash := sha256.Sum256([]byte(strings.Join([]string{route, merchantID, string(canonicalBody)}, "\n")))
	return hex.EncodeToString(hash[:])
}

// The method `known` returns the run with this idempotency key, or nil if there is no such run. If the run was ordered with another
// body, the error is the problem idempotency-key-reused.
func (s *server) known(ctx context.Context, merchantID, key, fingerprint string) (*saga.Run, error) {
	run, err := s.Runs.RunOfKey(ctx, merchantID, key)
	switch {
	case errors.Is(err, saga.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	case run.Fingerprint != fingerprint:
		return nil, refuse(keyReused, "the key was used before with another body: send a new key")
	}
	return run, nil
}

// The method `start` accepts the run. If the caller disconnects, `start` continues, because the outcome of an interrupted start
// would be unknown.
func (s *server) start(ctx context.Context, q saga.Request) (*saga.Run, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), coalesce.Limit)
	defer cancel()
	run, err := s.Starter.Start(ctx, q)
	if err == nil || errors.Is(err, saga.ErrKeyUsed) {
		return run, err
	}
	unknown := &problemError{
		kind: outcomeUnknown, detail: "the order may have been accepted: repeat it with the same key", retryAfter: time.Second, cause: err,
	}
	if cutOff(err) {
		unknown.detail = databaseFault(err) + ", so " + unknown.detail
		unknown.fixBy, unknown.retryAfter = FixByAdministrator, defaultRetry
	}
	return nil, unknown
}

// The method `replay` answers a repeated order. The answer contains no scoped token, because only the first request gets the token.
func (s *server) replay(c echo.Context, p placing, run *saga.Run, prefer preference) error {
	c.Response().Header().Set("Idempotency-Replayed", "true")
	return s.answer(c, p, run, nil, prefer, noToken)
}

// handOver gives the password of a repeated order to the order's run if the run waits for the password, and reads the run again. Otherwise
// the password is not used. If the body is not valid, the result is the problem that a new order with this body would have.
func (s *server) handOver(ctx context.Context, run *saga.Run, p placing, body jsontext.Value, password string) (*saga.Run, error) {
	if p.password == nil || !run.AwaitsPassword() {
		return run, nil
	}
	if err := p.valid(body); err != nil {
		return nil, err
	}
	ctx = context.WithoutCancel(ctx)
	err := s.Starter.HandOver(ctx, run.ID, password)
	if err != nil && !errors.Is(err, saga.ErrChanged) { // ErrChanged: another request was first, or this replica cannot execute the run now
		return nil, err
	}
	return s.Runs.Run(ctx, run.ID)
}

func noToken() (string, bool) { return "", false }

// The method `answer` waits for the run, but no longer than the time in the header Prefer. Then `answer` answers the request. The
// status is 201 for a succeeded run, 409 for a compensated run, and 202 for any other run. The answer for an ended run is always
// the same.
func (s *server) answer(
	c echo.Context, p placing, run *saga.Run, watcher saga.Watcher, prefer preference, take func() (token string, ok bool),
) error {
	admitted(c)
	leave, refused := s.waiting.take(callerOf(c).name(), 1)
	defer leave()
	if refused != nil {
		prefer = preference{} // RFC 7240 allows servers to ignore preferences
	}
	run, err := s.waitForRun(c.Request().Context(), run, watcher, prefer.wait)
	if err != nil {
		return err
	}
	h := c.Response().Header()
	h.Set(echo.HeaderLocation, runPath(run.ID))
	if prefer.applied != "" {
		h.Set("Preference-Applied", prefer.applied)
	}
	if run.State == saga.Compensated {
		return failed(run, p)
	}
	if token, ok := take(); ok {
		h.Set(headerSubjectToken, token)
	}
	if run.State == saga.Succeeded {
		if p.related != nil {
			h.Set("Link", "<"+p.related(s.result(run))+`>; rel="related"`)
		}
		return s.show(c, http.StatusCreated, run)
	}
	h.Set(echo.HeaderRetryAfter, seconds(s.comeAgain(run, s.now())))
	return s.show(c, http.StatusAccepted, run)
}

// waitForRun waits until the run is at rest, but no longer than the duration `wait`. The result is the run as last stored. If the
// parameter `watcher` is not nil, the watcher must have been created before the run.
func (s *server) waitForRun(
	ctx context.Context, run *saga.Run, watcher saga.Watcher, wait time.Duration,
) (*saga.Run, error) {
	if run.AtRest() || wait == 0 {
		return run, nil
	}
	known := run
	if watcher == nil { // the caller's copy of the run may be old
		watcher, known = s.Runs.Watch(run.ID), nil
		defer watcher.Close()
	}
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	err := watcher.See(waiting, known, func(now *saga.Run) bool { run = now; return !now.AtRest() })
	if err != nil && waiting.Err() == nil {
		return nil, err
	}
	return run, nil
}

// comeAgain returns the value of Retry-After for a run: the time until a waiting run continues, or the estimated time until the run
// ends. The value is at most a minute.
func (s *server) comeAgain(run *saga.Run, now time.Time) time.Duration {
	switch {
	case run.AtRest():
		return time.Minute
	case run.AwaitsPassword():
		return time.Second
	case run.Reason != nil && run.Reason.Until != nil && run.Reason.Until.After(now.Add(2*time.Second)):
		return min(run.Reason.Until.Sub(now), time.Minute)
	}
	return s.endsIn(run, 2*time.Second)
}

// The function `failed` returns the problem run-compensated, which contains the cause of the failure. The cause never changes, not
// even after a re-check. Therefore each answer for a compensated run is the same.
func failed(run *saga.Run, p placing) error {
	refused := refuse(runCompensated, "the run was compensated")
	refused.instance = runPath(run.ID)
	if cause := run.Cause; cause != nil {
		refused.detail, refused.code = cause.Detail, code(string(cause.Code))
		refused.step, refused.fixBy = cause.Step, FixBy(cause.FixBy)
		if cause.Code == "password-refused" {
			refused.params = []InvalidParam{{Pointer: some("/" + strings.Join(p.password, "/")), Detail: cause.Detail}}
		}
		if cause.Service != "" {
			refused.upstream = &Upstream{
				Service: cause.Service, Status: some(cause.Status), RequestID: some(cause.RequestID),
			}
		}
	}
	return refused
}

// The function `code` returns a failure's code in lower case, with a hyphen for each character that the OpenAPI document does not
// allow.
func code(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-' {
			return r
		}
		return '-'
	}, strings.ToLower(text))
}

func valueOf[T any](p *T) T {
	var v T
	if p != nil {
		v = *p
	}
	return v
}

// runPath returns the path of a run.
func runPath(id string) string { return "/v1/runs/" + id }
