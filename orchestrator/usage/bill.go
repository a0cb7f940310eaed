package usage

import (
	"cmp"
	"slices"
	"time"

	"github.com/shopspring/decimal"
)

// Reading contains the usage of an hour that is to be billed.
type Reading struct {
	Merchant string
	Hour     time.Time
	Measured []Metered // the usage of the subscriptions, and of projects without a subscription
	Earlier  []Row     // all rows that were made before for the hour and these subscriptions
	// If an operator has had the usage of a subscription billed again, Terms has the products, units, divisors and prices of that bill. The key is
	// the id of the subscription. An empty list means the present terms. A subscription without a list keeps the terms of its earlier rows.
	Terms map[string][]Term
}

// Metered is the usage of a project, and the subscription that it belongs to.
type Metered struct {
	Measured

	Cloud, Project string
	Subscription   string // empty: the project is not the tenant of a subscription
}

// Reason says what is wrong with usage.
type Reason string

// The reasons why usage is not billed as it should be.
const (
	NoSubscription   Reason = "no-subscription"   // the project had no subscription at this time
	NotLive          Reason = "subscription-over" // the subscription had ended
	NoPlan           Reason = "plan-gone"         // BillingStack does not have the plan of the subscription
	NoProduct        Reason = "no-product"        // the merchant has no product for the meter
	AmbiguousProduct Reason = "product-ambiguous" // the plan has several products of this name
	OtherUnit        Reason = "other-unit"        // the meter is billed in another unit
	SeveralUnits     Reason = "several-units"     // the hour has several units of the meter, and Meters does not state the unit that is billed
	Unpriced         Reason = "unpriced"          // the usage is billed, but its product has no fixed price
	Differing        Reason = "differs"           // BillingStack has other numbers under the id of a row
)

// OfMeter reports whether the reason is about a meter, and not about one project.
func (r Reason) OfMeter() bool {
	return r == NoProduct || r == AmbiguousProduct || r == OtherUnit || r == SeveralUnits
}

// Unmatched is usage that is not billed as it should be. If the reason is Unpriced or Differing, Meter is the name of the product.
type Unmatched struct {
	Metered

	Reason Reason
}

// Bill contains the rows for an hour of usage.
type Bill struct {
	Rows      []Row
	Unmatched []Unmatched // all unmatched usage of the hour, new and known, except usage of zero; in any order
	// Later contains the subscriptions whose plan BillingStack does not have now. Their usage is billed later: BillingStack may have answered
	// with an incomplete list.
	Later map[string]bool
	Terms map[string][]Term // replaces Reading.Terms, except for the subscriptions in Later
}

// Billing says how usage becomes rows.
type Billing struct {
	Meters Meters
	Live   func(state string) bool // reports whether a subscription in this state is billed
}

// productDigits is the number of digits after the decimal point to which each amount is rounded after the conversion to units of the product.
const productDigits = 12

