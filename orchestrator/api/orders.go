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

// placing is how an order of one workflow is placed.
type placing struct {
	route string // part of the fingerprint
	// admit checks the body and what it names, and returns the request for a run.
	admit func(ctx context.Context, m merchants.Merchant, body jsontext.Value) (saga.Request, error)
}

// place answers an order. The key comes before everything that could change its mind: a known key is answered from its run,
// without asking an upstream or looking at the token.
func (s *server) place(c echo.Context, merchantID string, p placing) error {
	merchant, err := ownMerchant(c, merchantID)
	if err != nil {
		return err
	}
	body, err := readBody(c)
	if err != nil {
		return err
	}
	r := c.Request()
	key, err := idempotencyKey(r.Header)
	if err != nil {
		return err
	}
	prefer := readPrefer(r.Header)
	c.Response().Header().Add(echo.HeaderVary, "Prefer")
	sum := fingerprint(p.route, merchant.ID, body)
	switch run, err := s.known(r.Context(), merchant.ID, key, sum); {
	case err != nil:
		return err
	case run != nil:
		return s.replay(c, run, prefer)
	}

	leave, err := s.withinQuota(c, merchant)
	if err != nil {
		return err
	}
	defer leave()
	request, err := s.admit(r.Context(), merchant, body, p)
	if err != nil {
		return err
	}
	request.Key, request.Fingerprint, request.Who = key, sum, callerOf(c).String()
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
	if errors.Is(err, saga.ErrKeyUsed) { // by a request that came at the same time
		if run, err = s.known(r.Context(), merchant.ID, key, sum); err != nil {
			return err
		}
		if run == nil {
			return &problemError{kind: outcomeUnknown, detail: "another request is using the key", retryAfter: time.Second}
		}
		return s.replay(c, run, prefer)
	}
	if err != nil {
		return err
	}
	return s.answer(c, run, watcher, prefer, take)
}

// admit has an order checked, for as long as upstreams are waited for.
func (s *server) admit(ctx context.Context, m merchants.Merchant, body jsontext.Value, p placing) (saga.Request, error) {
	ctx, cancel := context.WithTimeout(ctx, coalesce.Limit)
	defer cancel()
	return p.admit(ctx, m, body)
}

// ownMerchant is the merchant of the key, if the path names it.
func ownMerchant(c echo.Context, merchantID string) (merchants.Merchant, error) {
	w := callerOf(c)
	if w.merchant == nil || w.merchant.ID != merchantID {
		return merchants.Merchant{}, refuse(merchantNotFound, "there is no such merchant")
	}
	return *w.merchant, nil
}

// fingerprint tells requests of one key apart. The user's token is no part of it: it changes with every login.
func fingerprint(route, merchantID string, canonicalBody jsontext.Value) string {
	hash := sha256.Sum256([]byte(strings.Join([]string{route, merchantID, string(canonicalBody)}, "\n")))
	return hex.EncodeToString(hash[:])
}

// known finds the run that the key stands for; nil if there is none.
func (s *server) known(ctx context.Context, merchantID, key, fingerprint string) (*saga.Run, error) {
	run, err := s.Runs.RunOfKey(ctx, merchantID, key)
	switch {
	case errors.Is(err, saga.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	case run.Fingerprint != fingerprint:
		return nil, refuse(keyReused, "the key was used before, with another body")
	}
	return run, nil
}

// start accepts the run. A caller who goes away meanwhile does not leave it in doubt.
func (s *server) start(ctx context.Context, q saga.Request) (*saga.Run, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), coalesce.Limit)
	defer cancel()
	run, err := s.Starter.Start(ctx, q)
	if err != nil && !errors.Is(err, saga.ErrKeyUsed) {
		return nil, &problemError{
			kind: outcomeUnknown, detail: "it is not known whether the order was accepted: repeat it with the same key",
			retryAfter: time.Second, cause: err,
		}
	}
	return run, err
}

// replay answers an order that was accepted before. It gets no token: that is for the first request alone.
func (s *server) replay(c echo.Context, run *saga.Run, prefer preference) error {
	c.Response().Header().Set("Idempotency-Replayed", "true")
	return s.answer(c, run, nil, prefer, noToken)
}

func noToken() (string, bool) { return "", false }

// answer waits as long as was preferred and shows the run: 201 when it succeeded, the failure when it was compensated, 202
// otherwise. For a run that has ended the answer is always the same.
func (s *server) answer(
	c echo.Context, run *saga.Run, watcher saga.Watcher, prefer preference, take func() (token string, ok bool),
) error {
	admitted(c)
	leave, ok := s.waiting.take()
	defer leave()
	if !ok {
		prefer = preference{} // it may be left out (RFC 7240)
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
	if token, ok := take(); ok {
		h.Set(headerSubjectToken, token)
	}
	if run.State == saga.Succeeded {
		return s.show(c, http.StatusCreated, run)
	}
	if run.State == saga.Compensated {
		return failed(run)
	}
	h.Set(echo.HeaderRetryAfter, seconds(s.comeAgain(run, s.now())))
	return s.show(c, http.StatusAccepted, run)
}

// waitForRun waits until the run has ended or somebody must act, and gives it as it was last stored. The watcher, if there is
// one, was made before the run.
func (s *server) waitForRun(
	ctx context.Context, run *saga.Run, watcher saga.Watcher, wait time.Duration,
) (*saga.Run, error) {
	if run.AtRest() || wait == 0 {
		return run, nil
	}
	known := run
	if watcher == nil { // the run may have changed since it was read
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

// comeAgain is when a run is worth asking for again: when what it waits for comes, or when it is likely to have ended.
func (s *server) comeAgain(run *saga.Run, now time.Time) time.Duration {
	switch {
	case run.AtRest():
		return time.Minute
	case run.Reason != nil && run.Reason.Until != nil && run.Reason.Until.After(now.Add(2*time.Second)):
		return min(run.Reason.Until.Sub(now), time.Minute)
	}
	return s.endsIn(run, 2*time.Second)
}

// failed answers for a compensated run. It says only what never changes any more: not what late re-checks may add.
func failed(run *saga.Run) error {
	refused := refuse(runCompensated, "the run was compensated")
	refused.instance = runPath(run.ID)
	if cause := run.Cause; cause != nil {
		refused.detail, refused.code = cause.Detail, code(cause.Code)
		refused.step, refused.fixBy = cause.Step, FixBy(cause.FixBy)
		if cause.Service != "" {
			refused.upstream = &Upstream{
				Service: cause.Service, Status: some(cause.Status), RequestID: some(cause.RequestID),
			}
		}
	}
	return refused
}

// code makes a failure's code fit for the pattern of codes.
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

// runPath is where a run is found.
func runPath(id string) string { return "/v1/runs/" + id }
