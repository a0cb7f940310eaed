package doctor

import (
	"context"
	"net/http"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/orchestrator/service"
)

func billingStack(ctx context.Context, x *examination) []Line {
	if x.BillingURL == "" {
		return []Line{ok("embedded: tenantry serve starts it at %s", x.BillingListen)}
	}
	client, err := billing.New(billing.Config{URL: x.BillingURL, Timeout: slow, Wrap: func(next http.RoundTripper) http.RoundTripper {
		x.ofBilling.next = next
		return &x.ofBilling
	}})
	if err != nil {
		return []Line{fail(instruction("set TENANTRY_BILLING_URL to an address such as http://billing.example.org:9091/v2"), "%v", err)}
	}
	if err := client.Ping(ctx); err != nil {
		return []Line{fail(server{name: "BillingStack", address: x.BillingURL, variable: "TENANTRY_BILLING_URL"}.fix(err), "%s: %s", x.BillingURL, service.Reason(err))}
	}
	x.billing = client
	return []Line{ok("%s", x.BillingURL)}
}

func billingStackTLS(_ context.Context, x *examination) []Line {
	if x.billing == nil {
		return []Line{ok("embedded: no TLS, and no other system needs to reach it")}
	}
	return x.ofBilling.transport(x.BillingURL, "TENANTRY_BILLING_URL")
}

// billingStackVersion looks for the known faults of the released versions.
func billingStackVersion(ctx context.Context, x *examination) []Line {
	if x.billing == nil {
		return []Line{ok("embedded: it has no known faults")}
	}
	var lines []Line
	can, text, err := x.billing.MayCreateSubscriptions(ctx)
	switch {
	case err != nil:
		lines = append(lines, skipped("subscriptions: not assessed: %s", service.Reason(err)))
	case can == billing.Unknown:
		lines = append(lines, skipped("subscriptions: not assessed, because only a write could show whether this server can create them"))
	case can == billing.Unable:
		lines = append(lines, fail(instruction("remove the argument merchant_id of the call create_subscription in billingstack/api/v2/controllers/subscription.py, and restart "+
			"BillingStack; or use a version without this fault"), "this version of BillingStack cannot create subscriptions, so each order would fail: %s", text))
	}
	can, text, err = x.billing.MayCreateUsage(ctx)
	fix := instruction("correct the call create_usage in billingstack/api/v2/controllers/usage.py, and restart BillingStack; or use a version without this fault. " +
		"API v1 cannot record usage at all")
	switch {
	case err != nil:
		lines = append(lines, skipped("usage: not assessed: %s", service.Reason(err)))
	case can == billing.Unknown:
		lines = append(lines, skipped("usage: not assessed, because only a write could show whether this server can record it"))
	case can == billing.Unable && x.Meters+x.UsageSpool != "":
		lines = append(lines, fail(fix, "this version of BillingStack cannot record usage, so no metered usage is billed: %s", text))
	case can == billing.Unable:
		lines = append(lines, warn(fix, "this version of BillingStack cannot record usage; this fault matters only if usage is metered: %s", text))
	}
	return orOK(lines, "it can create subscriptions and usage")
}
