package api

import (
	"context"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

// changePlanKinds lists the problem types of the operation of this file.
var changePlanKinds = []kind{{"plan-unchanged", http.StatusConflict, false}}

// ChangePlan changes the plan of a subscription of a merchant.
func (s *server) ChangePlan(c echo.Context, merchantID, subscriptionID string) error {
	return placeChange(s, c, merchantID, subscriptionID, changing[ChangePlanRequest]{
		operation: "changePlan", name: "change-plan",
		why: func(b ChangePlanRequest) string { return b.Why },
		admit: func(ctx context.Context, m merchants.Merchant, id string, b ChangePlanRequest, byOperator bool) (saga.Request, error) {
			return s.Admit.AdmitChangePlan(ctx, m, id, b.PlanID, byOperator)
		},
	})
}
