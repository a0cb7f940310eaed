package usage

import (
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"

	"github.com/tenantry/tenantry/billing"
)

// Row is the usage of one product in a window, as it is posted to BillingStack. If the usage of a window changes after a row was made, the
// next row of the window has the difference. A row never changes.
//
// A Row is stored as JSON, so fields may be added, but never removed or renamed.
type Row struct {
	ID           string           `json:"id"` // see RowID
	Subscription string           `json:"subscription_id"`
	Product      string           `json:"product_id"`
	Name         string           `json:"product"` // the name of the product
	Plan         string           `json:"plan_id"`
	From         time.Time        `json:"from"`
	To           time.Time        `json:"to"`
	Revision     int              `json:"revision"` // the number of earlier rows of the subscription, product and window
	Value        decimal.Decimal  `json:"value"`
	Price        *decimal.Decimal `json:"price,omitempty"` // the price of one unit; nil: the product has no fixed price
	// Meters has the meters that are billed as the product, with their Meter.DivideBy at the time of the row. A row that only takes back the usage
	// of earlier rows has no meters.
	Meters map[string]decimal.Decimal `json:"meters,omitempty"`
	Units  map[string]string          `json:"units,omitempty"` // the unit of each of these meters that had a Meter.Unit
}

// rowSpace is the namespace of the ids of rows.
var rowSpace = uuid.MustParse("7d3c5f0e-6f0b-5b0e-9f57-3a0c9b7c3f5a")

// RowID returns the id of a row. The id depends only on the parameters. A row that is made again, for example from a restored database,
// therefore has the same id, and BillingStack does not store it twice.
func RowID(subscription, product string, window Range, revision int) string {
	name := fmt.Sprintf("%s %s %d %d %d", subscription, product, window.From.UnixMicro(), window.To.UnixMicro(), revision)
	return uuid.NewSHA1(rowSpace, []byte(name)).String()
}

// Window returns the window of the row.
func (r Row) Window() Range { return Range{r.From, r.To} }

// Total returns the price of the row's value, or nil if the product has no fixed price.
func (r Row) Total() *decimal.Decimal {
	if r.Price == nil {
		return nil
	}
	return new(r.Value.Mul(*r.Price))
}

// rowTime is BillingStack's format of times: ISO 8601 without a zone.
const rowTime = "2006-01-02T15:04:05.999999"

// Usage returns the row as BillingStack's object. BillingStack stores floating-point numbers, so the object has the nearest ones.
func (r Row) Usage() billing.Usage {
	return billing.Usage{
		ID: r.ID, SubscriptionID: r.Subscription, ProductID: r.Product, Measure: r.Name,
		Value: nearest(&r.Value), Price: nearest(r.Price), Total: nearest(r.Total()),
		StartTimestamp: r.From.UTC().Format(rowTime), EndTimestamp: r.To.UTC().Format(rowTime),
	}
}

func nearest(d *decimal.Decimal) *float64 {
	if d == nil {
		return nil
	}
	return new(d.InexactFloat64())
}

// Differs compares the row with the usage that BillingStack has under the row's id. It returns the first difference as a text, or an empty
// text.
func (r Row) Differs(found billing.Usage) string {
	want := r.Usage()
	for _, f := range []struct {
		name        string
		want, found *float64
	}{{"value", want.Value, found.Value}, {"price", want.Price, found.Price}, {"total", want.Total, found.Total}} {
		if wanted, got := number(f.want), number(f.found); wanted != got {
			return fmt.Sprintf("the %s is %s in BillingStack, not %s", f.name, got, wanted)
		}
	}
	return ""
}

func number(f *float64) string {
	if f == nil {
		return "null"
	}
	return decimal.NewFromFloat(*f).String()
}

// Catalog contains the products that a merchant sells.
type Catalog struct {
	Plans map[string][]Product // the products in a plan, by the id of the plan
	Names map[string]bool      // the names of all products of the merchant
}

// Product is a product in a plan.
type Product struct {
	ID, Name string
	Price    *decimal.Decimal // nil: the product has no fixed price in this plan
}

// maxPriceText is the maximum length of a price that is a text. The time to decode a text grows with the square of its length.
const maxPriceText = 1000

// The function `fixed` returns the price of a pricing with one fixed price, and otherwise nil.
func fixed(pricing []any) *decimal.Decimal {
	if len(pricing) != 1 {
		return nil
	}
	entry, _ := pricing[0].(map[string]any)
	if kind, _ := entry["type"].(string); !strings.EqualFold(kind, "fixed") {
		return nil
	}
	var price decimal.Decimal
	switch p := entry["price"].(type) {
	case float64:
		price = decimal.NewFromFloat(p)
	case string:
		if len(p) > maxPriceText {
			return nil
		}
		var err error
		if price, err = decimal.NewFromString(p); err != nil {
			return nil
		}
	default:
		return nil
	}
	if price.IsNegative() || !plain(price) {
		return nil
	}
	return &price
}
