package workflowstest

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/usage"
	"github.com/tenantry/tenantry/workflows"
)

// postUsageTrial returns the trial of a posting with two rows of one subscription.
func postUsageTrial() Trial {
	before := subscribeTrial()
	return Trial{
		Follows: &before, Damage: createProduct,
		Define: func(d workflows.Deps) (*saga.Definition, error) { return saga.Define(workflows.PostUsage(d)) },
		Request: func(g Ground) saga.Request {
			hour := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
			p := workflows.Posting{ID: g.RunID, MerchantID: g.MerchantID, Hour: hour}
			for revision, value := range []string{"1.5", "-0.25"} {
				r := usage.Row{
					Subscription: held(g).SubscriptionID, Product: productOf(g), Name: "vcpus", Plan: g.PlanID, From: hour, To: hour.Add(time.Hour),
					Revision: revision, Value: decimal.RequireFromString(value), Price: new(decimal.RequireFromString("0.05")),
				}
				r.ID = usage.RowID(r.Subscription, r.Product, r.Window(), r.Revision)
				p.Rows = append(p.Rows, r)
			}
			q := p.Request(g.RunID)
			q.Subject += " of " + g.RunID // the runs of the suites do not wait for each other
			return q
		},
		Do: map[string]string{"post/1": Billing},
		Places: []Place{
			{Step: "post/1", Call: "POST usage"},
		},
	}
}

// createProduct creates the product of the rows in BillingStack.
func createProduct(ctx context.Context, g Ground, by ByHand) ([]saga.ObjectRef, error) {
	_, err := by.Billing.CreateProduct(ctx, g.MerchantID, billing.Product{ID: productOf(g), Name: "vcpus"})
	return []saga.ObjectRef{{Kind: "product", ID: productOf(g)}}, err
}

func productOf(g Ground) string {
	return uuid.NewSHA1(uuid.NameSpaceOID, []byte("product for "+held(g).SubscriptionID)).String()
}

// NoBooks records nothing about the usage that runs post.
type NoBooks struct{}

// Posted implements [workflows.Books].
func (NoBooks) Posted(context.Context, time.Time, string, string, []usage.Posted) error { return nil }
