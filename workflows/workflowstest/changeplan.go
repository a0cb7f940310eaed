package workflowstest

import (
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/workflows"
)

func changePlanTrial() Trial {
	before := subscribeTrial()
	return Trial{
		Follows: &before, Operation: workflows.ChangePlanName,
		Body:    func(g Ground) map[string]any { return map[string]any{"plan_id": g.NewPlanID} },
		Define:  func(d workflows.Deps) (*saga.Definition, error) { return saga.Define(workflows.ChangePlanWorkflow(d)) },
		Request: func(g Ground) saga.Request { return workflows.ChangePlanRequest(held(g), g.NewPlanID, g.RunID) },
		Do:      map[string]string{"change-plan": Billing},
		Undo:    map[string]string{"change-plan": Billing},
		Refused: "change-plan",
		Reading: "check", Reads: []string{Billing},
		Ends: map[string]Ends{
			// If BillingStack answers the PATCH with 404, the subscription does not exist.
			"do change-plan, 404": {Once: string(saga.Compensated), Always: string(saga.Compensated)},
		},
		Places: []Place{
			{Step: "check"}, // no Call: admission makes the same calls, so a call does not identify the step
			{Step: "change-plan", Call: "PATCH subscriptions"},

			{Undo: true, Step: "change-plan", Call: "PATCH subscriptions"},
		},
	}
}
