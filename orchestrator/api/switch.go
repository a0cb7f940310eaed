package api

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

// switchKinds lists the problem types of the operations in this file.
var switchKinds = []kind{
	{"suspended-by-operator", http.StatusForbidden, false},
	{"subscription-not-ready", http.StatusConflict, true},
	{"subscription-active", http.StatusConflict, false},
	{"subscription-suspended", http.StatusConflict, false},
	{"tenant-gone", http.StatusConflict, false},
	{"tenant-disabled", http.StatusConflict, false},
	{"tenant-not-ours", http.StatusConflict, false},
}

// SuspendSubscription suspends a subscription of a merchant.
func (s *server) SuspendSubscription(c echo.Context, merchantID, subscriptionID string) error {
	return placeChange(s, c, merchantID, subscriptionID, plainly("suspendSubscription", "suspend", s.Admit.AdmitSuspend))
}

// ResumeSubscription resumes a suspended subscription of a merchant.
func (s *server) ResumeSubscription(c echo.Context, merchantID, subscriptionID string) error {
	return placeChange(s, c, merchantID, subscriptionID, plainly("resumeSubscription", "resume", s.Admit.AdmitResume))
}

// The type `changing` describes an operation that changes a subscription. The type parameter B is the type of the request's body.
type changing[B any] struct {
	operation string
	name      string // the last segment of the path
	why       func(B) string
	// The field `admit` checks whether the subscription can be changed. The parameter `byOperator` is true if an operator sent the
	// request.
	admit func(ctx context.Context, m merchants.Merchant, subscriptionID string, body B, byOperator bool) (saga.Request, error)
}

// plainly returns the description of an operation whose body contains only the fields why and dry_run.
func plainly(
	operation, name string, admit func(context.Context, merchants.Merchant, string, bool) (saga.Request, error),
) changing[ChangeRequest] {
	return changing[ChangeRequest]{
		operation, name, func(b ChangeRequest) string { return b.Why },
		func(ctx context.Context, m merchants.Merchant, id string, _ ChangeRequest, byOperator bool) (saga.Request, error) {
			return admit(ctx, m, id, byOperator)
		},
	}
}

// placeChange places an order that changes a subscription.
func placeChange[B any](s *server, c echo.Context, merchantID, subscriptionID string, change changing[B]) error {
	path, byOperator := subscriptionPath(merchantID, subscriptionID), callerOf(c).merchant == nil
	route := http.MethodPost + " " + path + "/" + change.name
	if byOperator { // so that an operator who repeats a portal's idempotency key does not get the portal's run
		route += " by an operator"
	}
	return s.place(c, merchantID, placing{
		route: route,
		admit: func(ctx context.Context, m merchants.Merchant, body jsontext.Value) (saga.Request, error) {
			want, err := fits[B](body, s.document.operations[change.operation].body())
			if err != nil {
				return saga.Request{}, err
			}
			why := change.why(want)
			if !strings.ContainsFunc(why, visible) {
				return saga.Request{}, invalid(InvalidParam{Pointer: some("/why"), Detail: "the reason is empty"})
			}
			request, err := change.admit(ctx, m, subscriptionID, want, byOperator)
			request.Why = why
			return request, err
		},
		related: func(Result) string { return path },
	})
}

// subscriptionPath returns the path of a subscription.
func subscriptionPath(merchantID, id string) string {
	return "/v1/merchants/" + url.PathEscape(merchantID) + "/subscriptions/" + url.PathEscape(id)
}
