package workflowstest

import (
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/workflows"
)

// trialPassword is the password of the users that the trial registers.
const trialPassword = "the trial's password"

// registerTrial returns the trial of a registration. The registration does not need the customer in the [Ground].
func registerTrial() Trial {
	return Trial{
		Define: func(d workflows.Deps) (*saga.Definition, error) { return saga.Define(workflows.Register(d)) },
		Request: func(g Ground) saga.Request {
			r := workflows.Registration{
				NewUser: workflows.NewUser{Name: "user-" + g.RunID, Email: "trial@example.org"}, MerchantID: g.MerchantID, RunID: g.RunID,
				Cloud: g.Cloud, DomainID: g.DomainID,
			}
			return saga.Request{
				ID: g.RunID, Workflow: workflows.RegisterName, Merchant: g.MerchantID, Cloud: g.Cloud, OnFailure: saga.FailureCompensates,
				Subject: workflows.RegisterSubject(r), Password: trialPassword, Input: r,
			}
		},
		Do:      map[string]string{"create-user": Keystone},
		Undo:    map[string]string{"create-user": Keystone},
		Refused: "create-user",
		Reading: "check-name", Reads: []string{Keystone},
		Places: []Place{
			{Step: "check-name"},
			{Step: "create-user", Call: "POST users"},
			{Step: "create-user", Undo: true, Call: "DELETE users"},
		},
	}
}
