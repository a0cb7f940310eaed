package server

import "github.com/tenantry/tenantry/billing"

// A view is an object in the JSON format of the original BillingStack. An unset text is null, and an empty list is [].

func null(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func viewMerchant(m billing.Merchant) any { return m }

func viewProduct(p billing.Product) any {
	return struct {
		ID          string         `json:"id"`
		Name        string         `json:"name"`
		Title       *string        `json:"title"`
		Description *string        `json:"description"`
		Properties  map[string]any `json:"properties"`
		Pricing     []any          `json:"pricing"`
	}{p.ID, p.Name, null(p.Title), null(p.Description), p.Properties, append([]any{}, p.Pricing...)}
}

func viewPlan(p billing.Plan) any {
	items := make([]any, len(p.Items))
	for i, item := range p.Items {
		items[i] = viewItem(item)
	}
	return struct {
		ID          string         `json:"id"`
		Name        string         `json:"name"`
		Title       *string        `json:"title"`
		Description *string        `json:"description"`
		Properties  map[string]any `json:"properties"`
		Items       []any          `json:"items"`
	}{p.ID, p.Name, null(p.Title), null(p.Description), p.Properties, items}
}

// viewItem returns the view of a plan item. An item has a name only in the view of its plan.
func viewItem(i billing.PlanItem) any {
	return struct {
		PlanID      string  `json:"plan_id"`
		ProductID   string  `json:"product_id"`
		Name        string  `json:"name,omitempty"`
		Title       *string `json:"title"`
		Description *string `json:"description"`
		Pricing     []any   `json:"pricing"`
	}{i.PlanID, i.ProductID, i.Name, null(i.Title), null(i.Description), append([]any{}, i.Pricing...)}
}

func viewCustomer(c billing.Customer) any {
	return struct {
		ID          string  `json:"id"`
		MerchantID  string  `json:"merchant_id"`
		Name        string  `json:"name"`
		Currency    *string `json:"currency"`
		Language    *string `json:"language"`
		ContactInfo []any   `json:"contact_info"`
	}{c.ID, c.MerchantID, c.Name, null(c.Currency), null(c.Language), []any{}}
}

func viewSubscription(s billing.Subscription) any {
	return struct {
		ID              string  `json:"id"`
		PlanID          string  `json:"plan_id"`
		CustomerID      string  `json:"customer_id"`
		ResourceID      string  `json:"resource_id"`
		ResourceType    *string `json:"resource_type"`
		BillingDay      *int    `json:"billing_day"`
		PaymentMethodID *string `json:"payment_method_id"`
	}{s.ID, s.PlanID, s.CustomerID, s.ResourceID, null(s.ResourceType), s.BillingDay, s.PaymentMethodID}
}

func viewUsage(u billing.Usage) any {
	return struct {
		ID             string   `json:"id"`
		MerchantID     string   `json:"merchant_id"`
		SubscriptionID string   `json:"subscription_id"`
		ProductID      string   `json:"product_id"`
		Measure        *string  `json:"measure"`
		Value          *float64 `json:"value"`
		Price          *float64 `json:"price"`
		Total          *float64 `json:"total"`
		StartTimestamp *string  `json:"start_timestamp"`
		EndTimestamp   *string  `json:"end_timestamp"`
	}{
		u.ID, u.MerchantID, u.SubscriptionID, u.ProductID, null(u.Measure), u.Value, u.Price, u.Total,
		null(u.StartTimestamp), null(u.EndTimestamp),
	}
}