// Bill returns the rows for an hour. The usage of the meters of one product is added. If there are earlier rows of a window with the same plan,
// product and price, the new row has the difference to their sum. A new row whose value would be zero is not
// made. If the window now belongs to another plan, one row takes back the usage of the old plan at the old price, and another row has the usage of the new
// plan.
//
// A meter that has earlier rows in the window keeps its product, unit, divisor and price. This is so even if the merchant has changed the plan, the
// product or its price since, or if the file of meters was changed. If the subscription has r.Terms, the meter gets these terms instead. If they
// differ from the terms of the earlier rows, one row takes back the usage of the old product at the old price, and another row has the usage of the
// new product. Usage of a product that is not in the plan of the subscription is neither billed nor unmatched: the merchant does not sell it in this
// plan.
//
// Amounts of different units are never added. If the unit of a meter is stated, usage with another unit is unmatched. If the unit is not stated, and
// the subscription has amounts of several units in the hour, the usage of this meter is not billed, and earlier rows are taken back. Once the unit
// is stated in b.Meters, the usage is billed as if there were no earlier rows.
func (b Billing) Bill(r Reading, c Catalog) (bill Bill) {
	earlier := slices.SortedFunc(slices.Values(r.Earlier), func(a, b Row) int { return cmp.Compare(a.Revision, b.Revision) })
	kept := keptOf(earlier, r.Terms)
	several := b.severalUnits(r.Measured)
	bill.Later, bill.Terms = map[string]bool{}, map[string][]Term{}
	products := make([]*sold, len(r.Measured))
	for i, m := range r.Measured {
		product, reason := b.productOf(m, c, kept, several[used{m.Subscription, m.Meter}])
		if reason == NoPlan {
			bill.Later[m.Subscription] = true
		}
		if reason != "" && !m.Amount.IsZero() {
			bill.Unmatched = append(bill.Unmatched, unmatched(m, reason))
		}
		products[i] = product
	}
	for subscription, terms := range r.Terms {
		if !bill.Later[subscription] {
			bill.Terms[subscription] = termsOf(subscription, terms, r.Measured, products)
		}
	}

	sums, whole := map[sale]*Row{}, map[sale]decimal.Decimal{} // the rows, and their values without the earlier rows
	for i, m := range r.Measured {
		product := products[i]
		if product == nil || bill.Later[m.Subscription] {
			continue
		}
		k := sale{m.window(), product.ID, priceText(product.Price)}
		if sums[k] == nil {
			sums[k] = &Row{
				Subscription: m.Subscription, Product: product.ID, Name: product.Name, Plan: m.Plan, From: m.From, To: m.To, Price: product.Price,
				Meters: map[string]decimal.Decimal{},
			}
		}
		sums[k].Meters[m.Meter] = product.divideBy
		if product.unit != "" {
			if sums[k].Units == nil {
				sums[k].Units = map[string]string{}
			}
			sums[k].Units[m.Meter] = product.unit
		}
		sums[k].Value = sums[k].Value.Add(divide(m.Amount, product.divideBy, productDigits))
		whole[k] = sums[k].Value
	}
	revisions := map[sale]int{} // the sales have neither plan nor price
	for _, e := range earlier {
		if bill.Later[e.Subscription] {
			continue
		}
		k := sale{window{e.Subscription, e.Plan, e.From.UnixMicro(), e.To.UnixMicro()}, e.Product, priceText(e.Price)}
		revisions[k.ofAnyPlan()] = e.Revision + 1
		if sums[k] == nil { // the earlier rows have another window, plan or terms, or the meters no longer have usage
			sums[k] = &Row{Subscription: e.Subscription, Product: e.Product, Name: e.Name, Plan: e.Plan, From: e.From, To: e.To, Price: e.Price}
		}
		sums[k].Value = sums[k].Value.Sub(e.Value)
	}
	for k, row := range sums {
		if !row.Value.IsZero() {
			bill.Rows = append(bill.Rows, *row)
		}
		if row.Price == nil && !whole[k].IsZero() {
			bill.Unmatched = append(bill.Unmatched, Unmatched{
				Metered{Measured: Measured{Range: row.Window(), Meter: row.Name, Amount: whole[k]}, Subscription: row.Subscription}, Unpriced,
			})
		}
	}
	slices.SortFunc(bill.Rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(a.Subscription, b.Subscription), a.From.Compare(b.From), cmp.Compare(a.Product, b.Product), a.To.Compare(b.To),
			cmp.Compare(a.Plan, b.Plan), cmp.Compare(len(a.Meters), len(b.Meters)), cmp.Compare(priceText(a.Price), priceText(b.Price)))
	})
	for i := range bill.Rows {
		row := &bill.Rows[i]
		k := sale{window{row.Subscription, "", row.From.UnixMicro(), row.To.UnixMicro()}, row.Product, ""}
		row.Revision = revisions[k]
		revisions[k]++
		row.ID = RowID(row.Subscription, row.Product, row.Window(), row.Revision)
	}
	return bill
}

