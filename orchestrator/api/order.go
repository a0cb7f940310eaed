package api

import (
	"fmt"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

// Subscription is an admitted order: everything about it was checked upstream, and names are resolved to ids, so that the
// run does not depend on what is configured later.
type Subscription struct {
	RunID    string
	Merchant merchants.Merchant

	UserID   string // of the validated token
	UserName string
	PlanID   string

	CustomerID string   // of a customer who is there already; empty: Customer is to be made
	Customer   Customer // with CustomerID empty
	AddUser    bool     // the portal vouches for a user who had no role on the customer's tenant

	PaymentMethodID *string
	BillingDay      *int

	DomainID          string
	CustomerRoles     []keystone.Role
	SubscriptionRoles []keystone.Role
	OnFailure         saga.OnFailure
	AdoptUnmarked     bool

	Key         string // idempotency key
	Fingerprint string // of the request
	Who         string // asked, for the history

	Token          Secret // the user's, unscoped
	TokenExpiresAt time.Time
	CheckedAt      time.Time
}

// Customer is one to be made.
type Customer struct {
	Name     string
	Currency string
	Language string
}

// Secret is a text that shows itself in no log, error or encoding. Reveal gives it.
type Secret struct{ text string }

// Reveal gives the text.
func (s Secret) Reveal() string { return s.text }

// Format prints a mask whatever the action.
func (Secret) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, "***") }
