package workflows

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
	"github.com/tenantry/tenantry/orchestrator/upstream/coalesce"
)

// Order is the data of one run: the checked request, and the values that the steps add. An Order is stored as JSON, so fields may
// be added, but never removed or renamed.
type Order struct {
	Asked
	Resolved

	// The steps set the fields below.

	AbsentRoles           []string `json:"absent_roles,omitempty"` // ids of the roles that the user lacked on an existing tenant
	CustomerTenantID      string   `json:"customer_tenant_id,omitempty"`
	CustomerTenantOwn     bool     `json:"customer_tenant_own,omitempty"`
	SubscriptionTenantID  string   `json:"subscription_tenant_id,omitempty"`
	SubscriptionTenantOwn bool     `json:"subscription_tenant_own,omitempty"`
	PasswordState                  // of the new user

	// RenewedRoles contains the roles that were deleted and created again after the order was accepted. The keys are the old ids, and
	// the values are the new ids.
	RenewedRoles map[string]string `json:"renewed_roles,omitempty"`
}

// Asked contains the values that the caller sent. A retry keeps all values of Asked.
type Asked struct {
	MerchantID      string       `json:"merchant_id"`
	PlanID          string       `json:"plan_id"`
	CustomerID      string       `json:"customer_id"`            // an existing customer's id, or the id chosen by the run
	NewCustomer     *NewCustomer `json:"new_customer,omitempty"` // nil: the customer exists and is adopted
	AddUser         bool         `json:"add_user,omitempty"`     // the portal allows the user to join an existing customer
	NewUser         *NewUser     `json:"new_user,omitempty"`     // nil: the user exists, and the caller has sent the user's token
	PaymentMethodID *string      `json:"payment_method_id,omitempty"`
	BillingDay      *int         `json:"billing_day,omitempty"`
}

// NewCustomer describes a customer that the run creates.
type NewCustomer struct {
	Name     string `json:"name"`
	Currency string `json:"currency"` // if empty, the merchant's currency is used
	Language string `json:"language"`
}

// Resolved contains the values that Tenantry determined when it accepted the order. A retry keeps Cloud, DomainID and UserID, and
// determines the other values again. If the user is new, UserID is empty until the run has created the user.
type Resolved struct {
	RunID             string          `json:"run_id"`
	SubscriptionID    string          `json:"subscription_id"`
	Cloud             string          `json:"cloud"`
	DomainID          string          `json:"domain_id"`
	UserID            string          `json:"user_id"`
	UserName          string          `json:"user_name,omitempty"` // for the texts of errors; an older release stored no name
	CustomerRoles     []keystone.Role `json:"customer_roles"`
	SubscriptionRoles []keystone.Role `json:"subscription_roles"`
	AdoptUnmarked     bool            `json:"adopt_unmarked,omitempty"` // tenants without the merchant's tag may be adopted
	CheckedAt         time.Time       `json:"checked_at"`               // time of the last read of plan and customer
}

// Result is the part of an Order that the API returns with a run. UserID is set if the run has created the user.
type Result struct {
	UserID               string `json:"user_id,omitempty"`
	PlanID               string `json:"plan_id"`
	CustomerID           string `json:"customer_id"`
	CustomerTenantID     string `json:"customer_tenant_id,omitempty"`
	SubscriptionID       string `json:"subscription_id"`
	SubscriptionTenantID string `json:"subscription_tenant_id,omitempty"`
}

func (o Order) result() any {
	made := ""
	if o.NewUser != nil {
		made = o.UserID
	}
	return Result{made, o.PlanID, o.CustomerID, o.CustomerTenantID, o.SubscriptionID, o.SubscriptionTenantID}
}

// The method `account` returns the new user of the order.
func (o *Order) account() account {
	return account{*o.NewUser, o.Cloud, o.DomainID, o.RunID, &o.UserID, &o.PasswordState}
}

// SetUser stores the id of the new user, for the claims of the run: see [saga.Step].
func (o *Order) SetUser(id string) { o.UserID = id }

