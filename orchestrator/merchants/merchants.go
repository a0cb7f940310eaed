// Package merchants defines merchants and the API keys of their portals.
package merchants

import (
	"context"
	"errors"
	"time"
)

// Errors of a Store.
var (
	// ErrNotFound: there is no such merchant or key.
	ErrNotFound = errors.New("no such merchant or key")
	// ErrExists: the merchant is registered already.
	ErrExists = errors.New("the merchant exists already")
)

// DefaultCloud is the cloud that the OS_* variables describe.
const DefaultCloud = "default"

// The values of Merchant.OnFailure: the reaction of a run to a step that fails permanently.
const (
	Compensate = "compensate"
	Hold       = "hold" // the run waits for an operator
)

// MaxLiveRuns is the highest value that Merchant.MaxLiveRuns may have.
const MaxLiveRuns = 1_000_000

// Merchant is a merchant of BillingStack, and the settings for its orders.
type Merchant struct {
	ID                string // the merchant's id in BillingStack
	Name              string
	Cloud             string   // the cloud whose Keystone has the merchant's users; a name in clouds.yaml, or DefaultCloud
	Domain            string   // name or id of the Keystone domain of users and tenants; empty: the configured domain
	CustomerRoles     []string // roles that users get on the customer tenant; empty: the configured roles
	SubscriptionRoles []string // roles that users get on the subscription tenant; empty: the configured roles
	OnFailure         string   // Compensate or Hold
	AdoptUnmarked     bool     // whether runs may adopt tenants with the right name but without Tenantry's tags
	SignUp            bool     // whether the portal may register users in the domain, and log users in with their passwords
	MaxLiveRuns       int      // maximum number of the merchant's live runs; 0: the configured limit
	CreatedAt         time.Time
	DisabledAt        *time.Time // nil: the merchant is enabled
}

// Disable disables the merchant: the API then refuses the calls of the merchant's portal. If the merchant is already disabled,
// DisabledAt does not change.
func (m *Merchant) Disable(now time.Time) {
	if m.DisabledAt == nil {
		m.DisabledAt = &now
	}
}

// Enable enables the merchant: the API then accepts the calls of the merchant's portal again.
func (m *Merchant) Enable() { m.DisabledAt = nil }

// Filter selects a page of merchants.
type Filter struct {
	// Name selects the merchants whose names contain this text. The case of letters is ignored; with SQLite, only the case of ASCII letters.
	// Empty: all merchants.
	Name string
	// After is the id of the last merchant that the caller already has, or empty for the first page. If After is not empty and no merchant has
	// this id, nothing is selected.
	After string
	Limit int
}

// Store stores merchants and their keys.
type Store interface {
	// Create stores a merchant and its first key in one transaction. Create returns ErrExists if the merchant exists.
	Create(ctx context.Context, m Merchant, first APIKey) error
	// Update changes a merchant in one transaction. ID and CreatedAt do not change. If change returns an error, Update stores
	// nothing and returns this error. Update returns ErrNotFound if there is no such merchant.
	Update(ctx context.Context, id string, change func(*Merchant) error) (Merchant, error)
	// Merchant reads a merchant. Merchant returns ErrNotFound if there is no such merchant.
	Merchant(ctx context.Context, id string) (Merchant, error)
	// List reads at most f.Limit merchants that match the filter, sorted by name.
	List(ctx context.Context, f Filter) ([]Merchant, error)
	// Settings reads enabled merchants with different settings: one merchant for each combination of Cloud, Domain, CustomerRoles
	// and SubscriptionRoles. Settings reads at most `limit` merchants, sorted by name.
	Settings(ctx context.Context, limit int) ([]Merchant, error)
	// Key reads a key and its merchant, even if the key is revoked. Key returns ErrNotFound if there is no such key.
	Key(ctx context.Context, key string) (APIKey, Merchant, error)
	// Keys reads at most `limit` keys of a merchant, oldest first. The parameter `after` is the last key that the caller already
	// has, or empty for the first page. If `after` is not empty and the merchant has no such key, Keys returns nothing.
	Keys(ctx context.Context, merchantID, after string, limit int) ([]APIKey, error)
	// Rotate stores a new key of a merchant, and returns the key as it was stored. The merchant's previous key stays valid. All older keys are
	// revoked, and Rotate returns these keys. The keys of a merchant are sorted by CreatedAt, and the new key must be last. If next.CreatedAt
	// is too early, Rotate stores a later time. The RevokedAt of a revoked key is the CreatedAt of the new key. Rotate returns ErrNotFound if
	// there is no such merchant.
	Rotate(ctx context.Context, next APIKey) (stored APIKey, revoked []APIKey, err error)
}

// pageSize is the number of merchants that Each reads at a time.
const pageSize = 200

// Each calls the function `see` for each merchant whose name contains the given text, sorted by name: see Filter.Name. If the name of a
// merchant changes meanwhile, Each may omit the merchant, or call `see` twice for it.
func Each(ctx context.Context, s Store, name string, see func(Merchant)) error {
	for after := ""; ; {
		page, err := s.List(ctx, Filter{Name: name, After: after, Limit: pageSize})
		if err != nil {
			return err
		}
		for _, m := range page {
			see(m)
			after = m.ID
		}
		if len(page) < pageSize {
			return nil
		}
	}
}
