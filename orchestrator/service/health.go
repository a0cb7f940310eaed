package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

const (
	checkEvery   = 30 * time.Second
	failurePoll  = time.Second     // interval between reads of the list of failing upstreams; a change of the list causes a check
	failureRest  = 3 * time.Second // minimum interval between two checks, even if the list of failing upstreams changes more often
	neededFresh  = time.Second     // maximum age of a result that is used again
	neededTime   = 5 * time.Second
	upstreamTime = 15 * time.Second
	firstWait    = 3 * time.Second // time limit for the first results
)

// The type `check` describes a dependency, and contains the function that checks whether the service can use it.
type check struct {
	name   string
	needed bool   // see api.Dependency
	at     string // the address of the dependency, for the log
	ask    func(context.Context) error
	detail func(*api.Dependency) // if set, adds the values that are not part of the result of the check
}

// The type `health` checks the service's dependencies, keeps their states, and logs each change of a state.
type health struct {
	own       []check                       // the checks of this replica's own parts; each request repeats them
	upstreams func(context.Context) []check // returns the checks of the upstreams; the result depends on the merchants' clouds
	failing   func() []string               // the upstreams whose last calls have failed
	now       func() time.Time
	log       zerolog.Logger

	first chan struct{} // closed when all dependencies have been checked once
	once  sync.Once
	round sync.Mutex // held during the checks of the upstreams
	local sync.Mutex // held during the checks `own`

	mu     sync.Mutex
	listed []check // the upstreams of the last round
	states map[string]*state
}

// The type `state` is the result of the last check of a dependency.
type state struct {
	api.Dependency

	code  string // code of the fault that Reason describes; a change of the code is logged
	asked time.Time
}

// The method `watch` checks all dependencies immediately, every 30 s, and when calls to an upstream begin or cease to fail. `watch` returns
// when ctx ends.
func (h *health) watch(ctx context.Context) {
	tick := time.NewTicker(failurePoll)
	defer tick.Stop()
	var last time.Time
	var known []string
	for {
		now, rest := h.failing(), checkEvery
		if !slices.Equal(now, known) {
			rest = failureRest
		}
		if last.IsZero() || time.Since(last) >= rest {
			last, known = time.Now(), now
			h.check(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// The method `check` checks all dependencies concurrently, and returns when the results are known.
func (h *health) check(ctx context.Context) {
	h.round.Lock()
	defer h.round.Unlock()
	var all sync.WaitGroup
	all.Go(func() { h.checkOwn(ctx) })
	upstreams := h.upstreams(ctx)
	h.mu.Lock()
	h.listed = upstreams
	h.mu.Unlock()
	for _, c := range upstreams {
		all.Go(func() { h.ask(ctx, c, upstreamTime) })
	}
	all.Wait()
	h.once.Do(func() { close(h.first) })
}

// checkOwn makes each check of the list `own` whose last result is missing or older than neededFresh.
func (h *health) checkOwn(ctx context.Context) {
	h.local.Lock()
	defer h.local.Unlock()
	var all sync.WaitGroup
	for _, c := range h.own {
		h.mu.Lock()
		before := h.states[c.name]
		fresh := before != nil && h.now().Sub(before.asked) < neededFresh
		h.mu.Unlock()
		if !fresh {
			all.Go(func() { h.ask(ctx, c, neededTime) })
		}
	}
	all.Wait()
}

// The method `report` makes the checks `own`, and then returns the states of all dependencies.
func (h *health) report(ctx context.Context) []api.Dependency {
	wait := time.NewTimer(firstWait)
	defer wait.Stop()
	select {
	case <-h.first:
	case <-ctx.Done():
	case <-wait.C:
	}
	h.checkOwn(context.WithoutCancel(ctx)) // if the caller goes away, the check must not fail
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []api.Dependency
	for _, c := range slices.Concat(h.own, h.listed) {
		d := api.Dependency{Name: c.name, Needed: c.needed, Status: api.CheckDown, Reason: "not checked yet", Since: h.now()}
		if s := h.states[c.name]; s != nil {
			d = s.Dependency
		}
		if c.detail != nil {
			c.detail(&d)
		}
		all = append(all, d)
	}
	return all
}

// The method `ask` checks one dependency, and stores and logs the result.
func (h *health) ask(ctx context.Context, c check, limit time.Duration) {
	bounded, cancel := context.WithTimeout(ctx, limit)
	err := asked(bounded, c)
	cancel()
	if ctx.Err() != nil {
		return // the service is stopping
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	before := h.states[c.name]
	if err != nil && before != nil && saysNothing(err, before) {
		return
	}
	now := h.now()
	after := &state{
		Dependency: api.Dependency{Name: c.name, Needed: c.needed, Status: statusOf(err), Since: now}, code: codeOf(err), asked: now,
	}
	if err != nil {
		after.Reason = Reason(err)
	}
	if before != nil && before.Status == after.Status {
		after.Since = before.Since
	}
	h.states[c.name] = after
	if before == nil || before.Status != after.Status || before.code != after.code {
		h.turned(c, before, after)
	}
}

// The function `asked` calls the check, and returns a panic as an error, so that the panic does not end the process.
func asked(ctx context.Context, c check) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panic: %v", cause)
		}
	}()
	return c.ask(ctx)
}

// The method `turned` logs a change of a dependency's state.
func (h *health) turned(c check, before, after *state) {
	line, text := h.log.Warn(), c.name+": "+string(after.Status)
	switch {
	case after.Status != api.CheckOK:
		text += ", " + after.Reason
	case before != nil:
		line, text = h.log.Info(), c.name+": up again after "+brief(h.now().Sub(before.Since))
	default:
		line = h.log.Info()
	}
	if c.at != "" {
		text += ", " + c.at
	}
	line.Str("check", c.name).Str("status", string(after.Status)).Msg(text)
}

// The function `brief` returns the text of a duration, without zero seconds or minutes at the end: 4m, and not 4m0s.
func brief(d time.Duration) string {
	text := d.Round(time.Second).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// saysNothing reports whether an error adds nothing to the known state. The error adds nothing in two cases: the request waited too
// long for its turn, or the circuit is open and the dependency is already known to be down.
func saysNothing(err error, before *state) bool {
	e, ok := errors.AsType[*upstream.Error](err)
	return ok && upstream.NotSent(e) && (e.Circuit() == "" || before.Status == api.CheckDown)
}

func statusOf(err error) api.CheckStatus {
	e, answered := errors.AsType[*upstream.Error](err)
	_, configured := errors.AsType[*ConfigurationError](err)
	switch {
	case err == nil:
		return api.CheckOK
	case configured, errors.Is(err, keystone.ErrUnscoped), answered && (e.Class == upstream.Permanent || e.Class == upstream.Blocked):
		return api.CheckMisconfigured
	}
	return api.CheckDown
}

func codeOf(err error) string {
	if e, ok := errors.AsType[*upstream.Error](err); ok {
		return e.Code()
	}
	return ""
}

// Reason returns the cause of an error in few words, for an operator. If there is no such short form, Reason returns the error's text. If the
// circuit is open because of a refused login, Reason returns the text of the refused login. The text of the open circuit would soon be wrong,
// because this text names the time of the next trial.
func Reason(err error) string {
	if refused := upstream.RefusedLogin(err); refused != nil && upstream.NotSent(err) {
		return upstream.Clean(refused.Text)
	}
	return cmp.Or(upstream.Cause(err), upstream.Clean(upstream.ForOperator(err)))
}
