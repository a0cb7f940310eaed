package store

import (
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/billing"
)

type billingMerchantRow struct {
	ID       string `gorm:"column:id;primaryKey"`
	Name     string `gorm:"column:name"`
	Currency string `gorm:"column:currency_name"`
	Language string `gorm:"column:language_name"`
	AddedAt  int64  `gorm:"column:added_at"`
}

// TableName is for gorm.
func (billingMerchantRow) TableName() string { return "billing_merchants" }

func (r billingMerchantRow) added() int64 { return r.AddedAt }

func (r billingMerchantRow) object() billing.Merchant {
	return billing.Merchant{ID: r.ID, Name: r.Name, Currency: r.Currency, Language: r.Language}
}

func billingMerchant(_ string, addedAt int64, m billing.Merchant) billingMerchantRow {
	return billingMerchantRow{ID: m.ID, Name: m.Name, Currency: m.Currency, Language: m.Language, AddedAt: addedAt}
}

type billingProductRow struct {
	ID          string         `gorm:"column:id;primaryKey"`
	MerchantID  string         `gorm:"column:merchant_id"`
	Name        string         `gorm:"column:name"`
	Title       string         `gorm:"column:title"`
	Description string         `gorm:"column:description"`
	Properties  map[string]any `gorm:"column:properties;serializer:json"`
	Pricing     []any          `gorm:"column:pricing;serializer:json"`
	AddedAt     int64          `gorm:"column:added_at"`
}

// TableName is for gorm.
func (billingProductRow) TableName() string { return "billing_products" }

func (r billingProductRow) added() int64 { return r.AddedAt }

func (r billingProductRow) object() billing.Product {
	return billing.Product{
		ID: r.ID, Name: r.Name, Title: r.Title, Description: r.Description, Properties: r.Properties, Pricing: r.Pricing,
	}
}

func billingProduct(merchantID string, addedAt int64, p billing.Product) billingProductRow {
	return billingProductRow{
		ID: p.ID, MerchantID: merchantID, Name: p.Name, Title: p.Title, Description: p.Description,
		Properties: p.Properties, Pricing: append([]any{}, p.Pricing...), AddedAt: addedAt,
	}
}

type billingPlanRow struct {
	ID          string         `gorm:"column:id;primaryKey"`
	MerchantID  string         `gorm:"column:merchant_id"`
	Name        string         `gorm:"column:name"`
	Title       string         `gorm:"column:title"`
	Description string         `gorm:"column:description"`
	Properties  map[string]any `gorm:"column:properties;serializer:json"`
	AddedAt     int64          `gorm:"column:added_at"`
}

// TableName is for gorm.
func (billingPlanRow) TableName() string { return "billing_plans" }

func (r billingPlanRow) added() int64 { return r.AddedAt }

func (r billingPlanRow) object() billing.Plan {
	return billing.Plan{ID: r.ID, Name: r.Name, Title: r.Title, Description: r.Description, Properties: r.Properties}
}

func billingPlan(merchantID string, addedAt int64, p billing.Plan) billingPlanRow {
	return billingPlanRow{
		ID: p.ID, MerchantID: merchantID, Name: p.Name, Title: p.Title, Description: p.Description,
		Properties: p.Properties, AddedAt: addedAt,
	}
}

type billingCustomerRow struct {
	ID         string `gorm:"column:id;primaryKey"`
	MerchantID string `gorm:"column:merchant_id"`
	Name       string `gorm:"column:name"`
	Currency   string `gorm:"column:currency_name"`
	Language   string `gorm:"column:language_name"`
	AddedAt    int64  `gorm:"column:added_at"`
}

// TableName is for gorm.
func (billingCustomerRow) TableName() string { return "billing_customers" }

func (r billingCustomerRow) added() int64 { return r.AddedAt }

func (r billingCustomerRow) object() billing.Customer {
	return billing.Customer{ID: r.ID, MerchantID: r.MerchantID, Name: r.Name, Currency: r.Currency, Language: r.Language}
}

func billingCustomer(merchantID string, addedAt int64, c billing.Customer) billingCustomerRow {
	return billingCustomerRow{
		ID: c.ID, MerchantID: merchantID, Name: c.Name, Currency: c.Currency, Language: c.Language, AddedAt: addedAt,
	}
}

type billingSubscriptionRow struct {
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

// TableName is for gorm.
func (billingSubscriptionRow) TableName() string { return "billing_subscriptions" }

func (r billingSubscriptionRow) added() int64 { return r.AddedAt }

func (r billingSubscriptionRow) object() billing.Subscription {
	return billing.Subscription{
		ID: r.ID, PlanID: r.PlanID, CustomerID: r.CustomerID, ResourceID: r.ResourceID, ResourceType: r.ResourceType,
		BillingDay: r.BillingDay, PaymentMethodID: r.PaymentMethodID,
	}
}

func billingSubscription(merchantID string, addedAt int64, s billing.Subscription) billingSubscriptionRow {
	return billingSubscriptionRow{
		ID: s.ID, MerchantID: merchantID, PlanID: s.PlanID, CustomerID: s.CustomerID, ResourceID: s.ResourceID,
		ResourceType: s.ResourceType, BillingDay: s.BillingDay, PaymentMethodID: s.PaymentMethodID, AddedAt: addedAt,
	}
}

type billingUsageRow struct {
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

// TableName is for gorm.
func (billingUsageRow) TableName() string { return "billing_usage" }

func (r billingUsageRow) added() int64 { return r.AddedAt }

func (r billingUsageRow) object() billing.Usage {
	return billing.Usage{
		ID: r.ID, MerchantID: r.MerchantID, SubscriptionID: r.SubscriptionID, ProductID: r.ProductID, Measure: r.Measure,
		Value: r.Value, Price: r.Price, Total: r.Total, StartTimestamp: r.StartTimestamp, EndTimestamp: r.EndTimestamp,
	}
}

func billingUsage(merchantID string, addedAt int64, u billing.Usage) billingUsageRow {
	return billingUsageRow{
		ID: u.ID, MerchantID: merchantID, SubscriptionID: u.SubscriptionID, ProductID: u.ProductID, Measure: u.Measure,
		Value: u.Value, Price: u.Price, Total: u.Total, StartTimestamp: u.StartTimestamp, EndTimestamp: u.EndTimestamp,
		AddedAt: addedAt,
	}
}

// checkUsage does what a foreign key would, for usage may stay when its subscription goes.
func checkUsage(tx *gorm.DB, row billingUsageRow) error {
	for id, of := range map[string]any{row.SubscriptionID: billingSubscriptionRow{}, row.ProductID: billingProductRow{}} {
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
