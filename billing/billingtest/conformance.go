package billingtest

import (
	"testing"
)

// Target is a BillingStack under test.
type Target struct {
	URL         string // ends in the version
	Connections int
	NoUsage     bool // v1 cannot record usage
}

// Conformance calls all that Tenantry needs of a BillingStack through the client. Each part is named after the method and the
// situation in which it is called. It creates merchants of its own and does not delete them.
func Conformance(t *testing.T, target Target) {
	c := newClient(t, target, nil)
	for _, err := range []error{
		c.Ping(t.Context()),
		c.CreateCurrency(t.Context(), "nok"), c.CreateCurrency(t.Context(), "nok"), c.CreateLanguage(t.Context(), "nor"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, part := range []struct {
		name string
		run  func(*testing.T, Target)
	}{
		{"Currency, known, absent and malformed", currency},
		{"Language, known and absent", language},
		{"CreateMerchant, repeated", createMerchantRepeated},
		{"Merchant, known and absent", merchant},
		{"Plan, known and another merchant's", plan},
		{"Plans, known and unknown merchant", plans},
		{"Plan and Plans, malformed id", plansMalformedID},
		{"CreatePlan, with properties", createPlanWithProperties},

		{"EnsureCustomer, repeated", ensureCustomerRepeated},
		{"EnsureCustomer, id taken by another", ensureCustomerIDTaken},
		{"EnsureCustomer, no currency", ensureCustomerBare},
		{"EnsureCustomer, refused", ensureCustomerRefused},
		{"EnsureCustomer, unusual names", ensureCustomerNames},
		{"all methods of customers, another merchant's", customersOfAnother},
		{"RemoveCustomer, with its own subscriptions", removeCustomer},
		{"RemoveCustomer, with a foreign subscription", removeCustomerForeign},

		{"EnsureSubscription, repeated", ensureSubscriptionRepeated},
		{"EnsureSubscription, id taken by another", ensureSubscriptionIDTaken},
		{"EnsureSubscription, refused", ensureSubscriptionRefused},
		{"Subscription and RemoveSubscription, another merchant's", subscriptionOfAnother},
		{"RemoveSubscription, repeated", removeSubscriptionRepeated},
		{"SetResource, repeated", setResourceRepeated},
		{"SetResource, subscription absent or resource empty", setResourceRefused},
		{"CreateUsage, repeated", createUsageRepeated},

		{"all writes, answer lost", writesAnswerLost},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(t, target) })
	}
}
