package usage

import (
	"fmt"

	"github.com/shopspring/decimal"

	"github.com/tenantry/tenantry/billing"
)

const (
	// maxCatalog is the maximum size of a merchant's catalog in memory, in bytes. A thousand plans with 300 products each need about 12 MB, or
	// 40 MB if each item has a price of its own.
	maxCatalog = 64 << 20
	// The sizes of the parts of a catalog, without their texts.
	sizeOfPlan, sizeOfItem, sizeOfProduct, sizeOfPrice = 100, 40, 150, 100
)

// Offers makes a catalog from a merchant's plans and products, which are added while BillingStack's lists are being read. Offers keeps only what
// a bill needs. The zero value is a catalog without plans and products.
type Offers struct {
	plans  map[string][]Product
	prices map[string]*decimal.Decimal // the prices of the products, by id
	names  map[string]bool             // see Catalog.Names
	texts  map[string]string           // each text once: the plans have the same products
	size   int                         // the size of the catalog, in bytes
}

// The variable ofProduct marks the price of an item without a pricing of its own.
var ofProduct = new(decimal.Decimal)

// AddPlan adds a plan with its items.
func (o *Offers) AddPlan(p billing.Plan) {
	if o.plans == nil {
		o.plans = map[string][]Product{}
	}
	if o.size += sizeOfPlan + len(p.ID) + len(p.Items)*sizeOfItem; o.size > maxCatalog {
		return
	}
	all := make([]Product, len(p.Items))
	for i, item := range p.Items {
		all[i] = Product{ID: o.text(item.ProductID), Name: o.text(item.Name), Price: ofProduct}
		if len(item.Pricing) > 0 {
			all[i].Price = o.price(item.Pricing)
		}
	}
	o.plans[p.ID] = all
}

// AddProduct adds a product.
func (o *Offers) AddProduct(p billing.Product) {
	if o.prices == nil {
		o.prices, o.names = map[string]*decimal.Decimal{}, map[string]bool{}
	}
	if o.size += sizeOfProduct; o.size > maxCatalog {
		return
	}
	o.prices[o.text(p.ID)], o.names[o.text(p.Name)] = o.price(p.Pricing), true
}

// Catalog returns the catalog. The price of a product is in the item of the plan, or otherwise in the product. A pricing with one entry
// {"type": "fixed", "price": 0.05} is a fixed price. Catalog returns an error if the plans and products need more than 64 MiB of memory.
func (o *Offers) Catalog() (Catalog, error) {
	if o.size > maxCatalog {
		return Catalog{}, fmt.Errorf("the plans and products of the merchant need more than %d MiB of memory", maxCatalog>>20)
	}
	c := Catalog{Plans: map[string][]Product{}, Names: map[string]bool{}}
	if o.names != nil {
		c.Names = o.names
	}
	for id, items := range o.plans {
		for i := range items {
			if items[i].Price == ofProduct {
				items[i].Price = o.prices[items[i].ID]
			}
		}
		c.Plans[id] = items
	}
	return c, nil
}

// The method `text` returns an equal text. All equal texts that it returns share their memory.
func (o *Offers) text(s string) string {
	known, found := o.texts[s]
	if found || o.size > maxCatalog {
		return known
	}
	if o.texts == nil {
		o.texts = map[string]string{}
	}
	o.size += len(s)
	o.texts[s] = s
	return s
}

func (o *Offers) price(pricing []any) *decimal.Decimal {
	price := fixed(pricing)
	if price != nil {
		o.size += sizeOfPrice
	}
	return price
}
