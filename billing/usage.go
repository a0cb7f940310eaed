package billing

import (
	"context"
	"fmt"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

func usageOf(merchantID string) string { return "/merchants/" + merchantID + "/usage" }

// Usage lists the usage of the merchant's subscriptions.
func (c *Client) Usage(ctx context.Context, merchantID string) ([]Usage, error) {
	op := fmt.Sprintf("listing the usage of merchant %q", upstream.Clean(merchantID))
	if err := checkIDs(op, namedID{"merchant", merchantID}); err != nil {
		return nil, err
	}
	return read[Usage](ctx, c, op, usageOf(merchantID), nil)
}

// CreateUsage stores a measurement of usage. The call may be repeated if want.ID is set. If want.ID is empty, the server chooses
// the id.
func (c *Client) CreateUsage(ctx context.Context, merchantID string, want Usage) (Usage, error) {
	op := fmt.Sprintf("recording usage of subscription %q", upstream.Clean(want.SubscriptionID))
	if err := checkIDs(op, namedID{"merchant", merchantID}, namedID{"subscription", want.SubscriptionID}, namedID{"product", want.ProductID}); err != nil {
		return Usage{}, err
	}
	want.MerchantID = "" // the merchant's id is in the path
	return create(ctx, c, creation[Usage]{
		op: op, merchantID: merchantID, collection: usageOf(merchantID), id: want.ID, want: want,
		idOf: func(found Usage) string { return found.ID },
		same: func(found Usage) bool {
			return found.SubscriptionID == want.SubscriptionID && found.ProductID == want.ProductID
		},
	})
}