// The type `window` is the window of a subscription that has a plan. The times are in microseconds.
type window struct {
	subscription, plan string
	from, to           int64
}

func (m Metered) window() window {
	return window{m.Subscription, m.Plan, m.From.UnixMicro(), m.To.UnixMicro()}
}

// The type `metering` is a meter in a window.
type metering struct {
	window

	meter string
}

// The type `sold` says how a meter is billed in a window.
type sold struct {
	Product

	divideBy decimal.Decimal
	unit     string // empty: not stated
}

// The type `used` is a meter of a subscription.
type used struct{ subscription, meter string }

// severalUnits returns the meters with amounts of several units. It ignores usage for which withoutSubscription returns a reason.
func (b Billing) severalUnits(all []Metered) map[used]bool {
	units, several := map[used]string{}, map[used]bool{}
	for i := range all {
		m := &all[i]
		if m.Amount.IsZero() || b.withoutSubscription(m) != "" {
			continue
		}
		k := used{m.Subscription, m.Meter}
		if unit, known := units[k]; known && unit != m.Unit {
			several[k] = true
		}
		units[k] = m.Unit
	}
	return several
}

// The type `sale` names the rows that have the same product, plan and price.
type sale struct {
	window

	product string
	price   string // see priceText
}

// ofAnyPlan names rows whose revisions are counted together, even if their plans and prices differ.
func (s sale) ofAnyPlan() sale {
	s.plan, s.price = "", ""
	return s
}

// priceText returns a price as a text. Equal prices have the same text. Without a price, the text is empty.
func priceText(price *decimal.Decimal) string {
	if price == nil {
		return ""
	}
	return price.String()
}

// The function `unmatched` omits the fields on which the reason does not depend. For example, a missing or ambiguous product is missing for all
// projects.
func unmatched(m Metered, why Reason) Unmatched {
	if why.OfMeter() {
		m.Cloud, m.Project, m.Subscription, m.State = "", "", "", ""
	}
	return Unmatched{m, why}
}

// productOf returns how usage is billed, or the reason why it is not billed. If both results are empty, the product is not in the plan. The
// parameter `several` reports whether there are several units of the meter.
func (b Billing) productOf(m Metered, c Catalog, kept kept, several bool) (*sold, Reason) {
	if reason := b.withoutSubscription(&m); reason != "" {
		return nil, reason
	}
	product, known := kept.meters[metering{m.window(), m.Meter}]
	if !known || several && product.unit == "" && b.Meters.of(m.Meter).Unit != "" {
		found, reason := b.productNow(&m, c)
		if found == nil {
			return nil, reason
		}
		product = *found
	}
	switch {
	case product.unit == "" && several:
		return nil, SeveralUnits
	case product.unit != "" && product.unit != m.Unit:
		return nil, OtherUnit
	}
	if price, known := kept.prices[sale{m.window(), product.ID, ""}]; known {
		product.Price = price
	}
	return &product, ""
}

// withoutSubscription returns the reason why usage is not billed to a subscription, or nothing.
func (b Billing) withoutSubscription(m *Metered) Reason {
	switch {
	case m.Subscription == "" || m.Plan == "":
		return NoSubscription
	case !b.Live(m.State):
		return NotLive
	}
	return ""
}

// productNow returns the product that the catalog has for usage, or the reason why there is none. If both are empty, the product is not in the plan.
func (b Billing) productNow(m *Metered, c Catalog) (*sold, Reason) {
	products, known := c.Plans[m.Plan]
	if !known {
		return nil, NoPlan
	}
	meter := b.Meters.of(m.Meter)
	var found *sold
	for _, p := range products {
		if p.Name != meter.Product {
			continue
		}
		if found != nil {
			return nil, AmbiguousProduct
		}
		found = &sold{p, meter.DivideBy, meter.Unit}
	}
	if found == nil && !c.Names[meter.Product] {
		return nil, NoProduct
	}
	return found, ""
}
