package api

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// The method `show` answers with a run.
func (s *server) show(c echo.Context, status int, run *saga.Run) error {
	return answerJSON(c, status, s.view(callerOf(c), run))
}

// answerJSON writes a JSON body. If the request has reserved memory for its answer, answerJSON first changes the reservation to the length
// of the body. Echo's method JSON is not used, because it indents the body if the query has the parameter `pretty`.
func answerJSON(c echo.Context, status int, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encoding the answer: %w", err)
	}
	text = append(text, '\n')
	if r := reserved(c); r != nil {
		if err := r.change(len(text)); err != nil {
			return err
		}
	}
	return c.Blob(status, echo.MIMEApplicationJSON, text)
}

// The method `view` converts a saga.Run to the Run that the API shows to this caller.
func (s *server) view(w caller, run *saga.Run) Run {
	view := Run{
		ID: run.ID, IdempotencyKey: some(run.Key), Workflow: run.Workflow, MerchantID: run.Merchant, UserID: some(run.User),
		State: RunState(run.State), AtRest: run.AtRest(), Reason: viewReason(run.Reason), Cause: viewFailure(run.Cause),
		WaitsFor: some(run.WaitsFor), RetryOf: some(run.RetryOf), RetriedBy: some(run.RetriedBy),
		Steps: []Step{}, Objects: []Object{}, LeftBehind: []LeftBehind{}, Actions: []string{}, Result: s.result(run),
		CreatedAt: run.CreatedAt, UpdatedAt: run.UpdatedAt, EndedAt: run.EndedAt,
		Links: Links{{Rel: "self", Href: runPath(run.ID)}, {Rel: "events", Href: runPath(run.ID) + "/events"}},
	}
	for i := range run.Steps {
		view.Steps = append(view.Steps, viewStep(&run.Steps[i]))
	}
	for _, o := range run.Objects {
		view.Objects = append(view.Objects, Object{
			Step: o.Step, Kind: o.Kind, Cloud: some(o.Cloud), ID: o.ID, Name: some(o.Name), Origin: ObjectOrigin(o.Origin),
			RequestID: some(o.RequestID), RemovedAt: o.RemovedAt,
		})
	}
	for _, l := range run.LeftBehind {
		view.LeftBehind = append(view.LeftBehind, LeftBehind{
			Step: l.Step, Kind: some(l.Kind), ID: some(l.ID), Name: some(l.Name),
		})
	}
	for _, v := range run.Actions() {
		if w.merchant == nil || s.document.operations[actionOperations[v]].accepts(portalScheme) {
			view.Actions = append(view.Actions, string(v))
		}
	}
	return view
}

// actionOperations maps each action to the id of the operation that requests the action.
var actionOperations = map[saga.ActionName]string{
	saga.Retry: "retryRun", saga.SkipStep: "skipStep", saga.Compensate: "compensateRun", saga.Hold: "holdRun", saga.Cancel: "cancelRun",
}

// The method `result` returns the result of a run. If this release cannot compute the result, the method returns an empty result.
func (s *server) result(run *saga.Run) Result {
	var result Result
	raw, err := s.Runs.Result(run)
	if err == nil && string(raw) != "null" {
		err = json.Unmarshal(raw, &result)
	}
	if err != nil {
		s.Log.Error().Err(err).Str("run_id", run.ID).Msg("computing the result")
	}
	return result
}

func viewStep(s *saga.StepRow) Step {
	return Step{
		Name: s.Name, State: StepState(s.State), After: list(s.After), Optional: s.Optional, Attempts: s.Attempts,
		Undos: s.Undos, Error: viewFailure(s.Error), StartedAt: s.StartedAt, EndedAt: s.EndedAt, RetryAt: s.RetryAt,
	}
}

func viewFailure(f *saga.Failure) *Failure {
	if f == nil {
		return nil
	}
	return &Failure{
		Code: string(f.Code), Detail: f.Detail, FixBy: FixBy(f.FixBy), Step: some(f.Step), Service: some(f.Service),
		Status: some(f.Status), RequestID: some(f.RequestID), Unavailable: some(f.Unavailable), At: f.At,
	}
}

func viewReason(r *saga.Reason) *Reason {
	if r == nil {
		return nil
	}
	return &Reason{
		Kind: ReasonKind(r.Kind), Until: r.Until, Code: string(r.Code), Detail: r.Detail, FixBy: FixBy(r.FixBy), Step: some(r.Step),
		Service: some(r.Service), Status: some(r.Status), RequestID: some(r.RequestID), Unavailable: some(r.Unavailable),
		At: r.At,
	}
}

func viewEvent(e saga.Event) Event {
	return Event{
		RunID: e.RunID, Seq: e.Seq, At: e.At, Epoch: e.Epoch, Kind: string(e.Kind), Step: some(e.Step),
		Attempt: some(e.Attempt), StartedAt: moment(e.StartedAt), Action: some(e.Action), Who: some(e.Who), Why: some(e.Why),
		RequestID: some(e.RequestID), Failure: viewFailure(e.Failure),
	}
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// The function `tag` returns the run's ETag. When a successor of the run starts, the version of the run does not change. Therefore
// the ETag of a run with a successor has a suffix.
func tag(run *saga.Run) string {
	if run.RetriedBy != "" {
		return fmt.Sprintf(`"%d-retried"`, run.Version)
	}
	return fmt.Sprintf(`"%d"`, run.Version)
}
