// Package server is a BillingStack of our own: the original's v2 API as documented, without its bugs, over whatever
// keeps the records.
package server

import (
	"context"
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/billing"
)

// Table keeps one kind of object, in the order in which they were made. merchantID bounds every call: an object of
// another merchant is not there. It is empty for merchants themselves.
type Table[T any] interface {
	// List gives what meets all conditions. Their fields are among those that the server knows, in the names of
	// BillingStack's columns; their operators are eq, ne, ge, le, gt, lt and like.
	List(ctx context.Context, merchantID string, where []billing.Condition) ([]T, error)
	// Create returns billing.ErrConflict when the id is taken by anybody, billing.ErrReference when the object names
	// one that the merchant does not have.
	Create(ctx context.Context, merchantID string, object T) error
	// Update changes what is stored, with nobody in between, and returns what it then is. An error of change is returned
	// as it is, and nothing is stored. billing.ErrNotFound, billing.ErrReference.
	Update(ctx context.Context, merchantID, id string, change func(*T) error) (T, error)
	// Delete returns billing.ErrNotFound, or billing.ErrConflict when something still refers to the object.
	Delete(ctx context.Context, merchantID, id string) error
}

// Plans keeps plans, whose List and Update give them with their items, and the items.
type Plans interface {
	Table[billing.Plan]
	// AddItem returns billing.ErrNotFound for an unknown plan, else the errors of Create.
	AddItem(ctx context.Context, merchantID string, item billing.PlanItem) error
	// UpdateItem returns the errors of Update.
	UpdateItem(ctx context.Context, merchantID, planID, productID string, change func(*billing.PlanItem) error) error
	// DeleteItem returns billing.ErrNotFound.
	DeleteItem(ctx context.Context, merchantID, planID, productID string) error
}

// Records is where the objects are kept.
type Records struct {
	Merchants     Table[billing.Merchant]
	Products      Table[billing.Product]
	Plans         Plans
	Customers     Table[billing.Customer]
	Subscriptions Table[billing.Subscription]
	Usage         Table[billing.Usage]
}

// New answers BillingStack's v2 API under /v2. failed is told of every fault of the records, which the caller sees as
// a bare 500. Like the original it asks nobody who they are: serve it on the loopback interface.
//
// Beyond the original's success codes (POST 202, GET, PATCH and PUT 200, DELETE 204) it answers 404 for what the
// merchant does not have, 409 for a taken id and for removing what others refer to, 413 for a body over 112 KiB, 415
// for another content type, and 400 for everything else that is wrong with a request: unknown keys, unknown query
// arguments, references to what is not there. Usage outlives its subscription, as in the original.
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

// knownMerchant guards what would be made under a merchant; to read under an unknown one finds nothing.
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

// isRoute tells of an error that Echo's router made: no such path or method.
func isRoute(err error) (int, bool) {
	e, ok := errors.AsType[*echo.HTTPError](err)
	if !ok {
		return 0, false
	}
	return e.Code, true
}
