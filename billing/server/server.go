// Package server is our own BillingStack: the original's v2 API as documented, without its bugs. It stores its records behind
// interfaces.
package server

import (
	"context"
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/billing"
)

// Table stores one kind of object, in the order of creation. merchantID limits every call to that merchant's objects. It is empty
// for merchants themselves.
type Table[T any] interface {
	// List returns the objects that meet all conditions. Their fields are those that the server knows, by the names of
	// BillingStack's columns. Their operators are eq, ne, ge, le, gt, lt and like.
	List(ctx context.Context, merchantID string, where []billing.Condition) ([]T, error)
	// Create stores a new object. It returns billing.ErrConflict if the id is taken by any merchant, and billing.ErrReference if the
	// object refers to one that the merchant does not have.
	Create(ctx context.Context, merchantID string, object T) error
	// Update changes a stored object in one transaction and returns the result. If change returns an error, Update returns it and
	// stores nothing. Other errors are billing.ErrNotFound and billing.ErrReference.
	Update(ctx context.Context, merchantID, id string, change func(*T) error) (T, error)
	// Delete returns billing.ErrNotFound, or billing.ErrConflict if something still refers to the object.
	Delete(ctx context.Context, merchantID, id string) error
}

// Plans stores plans and their items. List and Update return plans with their items.
type Plans interface {
	Table[billing.Plan]
	// AddItem returns billing.ErrNotFound for an unknown plan, and otherwise the errors of Create.
	AddItem(ctx context.Context, merchantID string, item billing.PlanItem) error
	// UpdateItem returns the errors of Update.
	UpdateItem(ctx context.Context, merchantID, planID, productID string, change func(*billing.PlanItem) error) error
	// DeleteItem returns billing.ErrNotFound.
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

// New returns a server of BillingStack's v2 API under /v2. failed is called with every error of the records; the caller gets a
// 500 without its text. Like the original, the server authenticates nobody: serve it on the loopback interface.
//
// Successful answers have the original's codes: POST 202, GET, PATCH and PUT 200, DELETE 204. An object that the merchant does
// not have is a 404. A taken id and the removal of an object that others refer to are a 409. A body over 112 KiB is a 413,
// another content type a 415. All other faults of a request are a 400: unknown keys, unknown query arguments, references to
// missing objects. Usage is kept when its subscription is deleted, as in the original.
func New(records Records, failed func(*http.Request, error)) *echo.Echo {
	e := echo.New()
	e.IPExtractor = echo.ExtractIPDirect() // Echo's default trusts any X-Forwarded-For
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
	newResource[subscriptionBody](records.Subscriptions, viewSubscription,
		"id", "plan_id", "customer_id", "resource_id", "resource_type", "payment_method_id").
		register(merchant, "/subscriptions")
	newResource[usageBody](records.Usage, viewUsage, "id", "merchant_id", "subscription_id", "product_id", "measure").
		register(merchant, "/usage")
	return e
}

func validMerchant(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if id := c.Param("merchant"); !billing.ValidID(id) {
			return badRequest("merchant id %q is not a lower-case uuid", id)
		}
		return next(c)
	}
}

// knownMerchant refuses a POST under an unknown merchant. A list under an unknown merchant is empty.
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
				return notFound(id)
			}
			return next(c)
		}
	}
}

// isRoute reports whether Echo's router returned the error: there is no such path or method.
func isRoute(err error) (int, bool) {
	e, ok := errors.AsType[*echo.HTTPError](err)
	if !ok {
		return 0, false
	}
	return e.Code, true
}
