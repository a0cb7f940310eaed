package workflowstest

import (
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/workflows"
)

func suspendTrial() Trial {
	before := subscribeTrial()
	return Trial{
		Follows: &before, Operation: "suspend",
		Define:  func(d workflows.Deps) (*saga.Definition, error) { return saga.Define(workflows.Suspend(d)) },
		Request: func(g Ground) saga.Request { return workflows.SuspendRequest(held(g), g.RunID) },
		Do:      map[string]string{"disable-tenant": Keystone},
		Refused: "disable-tenant",
		Reading: "check", Reads: []string{Keystone},
		Ends: gone,
		Places: []Place{
			{Step: "check"}, // its call is made at admission too
			{Step: "disable-tenant", Call: "PATCH projects bs-subscription"},
		},
	}
}

func resumeTrial() Trial {
	before := suspendTrial()
	return Trial{
		Follows: &before, Operation: "resume",
		Define:  func(d workflows.Deps) (*saga.Definition, error) { return saga.Define(workflows.Resume(d)) },
		Request: func(g Ground) saga.Request { return workflows.ResumeRequest(held(g), g.RunID) },
		Do:      map[string]string{"enable-tenant": Keystone},
		Refused: "enable-tenant",
		Reading: "check", Reads: []string{Keystone},
		Ends: gone,
		Places: []Place{
			{Step: "check"},
			{Step: "enable-tenant", Call: "PATCH projects bs-subscription"},
		},
	}
}

// gone: without its tenant, a subscription can be neither suspended nor resumed.
var gone = map[string]Ends{"read keystone, 404": {Once: string(saga.Compensated), Always: string(saga.Compensated)}}

// held returns the subscription that the run before has made or changed.
func held(g Ground) workflows.Held {
	standing, err := workflows.StandingOf(g.Before)
	if err != nil {
		panic(err)
	}
	return standing.Held
}
