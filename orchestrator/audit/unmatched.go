package audit

import "time"

// Unmatched is usage of a merchant that is not billed as it should be. It stands for all hours from First to Last in which there was
// such usage. An entry ends 30 days after its last hour.
type Unmatched struct {
	Reason     UsageReason
	MerchantID string
	// Cloud and ProjectID are empty if the reason is about a meter or about rows in BillingStack.
	Cloud, ProjectID string
	SubscriptionID   string // empty: the reason is about a meter, or the project is the tenant of a customer
	Meter            string // the name of the meter, or of the product if the reason is about rows in BillingStack
	Kind, Unit       string // empty if the reason is about rows in BillingStack
	State            string // the state of the subscription
	First, Last      time.Time
}

// UsageReason says why usage is not billed as it should be. The values are the same as the values of usage.Reason.
type UsageReason string

// The reasons.
const (
	UsageNoSubscription UsageReason = "no-subscription"   // the project had no subscription at the time of the usage
	UsageNotLive        UsageReason = "subscription-over" // the subscription had ended
	UsageNoPlan         UsageReason = "plan-gone"         // BillingStack does not have the plan of the subscription
	UsageNoProduct      UsageReason = "no-product"        // the merchant has no product for the meter
	UsageAmbiguous      UsageReason = "product-ambiguous" // the plan has several products of this name
	UsageOtherUnit      UsageReason = "other-unit"        // the meter is billed in another unit
	UsageSeveralUnits   UsageReason = "several-units"     // in this hour, the meter has usage in several units
	UsageNoPrice        UsageReason = "unpriced"          // the usage was posted without a price
	UsageOther          UsageReason = "differs"           // BillingStack has other numbers under the id of a row
)

// OfMeter reports whether the reason is about a meter of the merchant, and not about one project.
func (r UsageReason) OfMeter() bool {
	return r == UsageNoProduct || r == UsageAmbiguous || r == UsageOtherUnit || r == UsageSeveralUnits
}