// registers is the field Each of the steps that only an order with a new user needs.
func registers(o *Order) []string {
	if o.NewUser == nil {
		return nil
	}
	return []string{""}
}

// customerTenant and subscriptionTenant return the two projects of the order.
func (o *Order) customerTenant() tenant { return o.tenant(keystone.CustomerTenant(o.CustomerID)) }

func (o *Order) subscriptionTenant() tenant {
	return o.tenant(keystone.SubscriptionTenant(o.SubscriptionID))
}

func (o *Order) tenant(name string) tenant {
	return tenant{o.Cloud, o.DomainID, name, o.RunID, o.MerchantID, o.AdoptUnmarked}
}

// customerRoles and subscriptionRoles return the roles that the user gets on the two tenants.
func (o *Order) customerRoles() grant {
	return grant{
		o.customerTenant(), o.CustomerTenantID, o.CustomerTenantOwn, o.UserID, o.UserName, o.CustomerRoles, o.AbsentRoles, o.RenewedRoles,
	}
}

func (o *Order) subscriptionRoles() grant {
	return grant{
		o.subscriptionTenant(), o.SubscriptionTenantID, o.SubscriptionTenantOwn, o.UserID, o.UserName, o.SubscriptionRoles, nil, o.RenewedRoles,
	}
}

// expectSubscribe returns the objects that a successful run creates or adopts.
func (d Deps) expectSubscribe(o Order) []saga.Expected {
	customer := saga.Expected{
		Object: saga.Object{Step: "create-customer", Kind: "customer", ID: o.CustomerID, Origin: saga.Adopted},
		Fields: map[string]string{"merchant_id": o.MerchantID},
	}
	if o.NewCustomer != nil {
		customer.Origin, customer.Name = saga.Own, o.NewCustomer.Name
	}
	subscription := saga.Expected{
		Object: saga.Object{Step: "create-subscription", Kind: "subscription", ID: o.SubscriptionID, Origin: saga.Own},
		On:     o.CustomerID,
		Fields: map[string]string{"plan_id": o.PlanID, "customer_id": o.CustomerID, "resource_id": o.SubscriptionTenantID},
	}
	var user []saga.Expected
	if o.NewUser != nil {
		user = o.account().expectUser()
	}
	return slices.Concat(
		user,
		[]saga.Expected{
			customer,
			d.expected(o.customerTenant(), "create-customer-tenant", o.CustomerTenantID, o.CustomerTenantOwn),
			subscription,
			d.expected(o.subscriptionTenant(), "create-subscription-tenant", o.SubscriptionTenantID, o.SubscriptionTenantOwn),
		},
		o.customerRoles().expected("assign-customer-role"),
		o.subscriptionRoles().expected("assign-subscription-role"),
	)
}

// SubscribeName is the name of the workflow that [Subscribe] returns.
const SubscribeName = "subscribe"

// Named derives the ids of a new customer and of the subscription from the run's id. The ids are therefore known even if an
// answer is lost.
func (o Order) Named(runID string) Order {
	run := uuid.MustParse(runID)
	o.RunID = runID
	if o.NewCustomer != nil {
		o.CustomerID = uuid.NewSHA1(run, []byte("customer")).String()
	}
	o.SubscriptionID = uuid.NewSHA1(run, []byte("subscription")).String()
	return o
}

// Request returns the [saga.Request] that starts a run for the order. The caller adds the idempotency key, the fingerprint, the
// caller's name, and the user's token or the new user's password.
func (o Order) Request(runID string, onFailure saga.OnFailure) saga.Request {
	o = o.Named(runID)
	return saga.Request{
		ID: o.RunID, Workflow: SubscribeName, Merchant: o.MerchantID, Cloud: o.Cloud,
		Subject: o.MerchantID + ":" + o.CustomerID, User: o.UserID, Doubles: "plan " + o.PlanID,
		OnFailure: cmp.Or(onFailure, saga.FailureCompensates), Input: o,
	}
}

