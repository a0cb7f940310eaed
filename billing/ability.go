package billing

import (
	"context"
	"errors"
	"net/http"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// Ability says whether a server can create objects of a kind. The released versions of the original BillingStack cannot create some of them.
type Ability int

// The abilities. Unknown means that the server cannot be asked without the risk that it stores an object.
const (
	Unknown Ability = iota
	Able
	Unable
)

// notUUID is the value of ids in requests that the server must refuse.
const notUUID = "refused"

// MayCreateSubscriptions reports whether the server can create subscriptions. If the server cannot, the text is the text of the server's
// fault. MayCreateSubscriptions stores nothing: it sends a POST whose ids are not UUIDs. It sends the POST only to a server that has just
// refused such an id in a filter. A repaired server refuses the ids. An unrepaired server fails, because it calls its own function with a
// wrong number of arguments.
func (c *Client) MayCreateSubscriptions(ctx context.Context) (Ability, string, error) {
	return c.ability(ctx, probe{
		op: "asking whether subscriptions can be created", collection: subscriptionsOf(uuid.NewString()), filter: "plan_id",
		body: map[string]any{"id": notUUID, "plan_id": notUUID, "customer_id": notUUID, "resource_id": notUUID},
		bugs: []string{"create_subscription() takes"},
	})
}

// MayCreateUsage is like MayCreateSubscriptions, for usage.
func (c *Client) MayCreateUsage(ctx context.Context) (Ability, string, error) {
	return c.ability(ctx, probe{
		op: "asking whether usage can be created", collection: usageOf(uuid.NewString()), filter: "product_id",
		body: map[string]any{"id": notUUID, "product_id": notUUID, "subscription_id": notUUID, "measure": notUUID},
		bugs: append([]string{"merchant_id is not a valid field to query by"}, usageBugs...), // v1 of March 2013 can neither list nor create usage
	})
}

// The type `probe` describes a pair of requests that a server refuses.
type probe struct {
	op         string
	collection string // of a merchant that does not exist
	filter     string // a field that contains an id
	body       map[string]any
	bugs       []string // texts of the faults of a server that is unable to create objects of the collection
}

// refusals are the texts with which servers refuse an id that is not a UUID, or a merchant that does not exist. The first text is from Python,
// and the others are from the embedded BillingStack.
var refusals = []string{"badly formed hexadecimal uuid string", "is not a lower-case uuid", "there is no merchant"}

func (c *Client) ability(ctx context.Context, p probe) (Ability, string, error) {
	read := request{op: p.op, method: http.MethodGet, path: p.collection + filter([]Condition{{Field: p.filter, Value: notUUID}})}
	write := request{op: p.op, method: http.MethodPost, path: p.collection, body: p.body}
	for _, r := range []request{read, write} {
		err := c.call(ctx, r)
		e, failed := errors.AsType[*upstream.Error](err)
		if !failed || e.Status == 0 || e.Class == upstream.Unavailable {
			return Unknown, "", err
		}
		switch f := (fault{text: e.Message}); {
		case f.mentions(p.bugs):
			return Unable, e.Message, nil
		case !f.mentions(refusals):
			return Unknown, "", nil
		}
	}
	return Able, "", nil
}
