package server

import (
	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
)

type merchantBody struct {
	ID       field[string] `json:"id"`
	Name     field[string] `json:"name"`
	Currency field[string] `json:"currency"`
	Language field[string] `json:"language"`
}

func (b merchantBody) put(c *changes, _ string, to *billing.Merchant) {
	c.id(&to.ID, b.ID, uuid.NewString)
	c.name(&to.Name, b.Name)
	c.code(&to.Currency, "currency", b.Currency, currencies, true)
	c.code(&to.Language, "language", b.Language, languages, true)
}

func (merchantBody) idOf(m billing.Merchant) string { return m.ID }

type productBody struct {
	ID          field[string]         `json:"id"`
	Name        field[string]         `json:"name"`
	Title       field[string]         `json:"title"`
	Description field[string]         `json:"description"`
	Properties  field[map[string]any] `json:"properties"`
	Pricing     field[[]any]          `json:"pricing"`
}

func (b productBody) put(c *changes, _ string, to *billing.Product) {
	c.id(&to.ID, b.ID, uuid.NewString)
	c.name(&to.Name, b.Name)
	c.text(&to.Title, "title", b.Title, 100, false)
	c.text(&to.Description, "description", b.Description, 255, false)
	c.properties(&to.Properties, b.Properties)
	c.pricing(&to.Pricing, b.Pricing)
}

func (productBody) idOf(p billing.Product) string { return p.ID }

// planBody has no items, because plan items have a separate path.
type planBody struct {
	ID          field[string]         `json:"id"`
	Name        field[string]         `json:"name"`
	Title       field[string]         `json:"title"`
	Description field[string]         `json:"description"`
	Properties  field[map[string]any] `json:"properties"`
}

func (b planBody) put(c *changes, _ string, to *billing.Plan) {
	c.id(&to.ID, b.ID, uuid.NewString)
	c.name(&to.Name, b.Name)
	c.text(&to.Title, "title", b.Title, 100, false)
	c.text(&to.Description, "description", b.Description, 255, false)
	c.properties(&to.Properties, b.Properties)
}

func (planBody) idOf(p billing.Plan) string { return p.ID }

type itemBody struct {
	PlanID      field[string] `json:"plan_id"`
	ProductID   field[string] `json:"product_id"`
	Title       field[string] `json:"title"`
	Description field[string] `json:"description"`
	Pricing     field[[]any]  `json:"pricing"`
}

func (b itemBody) put(c *changes, to *billing.PlanItem) {
	c.fixed("plan_id", to.PlanID, b.PlanID)
	c.fixed("product_id", to.ProductID, b.ProductID)
	c.text(&to.Title, "title", b.Title, 100, false)
	c.text(&to.Description, "description", b.Description, 255, false)
	c.pricing(&to.Pricing, b.Pricing)
}

type customerBody struct {
	ID         field[string] `json:"id"`
	MerchantID field[string] `json:"merchant_id"`
	Name       field[string] `json:"name"`
	Currency   field[string] `json:"currency"`
	Language   field[string] `json:"language"`
	// ContactInfo is an empty list in every answer of the original BillingStack. A client may send the object of such an
	// answer back, so the server accepts an empty list.
	ContactInfo field[[0]any] `json:"contact_info"`
}

func (b customerBody) put(c *changes, merchantID string, to *billing.Customer) {
	to.MerchantID = merchantID
	c.id(&to.ID, b.ID, uuid.NewString)
	c.fixed("merchant_id", merchantID, b.MerchantID)
	c.name(&to.Name, b.Name)
	c.code(&to.Currency, "currency", b.Currency, currencies, false)
	c.code(&to.Language, "language", b.Language, languages, false)
}

func (customerBody) idOf(c billing.Customer) string { return c.ID }

type subscriptionBody struct {
	ID              field[string] `json:"id"`
	PlanID          field[string] `json:"plan_id"`
	CustomerID      field[string] `json:"customer_id"`
	ResourceID      field[string] `json:"resource_id"`
	ResourceType    field[string] `json:"resource_type"`
	BillingDay      field[int]    `json:"billing_day"`
	PaymentMethodID field[string] `json:"payment_method_id"`
}

func (b subscriptionBody) put(c *changes, _ string, to *billing.Subscription) {
	c.id(&to.ID, b.ID, uuid.NewString)
	c.reference(&to.PlanID, "plan_id", b.PlanID)
	c.reference(&to.CustomerID, "customer_id", b.CustomerID)
	c.text(&to.ResourceID, "resource_id", b.ResourceID, 255, true)
	c.text(&to.ResourceType, "resource_type", b.ResourceType, 255, false)
	if b.BillingDay.value < 0 || b.BillingDay.value > 31 {
		c.complain("billing_day must be a day of a month, at most 31")
	}
	maybe(&to.BillingDay, b.BillingDay)
	if b.PaymentMethodID.set && !b.PaymentMethodID.null && !billing.ValidID(b.PaymentMethodID.value) {
		c.complain("payment_method_id %q is not a lower-case uuid", b.PaymentMethodID.value)
	}
	maybe(&to.PaymentMethodID, b.PaymentMethodID)
}

func (subscriptionBody) idOf(s billing.Subscription) string { return s.ID }
