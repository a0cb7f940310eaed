package billingtest

import (
	"testing"
)

// Target is the BillingStack to test.
type Target struct {
	URL         string // the base URL, which ends with the API version
	Connections int
	NoUsage     bool // the server cannot record usage
	UsageTimes  bool // the server stores the times of usage: see billing.Config
}

// Conformance uses the client to test every BillingStack call that Tenantry needs. The name of a subtest states the client's
// method and the tested situation. Conformance creates new merchants and does not delete them.
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
		{"Currency with a known, an unknown and a malformed name", currency},
		{"Language with a known and an unknown name", language},
		{"CreateMerchant, repeated", createMerchantRepeated},
		{"Merchant with a known and an unknown id", merchant},
		{"Plan of this merchant and of another merchant", plan},
		{"Plans of a known and of an unknown merchant", plans},
		{"Plans with a malformed id", plansMalformedID},
		{"CreatePlan with properties", createPlanWithProperties},

		{"EnsureCustomer, repeated", ensureCustomerRepeated},
		{"EnsureCustomer with the id of another customer", ensureCustomerIDTaken},
		{"EnsureCustomer without a currency", ensureCustomerBare},
		{"EnsureCustomer, refused", ensureCustomerRefused},
		{"EnsureCustomer with unusual names", ensureCustomerNames},
		{"all customer methods with a customer of another merchant", customersOfAnother},
		{"RemoveCustomer with subscriptions that the caller owns", removeCustomer},
		{"RemoveCustomer with a foreign subscription", removeCustomerForeign},
		{"PaymentMethods of a known and of an unknown customer", paymentMethods},

		{"EnsureSubscription, repeated", ensureSubscriptionRepeated},
		{"EnsureSubscription with the id of another subscription", ensureSubscriptionIDTaken},
		{"EnsureSubscription, refused", ensureSubscriptionRefused},
		{"Subscription and RemoveSubscription with a subscription of another merchant", subscriptionOfAnother},
		{"RemoveSubscription, repeated", removeSubscriptionRepeated},
		{"SetResource, repeated", setResourceRepeated},
		{"SetResource with an unknown subscription or an empty resource id", setResourceRefused},
		{"SetPlan, repeated", setPlanRepeated},
		{"SetPlan with an unknown subscription or plan", setPlanRefused},
		{"CreateUsage, repeated", createUsageRepeated},

		{"all writes, each with a lost answer", writesAnswerLost},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(t, target) })
	}
}
