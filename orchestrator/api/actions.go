package api

import (
	"context"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream/coalesce"
)

// RetryRun continues a waiting or stuck run immediately. For a compensated run, RetryRun starts a new run, the successor.
func (s *server) RetryRun(c echo.Context, runID string) error {
	return s.action(c, runID, "retryRun", saga.Retry)
}

// CompensateRun undoes the steps of a run.
func (s *server) CompensateRun(c echo.Context, runID string) error {
	return s.action(c, runID, "compensateRun", saga.Compensate)
}

// HoldRun stops a run before its next call.
func (s *server) HoldRun(c echo.Context, runID string) error {
	return s.action(c, runID, "holdRun", saga.Hold)
}

// CancelRun compensates a run. A portal may cancel the runs of its merchant, except the runs that an operator has ordered.
func (s *server) CancelRun(c echo.Context, runID string) error {
	if callerOf(c).merchant != nil {
		if err := s.notOperators(c, runID); err != nil {
			return err
		}
	}
	return s.action(c, runID, "cancelRun", saga.Cancel)
}

// To find the first run, notOperators goes back over at most maxRetries retries.
const maxRetries = 100

// notOperators returns the problem run-of-operator if an operator has ordered the run. Operators order, for example, suspensions of
// subscriptions and repairs. If the run is a retry, notOperators checks who ordered the first run.
func (s *server) notOperators(c echo.Context, runID string) error {
	ctx := c.Request().Context()
	run, err := s.seen(c, runID)
	for range maxRetries {
		if err != nil || run.RetryOf == "" {
			break
		}
		run, err = s.Runs.Run(ctx, run.RetryOf)
	}
	if err != nil {
		return err
	}
	first, err := s.Runs.Events(ctx, run.ID, 0, 1)
	if err != nil || len(first) == 0 {
		return err
	}
	if who := first[0].Who; who != "" && !strings.HasPrefix(who, portalWho) && !saga.IsReplica(who) {
		return refuse(runOfOperator, "an operator has ordered the run")
	}
	return nil
}

func (s *server) action(c echo.Context, runID, operationID string, name saga.ActionName) error {
	want, err := bodyAs[ActionRequest](c, s.document.operations[operationID])
	if err != nil {
		return err
	}
	return s.ask(c, saga.Action{RunID: runID, Name: name, Why: want.Why})
}

// SkipStep skips a step of a run.
func (s *server) SkipStep(c echo.Context, runID string) error {
	want, err := bodyAs[SkipRequest](c, s.document.operations["skipStep"])
	if err != nil {
		return err
	}
	return s.ask(c, saga.Action{RunID: runID, Name: saga.SkipStep, Step: want.Step, Why: want.Why})
}

// The method `ask` stores the action v, and then answers the request with the run. If the run is at rest, `ask` first waits until a replica
// has applied the action, but at most defaultWait. If the run is not at rest, `ask` does not wait: the answer may still show the run's
// state before the action.
func (s *server) ask(c echo.Context, v saga.Action) error {
	run, err := s.seen(c, v.RunID)
	if err != nil {
		return err
	}
	if known := c.Request().Header.Values("If-Match"); len(known) > 0 {
		if !matches(known, tag(run)) {
			return problem(saga.ErrChanged)
		}
		if !matches(known, "*") {
			v.IfVersion = run.Version
		}
	}
	if !strings.ContainsFunc(v.Why, visible) {
		return invalid(InvalidParam{Pointer: some("/why"), Detail: "the reason is empty"})
	}
	v.Who = callerOf(c).String()
	before := run
	watcher := s.Runs.Watch(run.ID)
	defer watcher.Close()
	ctx := c.Request().Context()
	acting, cancel := context.WithTimeout(ctx, coalesce.Limit) // a retry may read from upstreams
	defer cancel()
	successor, err := s.Actions.Act(acting, v)
	if err != nil {
		return err
	}
	if successor != nil {
		v.RunID = successor.ID
	}
	admitted(c)
	if before.AtRest() && successor == nil {
		err = s.applied(c, watcher, before.Seq)
	}
	if err == nil {
		run, err = s.Runs.Run(ctx, v.RunID)
	}
	if err != nil {
		return err
	}
	c.Response().Header().Set("ETag", tag(run))
	c.Response().Header().Set(echo.HeaderLocation, runPath(run.ID))
	return s.show(c, http.StatusAccepted, run)
}

// The method `applied` waits at most defaultWait for the event of the action. This event is an event of the run, with a number higher than
// seq. If too many requests wait, `applied` does not wait.
func (s *server) applied(c echo.Context, watcher saga.Watcher, seq int64) error {
	leave, refused := s.waiting.take(callerOf(c).name(), 1)
	defer leave()
	if refused != nil {
		return nil
	}
	waiting, cancel := context.WithTimeout(c.Request().Context(), defaultWait)
	defer cancel()
	err := watcher.See(waiting, nil, func(now *saga.Run) bool { return now.Seq <= seq })
	if err != nil && waiting.Err() == nil {
		return err
	}
	return nil
}
