package store

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/tenantry/tenantry/orchestrator/usage"
)

// forgetTerms lets the next bill of these hours set the terms of their subscriptions. A subscription may have several projects in an hour.
func forgetTerms(tx *gorm.DB, hours []unbilledRow) error {
	var rows []termsRow
	for _, h := range hours {
		if h.SubscriptionID != "" {
			rows = append(rows, termsRow{h.MerchantID, h.SubscriptionID, h.Hour, "[]"})
		}
	}
	slices.SortFunc(rows, func(a, b termsRow) int {
		return cmp.Or(cmp.Compare(a.Hour, b.Hour), cmp.Compare(a.SubscriptionID, b.SubscriptionID))
	})
	return insert(tx.Clauses(replaceTerms), slices.Compact(rows))
}

// The variable `replaceTerms` lets an INSERT change the terms of a row that exists.
var replaceTerms = clause.OnConflict{
	Columns:   []clause.Column{{Name: "merchant_id"}, {Name: "subscription_id"}, {Name: "hour"}},
	DoUpdates: clause.AssignmentColumns([]string{"terms"}),
}

type termsRow struct {
	MerchantID     string `gorm:"column:merchant_id;primaryKey"`
	SubscriptionID string `gorm:"column:subscription_id;primaryKey"`
	Hour           int64  `gorm:"column:hour;primaryKey;autoIncrement:false"`
	Terms          string `gorm:"column:terms"`
}

// TableName returns the table's name for gorm.
func (termsRow) TableName() string { return "usage_terms" }

// readTerms reads the terms of subscriptions in an hour.
func readTerms(tx *gorm.DB, merchant string, hour int64, subscriptions []string) (map[string][]usage.Term, error) {
	var rows []termsRow
	err := columns(tx).Where("merchant_id = ? AND hour = ? AND subscription_id IN ?", merchant, hour, subscriptions).Find(&rows).Error
	if err != nil {
		return nil, err
	}
	all := map[string][]usage.Term{}
	for _, r := range rows {
		terms := []usage.Term{}
		if err := json.Unmarshal([]byte(r.Terms), &terms); err != nil {
			return nil, fmt.Errorf("decoding the terms of subscription %s in the hour %s: %w", r.SubscriptionID, at(hour).Format(time.RFC3339), err)
		}
		all[r.SubscriptionID] = terms
	}
	return all, nil
}

// writeTerms replaces the terms of subscriptions in an hour.
func writeTerms(tx *gorm.DB, merchant string, hour int64, all map[string][]usage.Term) error {
	var rows []termsRow
	for _, subscription := range slices.Sorted(maps.Keys(all)) {
		text, err := json.Marshal(all[subscription])
		if err != nil {
			return err
		}
		rows = append(rows, termsRow{merchant, subscription, hour, string(text)})
	}
	return insert(tx.Clauses(replaceTerms), rows)
}
