// Package billing speaks BillingStack's REST API: its resources as they stand on the wire, and a
// client that survives what the real server does.
package billing

// Merchant is who sells. Currency and Language are names of rows that exist.
type Merchant struct {
	ID       string `json:"id,omitempty"`
	Name     string `json:"name"`
	Currency string `json:"currency"`
	Language string `json:"language"`
}

// Customer buys from one merchant. Currency and Language may be empty.
type Customer struct {
	ID         string `json:"id,omitempty"`
	MerchantID string `json:"merchant_id,omitempty"`
	Name       string `json:"name"`
	Currency   string `json:"currency,omitempty"`
	Language   string `json:"language,omitempty"`
}

// Product is a thing that is metered.
type Product struct {
	ID          string         `json:"id,omitempty"`
	Name        string         `json:"name"`
	Title       string         `json:"title,omitempty"`
	Description string         `json:"description,omitempty"`
	Properties  map[string]any `json:"properties,omitempty"`
	Pricing     []any          `json:"pricing,omitempty"`
}

// Plan is what a customer subscribes to. Items are read only: AddPlanItem makes them. They come in any
// order. Properties hold scalars only; structured data goes into one as a JSON string.
type Plan struct {
	ID          string         `json:"id,omitempty"`
	Name        string         `json:"name"`
	Title       string         `json:"title,omitempty"`
	Description string         `json:"description,omitempty"`
	Properties  map[string]any `json:"properties,omitempty"`
	Items       []PlanItem     `json:"items,omitempty"`
}

// PlanItem is a product in a plan. Inside a plan its Name is the product's, and Title and Description
// fall back to the product's.
type PlanItem struct {
	PlanID      string `json:"plan_id,omitempty"`
	ProductID   string `json:"product_id,omitempty"`
	Name        string `json:"name,omitempty"`
	Title       string `json:"title,omitempty"`
	Description string `json:"description,omitempty"`
	Pricing     []any  `json:"pricing,omitempty"`
}

// Subscription binds a customer to a plan, and through ResourceID to the project whose usage is billed.
// ResourceID is required: a placeholder stands in it until the project exists. It carries no merchant;
// BillingStack lists it under its customer's merchant. BillingDay and PaymentMethodID are nil when unset.
type Subscription struct {
	ID              string  `json:"id,omitempty"`
	PlanID          string  `json:"plan_id"`
	CustomerID      string  `json:"customer_id"`
	ResourceID      string  `json:"resource_id"`
	ResourceType    string  `json:"resource_type,omitempty"`
	BillingDay      *int    `json:"billing_day,omitempty"`
	PaymentMethodID *string `json:"payment_method_id,omitempty"`
}

// Usage is one measurement of a product under a subscription. StartTimestamp and EndTimestamp are ISO 8601
// without a zone; leave them empty towards an original v2 server: rows that carry them make every
// list of usage there a 400.
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

// Currency is an ISO 4217 currency; Name is its code in lower case and its key.
type Currency struct {
	Name  string `json:"name"`
	Title string `json:"title,omitempty"`
}

// Language is an ISO 639-2/T language; Name is its three letters in lower case and its key.
type Language struct {
	Name  string `json:"name"`
	Title string `json:"title,omitempty"`
}

// Condition is one part of a list's filter, sent as q.field, q.op and q.value. Field is a column's name:
// currency_name and language_name, not currency and language. An empty Op is eq.
type Condition struct {
	Field, Op, Value string
}
