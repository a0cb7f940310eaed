package billingstack

import (
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/billing"
)

type merchantRow struct {
	ID       string `gorm:"column:id;primaryKey"`
	Name     string `gorm:"column:name"`
	Currency string `gorm:"column:currency_name"`
	Language string `gorm:"column:language_name"`
	AddedAt  int64  `gorm:"column:added_at"`
}

// TableName returns the table's name for gorm.
func (merchantRow) TableName() string { return "billing_merchants" }

func (r merchantRow) key() (addedAt int64, id string) { return r.AddedAt, r.ID }

func (r merchantRow) object() billing.Merchant {
	return billing.Merchant{ID: r.ID, Name: r.Name, Currency: r.Currency, Language: r.Language}
}

func toMerchantRow(_ string, addedAt int64, m billing.Merchant) merchantRow {
	return merchantRow{ID: m.ID, Name: m.Name, Currency: m.Currency, Language: m.Language, AddedAt: addedAt}
}

type productRow struct {
	ID          string         `gorm:"column:id;primaryKey"`
	MerchantID  string         `gorm:"column:merchant_id"`
	Name        string         `gorm:"column:name"`
	Title       string         `gorm:"column:title"`
	Description string         `gorm:"column:description"`
	Properties  map[string]any `gorm:"column:properties;serializer:json"`
	Pricing     []any          `gorm:"column:pricing;serializer:json"`
	AddedAt     int64          `gorm:"column:added_at"`
}

// TableName returns the table's name for gorm.
func (productRow) TableName() string { return "billing_products" }

func (r productRow) key() (addedAt int64, id string) { return r.AddedAt, r.ID }

func (r productRow) object() billing.Product {
	return billing.Product{
		ID: r.ID, Name: r.Name, Title: r.Title, Description: r.Description, Properties: r.Properties, Pricing: r.Pricing,
	}
}

func toProductRow(merchantID string, addedAt int64, p billing.Product) productRow {
	return productRow{
		ID: p.ID, MerchantID: merchantID, Name: p.Name, Title: p.Title, Description: p.Description,
		Properties: p.Properties, Pricing: append([]any{}, p.Pricing...), AddedAt: addedAt,
	}
}

type planRow struct {
	ID          string         `gorm:"column:id;primaryKey"`
	MerchantID  string         `gorm:"column:merchant_id"`
	Name        string         `gorm:"column:name"`
	Title       string         `gorm:"column:title"`
	Description string         `gorm:"column:description"`
	Properties  map[string]any `gorm:"column:properties;serializer:json"`
	AddedAt     int64          `gorm:"column:added_at"`
}

// TableName returns the table's name for gorm.
func (planRow) TableName() string { return "billing_plans" }

func (r planRow) key() (addedAt int64, id string) { return r.AddedAt, r.ID }

func (r planRow) object() billing.Plan {
	return billing.Plan{ID: r.ID, Name: r.Name, Title: r.Title, Description: r.Description, Properties: r.Properties}
}

func toPlanRow(merchantID string, addedAt int64, p billing.Plan) planRow {
	return planRow{
		ID: p.ID, MerchantID: merchantID, Name: p.Name, Title: p.Title, Description: p.Description,
		Properties: p.Properties, AddedAt: addedAt,
	}
}

type customerRow struct {
	ID         string `gorm:"column:id;primaryKey"`
	MerchantID string `gorm:"column:merchant_id"`
	Name       string `gorm:"column:name"`
	Currency   string `gorm:"column:currency_name"`
	Language   string `gorm:"column:language_name"`
	AddedAt    int64  `gorm:"column:added_at"`
}

// TableName returns the table's name for gorm.
func (customerRow) TableName() string { return "billing_customers" }

func (r customerRow) key() (addedAt int64, id string) { return r.AddedAt, r.ID }

func (r customerRow) object() billing.Customer {
	return billing.Customer{ID: r.ID, MerchantID: r.MerchantID, Name: r.Name, Currency: r.Currency, Language: r.Language}
}

