package api

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream/coalesce"
)

// isDryRun reports whether the field dry_run of the body is true. If the value of the field is not a boolean, the order is refused later,
// when the body is checked against the schema.
func isDryRun(body jsontext.Value) bool {
	var asked struct {
		DryRun json.RawMessage `json:"dry_run"`
	}
	return json.Unmarshal(body, &asked) == nil && string(asked.DryRun) == "true"
}

// dryRun checks an order in the same way as the method `place`. It then answers with a description of what the order's run would do. The
// idempotency key is neither looked up nor used.
func (s *server) dryRun(c echo.Context, m merchants.Merchant, body jsontext.Value, p placing) error {
	leave, err := s.withinQuota(c, m)
	if err != nil {
		return err
	}
	defer leave()
	request, err := s.check(c.Request().Context(), m, body, p)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), coalesce.Limit)
	defer cancel()
	found, err := s.Starter.DryRun(ctx, request)
	if err != nil {
		return err
	}
	return answerJSON(c, http.StatusOK, viewDryRun(found))
}

func viewDryRun(d saga.DryRun) DryRun {
	view := DryRun{Workflow: d.Workflow, MerchantID: d.Merchant, State: DryRunState(d.State), Steps: []DryRunStep{}}
	for _, s := range d.Steps {
		step := DryRunStep{
			Name: s.Name, After: list(s.After), Optional: s.Optional, Outcome: DryRunOutcome(s.Outcome), Why: some(s.Why),
			Failure: viewFailure(s.Failure), Undo: s.Undo,
		}
		var objects []DryRunObject
		for _, o := range s.Objects {
			objects = append(objects, DryRunObject{Kind: o.Kind, Cloud: some(o.Cloud), ID: some(o.ID), Name: some(o.Name)})
		}
		step.Objects = list(objects)
		view.Steps = append(view.Steps, step)
	}
	return view
}
