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
var orderKinds = []kind{{"user-not-of-customer", http.StatusForbidden, false}}

// Subscribe places an order that subscribes a user to a plan.
func (s *server) Subscribe(c echo.Context, merchantID string) error {
	tokens := c.Request().Header.Values(headerSubjectToken)
	valid := func(body jsontext.Value) (SubscribeRequest, error) {
		want, err := fits[SubscribeRequest](body, s.document.operations["subscribe"].body())
		if err == nil {
			err = coherent(want, len(tokens) > 0)
		}
		return want, err
	}
	return s.place(c, merchantID, placing{
		route:    http.MethodPost + " /v1/merchants/{merchant_id}/subscriptions",
		password: []string{"user", "password"},
		valid: func(body jsontext.Value) error {
			_, err := valid(body)
			return err
		},
		admit: func(ctx context.Context, m merchants.Merchant, body jsontext.Value) (saga.Request, error) {
			want, err := valid(body)
			switch {
			case err != nil:
				return saga.Request{}, err
			case want.User != nil:
				if err := s.limitLogin(c, m, want.User.Name); err != nil {
					return saga.Request{}, err
				}
				return s.Admit.AdmitSubscribe(ctx, m, asked(want), "")
			case len(tokens) != 1 || !printable(tokens[0], maxToken):
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
	if u := want.User; u != nil {
		a.NewUser = &workflows.NewUser{Name: u.Name, Email: valueOf(u.Email)}
	}
	return a
}

// The function `coherent` checks the body against the rules that the function `fits` does not check: oneOf in the schema, and rules
// that an OpenAPI schema cannot express. The parameter `token` reports whether the request has a user's token.
func coherent(want SubscribeRequest, token bool) error {
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
	if want.User != nil && token {
		faults = append(faults, InvalidParam{Parameter: some(headerSubjectToken), Detail: "send either this header or the field user"})
	}
	if len(faults) > 0 {
		return invalid(faults...)
	}
	if want.User != nil {
		return newUser("/user", want.User.Name, want.User.Password)
	}
	return nil
}
