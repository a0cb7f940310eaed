// Package billing contains a client for BillingStack's REST API, and the types of the API's JSON resources. The client works
// around the bugs of the original BillingStack server.
package billing

import "encoding/json"

// Merchant sells plans. Currency is the name of an existing currency. Language is the name of an existing language.
type Merchant struct {
	ID       string `json:"id,omitempty"`
	Name     string `json:"name"`
	Currency string `json:"currency"`
	Language string `json:"language"`
}

// Customer is a customer of one merchant. Currency and Language may be empty.
type Customer struct {
	ID         string `json:"id,omitempty"`
	MerchantID string `json:"merchant_id,omitempty"`
	Name       string `json:"name"`
	Currency   string `json:"currency,omitempty"`
	Language   string `json:"language,omitempty"`
}

// Product is a metered resource, such as vCPUs.
type Product struct {
	ID          string         `json:"id,omitempty"`
	Name        string         `json:"name"`
	Title       string         `json:"title,omitempty"`
	Description string         `json:"description,omitempty"`
	Properties  map[string]any `json:"properties,omitempty"`
	Pricing     Pricing        `json:"pricing,omitempty"`
}

// Pricing is a free list of objects, which BillingStack stores and does not interpret. A pricing that cannot be decoded becomes a list with one
// nil, so that the other objects of its list can be read. Examples are a number that is too large, or a value that is not a list.
type Pricing []any

// UnmarshalJSON decodes a pricing. It never fails.
func (p *Pricing) UnmarshalJSON(text []byte) error {
	var all []any
	if err := json.Unmarshal(text, &all); err != nil {
		all = []any{nil}
	}
	*p = all
	return nil
}

// Plan is a set of products that customers subscribe to. Items is read-only and has no defined order; AddPlanItem adds an item.
// The values of Properties must be scalars; store structured data as a JSON string.
type Plan struct {
	ID          string         `json:"id,omitempty"`
	Name        string         `json:"name"`
	Title       string         `json:"title,omitempty"`
	Description string         `json:"description,omitempty"`
	Properties  map[string]any `json:"properties,omitempty"`
	Items       []PlanItem     `json:"items,omitempty"`
}

// PlanItem is a product in a plan. Name is the product's name; it is set only in the Items of a Plan. Title and Description
// default to the product's title and description.
type PlanItem struct {
	PlanID      string  `json:"plan_id,omitempty"`
	ProductID   string  `json:"product_id,omitempty"`
	Name        string  `json:"name,omitempty"`
	Title       string  `json:"title,omitempty"`
	Description string  `json:"description,omitempty"`
	Pricing     Pricing `json:"pricing,omitempty"`
}

// Subscription is a customer's subscription to a plan. ResourceID is the id of the project whose usage is billed. ResourceID is
// required: use a placeholder until the project exists. A subscription has no merchant field: BillingStack lists the subscription
// under its customer's merchant. BillingDay and PaymentMethodID are nil if unset.
type Subscription struct {
	ID              string  `json:"id,omitempty"`
	PlanID          string  `json:"plan_id"`
	CustomerID      string  `json:"customer_id"`
	ResourceID      string  `json:"resource_id"`
	ResourceType    string  `json:"resource_type,omitempty"`
	BillingDay      *int    `json:"billing_day,omitempty"`
	PaymentMethodID *string `json:"payment_method_id,omitempty"`
}

// Usage is one measurement: the quantity of a product that a subscription has used. StartTimestamp and EndTimestamp are ISO 8601
// times without a time zone. Leave both timestamps empty for an original v2 server. After an original v2 server has stored a usage
// record with timestamps, the server answers every list request for usage with 400.
type Usage struct {
	ID             string   `json:"id,omitempty"`
	MerchantID     string   `json:"merchant_id,omitempty"`
	SubscriptionID string   `json:"subscription_id"`
	ProductID      string   `json:"product_id"`
	Measure        string   `json:"measure,omitempty"`
	Value          *float64 `json:"value,omitempty"`
	Price          *float64 `json:"price,omitempty"`
	Total          *float64 `json:"total,omitempty"`
	StartTimestamp string   `json:"start_timestamp,omitempty"`
	EndTimestamp   string   `json:"end_timestamp,omitempty"`
}

// Currency is an ISO 4217 currency. Name is the currency's code in lower case, and identifies the currency.
type Currency struct {
	Name  string `json:"name"`
	Title string `json:"title,omitempty"`
}

// Language is an ISO 639-2/T language. Name is the language's three-letter code in lower case, and identifies the language.
type Language struct {
	Name  string `json:"name"`
	Title string `json:"title,omitempty"`
}

// Condition is one filter condition of a list request: the query parameters q.field, q.op and q.value. Field is the name of a
// database column. The columns currency_name and language_name have the JSON keys currency and language. Every other column has the
// name of its JSON key. An empty Op means eq.
type Condition struct {
	Field, Op, Value string
}
