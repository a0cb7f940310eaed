package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/shopspring/decimal"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/tenantry/tenantry/orchestrator/usage"
)

var _ usage.Account = (*Usage)(nil)

// Posted records posted rows, as usage.Books specifies.
func (u *Usage) Posted(ctx context.Context, now time.Time, merchant, run string, posted []usage.Posted) error {
	ids, differs := make([]string, len(posted)), map[string]string{}
	for i, p := range posted {
		ids[i], differs[p.Row] = p.Row, p.Differs
	}
	err := u.store.tx(ctx, func(tx *gorm.DB) error {
		var rows []usageRow
		locked := columns(tx).Clauses(clause.Locking{Strength: clause.LockingStrengthUpdate})
		err := locked.Where("merchant_id = ? AND id IN ? AND posted_at IS NULL", merchant, ids).Order("id").Find(&rows).Error
		if err != nil {
			return err
		}
		var found []unmatchedRow
		for i := range rows {
			row := &rows[i]
			row.PostedAt, row.RunID, row.Differs = micros(&now), text(run), text(differs[row.ID])
			if err := tx.Select("posted_at", "run_id", "differs").Updates(row).Error; err != nil {
				return err
			}
			if row.Differs != nil {
				found = append(found, unmatchedRow{
					MerchantID: merchant, SubscriptionID: row.SubscriptionID, Meter: row.Product, Reason: string(usage.Differing),
					FirstHour: row.Hour, LastHour: row.Hour,
				})
			}
		}
		return widen(tx, found)
	})
	if err != nil {
		return fmt.Errorf("recording posted usage: %w", err)
	}
	return nil
}

// Rows reads the rows of a subscription, as usage.Account specifies.
func (u *Usage) Rows(ctx context.Context, merchant, subscription string, r usage.Range) ([]usage.BilledRow, error) {
	var rows []usageRow
	err := columns(u.store.db.WithContext(ctx)).
		Where("merchant_id = ? AND subscription_id = ? AND hour >= ? AND hour < ?", merchant, subscription, r.From.UnixMicro(), r.To.UnixMicro()).
		Order("from_at, to_at, product_id, revision").Find(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("reading the billed usage of subscription %s: %w", subscription, err)
	}
	all := make([]usage.BilledRow, len(rows))
	for i := range rows {
		row, err := rows[i].row()
		if err != nil {
			return nil, err
		}
		all[i] = usage.BilledRow{Row: row}
		if rows[i].PostedAt != nil {
			all[i].PostedAt, all[i].Run = at(*rows[i].PostedAt), plain(rows[i].RunID)
		}
		all[i].Differs = plain(rows[i].Differs)
	}
	return all, nil
}

type usageRow struct {
	ID             string  `gorm:"column:id;primaryKey"`
	MerchantID     string  `gorm:"column:merchant_id"`
	SubscriptionID string  `gorm:"column:subscription_id"`
	ProductID      string  `gorm:"column:product_id"`
	Product        string  `gorm:"column:product"`
	PlanID         string  `gorm:"column:plan_id"`
	Hour           int64   `gorm:"column:hour"`
	FromAt         int64   `gorm:"column:from_at"`
	ToAt           int64   `gorm:"column:to_at"`
	Revision       int     `gorm:"column:revision"`
	Value          string  `gorm:"column:value"`
	Price          *string `gorm:"column:price"`
	Meters         string  `gorm:"column:meters"`
	Units          string  `gorm:"column:units"`
	MadeAt         int64   `gorm:"column:made_at"`
	RunID          *string `gorm:"column:run_id"`
	PostedAt       *int64  `gorm:"column:posted_at"`
	Differs        *string `gorm:"column:differs"`
}

// TableName returns the table's name for gorm.
func (usageRow) TableName() string { return "usage_rows" }

func (r *usageRow) row() (row usage.Row, err error) {
	row = usage.Row{
		ID: r.ID, Subscription: r.SubscriptionID, Product: r.ProductID, Name: r.Product, Plan: r.PlanID, From: at(r.FromAt), To: at(r.ToAt),
		Revision: r.Revision,
	}
	row.Value, err = decimal.NewFromString(r.Value)
	if err == nil && r.Price != nil {
		var price decimal.Decimal
		price, err = decimal.NewFromString(*r.Price)
		row.Price = &price
	}
	if err == nil {
		err = errors.Join(json.Unmarshal([]byte(r.Meters), &row.Meters), json.Unmarshal([]byte(r.Units), &row.Units))
	}
	if err != nil {
		return row, fmt.Errorf("decoding the usage %s: %w", r.ID, err)
	}
	return row, nil
}