// AdmitSubscribe checks an order against Keystone and BillingStack, and returns the request for the order's run. If the order has a new
// user, the parameter `token` is not used, and the caller adds the password to the request. AdmitSubscribe writes nothing, and makes
// independent reads concurrently. If a check cannot be made, AdmitSubscribe refuses the order. If several checks fail, AdmitSubscribe reports
// the first failure in this sequence: user, configuration, order.
func (d Deps) AdmitSubscribe(ctx context.Context, m merchants.Merchant, asked Asked, token string) (saga.Request, error) {
	id, err := d.cloudOf(m)
	if err != nil {
		return saga.Request{}, err
	}
	asked.MerchantID = m.ID
	o := Order{Asked: asked, Resolved: Resolved{Cloud: m.Cloud, AdoptUnmarked: m.AdoptUnmarked, CheckedAt: d.Now()}}
	var user keystone.Token
	var domain keystone.Domain
	readUser := []func() error{
		func() error { return d.readToken(ctx, id, m.Cloud, token, &user) },
		func() error { return d.readDomain(ctx, id, m, &domain) },
	}
	if asked.NewUser != nil {
		readUser = []func() error{func() error { return d.admitUser(ctx, m, &o, &domain) }}
	}
	reads := slices.Concat(readUser, []func() error{
		func() error { return d.readRoles(ctx, id, m, &o.CustomerRoles, &o.SubscriptionRoles) },
	}, d.readAsked(ctx, asked))
	if err := sideBySide(reads...); err != nil {
		return saga.Request{}, err
	}
	o.DomainID = domain.ID
	if asked.NewUser != nil {
		o.UserName = upstream.Clean(asked.NewUser.Name)
		return o.Request(d.NewID(), saga.OnFailure(m.OnFailure)), nil
	}
	if err := fitting(user, domain); err != nil {
		return saga.Request{}, err
	}
	o.UserID, o.UserName = user.UserID, upstream.Clean(user.UserName)
	if o.NewCustomer == nil && !o.AddUser {
		if err := d.member(ctx, id, o.DomainID, o.CustomerID, o.UserID); err != nil {
			return saga.Request{}, err
		}
	}
	q := o.Request(d.NewID(), saga.OnFailure(m.OnFailure))
	q.Token, q.TokenExpiresAt = token, user.ExpiresAt
	return q, nil
}

// admitUser checks whether the order may create its user, and stores the domain for the user in *domain.
func (d Deps) admitUser(ctx context.Context, m merchants.Merchant, o *Order, domain *keystone.Domain) error {
	if o.NewCustomer == nil && !o.AddUser {
		return invalid(Param{Pointer: "/add_user", Detail: "a new user does not belong to the customer yet" + addUser})
	}
	id, found, err := d.signUpDomain(ctx, m)
	if err != nil {
		return err
	}
	*domain = found
	return nameFree(ctx, id, account{NewUser: *o.NewUser, domain: found.ID})
}

// readAsked returns functions that read the BillingStack objects named in the order.
func (d Deps) readAsked(ctx context.Context, asked Asked) []func() error {
	reads := []func() error{func() error {
		_, err := coalesce.Read(ctx, d.Reads, "plan "+asked.MerchantID+" "+asked.PlanID, func(ctx context.Context, id string) (billing.Plan, error) {
			return d.Billing.Plan(ctx, asked.MerchantID, id)
		}, asked.PlanID)
		return named("/plan_id", "the merchant has no such plan", err)
	}}
	c := asked.NewCustomer
	if c == nil {
		return append(reads, func() error {
			_, err := d.Billing.Customer(ctx, asked.MerchantID, asked.CustomerID)
			return named("/customer_id", "the merchant has no such customer", err)
		})
	}
	if c.Currency != "" {
		reads = append(reads, func() error {
			_, err := coalesce.Read(ctx, d.Reads, "currency "+c.Currency, d.Billing.Currency, c.Currency)
			return named("/customer/currency", "there is no such currency", err)
		})
	}
	if c.Language != "" {
		reads = append(reads, func() error {
			_, err := coalesce.Read(ctx, d.Reads, "language "+c.Language, d.Billing.Language, c.Language)
			return named("/customer/language", "there is no such language", err)
		})
	}
	if c.Currency == "" || c.Language == "" {
		reads = append(reads, func() error { return d.completeCustomer(ctx, asked.MerchantID, c) })
	}
	return reads
}