func toCustomerRow(merchantID string, addedAt int64, c billing.Customer) customerRow {
	return customerRow{
		ID: c.ID, MerchantID: merchantID, Name: c.Name, Currency: c.Currency, Language: c.Language, AddedAt: addedAt,
	}
}

type subscriptionRow struct {
	ID              string  `gorm:"column:id;primaryKey"`
	MerchantID      string  `gorm:"column:merchant_id"`
	PlanID          string  `gorm:"column:plan_id"`
	CustomerID      string  `gorm:"column:customer_id"`
	ResourceID      string  `gorm:"column:resource_id"`
	ResourceType    string  `gorm:"column:resource_type"`
	BillingDay      *int    `gorm:"column:billing_day"`
	PaymentMethodID *string `gorm:"column:payment_method_id"`
	AddedAt         int64   `gorm:"column:added_at"`
}

// TableName returns the table's name for gorm.
func (subscriptionRow) TableName() string { return "billing_subscriptions" }

func (r subscriptionRow) key() (addedAt int64, id string) { return r.AddedAt, r.ID }

func (r subscriptionRow) object() billing.Subscription {
	return billing.Subscription{
		ID: r.ID, PlanID: r.PlanID, CustomerID: r.CustomerID, ResourceID: r.ResourceID, ResourceType: r.ResourceType,
		BillingDay: r.BillingDay, PaymentMethodID: r.PaymentMethodID,
	}
}

func toSubscriptionRow(merchantID string, addedAt int64, s billing.Subscription) subscriptionRow {
	return subscriptionRow{
		ID: s.ID, MerchantID: merchantID, PlanID: s.PlanID, CustomerID: s.CustomerID, ResourceID: s.ResourceID,
		ResourceType: s.ResourceType, BillingDay: s.BillingDay, PaymentMethodID: s.PaymentMethodID, AddedAt: addedAt,
	}
}

type usageRow struct {
	ID             string   `gorm:"column:id;primaryKey"`
	MerchantID     string   `gorm:"column:merchant_id"`
	SubscriptionID string   `gorm:"column:subscription_id"`
	ProductID      string   `gorm:"column:product_id"`
	Measure        string   `gorm:"column:measure"`
	Value          *float64 `gorm:"column:value"`
	Price          *float64 `gorm:"column:price"`
	Total          *float64 `gorm:"column:total"`
	StartTimestamp string   `gorm:"column:start_timestamp"`
	EndTimestamp   string   `gorm:"column:end_timestamp"`
	AddedAt        int64    `gorm:"column:added_at"`
}

// TableName returns the table's name for gorm.
func (usageRow) TableName() string { return "billing_usage" }

func (r usageRow) key() (addedAt int64, id string) { return r.AddedAt, r.ID }

func (r usageRow) object() billing.Usage {
	return billing.Usage{
		ID: r.ID, MerchantID: r.MerchantID, SubscriptionID: r.SubscriptionID, ProductID: r.ProductID, Measure: r.Measure,
		Value: r.Value, Price: r.Price, Total: r.Total, StartTimestamp: r.StartTimestamp, EndTimestamp: r.EndTimestamp,
	}
}

func toUsageRow(merchantID string, addedAt int64, u billing.Usage) usageRow {
	return usageRow{
		ID: u.ID, MerchantID: merchantID, SubscriptionID: u.SubscriptionID, ProductID: u.ProductID, Measure: u.Measure,
		Value: u.Value, Price: u.Price, Total: u.Total, StartTimestamp: u.StartTimestamp, EndTimestamp: u.EndTimestamp,
		AddedAt: addedAt,
	}
}

// checkUsage checks that the subscription and the product of a new usage record exist. A foreign key of the table billing_usage
// could not make this check, because usage remains after its subscription is deleted.
func checkUsage(tx *gorm.DB, row usageRow) error {
	for id, of := range map[string]any{row.SubscriptionID: subscriptionRow{}, row.ProductID: productRow{}} {
		var n int64
		if err := ofMerchant(tx, row.MerchantID).Model(of).Where("id = ?", id).Count(&n).Error; err != nil {
			return err
		}
		if n == 0 {
			return billing.ErrReference
		}
	}
	return nil
}
