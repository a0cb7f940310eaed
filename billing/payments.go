package billing

import (
	"context"
	"fmt"
	"net/http"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// PaymentMethod is a way in which a customer pays, such as a credit card.
type PaymentMethod struct {
	ID   string `json:"id,omitempty"`
	Name string `json:"name"`
}

// PaymentMethods lists a customer's payment methods. The list of an unknown customer is empty. The paths of v2 contain underscores.
// The paths of v1 contain hyphens.
func (c *Client) PaymentMethods(ctx context.Context, merchantID, customerID string) ([]PaymentMethod, error) {
	op := fmt.Sprintf("listing the payment methods of customer %q", upstream.Clean(customerID))
	if err := checkIDs(op, namedID{"merchant", merchantID}, namedID{"customer", customerID}); err != nil {
		return nil, err
	}
	name := "payment_methods"
	if c.update == http.MethodPut { // v1
		name = "payment-methods"
	}
	return read[PaymentMethod](ctx, c, op, customersOf(merchantID)+"/"+customerID+"/"+name, nil)
}
