package api_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
	"github.com/tenantry/tenantry/workflows"
)

// standIn is a short workflow that replaces the workflow `subscribe` in tests. The steps create a customer, hand over a token, and
// create a subscription. Tests can make the last step wait or fail.
type standIn struct {
	billing *billing.Client
	token   chan string

	mu    sync.Mutex
	gate  chan struct{} // if set, the step create-subscription waits until this channel is closed
	fails error
	retry error         // if set, every retry fails with this error
	hold  chan struct{} // if set, every retry of a compensated run waits until this channel is closed

	retries atomic.Int32 // the number of retries that have begun
}

type order = workflows.Order

// The method `close` makes the step create-subscription wait until the method `open` is called.
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

func (s *standIn) refuseRetry(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retry = err
}

// holdRetries makes every retry of a compensated run wait until the test closes the channel `hold`.
func (s *standIn) holdRetries() (hold chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hold = make(chan struct{})
	return s.hold
}

var (
	errRefused = errors.New("the upstream refuses it")
	errBlocked = errors.New("somebody must decide")
)

func (s *standIn) workflow() saga.Workflow[order] {
	return saga.Workflow[order]{
		Name: "subscribe", Version: 1,
		Classify: classify,
		Retry: func(ctx context.Context, o order, runID string) (saga.Request, error) {
			if _, bounded := ctx.Deadline(); !bounded {
				return saga.Request{}, errors.New("the context has no deadline")
			}
			s.mu.Lock()
			hold, err := s.hold, s.retry
			s.mu.Unlock()
			s.retries.Add(1)
			if hold != nil {
				<-hold
			}
			return o.Request(runID, saga.FailureCompensates), err
		},
		Expect: func(order) []saga.Expected { return nil }, Result: func(o order) any {
			return map[string]string{
				"plan_id": o.PlanID, "customer_id": o.CustomerID, "subscription_id": o.SubscriptionID,
				"customer_tenant_id": o.CustomerTenantID, "subscription_tenant_id": o.SubscriptionTenantID,
			}
		},
		Steps: []saga.Step[order]{
			{
				Name: "create-customer",
				Do: func(ctx context.Context, o *order) error {
					if c := o.NewCustomer; c != nil {
						_, err := s.billing.EnsureCustomer(ctx, billing.Customer{
							ID: o.CustomerID, MerchantID: o.MerchantID, Name: c.Name, Currency: c.Currency, Language: c.Language,
						})
						if err != nil {
							return err
						}
					}
					saga.CallOf(ctx).Made(saga.Object{Kind: "customer", ID: o.CustomerID, Origin: saga.Own})
					o.CustomerTenantID = "tenant-of-customer"
					return nil
				},
				Find:  func(context.Context, *order) (saga.Found, error) { return saga.Absent, nil },
				Claim: func(o *order, _ string) string { return "customer " + o.CustomerID },
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
					saga.CallOf(ctx).Made(saga.Object{Kind: "subscription", ID: o.SubscriptionID, Origin: saga.Own})
					o.SubscriptionTenantID = "tenant-of-subscription"
					return nil
				},
				Find:  func(context.Context, *order) (saga.Found, error) { return saga.Absent, nil },
				Claim: func(o *order, _ string) string { return "subscription " + o.SubscriptionID },
				Undo:  func(context.Context, *order) error { return nil },
			},
		},
	}
}

// The function `classify` returns permanent for errRefused, blocked for errBlocked, and transient for other errors.
func classify(err error) saga.Classification {
	v := saga.Classification{Class: upstream.Transient, Failure: saga.Failure{
		Code: "conflict", Detail: err.Error(), FixBy: saga.FixByOperator, Service: "keystone", Status: 409,
	}}
	switch {
	case errors.Is(err, errRefused):
		v.Class = upstream.Permanent
	case errors.Is(err, errBlocked):
		v.Class = upstream.Blocked
	}
	return v
}

// Await implements [api.ScopedTokens]. Await returns the same token for every run.
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
