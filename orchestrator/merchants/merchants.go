// Package merchants defines merchants and the API keys of their portals.
package merchants

import (
	"context"
	"errors"
	"time"
)

// Errors of a Store.
var (
	// ErrNotFound: there is no such merchant, or no such key.
	ErrNotFound = errors.New("no such merchant or key")
	// ErrExists: the merchant is registered already.
	ErrExists = errors.New("the merchant exists already")
)

// DefaultCloud is the cloud that the OS_* variables describe.
const DefaultCloud = "default"

// The values of Merchant.OnFailure: what happens to a run whose step failed for good.
const (
	Compensate = "compensate"
	Hold       = "hold" // the run waits for an operator
)

// MaxLiveRuns is the highest limit that can be set.
const MaxLiveRuns = 1_000_000

// Merchant is a merchant of BillingStack, and the settings for its orders.
type Merchant struct {
	ID                string // BillingStack's
	Name              string
	Cloud             string   // the cloud whose Keystone has its users: a name in clouds.yaml, or DefaultCloud
	Domain            string   // the name or id of the domain of its users and tenants; empty: the configured one
	CustomerRoles     []string // the roles that a user gets on the customer tenant; empty: the configured ones
	SubscriptionRoles []string // the same for the subscription tenant
	OnFailure         string   // Compensate or Hold
	AdoptUnmarked     bool     // whether tenants with the right name but without Tenantry's tags may be adopted
	MaxLiveRuns       int      // limit of live runs: further orders are refused; 0: the configured limit
	CreatedAt         time.Time
	DisabledAt        *time.Time // nil: the merchant is enabled
}

// Disable refuses further calls of the merchant's portal. If the merchant is disabled already, DisabledAt does not change.
func (m *Merchant) Disable(now time.Time) {
	if m.DisabledAt == nil {
		m.DisabledAt = &now
	}
}

// Enable accepts calls of the merchant's portal again.
func (m *Merchant) Enable() { m.DisabledAt = nil }

// Store stores merchants and their keys.
type Store interface {
	// Create stores a merchant and its first key in one transaction. It returns ErrExists if the merchant exists.
	Create(ctx context.Context, m Merchant, first APIKey) error
	// Update changes a merchant in one transaction. ID and CreatedAt do not change. If change returns an error, Update stores
	// nothing and returns that error. It returns ErrNotFound if there is no such merchant.
	Update(ctx context.Context, id string, change func(*Merchant) error) (Merchant, error)
	// Merchant reads a merchant. It returns ErrNotFound if there is none.
	Merchant(ctx context.Context, id string) (Merchant, error)
	// List reads all merchants, by name.
	List(ctx context.Context) ([]Merchant, error)
	// Key reads a key, revoked or not, and its merchant. It returns ErrNotFound if there is none.
	Key(ctx context.Context, key string) (APIKey, Merchant, error)
	// Keys reads the keys of a merchant, oldest first.
	Keys(ctx context.Context, merchantID string) ([]APIKey, error)
	// Rotate stores a new key of a merchant. Of the live keys before it, the newest stays valid; the others are revoked as of the
	// new key's CreatedAt and returned. It returns ErrNotFound if there is no such merchant.
	Rotate(ctx context.Context, next APIKey) (revoked []APIKey, err error)
}
