package workflowstest

import (
	"encoding/json"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/workflows"
)

// visitorTrial returns the trial of a subscribe run that first creates its user. The fault table tests only the steps that other subscribe runs
// do not have.
func visitorTrial() Trial {
	subscribe, failed := subscribeTrial(), Ends{Once: string(saga.Compensated), Always: string(saga.Compensated)}
	return Trial{
		Variant: "a new user",
		Define:  subscribe.Define,
		Request: func(g Ground) saga.Request {
			g.User = ""
			q := subscribe.Request(g)
			o := q.Input.(workflows.Order) //nolint:forcetypeassert // the input of subscribeTrial
			o.NewUser = &workflows.NewUser{Name: "visitor-" + g.RunID, Email: "visitor@example.org"}
			o.UserName = o.NewUser.Name
			q.Input, q.Password = o, trialPassword
			return q
		},
		Do:      map[string]string{"create-user": Keystone, "log-in": Exchange},
		Undo:    map[string]string{"create-user": Keystone},
		Refused: "attach-tenant",
		Reading: "check-name", Reads: []string{Keystone},
		Ends: map[string]Ends{
			// Keystone refuses the login of the user, so the run fails.
			"do log-in, 401":           failed,
			"do log-in, 403":           failed,
			"do log-in, 403 by policy": failed,
			"do log-in, 404":           failed,
		},
		Places: []Place{
			{Step: "check-name"},
			{Step: "create-user", Call: "POST users"},
			{Step: "check-twins"},
			{Step: "log-in", Call: "login of grace"},
			{Step: "create-customer", Call: "POST customers"},
			{Step: "scope-token", Call: "POST tokens"},
			{Step: "assign-customer-role/member", Call: "PUT roles/member on bs-customer"},
			{Step: "attach-tenant", Call: "PATCH subscriptions"},

			{Undo: true, Step: "create-user", Call: "DELETE users"},
		},
	}
}

// newUserOf returns the user whom a run creates. The result is nil if the run creates no user.
func newUserOf(r *saga.Run) (*keystone.User, error) {
	switch r.Workflow {
	case workflows.RegisterName:
		var input workflows.Registration
		err := json.Unmarshal(r.Input, &input)
		return &keystone.User{Name: input.Name, DomainID: input.DomainID}, err
	case workflows.SubscribeName:
		var input workflows.Order
		if err := json.Unmarshal(r.Input, &input); err != nil || input.NewUser == nil {
			return nil, err
		}
		return &keystone.User{Name: input.NewUser.Name, DomainID: input.DomainID}, nil
	}
	return nil, nil
}