// completeCustomer completes a new customer. If the order contains no currency, the customer gets the merchant's currency. If the
// order contains no language, the customer gets the merchant's language.
func (d Deps) completeCustomer(ctx context.Context, merchantID string, c *NewCustomer) error {
	m, err := coalesce.Read(ctx, d.Reads, "merchant "+merchantID, d.Billing.Merchant, merchantID)
	if errors.Is(err, billing.ErrNotFound) {
		return refuse(CodeConfigurationFault, saga.FixByOperator, "BillingStack does not have merchant "+merchantID)
	}
	if err != nil {
		return err
	}
	// Write only empty fields: concurrent reads of the order use the other fields.
	if c.Currency == "" {
		c.Currency = m.Currency
	}
	if c.Language == "" {
		c.Language = m.Language
	}
	return nil
}

// retrySubscribe admits the order of a compensated run again, and repeats all reads.
func (d Deps) retrySubscribe(ctx context.Context, old Order, runID string) (saga.Request, error) {
	if old.NewUser != nil {
		return saga.Request{}, errPasswordNotStored
	}
	m, err := d.Merchants.Merchant(ctx, old.MerchantID)
	if err != nil {
		return saga.Request{}, err
	}
	id, err := d.cloudOf(m)
	if err != nil {
		return saga.Request{}, retryRefused(err)
	}
	switch {
	case m.DisabledAt != nil:
		return saga.Request{}, &saga.RetryRefusedError{
			Code: "merchant-disabled", FixBy: saga.FixByOperator, Detail: "the merchant is disabled and may not place orders",
		}
	case m.Cloud != old.Cloud:
		return saga.Request{}, &saga.RetryRefusedError{
			Code: "cloud-changed", FixBy: saga.FixByOperator, Detail: "the merchant's cloud has changed from " + old.Cloud + " to " + m.Cloud,
		}
	}
	id.Forget()
	asked := old.Asked
	o := Order{Asked: asked, Resolved: Resolved{
		Cloud: old.Cloud, DomainID: old.DomainID, UserID: old.UserID, AdoptUnmarked: m.AdoptUnmarked, CheckedAt: d.Now(),
	}}
	var user keystone.User
	var domain keystone.Domain
	reads := append([]func() error{
		func() (err error) { user, err = d.readUser(ctx, id, old.UserID); return err },
		func() error { return d.readDomain(ctx, id, m, &domain) },
		func() error { return d.readRoles(ctx, id, m, &o.CustomerRoles, &o.SubscriptionRoles) },
	}, d.readAsked(ctx, asked)...)
	if err := sideBySide(reads...); err != nil {
		return saga.Request{}, retryRefused(err)
	}
	o.UserName = upstream.Clean(user.Name)
	switch {
	case domain.ID != old.DomainID:
		return saga.Request{}, &saga.RetryRefusedError{
			Code: "domain-changed", FixBy: saga.FixByOperator, Detail: "the merchant's domain has changed from " + old.DomainID + " to " + domain.ID,
		}
	case user.DomainID != domain.ID:
		return saga.Request{}, retryRefused(refuse(CodeUserDomainForeign, saga.FixByOperator, "the user is not in the merchant's domain"))
	case o.NewCustomer == nil && !o.AddUser:
		if err := d.member(ctx, id, o.DomainID, o.CustomerID, o.UserID); err != nil {
			return saga.Request{}, retryRefused(err)
		}
	}
	return o.Request(runID, saga.OnFailure(m.OnFailure)), nil
}

