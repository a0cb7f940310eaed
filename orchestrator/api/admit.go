package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

// admit checks an order upstream, all that can be side by side. Nothing is accepted that could not be checked.
func (s *server) admit(
	ctx context.Context, m merchants.Merchant, body jsontext.Value, tokens []string,
) (Subscription, error) {
	want, err := fits[SubscribeRequest](body, s.document.operations["subscribe"].body())
	if err != nil {
		return Subscription{}, err
	}
	if err := coherent(want); err != nil {
		return Subscription{}, err
	}
	if len(tokens) != 1 || !printable(tokens[0], maxToken) {
		return Subscription{}, refuse(userTokenInvalid, "X-Subject-Token holds no token")
	}
	identity, err := s.identity(m.Cloud)
	if err != nil {
		return Subscription{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	a := admission{s: s, merchant: m, identity: identity}
	return a.check(ctx, want, tokens[0])
}

// coherent checks what the schema cannot say.
func coherent(want SubscribeRequest) error {
	var faults []InvalidParam
	fault := func(pointer, detail string) {
		if detail != "" {
			faults = append(faults, InvalidParam{Pointer: &pointer, Detail: detail})
		}
	}
	switch {
	case want.Customer == nil && want.CustomerID == nil:
		fault("", "either customer or customer_id is needed")
	case want.Customer != nil && want.CustomerID != nil:
		fault("/customer_id", "either customer or customer_id, not both")
	case want.Customer != nil:
		fault("/customer/name", blank(want.Customer.Name))
		if want.AddUser != nil {
			fault("/add_user", "it goes with customer_id: the user of a new customer is always added")
		}
	}
	if len(faults) > 0 {
		return invalid(faults...)
	}
	return nil
}

// admission is the check of one order.
type admission struct {
	s        *server
	merchant merchants.Merchant
	identity keystone.Identity
}

// check reads all that the order names. What it reports does not depend on which answer came first: who the user is
// comes before what is configured, and that before what was asked for.
func (a *admission) check(ctx context.Context, want SubscribeRequest, text string) (Subscription, error) {
	m := a.merchant
	order := Subscription{
		Merchant: m, PlanID: want.PlanID, CustomerID: valueOf(want.CustomerID), AddUser: valueOf(want.AddUser),
		PaymentMethodID: want.PaymentMethodID, BillingDay: want.BillingDay,
		OnFailure:     cmp.Or(saga.OnFailure(m.OnFailure), saga.FailureCompensates),
		AdoptUnmarked: m.AdoptUnmarked, Token: Secret{text}, CheckedAt: a.s.now(),
	}
	var token keystone.Token
	var domain keystone.Domain
	reads := []func() error{
		func() (err error) {
			token, err = shared(ctx, &a.s.reads, "token "+m.Cloud+" "+digest(text), a.identity.ValidateToken, text)
			return a.ofToken(err)
		},
		func() (err error) {
			name := cmp.Or(m.Domain, a.s.Defaults.Domain)
			domain, err = shared(ctx, &a.s.reads, "domain "+m.Cloud+" "+name, a.identity.Domain, name)
			return configured("domain", err)
		},
		func() (err error) {
			// One after the other: what the first call has looked up the second need not.
			order.CustomerRoles, err = a.identity.Roles(ctx, orElse(m.CustomerRoles, a.s.Defaults.CustomerRoles))
			if err != nil {
				return configured("roles", err)
			}
			order.SubscriptionRoles, err = a.identity.Roles(ctx, orElse(m.SubscriptionRoles, a.s.Defaults.SubscriptionRoles))
			return configured("roles", err)
		},
		func() error {
			_, err := shared(ctx, &a.s.reads, "plan "+m.ID+" "+want.PlanID, a.plan, want.PlanID)
			return named("/plan_id", "the merchant has no such plan", err)
		},
	}
	if c := want.Customer; c != nil {
		order.Customer = Customer{Name: c.Name, Currency: c.Currency, Language: c.Language}
		reads = append(reads, func() error {
			_, err := shared(ctx, &a.s.reads, "currency "+c.Currency, a.s.Billing.Currency, c.Currency)
			return named("/customer/currency", "there is no such currency", err)
		}, func() error {
			_, err := shared(ctx, &a.s.reads, "language "+c.Language, a.s.Billing.Language, c.Language)
			return named("/customer/language", "there is no such language", err)
		})
	} else {
		reads = append(reads, func() error {
			_, err := a.s.Billing.Customer(ctx, m.ID, order.CustomerID)
			return named("/customer_id", "the merchant has no such customer", err)
		})
	}
	if err := sideBySide(reads); err != nil {
		return Subscription{}, err
	}
	if err := fitting(token, domain); err != nil {
		return Subscription{}, err
	}
	order.UserID, order.UserName, order.TokenExpiresAt, order.DomainID = token.UserID, token.UserName, token.ExpiresAt, domain.ID
	if order.CustomerID != "" && !order.AddUser {
		return order, a.member(ctx, order)
	}
	return order, nil
}

func (a *admission) plan(ctx context.Context, id string) (billing.Plan, error) {
	return a.s.Billing.Plan(ctx, a.merchant.ID, id)
}

func (a *admission) ofToken(err error) error {
	if errors.Is(err, keystone.ErrTokenInvalid) {
		return refuse(userTokenInvalid, "Keystone does not know the user's token, or not any more")
	}
	return err
}

// member wants the user to have a role on the customer's tenant. Without the tenant nobody has.
func (a *admission) member(ctx context.Context, order Subscription) error {
	refused := refuse(userNotOfCustomer, "the user has no role on the customer's tenant")
	project, err := a.identity.FindProject(ctx, order.DomainID, keystone.CustomerTenant(order.CustomerID))
	if errors.Is(err, keystone.ErrNotFound) {
		return refused
	}
	if err != nil {
		return err
	}
	roles, err := a.identity.AssignedRoles(ctx, project.ID, order.UserID)
	if err == nil && len(roles) == 0 {
		return refused
	}
	return err
}

// fitting tells whether the token can stand for a user who subscribes.
func fitting(token keystone.Token, domain keystone.Domain) error {
	switch {
	case token.Delegated():
		return refuse(tokenDelegated, "the token was made by an application credential or a trust")
	case token.Scoped():
		return refuse(tokenScoped, `the token is scoped: get one with "scope": "unscoped"`)
	case token.UserDomainID != domain.ID:
		return refuse(userDomainForeign, "the user is not in the merchant's domain")
	}
	return nil
}

// sideBySide runs all and waits for all. Of several errors the first in the order of the list counts, but those about
// parameters come last, and together.
func sideBySide(reads []func() error) error {
	failures := make([]error, len(reads))
	var all sync.WaitGroup
	for i, read := range reads {
		all.Go(func() { failures[i] = read() })
	}
	all.Wait()
	var params []InvalidParam
	for _, err := range failures {
		r, ok := errors.AsType[*problemError](err)
		switch {
		case ok && r.kind == invalidParams:
			params = append(params, r.params...)
		case err != nil:
			return err
		}
	}
	if len(params) > 0 {
		return invalid(params...)
	}
	return nil
}

// named turns "not found" into what the body names wrongly.
func named(pointer, detail string, err error) error {
	if errors.Is(err, billing.ErrNotFound) || errors.Is(err, billing.ErrInvalid) {
		return invalid(InvalidParam{Pointer: &pointer, Detail: detail})
	}
	return err
}

// configured turns a refusal of what the configuration names into the operator's fault.
func configured(what string, err error) error {
	if errors.Is(err, keystone.ErrNotFound) || errors.Is(err, keystone.ErrRefusedRole) {
		return &problemError{
			kind: configurationFault, detail: "the merchant's " + what + " cannot be resolved",
			cause: fmt.Errorf("resolving the merchant's %s: %w", what, err),
		}
	}
	return err
}

func orElse(own, usual []string) []string {
	if len(own) > 0 {
		return own
	}
	return usual
}

func valueOf[T any](p *T) T {
	var v T
	if p != nil {
		v = *p
	}
	return v
}

// runPath is where a run is found.
func runPath(id string) string { return "/v1/runs/" + id }
