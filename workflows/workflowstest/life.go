package workflowstest

import (
	"context"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/workflows"
)

func unsubscribeTrial() Trial {
	before := subscribeTrial()
	return Trial{
		Follows: &before, Operation: "unsubscribe",
		Define: func(d workflows.Deps) (*saga.Definition, error) { return saga.Define(workflows.Unsubscribe(d)) },
		Request: func(g Ground) saga.Request {
			return workflows.UnsubscribeRequest(held(g), g.RunID, keepTenant)
		},
		Do:      map[string]string{"revoke-role/member": Keystone, "disable-tenant": Keystone},
		Undo:    map[string]string{"revoke-role/member": Keystone},
		Refused: "disable-tenant",
		Reading: "check", Reads: []string{Keystone},
		Ends: map[string]Ends{
			"do revoke-role/member, 404": {Once: succeeded, Always: compensated},
			"do disable-tenant, 404":     {Once: succeeded, Always: compensated},
		},
		Places: []Place{
			{Step: "check"},
			{Step: "revoke-role/member", Call: "DELETE roles/member on bs-subscription"},
			{Step: "disable-tenant", Call: "PATCH projects bs-subscription"},
			{Step: "revoke-role/member", Undo: true, Call: "PUT roles/member on bs-subscription"},
		},
	}
}

func restoreTrial() Trial {
	before := unsubscribeTrial()
	return Trial{
		Follows: &before, Operation: "restore",
		Define: func(d workflows.Deps) (*saga.Definition, error) { return saga.Define(workflows.Restore(d)) },
		Request: func(g Ground) saga.Request {
			return workflows.RestoreRequest(standing(g), g.RunID)
		},
		Do:      map[string]string{"assign-role/member": Keystone, "enable-tenant": Keystone},
		Undo:    map[string]string{"assign-role/member": Keystone},
		Refused: "enable-tenant",
		Reading: "check", Reads: []string{Keystone, Billing},
		Places: []Place{
			{Step: "check"},
			{Step: "assign-role/member", Call: "PUT roles/member on bs-subscription"},
			{Step: "enable-tenant", Call: "PATCH projects bs-subscription"},
			{Step: "assign-role/member", Undo: true, Call: "DELETE roles/member on bs-subscription"},
		},
	}
}

// The constant hourAgo makes a removal due: the trials that remove a tenant add hourAgo to the time at which the tenant was disabled. A
// tenant is not removed in the first ten minutes after it was disabled.
const hourAgo = -time.Hour

func removeTrial() Trial {
	before := unsubscribeTrial()
	return Trial{
		Follows: &before,
		Define:  func(d workflows.Deps) (*saga.Definition, error) { return saga.Define(workflows.Remove(d)) },
		Request: func(g Ground) saga.Request {
			return workflows.RemoveRequest(held(g), g.Before.ID, g.Before.EndedAt.Add(hourAgo), g.RunID)
		},
		Do: map[string]string{"delete-tenant": Keystone}, Pivots: []string{"delete-tenant"},
		Reading: "check", Reads: []string{Keystone},
		Places: []Place{
			{Step: "check"},
			{Step: "prove-empty"},
			{Step: "delete-tenant", Call: "DELETE projects bs-subscription"},
		},
	}
}

func closeTrial() Trial {
	before := removeTrial()
	return Trial{
		Follows: &before,
		Define:  func(d workflows.Deps) (*saga.Definition, error) { return saga.Define(workflows.Close(d)) },
		Request: func(g Ground) saga.Request { return workflows.CloseRequest(held(g), g.Before.ID, g.RunID) },
		Do: map[string]string{
			"delete-subscription": Billing, "delete-customer": Billing, "disable-customer-tenant": Keystone,
		},
		Pivots:  []string{"delete-subscription", "delete-customer", "disable-customer-tenant"},
		Reading: "check", Reads: []string{Billing},
		Ends: map[string]Ends{
			"do delete-subscription, 404": {Once: succeeded, Always: waitsForOperator},
			"do delete-customer, 404":     {Once: succeeded, Always: waitsForOperator},
			// The client repeats a refused DELETE once: the customer may have got a subscription after the client listed the
			// subscriptions.
			"do delete-customer, 409":         {Once: succeeded, Always: waitsForOperator},
			"do disable-customer-tenant, 404": {Once: succeeded, Always: waitsForOperator},
		},
		Places: []Place{
			{Step: "check"},
			{Step: "delete-subscription", Call: "DELETE subscriptions"},
			{Step: "check-customer"},
			{Step: "delete-customer", Call: "DELETE customers"},
			{Step: "disable-customer-tenant", Call: "PATCH projects bs-customer"},
		},
	}
}

const (
	succeeded   = string(saga.Succeeded)
	compensated = string(saga.Compensated)

	waitsForOperator = "waiting for an operator"

	keepTenant = 7 * 24 * time.Hour
)

// The function `held` returns the subscription that the previous run has made or changed.
func held(g Ground) workflows.Held { return standing(g).Held }

func standing(g Ground) workflows.Standing {
	s, err := workflows.StandingOf(g.Before)
	if err != nil {
		panic(err)
	}
	return s
}

// NoResources is a cloud in which all projects are empty.
type NoResources struct{}

// Empty implements [workflows.Resources].
func (NoResources) Empty(context.Context, string, string, time.Time) (workflows.Emptiness, error) {
	return workflows.Emptiness{Empty: true}, nil
}

// Look implements [workflows.Resources].
func (NoResources) Look(context.Context, string, string) (workflows.Emptiness, error) {
	return workflows.Emptiness{Empty: true}, nil
}
