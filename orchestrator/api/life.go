package api

import (
	"context"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// lifeKinds lists the problem types of the operations of this file.
var lifeKinds = []kind{
	{"subscription-ending", http.StatusConflict, false},
	{"subscription-ended", http.StatusConflict, false},
	{"subscription-not-ending", http.StatusConflict, false},
	{"plan-gone", http.StatusConflict, false},
	{"ending-taken", http.StatusConflict, false},
	{"tenant-enabled", http.StatusConflict, false},
	{"tenant-not-settled", http.StatusConflict, true},
}

// HoldSubscription stops the removal of an ending subscription's tenant until the hold is released.
func (s *server) HoldSubscription(c echo.Context, merchantID, subscriptionID string) error {
	merchant, err := s.merchantOf(c, merchantID)
	if err != nil {
		return err
	}
	want, err := bodyAs[ActionRequest](c, s.document.operations["holdSubscription"])
	if err != nil {
		return err
	}
	if !strings.ContainsFunc(want.Why, visible) {
		return invalid(InvalidParam{Pointer: some("/why"), Detail: "the reason is empty"})
	}
	hold := saga.FollowUpHold{Who: callerOf(c).String(), Why: upstream.Clean(want.Why), At: s.Now()}
	if err := s.Admit.HoldEnding(c.Request().Context(), merchant.ID, subscriptionID, &hold); err != nil {
		return err
	}
	return s.GetSubscription(c, merchantID, subscriptionID)
}

// ReleaseSubscription lifts the hold on an ending subscription.
func (s *server) ReleaseSubscription(c echo.Context, merchantID, subscriptionID string) error {
	merchant, err := s.merchantOf(c, merchantID)
	if err != nil {
		return err
	}
	if err := s.Admit.HoldEnding(c.Request().Context(), merchant.ID, subscriptionID, nil); err != nil {
		return err
	}
	return s.GetSubscription(c, merchantID, subscriptionID)
}

// UnsubscribeSubscription ends a subscription of a merchant.
func (s *server) UnsubscribeSubscription(c echo.Context, merchantID, subscriptionID string) error {
	return placeChange(s, c, merchantID, subscriptionID, plainly("unsubscribeSubscription", "unsubscribe", s.Admit.AdmitUnsubscribe))
}

// RestoreSubscription restores an ending subscription of a merchant.
func (s *server) RestoreSubscription(c echo.Context, merchantID, subscriptionID string) error {
	return placeChange(s, c, merchantID, subscriptionID, changing[RestoreRequest]{
		"restoreSubscription", "restore", func(b RestoreRequest) string { return b.Why },
		func(ctx context.Context, m merchants.Merchant, id string, b RestoreRequest, byOperator bool) (saga.Request, error) {
			return s.Admit.AdmitRestore(ctx, m, id, valueOf(b.AddUser), byOperator)
		},
	})
}

// RemoveSubscription removes the tenant of an ending subscription.
func (s *server) RemoveSubscription(c echo.Context, merchantID, subscriptionID string) error {
	return placeChange(s, c, merchantID, subscriptionID, changing[RemoveRequest]{
		"removeSubscription", "remove", func(b RemoveRequest) string { return b.Why },
		func(ctx context.Context, m merchants.Merchant, id string, b RemoveRequest, _ bool) (saga.Request, error) {
			return s.Admit.AdmitRemove(ctx, m, id, valueOf(b.Force))
		},
	})
}
