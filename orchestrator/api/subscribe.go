package api

import (
	"context"
	"fmt"
	"net/http"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/workflows"
)

// orderKinds lists the problem types that are specific to orders of the workflow `subscribe`.
var orderKinds = []kind{{
	"user-not-of-customer", http.StatusForbidden, "The user does not belong to the customer",
	`The user has no role on the customer's tenant, or the tenant does not exist. To add another user to the customer, send` +
		` "add_user": true: the run then gives the user its roles, and creates the tenant if it does not exist.`, false, FixByMerchant,
}}

// Subscribe places an order that subscribes a user to a plan.
func (s *server) Subscribe(c echo.Context, merchantID string) error {
	tokens := c.Request().Header.Values(headerSubjectToken)
	return s.place(c, merchantID, placing{
		route: http.MethodPost + " /v1/merchants/{merchant_id}/subscriptions",
		admit: func(ctx context.Context, m merchants.Merchant, body jsontext.Value) (saga.Request, error) {
			want, err := fits[SubscribeRequest](body, s.document.operations["subscribe"].body())
			if err == nil {
				err = coherent(want)
			}
			if err != nil {
				return saga.Request{}, err
			}
			if len(tokens) != 1 || !printable(tokens[0], maxToken) {
				return saga.Request{}, refuse(userTokenInvalid, "X-Subject-Token must contain exactly one token")
			}
			return s.Admit.AdmitSubscribe(ctx, m, asked(want), tokens[0])
		},
		related: func(r Result) string {
			return subscriptionPath(merchantID, fmt.Sprint(r["subscription_id"]))
		},
	})
}

// The function `asked` converts the body of a request to a [workflows.Asked].
func asked(want SubscribeRequest) workflows.Asked {
	a := workflows.Asked{
		PlanID: want.PlanID, CustomerID: valueOf(want.CustomerID), AddUser: valueOf(want.AddUser),
		PaymentMethodID: want.PaymentMethodID, BillingDay: want.BillingDay,
	}
	if c := want.Customer; c != nil {
		a.NewCustomer = &workflows.NewCustomer{Name: c.Name, Currency: valueOf(c.Currency), Language: valueOf(c.Language)}
	}
	return a
}

// The function `coherent` checks the body against the rules that the function `fits` does not check: oneOf in the schema, and rules
// that an OpenAPI schema cannot express.
func coherent(want SubscribeRequest) error {
	var faults []InvalidParam
	fault := func(pointer, detail string) {
		if detail != "" {
			faults = append(faults, InvalidParam{Pointer: &pointer, Detail: detail})
		}
	}
	switch {
	case want.Customer == nil && want.CustomerID == nil:
		fault("", "one of the fields customer and customer_id is required")
	case want.Customer != nil && want.CustomerID != nil:
		fault("/customer_id", "send only one of the fields customer and customer_id")
	case want.Customer != nil:
		fault("/customer/name", blank(want.Customer.Name))
		if want.AddUser != nil {
			fault("/add_user", "add_user is allowed only with customer_id: the user of a new customer is always added")
		}
	}
	if len(faults) > 0 {
		return invalid(faults...)
	}
	return nil
}