// Subscribe returns the workflow that subscribes a user to a plan. If the user is new, the workflow first creates the user and logs the user
// in. The workflow creates the customer with a tenant and roles, and the subscription with a tenant and roles. The workflow then attaches the
// subscription's tenant to the subscription, so that BillingStack bills the tenant's usage.
func Subscribe(d Deps) saga.Workflow[Order] {
	return saga.Workflow[Order]{
		Name: SubscribeName, Version: 1,
		Meaning: saga.Meaning{
			Open:   "The user is not subscribed yet.",
			Failed: "The user is not subscribed.",
			Done:   "The user is subscribed, and can work in the tenants.",
		},
		Classify: Classify, Retry: d.retrySubscribe, Result: Order.result, Expect: d.expectSubscribe,
		NewSubject: func(o Order) bool { return o.NewCustomer != nil },
		Steps: append(userSteps(d, (*Order).account, registers, "check"), []saga.Step[Order]{
			{
				Name: "log-in", Each: registers, After: []string{"check-twins"},
				Do:     func(ctx context.Context, o *Order) error { return d.logInUser(ctx, o.account()) },
				NoUndo: "the token is never stored, and expires; the undo of create-user also removes the password",
			},
			{
				Name: "check", Effect: saga.Reads,
				Satisfied: func(o *Order, now time.Time) bool { return o.NewCustomer != nil && !stale(o, now) },
				Do:        d.check,
				NoUndo:    "it only reads",
			},
			{
				Name: "create-customer", After: []string{"log-in"},
				Find:  d.findCustomer,
				Claim: func(o *Order, _ string) string { return ClaimCustomer(o.CustomerID) },
				Do:    d.createCustomer,
				Undo:  d.removeCustomer,
			},
			{
				Name: "create-customer-tenant", After: []string{"create-customer"},
				Find: func(ctx context.Context, o *Order) (found saga.Found, err error) {
					found, o.CustomerTenantID, err = d.findTenant(ctx, o.customerTenant())
					o.CustomerTenantOwn = found == saga.Made
					return found, err
				},
				Claim: func(o *Order, _ string) string { return o.customerTenant().claim() },
				Do: func(ctx context.Context, o *Order) error {
					p, own, err := d.createTenant(ctx, o.customerTenant(), "customer "+o.CustomerID)
					o.CustomerTenantID, o.CustomerTenantOwn = p.ID, own
					return err
				},
				Undo: func(ctx context.Context, o *Order) error { return d.removeTenant(ctx, o.customerTenant()) },
			},
			{
				Name: "assign-customer-role", After: []string{"create-customer-tenant"},
				Each:  func(o *Order) []string { return names(o.CustomerRoles) },
				Find:  func(ctx context.Context, o *Order) (saga.Found, error) { return d.findRole(ctx, o.customerRoles()) },
				Claim: func(o *Order, role string) string { return o.customerRoles().claim(role) },
				Do:    func(ctx context.Context, o *Order) error { return d.assignRole(ctx, o.customerRoles(), o.renew) },
				Undo:  func(ctx context.Context, o *Order) error { return d.removeRole(ctx, o.customerRoles()) },
			},
			{
				Name: "scope-token", After: []string{"assign-customer-role"}, Optional: true,
				Do:     d.scopeToken,
				NoUndo: "the scoped token expires when the user's token expires",
			},
			{
				Name: "create-subscription", After: []string{"create-customer"},
				Find:  d.findSubscription,
				Claim: func(o *Order, _ string) string { return ClaimSubscription(o.SubscriptionID) },
				Do: func(ctx context.Context, o *Order) error {
					s, err := d.Billing.EnsureSubscription(ctx, o.MerchantID, billing.Subscription{
						ID: o.SubscriptionID, PlanID: o.PlanID, CustomerID: o.CustomerID,
						ResourceID: "pending:" + o.RunID, ResourceType: "tenant",
						BillingDay: o.BillingDay, PaymentMethodID: o.PaymentMethodID,
					})
					if err == nil {
						record(ctx, "subscription", s.ID, "", saga.Own)
					}
					return err
				},
				Undo: func(ctx context.Context, o *Order) error {
					removed, err := d.Billing.RemoveSubscription(ctx, o.MerchantID, o.SubscriptionID)
					return recordRemoval(ctx, "subscription", o.SubscriptionID, removed, err)
				},
			},
			{
				Name: "create-subscription-tenant", After: []string{"create-subscription"},
				Find: func(ctx context.Context, o *Order) (found saga.Found, err error) {
					found, o.SubscriptionTenantID, err = d.findTenant(ctx, o.subscriptionTenant())
					o.SubscriptionTenantOwn = found == saga.Made
					return found, err
				},
				Claim: func(o *Order, _ string) string { return o.subscriptionTenant().claim() },
				Do: func(ctx context.Context, o *Order) error {
					p, own, err := d.createTenant(ctx, o.subscriptionTenant(), "subscription "+o.SubscriptionID)
					o.SubscriptionTenantID, o.SubscriptionTenantOwn = p.ID, own
					return err
				},
				Undo: func(ctx context.Context, o *Order) error { return d.removeTenant(ctx, o.subscriptionTenant()) },
			},
			{
				Name: "assign-subscription-role", After: []string{"create-subscription-tenant"},
				Each: func(o *Order) []string { return names(o.SubscriptionRoles) },
				Find: func(ctx context.Context, o *Order) (saga.Found, error) {
					return d.findRole(ctx, o.subscriptionRoles())
				},
				Claim: func(o *Order, role string) string { return o.subscriptionRoles().claim(role) },
				Do:    func(ctx context.Context, o *Order) error { return d.assignRole(ctx, o.subscriptionRoles(), o.renew) },
				Undo:  func(ctx context.Context, o *Order) error { return d.removeRole(ctx, o.subscriptionRoles()) },
			},
			{
				Name: "attach-tenant", After: []string{"create-subscription-tenant"}, Effect: saga.Changes,
				Find: func(ctx context.Context, o *Order) (saga.Found, error) {
					s, err := d.Billing.Subscription(ctx, o.MerchantID, o.SubscriptionID)
					switch {
					case errors.Is(err, billing.ErrNotFound):
						return saga.Absent, nil
					case err == nil && s.ResourceID == o.SubscriptionTenantID:
						return saga.Made, nil
					}
					return saga.Absent, err
				},
				// After this step, the subscription is complete. The claim tells the re-check of a later plan change that the plan
				// of this order may stay.
				Claim: func(o *Order, _ string) string { return ClaimPlan(o.SubscriptionID, o.PlanID) },
				Do: func(ctx context.Context, o *Order) error {
					_, err := d.Billing.SetResource(ctx, o.MerchantID, o.SubscriptionID, o.SubscriptionTenantID)
					return err
				},
				NoUndo: "deleting the subscription also deletes its resource_id",
			},
		}...),
	}
}

// findSubscription reads the subscription by the id that the run chose. findSubscription ignores all fields except the id,
// because other fields may have changed.
func (d Deps) findSubscription(ctx context.Context, o *Order) (saga.Found, error) {
	s, err := d.Billing.Subscription(ctx, o.MerchantID, o.SubscriptionID)
	switch {
	case errors.Is(err, billing.ErrNotFound):
		return saga.Absent, nil
	case err != nil:
		return saga.Absent, err
	}
	record(ctx, "subscription", s.ID, "", saga.Own)
	return saga.Made, nil
}

// The function `record` adds an object to the run's objects after a step has created or adopted the object in its upstream.
func record(ctx context.Context, kind, id, name string, origin saga.Origin) {
	saga.CallOf(ctx).Made(saga.Object{Kind: kind, ID: id, Name: name, Origin: origin})
}

// recordRemoval records that an Undo has removed one of the run's objects from its upstream.
func recordRemoval(ctx context.Context, kind, id string, removed bool, err error) error {
	if err == nil && removed {
		saga.CallOf(ctx).Gone(kind, id)
	}
	return err
}
