package usage

import (
	"cmp"
	"slices"
	"time"

	"github.com/shopspring/decimal"
)

// Term says how the usage of a meter in a window of a subscription is billed. It is stored as JSON, so fields may be added, but never removed or
// renamed.
type Term struct {
	Plan     string           `json:"plan_id"`
	From     time.Time        `json:"from"`
	To       time.Time        `json:"to"`
	Meter    string           `json:"meter"`
	Product  string           `json:"product_id"`
	Name     string           `json:"product"` // the name of the product
	Price    *decimal.Decimal `json:"price,omitempty"`
	DivideBy decimal.Decimal  `json:"divide_by"`
	Unit     string           `json:"unit,omitempty"` // see Meter.Unit
}

// The type `kept` has the terms of usage that was billed before.
type kept struct {
	meters map[metering]sold
	prices map[sale]*decimal.Decimal // the prices of the products in a window; the keys have no price
}

// keptOf returns the terms with which usage was billed before. If the subscription has no terms, keptOf derives them from its earlier rows,
// which are sorted by revision. A row that states the unit of a meter replaces earlier rows that do not state it: see Billing.Bill.
func keptOf(earlier []Row, terms map[string][]Term) kept {
	k := kept{map[metering]sold{}, map[sale]*decimal.Decimal{}}
	keepPrice := func(at window, product string, price *decimal.Decimal) {
		if _, known := k.prices[sale{at, product, ""}]; !known {
			k.prices[sale{at, product, ""}] = price
		}
	}
	for _, e := range earlier {
		if _, has := terms[e.Subscription]; has {
			continue
		}
		at := window{e.Subscription, e.Plan, e.From.UnixMicro(), e.To.UnixMicro()}
		keepPrice(at, e.Product, e.Price)
		for meter, divideBy := range e.Meters {
			m := metering{at, meter}
			if before, known := k.meters[m]; !known || before.unit == "" && e.Units[meter] != "" {
				k.meters[m] = sold{Product{ID: e.Product, Name: e.Name, Price: e.Price}, divideBy, e.Units[meter]}
			}
		}
	}
	for subscription, all := range terms {
		for _, t := range all {
			at := window{subscription, t.Plan, t.From.UnixMicro(), t.To.UnixMicro()}
			keepPrice(at, t.Product, t.Price)
			k.meters[metering{at, t.Meter}] = sold{Product{ID: t.Product, Name: t.Name, Price: t.Price}, t.DivideBy, t.Unit}
		}
	}
	return k
}

// termsOf returns the terms of a subscription after a bill: the earlier terms, and the terms of the usage that was billed now.
func termsOf(subscription string, earlier []Term, measured []Metered, products []*sold) []Term {
	all := map[metering]Term{}
	for _, t := range earlier {
		all[metering{window{subscription, t.Plan, t.From.UnixMicro(), t.To.UnixMicro()}, t.Meter}] = t
	}
	for i, m := range measured {
		if p := products[i]; p != nil && m.Subscription == subscription {
			all[metering{m.window(), m.Meter}] = Term{m.Plan, m.From, m.To, m.Meter, p.ID, p.Name, p.Price, p.divideBy, p.unit}
		}
	}
	terms := []Term{}
	for _, t := range all {
		terms = append(terms, t)
	}
	slices.SortFunc(terms, func(a, b Term) int {
		return cmp.Or(a.From.Compare(b.From), a.To.Compare(b.To), cmp.Compare(a.Plan, b.Plan), cmp.Compare(a.Meter, b.Meter))
	})
	return terms
}
