// Package billing is a client for BillingStack's REST API, and its resources in their wire format. The client copes with the
// quirks of the original server.
package billing

// Merchant sells plans. Currency and Language name existing rows.
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

// Product is something that is metered.
type Product struct {
	ID          string         `json:"id,omitempty"`
	Name        string         `json:"name"`
	Title       string         `json:"title,omitempty"`
	Description string         `json:"description,omitempty"`
	Properties  map[string]any `json:"properties,omitempty"`
	Pricing     []any          `json:"pricing,omitempty"`
}

// Plan is what a customer subscribes to. Items are read only: AddPlanItem adds one. Their order is not defined. Values of
// Properties are scalars; store structured data as a JSON string.
type Plan struct {
	ID          string         `json:"id,omitempty"`
	Name        string         `json:"name"`
	Title       string         `json:"title,omitempty"`
	Description string         `json:"description,omitempty"`
	Properties  map[string]any `json:"properties,omitempty"`
	Items       []PlanItem     `json:"items,omitempty"`
}

// PlanItem is a product in a plan. In a plan, Name is that of the product. Title and Description default to those of the product.
type PlanItem struct {
	PlanID      string `json:"plan_id,omitempty"`
	ProductID   string `json:"product_id,omitempty"`
	Name        string `json:"name,omitempty"`
	Title       string `json:"title,omitempty"`
	Description string `json:"description,omitempty"`
	Pricing     []any  `json:"pricing,omitempty"`
}

// Subscription connects a customer with a plan, and by ResourceID with the project whose usage is billed. ResourceID is required:
// it is a placeholder until the project exists. A subscription has no merchant; BillingStack lists it under its customer's
// merchant. BillingDay and PaymentMethodID are nil if unset.
type Subscription struct {
	ID              string  `json:"id,omitempty"`
	PlanID          string  `json:"plan_id"`
	CustomerID      string  `json:"customer_id"`
	ResourceID      string  `json:"resource_id"`
	ResourceType    string  `json:"resource_type,omitempty"`
	BillingDay      *int    `json:"billing_day,omitempty"`
	PaymentMethodID *string `json:"payment_method_id,omitempty"`
}

// Usage is one measurement of a product under a subscription. StartTimestamp and EndTimestamp are ISO 8601 without a zone. Leave
// them empty for an original v2 server: once a row has them, every list of usage there is a 400.
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

// Currency is an ISO 4217 currency. Name is its code in lower case and identifies it.
type Currency struct {
	Name  string `json:"name"`
	Title string `json:"title,omitempty"`
}

// Language is an ISO 639-2/T language. Name is its code of three letters in lower case and identifies it.
type Language struct {
	Name  string `json:"name"`
	Title string `json:"title,omitempty"`
}

// Condition is one part of a list's filter, sent as q.field, q.op and q.value. Field is the name of a column: currency_name and
// language_name, not currency and language. An empty Op is eq.
type Condition struct {
	Field, Op, Value string
}
