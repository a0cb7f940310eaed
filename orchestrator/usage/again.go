package usage

import (
	"context"
	"time"
)

// Selection names hours whose usage was billed.
type Selection struct {
	Range // the hours that begin in this range

	Merchant     string
	Subscription string // empty: all usage of the merchant, also that of projects without a subscription
	// Current lets the usage be billed with the products, units, divisors and prices of now. Without it, a meter that was billed in an hour keeps those
	// with which it was billed.
	Current bool
}

// Selected is the result of BillAgain. An hour of each project counts.
type Selected struct {
	Hours    int
	Projects int
	Next     time.Time // the hours from this time on were left out; zero: all hours were selected
}

// Rebilling lets usage be billed again, for example after the merchant has created a product.
type Rebilling interface {
	// BillAgain lets the stored usage of the selected hours wait to be billed, and removes these hours from the unmatched usage: the bill adds
	// them again if they are still unmatched. All this happens in one transaction. Hours that will be computed again are left out, because they are
	// billed afterwards.
	//
	// BillAgain stops at the end of an hour before it selects more than `limit` hours of projects, but it selects at least one hour with all its
	// projects. BillAgain may be repeated: usage that is billed again without a change makes no row.
	//
	// An entry of the unmatched usage stands for all hours from its first to its last one. It is removed if all of them are selected. If its
	// first or its last hour is selected, it is shortened. Otherwise it stays. An entry about several subscriptions stays if s.Subscription is
	// set. An entry with the reason Differing always stays, because a bill does not read BillingStack's usage.
	BillAgain(ctx context.Context, now time.Time, s Selection, limit int) (Selected, error)
}
