// Package merchants says who may call: merchants, and the API keys of their portals.
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
	// ErrExists: the merchant is there already.
	ErrExists = errors.New("the merchant exists already")
)

// DefaultCloud is the cloud that the OS_* variables describe.
const DefaultCloud = "default"

// What happens to a merchant's run whose step failed for good.
const (
	Compensate = "compensate"
	Hold       = "hold" // it waits for an operator
)

// MaxLiveRuns is the highest limit that can be set.
const MaxLiveRuns = 1_000_000

// Merchant is who sells: a BillingStack merchant, and what its subscriptions need of a cloud.
type Merchant struct {
	ID                string // BillingStack's
	Name              string
	Cloud             string   // whose Keystone is its identity manager: a name in clouds.yaml, or DefaultCloud
	Domain            string   // of its users and tenants, name or id; empty: the configuration's
	CustomerRoles     []string // what a user gets on the customer tenant; empty: the configuration's
	SubscriptionRoles []string // and on the subscription tenant
	OnFailure         string   // Compensate or Hold
	AdoptUnmarked     bool     // tenants of the right name that carry no mark may be used
	MaxLiveRuns       int      // orders beyond so many runs that have not ended are refused; 0: the configuration's
	CreatedAt         time.Time
	DisabledAt        *time.Time // nil: its portal may call
}

// Disable closes the merchant's portal out. A merchant that is disabled already keeps its time.
func (m *Merchant) Disable(now time.Time) {
	if m.DisabledAt == nil {
		m.DisabledAt = &now
	}
}

// Enable lets the merchant's portal in again.
func (m *Merchant) Enable() { m.DisabledAt = nil }

// Store keeps merchants and their keys.
type Store interface {
	// Create stores a merchant with its first key, both or none. ErrExists if the merchant is there.
	Create(ctx context.Context, m Merchant, first APIKey) error
	// Update changes a merchant with nobody in between; its ID and CreatedAt stay. An error of change is returned as
	// it is, and nothing is stored. ErrNotFound.
	Update(ctx context.Context, id string, change func(*Merchant) error) (Merchant, error)
	// Merchant reads a merchant. ErrNotFound.
	Merchant(ctx context.Context, id string) (Merchant, error)
	// List reads all merchants, by name.
	List(ctx context.Context) ([]Merchant, error)
	// Key reads a key, revoked or not, and its merchant. ErrNotFound.
	Key(ctx context.Context, key string) (APIKey, Merchant, error)
	// Keys reads the keys of a merchant, oldest first.
	Keys(ctx context.Context, merchantID string) ([]APIKey, error)
	// Rotate stores a new key of a merchant and revokes, as of its CreatedAt, all live ones but the youngest of those
	// before it. It returns what it revoked. ErrNotFound if there is no such merchant.
	Rotate(ctx context.Context, next APIKey) (revoked []APIKey, err error)
}
