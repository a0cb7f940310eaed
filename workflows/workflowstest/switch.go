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
		Places: []Place{
			{Step: "check"}, // no Call: admission makes the same call, so the call does not identify the step
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
		Places: []Place{
			{Step: "check"},
			{Step: "enable-tenant", Call: "PATCH projects bs-subscription"},
		},
	}
}
