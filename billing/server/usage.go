package server

import (
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
)

type usageBody struct {
	ID             field[string]  `json:"id"`
	MerchantID     field[string]  `json:"merchant_id"`
	SubscriptionID field[string]  `json:"subscription_id"`
	ProductID      field[string]  `json:"product_id"`
	Measure        field[string]  `json:"measure"`
	Value          field[float64] `json:"value"`
	Price          field[float64] `json:"price"`
	Total          field[float64] `json:"total"`
	StartTimestamp field[string]  `json:"start_timestamp"`
	EndTimestamp   field[string]  `json:"end_timestamp"`
}

func (b usageBody) put(c *changes, merchantID string, to *billing.Usage) {
	to.MerchantID = merchantID
	c.id(&to.ID, b.ID, uuid.NewString)
	c.fixed("merchant_id", merchantID, b.MerchantID)
	c.reference(&to.SubscriptionID, "subscription_id", b.SubscriptionID)
	c.reference(&to.ProductID, "product_id", b.ProductID)
	c.text(&to.Measure, "measure", b.Measure, 255, false)
	maybe(&to.Value, b.Value)
	maybe(&to.Price, b.Price)
	maybe(&to.Total, b.Total)
	c.timestamp(&to.StartTimestamp, "start_timestamp", b.StartTimestamp)
	c.timestamp(&to.EndTimestamp, "end_timestamp", b.EndTimestamp)
}

func (usageBody) idOf(u billing.Usage) string { return u.ID }

// The method `timestamp` sets a time in the format of the original BillingStack: ISO 8601 without a time zone.
func (c *changes) timestamp(to *string, name string, f field[string]) {
	if !f.set {
		return
	}
	if _, err := time.Parse("2006-01-02T15:04:05", f.value); err != nil && !f.null {
		c.complain("%s %q is not a time such as 2013-03-19T05:53:40", name, f.value)
	}
	*to = f.value
}
