package api_test

import (
	"context"
	"errors"
	"sync"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// standIn is a short workflow in the place of the real one: a customer, a token that is handed over, a subscription. It
// can be made to wait or to fail before the subscription.
type standIn struct {
	billing *billing.Client
	token   chan string

	mu    sync.Mutex
	gate  chan struct{} // where it is set, the subscription waits for it to be closed
	fails error
}

type order struct {
	Merchant           string `json:"merchant"`
	Plan               string `json:"plan"`
	Customer           string `json:"customer"`
	Name               string `json:"name,omitempty"`
	Subscription       string `json:"subscription"`
	CustomerID         string `json:"customer_id,omitempty"`
	CustomerTenantID   string `json:"customer_tenant_id,omitempty"`
	SubscriptionID     string `json:"subscription_id,omitempty"`
	SubscriptionTenant string `json:"subscription_tenant_id,omitempty"`
}

// close makes subscriptions wait until open.
func (s *standIn) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gate = make(chan struct{})
}

func (s *standIn) open() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gate != nil {
		close(s.gate)
		s.gate = nil
	}
}

func (s *standIn) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails = err
}

var (
	errRefused = errors.New("the upstream refuses it")
	errBlocked = errors.New("somebody must decide")
)

func (s *standIn) workflow() saga.Workflow[order] {
	return saga.Workflow[order]{
		Name: "subscribe", Version: 1, Title: "a short one",
		Classify: func(err error) saga.Classification {
			v := saga.Classification{Class: upstream.Transient, Failure: saga.Failure{
				Code: "Toy Fault", Detail: err.Error(), FixBy: saga.FixByOperator, Service: "keystone", Status: 409,
			}}
			switch {
			case errors.Is(err, errRefused):
				v.Class = upstream.Permanent
			case errors.Is(err, errBlocked):
				v.Class = upstream.Blocked
			}
			return v
		},
		ForRetry: func(o order, runID string) (order, string) {
			return o.of(runID), o.Merchant + ":" + o.of(runID).Customer
		},
		Result: func(o order) any {
			return map[string]string{
				"customer_id": o.CustomerID, "subscription_id": o.SubscriptionID,
				"customer_tenant_id": o.CustomerTenantID, "subscription_tenant_id": o.SubscriptionTenant,
			}
		},
		Steps: []saga.Step[order]{
			{
				Name: "create-customer",
				Do: func(ctx context.Context, o *order) error {
					if o.Name != "" {
						_, err := s.billing.EnsureCustomer(ctx, billing.Customer{
							ID: o.Customer, MerchantID: o.Merchant, Name: o.Name, Currency: "nok", Language: "nor",
						})
						if err != nil {
							return err
						}
					}
					saga.CallOf(ctx).Made(saga.Object{Kind: "customer", ID: o.Customer, Origin: saga.Own})
					o.CustomerID, o.CustomerTenantID = o.Customer, "tenant-of-customer"
					return nil
				},
				Find:  func(context.Context, *order) (saga.Found, error) { return saga.Absent, nil },
				Claim: func(o *order, _ string) string { return "customer " + o.Customer },
				Undo:  func(context.Context, *order) error { return nil },
			},
			{
				Name: "scope-token", After: []string{"create-customer"}, Optional: true, NoUndo: "it expires",
				Do: func(context.Context, *order) error {
					select {
					case s.token <- "the scoped token":
					default:
					}
					return nil
				},
			},
			{
				Name: "create-subscription", After: []string{"scope-token"},
				Do: func(ctx context.Context, o *order) error {
					s.mu.Lock()
					gate, err := s.gate, s.fails
					s.mu.Unlock()
					if gate != nil {
						select {
						case <-gate:
						case <-ctx.Done():
							return ctx.Err()
						}
					}
					if err != nil {
						return err
					}
					saga.CallOf(ctx).Made(saga.Object{Kind: "subscription", ID: o.Subscription, Origin: saga.Own})
					o.SubscriptionID, o.SubscriptionTenant = o.Subscription, "tenant-of-subscription"
					return nil
				},
				Find:  func(context.Context, *order) (saga.Found, error) { return saga.Absent, nil },
				Claim: func(o *order, _ string) string { return "subscription of " + o.Customer },
				Undo:  func(context.Context, *order) error { return nil },
			},
		},
	}
}

// of gives the order with the ids that a run chooses.
func (o order) of(runID string) order {
	namespace := uuid.MustParse(runID)
	if o.Name != "" {
		o.Customer = uuid.NewSHA1(namespace, []byte("customer")).String()
	}
	o.Subscription = uuid.NewSHA1(namespace, []byte("subscription")).String()
	return o
}

// request turns an admitted order into a run.
func (s *standIn) request(a api.Subscription) saga.Request {
	o := order{Merchant: a.Merchant.ID, Plan: a.PlanID, Customer: a.CustomerID, Name: a.Customer.Name}.of(a.RunID)
	return saga.Request{
		ID: a.RunID, Workflow: "subscribe", Merchant: a.Merchant.ID, Cloud: a.Merchant.Cloud,
		Subject: a.Merchant.ID + ":" + o.Customer, User: a.UserID, Plan: a.PlanID, OnFailure: a.OnFailure, Input: o,
		Key: a.Key, Fingerprint: a.Fingerprint, Who: a.Who, Token: a.Token.Reveal(), TokenExpiresAt: a.TokenExpiresAt,
	}
}

// Await hands over the one token there is.
func (s *standIn) Await(string) (take func() (string, bool), stop func()) {
	return func() (string, bool) {
		select {
		case token := <-s.token:
			return token, true
		default:
			return "", false
		}
	}, func() {}
}
