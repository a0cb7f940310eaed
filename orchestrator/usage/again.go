package usage

import (
	"context"
	"time"
)

// Selection names hours whose usage was billed.
type Selection struct {
	Range // the hours that begin in this range

	Merchant     string
	Subscription string // empty: all usage of the merchant, including the usage of projects without a subscription
	// With Current, the usage is billed with the present products, units, divisors and prices. Without Current, a meter that was billed in an hour
	// keeps its product, unit, divisor and price.
	Current bool
}

// Selected is the result of BillAgain. The field Hours counts an hour once for each project.
type Selected struct {
	Hours    int
	Projects int
	Next     time.Time // the hours from this time on were left out; zero: all hours were selected
}

// Rebilling lets usage be billed again, for example after the merchant has created a product.
type Rebilling interface {
	// BillAgain marks the stored usage of the selected hours as waiting to be billed, and removes these hours from the unmatched usage. The bill
	// adds them again if they are still unmatched. All this happens in one transaction. Hours that will be computed again are left out, because
	// they are billed afterwards.
	//
	// BillAgain selects at most `limit` hours of projects. An hour of two projects counts as two. It selects an hour for all projects or for none.
	// It selects one hour even if the projects of this hour exceed the limit. BillAgain may be repeated: usage that is billed again without a change
	// makes no row.
	//
	// An entry of the unmatched usage stands for all hours from its first to its last one. The entry is removed if all its hours are selected.
	// If its first or its last hour is selected, the entry is shortened. Otherwise the entry stays. An entry about several subscriptions stays
	// if s.Subscription is set. An entry with the reason Differing always stays, because a bill does not read BillingStack's usage.
	BillAgain(ctx context.Context, now time.Time, s Selection, limit int) (Selected, error)
}
