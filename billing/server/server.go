// Package server is the embedded BillingStack. The server implements the documented v2 API of the original BillingStack, but has
// none of the original's bugs. The package stores its records through the interfaces Table and Plans.
package server

import (
	"context"
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/billing"
)

// Table stores the objects of one type, in the order of their creation. merchantID limits each call to the objects of one
// merchant. In the table of merchants, merchantID is empty.
type Table[T any] interface {
	// List returns the objects that meet all conditions. A condition's Field is a column that a filter may use. A condition's Op is
	// eq, ne, ge, le, gt, lt or like.
	List(ctx context.Context, merchantID string, where []billing.Condition) ([]T, error)
	// Each calls the function `take` for every object that List would return. The method need not hold all objects in memory. If
	// `take` returns an error, the method returns this error at once.
	Each(ctx context.Context, merchantID string, where []billing.Condition, take func(T) error) error
	// Create stores a new object. Create returns billing.ErrConflict if any merchant has an object with this id. Create returns
	// billing.ErrReference if the object refers to another object that the merchant does not have.
	Create(ctx context.Context, merchantID string, object T) error
	// Update changes a stored object in one transaction and returns the changed object. If change returns an error, Update
	// returns this error and stores nothing. Update also returns billing.ErrNotFound and billing.ErrReference.
	Update(ctx context.Context, merchantID, id string, change func(*T) error) (T, error)
	// Delete returns billing.ErrNotFound if the object does not exist, and billing.ErrConflict if another object refers to the
	// object.
	Delete(ctx context.Context, merchantID, id string) error
}

// Plans stores plans and their items. List and Update return plans with their items.
type Plans interface {
	Table[billing.Plan]
	// AddItem returns billing.ErrNotFound if the plan does not exist. AddItem also returns the errors that Create returns.
	AddItem(ctx context.Context, merchantID string, item billing.PlanItem) error
	// UpdateItem returns the same errors as Update.
	UpdateItem(ctx context.Context, merchantID, planID, productID string, change func(*billing.PlanItem) error) error
	// DeleteItem returns billing.ErrNotFound if the item does not exist.
	DeleteItem(ctx context.Context, merchantID, planID, productID string) error
}

// Records are the tables of the server.
type Records struct {
	Merchants     Table[billing.Merchant]
	Products      Table[billing.Product]
	Plans         Plans
	Customers     Table[billing.Customer]
	Subscriptions Table[billing.Subscription]
	Usage         Table[billing.Usage]
}

// New returns a server that serves BillingStack's v2 API under /v2. If a table returns an unexpected error, the server passes the
// error to the function `failed`, and answers 500 without the text of the error. The server does not authenticate clients, so serve
// it only on the loopback interface, with [LoopbackOnly].
//
// A successful POST returns 202, a successful GET, PATCH or PUT returns 200, and a successful DELETE returns 204. The server
// answers 404 if the merchant does not have the object. The server answers 409 if an id is taken, or if another object refers to
// the object to delete. The server answers 413 to a body over 112 KiB, and 415 to a content type other than JSON. All other
// invalid requests get a 400, for example requests with unknown keys, unknown query arguments or references to missing objects.
// The server keeps the usage of a deleted subscription, like the original BillingStack.
func New(records Records, failed func(*http.Request, error)) *echo.Echo {
	e := echo.New()
	e.IPExtractor = echo.ExtractIPDirect() // by default, Echo trusts every X-Forwarded-For header
	e.HTTPErrorHandler = func(err error, c echo.Context) { answerError(c, err, failed) }
	v2 := e.Group("/v2")

	names{currencies}.register(v2, "/currencies")
	names{languages}.register(v2, "/languages")

	newResource[merchantBody](records.Merchants, viewMerchant, "id", "name", "currency_name", "language_name").
		register(v2, "/merchants")

	merchant := v2.Group("/merchants/:merchant", validMerchant, knownMerchant(records.Merchants))
	newResource[productBody](records.Products, viewProduct, "id", "merchant_id", "name", "title", "description").
		register(merchant, "/products")
	newResource[planBody](records.Plans, viewPlan, "id", "merchant_id", "name", "title", "description").
		register(merchant, "/plans")
	items{records.Plans}.register(merchant, "/plans/:plan/items/:product")
	newResource[customerBody](records.Customers, viewCustomer, "id", "merchant_id", "name", "currency_name", "language_name").
		register(merchant, "/customers")
	merchant.GET("/customers/:customer/payment_methods", noPaymentMethods)
	newResource[subscriptionBody](records.Subscriptions, viewSubscription,
		"id", "plan_id", "customer_id", "resource_id", "resource_type", "payment_method_id").
		register(merchant, "/subscriptions")
	newResource[usageBody](records.Usage, viewUsage, "id", "merchant_id", "subscription_id", "product_id", "measure").
		register(merchant, "/usage")
	return e
}

// noPaymentMethods answers the list of a customer's payment methods. The server has no payment methods.
func noPaymentMethods(c echo.Context) error { return c.JSON(http.StatusOK, []any{}) }

func validMerchant(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if id := c.Param("merchant"); !billing.ValidID(id) {
			return badRequest("merchant id %q is not a lower-case uuid", id)
		}
		return next(c)
	}
}

// knownMerchant answers 400 to a POST whose path names an unknown merchant. The original BillingStack answers 500 to such a POST. A
// 404 would mean that the address is wrong. A GET of an unknown merchant's list returns an empty list.
func knownMerchant(merchants Table[billing.Merchant]) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if c.Request().Method != http.MethodPost {
				return next(c)
			}
			id := c.Param("merchant")
			found, err := merchants.List(c.Request().Context(), "", []billing.Condition{{Field: "id", Op: "eq", Value: id}})
			if err != nil {
				return err
			}
			if len(found) == 0 {
				return badRequest("there is no merchant %q", id)
			}
			return next(c)
		}
	}
}

// isRoute reports whether err is an error of Echo's router, which means that the path or the method is unknown. If so, isRoute also
// returns the HTTP status of err.
func isRoute(err error) (int, bool) {
	e, ok := errors.AsType[*echo.HTTPError](err)
	if !ok {
		return 0, false
	}
	return e.Code, true
}
