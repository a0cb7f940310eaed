package billing

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// ErrUsageBroken means that the server cannot store any usage. The released versions of the original BillingStack have such a bug: v2 calls
// its own function with a wrong number of arguments, and v1 writes no product into a column that requires one.
var ErrUsageBroken = errors.New("this version of BillingStack cannot store usage")

// usageBugs are the texts of the faults that mean ErrUsageBroken.
var usageBugs = []string{"create_usage() takes", "prodoct_id"}

func usageOf(merchantID string) string { return "/merchants/" + merchantID + "/usage" }

// Usage lists the usage of the merchant's subscriptions.
func (c *Client) Usage(ctx context.Context, merchantID string) ([]Usage, error) {
	op := fmt.Sprintf("listing the usage of merchant %q", upstream.Clean(merchantID))
	if err := checkIDs(op, namedID{"merchant", merchantID}); err != nil {
		return nil, err
	}
	return read[Usage](ctx, c, op, usageOf(merchantID), nil)
}

// OneUsage returns the usage with the given id, or ErrNotFound.
func (c *Client) OneUsage(ctx context.Context, merchantID, id string) (Usage, error) {
	op := fmt.Sprintf("reading usage %q", upstream.Clean(id))
	if err := checkIDs(op, namedID{"merchant", merchantID}, namedID{"usage", id}); err != nil {
		return Usage{}, err
	}
	found, err := find[Usage](ctx, c, op, usageOf(merchantID), id)
	if err == nil && found.ID != id {
		err = &upstream.Error{Service: Service, Class: upstream.Permanent, Op: op, Err: ErrNotFound}
	}
	if err != nil {
		return Usage{}, err
	}
	return found, nil
}

// CreateUsage stores usage, and returns the usage that BillingStack has. The call may be repeated if want.ID is set. If usage with this id exists
// already, CreateUsage returns this usage. Its numbers may differ from the numbers in want. If want.ID is empty, the server chooses the
// id. CreateUsage returns ErrConflict if want.ID belongs to usage of another subscription or product. CreateUsage returns ErrUsageBroken, with
// the class upstream.Blocked, if the server cannot store any usage.
//
// If Config.UsageTimes is false, the times of the usage are sent in its Measure, such as "vcpus 2026-01-31T12:00:00/2026-01-31T13:00:00".
func (c *Client) CreateUsage(ctx context.Context, merchantID string, want Usage) (Usage, error) {
	op := fmt.Sprintf("recording usage of subscription %q", upstream.Clean(want.SubscriptionID))
	if err := checkIDs(op, namedID{"merchant", merchantID}, namedID{"subscription", want.SubscriptionID}, namedID{"product", want.ProductID}); err != nil {
		return Usage{}, err
	}
	want.MerchantID = "" // the merchant's id is in the path
	if !c.times && want.StartTimestamp+want.EndTimestamp != "" {
		want.Measure = strings.TrimSpace(want.Measure + " " + want.StartTimestamp + "/" + want.EndTimestamp)
		want.StartTimestamp, want.EndTimestamp = "", ""
	}
	got, err := create(ctx, c, creation[Usage]{
		op: op, merchantID: merchantID, collection: usageOf(merchantID), id: want.ID, want: want,
		idOf: func(found Usage) string { return found.ID },
		same: func(found Usage) bool {
			return found.SubscriptionID == want.SubscriptionID && found.ProductID == want.ProductID
		},
	})
	if e, ok := errors.AsType[*upstream.Error](err); ok && (fault{text: e.Message}).mentions(usageBugs) {
		broken := *e
		broken.Class, broken.MaybeDone, broken.Err = upstream.Blocked, false, ErrUsageBroken
		return got, &broken
	}
	return got, err
}
