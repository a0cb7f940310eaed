package workflows

import (
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

// Order is the state of subscribe. What stands above the line is pinned when the run is accepted; the steps add what is
// below it, each its own fields. Stored as JSON: fields are only ever added.
type Order struct {
	RunID             string          `json:"run_id"`
	MerchantID        string          `json:"merchant_id"`
	Cloud             string          `json:"cloud"`
	DomainID          string          `json:"domain_id"`
	UserID            string          `json:"user_id"`
	PlanID            string          `json:"plan_id"`
	CustomerID        string          `json:"customer_id"`
	NewCustomer       *NewCustomer    `json:"new_customer,omitempty"` // nil: the customer exists and is adopted
	SubscriptionID    string          `json:"subscription_id"`
	CustomerRoles     []keystone.Role `json:"customer_roles"`
	SubscriptionRoles []keystone.Role `json:"subscription_roles"`
	PaymentMethodID   *string         `json:"payment_method_id,omitempty"`
	BillingDay        *int            `json:"billing_day,omitempty"`
	AddUser           bool            `json:"add_user,omitempty"`       // the portal said that the user joins the customer
	AdoptUnmarked     bool            `json:"adopt_unmarked,omitempty"` // the merchant's tenants may lack our tag
	CheckedAt         time.Time       `json:"checked_at"`               // when plan and customer were last seen

	// ---- outputs

	AbsentRoles           []string `json:"absent_roles,omitempty"` // role ids that the user lacked on an existing customer tenant
	CustomerTenantID      string   `json:"customer_tenant_id,omitempty"`
	CustomerTenantOwn     bool     `json:"customer_tenant_own,omitempty"`
	SubscriptionTenantID  string   `json:"subscription_tenant_id,omitempty"`
	SubscriptionTenantOwn bool     `json:"subscription_tenant_own,omitempty"`
}

// NewCustomer is what BillingStack is told of a customer that the run creates.
type NewCustomer struct {
	Name     string `json:"name"`
	Currency string `json:"currency"`
	Language string `json:"language"`
}

// Result is what a run of subscribe shows of its state.
type Result struct {
	CustomerID           string `json:"customer_id"`
	CustomerTenantID     string `json:"customer_tenant_id,omitempty"`
	SubscriptionID       string `json:"subscription_id"`
	SubscriptionTenantID string `json:"subscription_tenant_id,omitempty"`
}

func (o Order) result() any {
	return Result{o.CustomerID, o.CustomerTenantID, o.SubscriptionID, o.SubscriptionTenantID}
}

// Named gives the order the ids that follow from its run's, so that what it creates is found again whatever answer
// is lost, and the subject of the run.
func (o Order) Named(runID string) (named Order, subject string) {
	run := uuid.MustParse(runID)
	o.RunID = runID
	if o.NewCustomer != nil {
		o.CustomerID = uuid.NewSHA1(run, []byte("customer")).String()
	}
	o.SubscriptionID = uuid.NewSHA1(run, []byte("subscription")).String()
	return o, subjectOf(&o)
}

// subjectOf is what a run of the order is about.
func subjectOf(o *Order) string { return o.MerchantID + ":" + o.CustomerID }

// forRetry is the order of the run that repeats a compensated one.
func forRetry(o Order, runID string) (Order, string) {
	o.CheckedAt = time.Time{}
	return o.Named(runID)
}

// Request asks for a run of subscribe. The caller adds the merchant's key, the user's token and who asks.
func (o Order) Request(runID string) saga.Request {
	o, subject := o.Named(runID)
	return saga.Request{
		ID: runID, Workflow: "subscribe", Merchant: o.MerchantID, Cloud: o.Cloud, Subject: subject, User: o.UserID,
		Plan: o.PlanID, Input: o,
	}
}

// customerTenant and subscriptionTenant name the two kinds of projects.
func customerTenant(o *Order) string { return keystone.CustomerTenant(o.CustomerID) }

func subscriptionTenant(o *Order) string { return keystone.SubscriptionTenant(o.SubscriptionID) }

func names(roles []keystone.Role) []string {
	all := make([]string, len(roles))
	for i, r := range roles {
		all[i] = r.Name
	}
	return all
}
