package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/shopspring/decimal"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/tenantry/tenantry/orchestrator/usage"
)

// The function `widen` inserts rows of usage_unmatched, or extends their hours. It sorts the rows by their keys, so that two transactions cannot
// lock each other out, and joins rows with the same key.
func widen(tx *gorm.DB, rows []unmatchedRow) error {
	slices.SortFunc(rows, func(a, b unmatchedRow) int { return slices.Compare(a.key(), b.key()) })
	var joined []unmatchedRow
	for _, r := range rows {
		if n := len(joined); n > 0 && slices.Equal(joined[n-1].key(), r.key()) {
			joined[n-1].FirstHour, joined[n-1].LastHour = min(joined[n-1].FirstHour, r.FirstHour), max(joined[n-1].LastHour, r.LastHour)
			continue
		}
		joined = append(joined, r)
	}
	return insert(tx.Clauses(wider), joined)
}

// The variable `wider` lets an INSERT extend the hours of a row that exists.
var wider = clause.OnConflict{
	Columns: []clause.Column{
		{Name: "merchant_id"},
		{Name: "cloud"},
		{Name: "project_id"},
		{Name: "subscription_id"},
		{Name: "meter"},
		{Name: "kind"},
		{Name: "unit"},
		{Name: "state"},
		{Name: "reason"},
	},
	DoUpdates: clause.Set{
		{Column: clause.Column{Name: "first_hour"}, Value: gorm.Expr(
			"CASE WHEN excluded.first_hour < ? THEN excluded.first_hour ELSE ? END", firstHour, firstHour)},
		{Column: clause.Column{Name: "last_hour"}, Value: gorm.Expr(
			"CASE WHEN excluded.last_hour > ? THEN excluded.last_hour ELSE ? END", lastHour, lastHour)},
	},
}

var (
	firstHour = clause.Column{Table: clause.CurrentTable, Name: "first_hour"}
	lastHour  = clause.Column{Table: clause.CurrentTable, Name: "last_hour"}
)

func unmatchedOf(of unbilledRow, all []usage.Unmatched) []unmatchedRow {
	rows := make([]unmatchedRow, len(all))
	for i, m := range all {
		rows[i] = unmatchedRow{
			MerchantID: of.MerchantID, Cloud: m.Cloud, ProjectID: m.Project, SubscriptionID: m.Subscription,
			Meter: m.Meter, Kind: string(m.Kind), Unit: m.Unit, State: m.State, Reason: string(m.Reason), FirstHour: of.Hour, LastHour: of.Hour,
		}
	}
	return rows
}

// The statement `waits` selects the waiting usage of an entry of usage_unmatched. If no usage of an entry with the reason plan-gone waits,
// BillingStack has the plan again.
const waits = `
SELECT 1 FROM usage_unbilled b
WHERE b.cloud = usage_unmatched.cloud AND b.project_id = usage_unmatched.project_id AND b.subscription_id = usage_unmatched.subscription_id
	AND b.hour BETWEEN usage_unmatched.first_hour AND usage_unmatched.last_hour`

// Troubles reads unmatched usage, as usage.Account specifies.
func (u *Usage) Troubles(ctx context.Context, merchant string, after, limit int) ([]usage.Trouble, error) {
	var rows []unmatchedRow
	err := columns(u.store.db.WithContext(ctx)).Where("merchant_id = ? AND (reason <> ? OR EXISTS (?))", merchant, string(usage.NoPlan), gorm.Expr(waits)).
		Order("cloud, project_id, subscription_id, meter, kind, unit, state, reason").Offset(after).Limit(limit).Find(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("reading unmatched usage: %w", err)
	}
	all := make([]usage.Trouble, len(rows))
	for i := range rows {
		if all[i], err = u.trouble(ctx, &rows[i]); err != nil {
			return nil, fmt.Errorf("reading unmatched usage: %w", err)
		}
	}
	return all, nil
}

// The method `trouble` adds the amounts of all hours. If the plan is gone, only the hours that wait to be billed count. The other hours were billed
// while BillingStack had the plan.
func (u *Usage) trouble(ctx context.Context, r *unmatchedRow) (found usage.Trouble, err error) {
	found = usage.Trouble{First: at(r.FirstHour), Last: at(r.LastHour), Unmatched: usage.Unmatched{
		Reason: usage.Reason(r.Reason),
		Metered: usage.Metered{
			Cloud: r.Cloud, Project: r.ProjectID, Subscription: r.SubscriptionID,
			Measured: usage.Measured{Meter: r.Meter, Kind: usage.Kind(r.Kind), Unit: r.Unit, State: r.State},
		},
	}}
	if found.Reason.OfMeter() {
		return found, nil
	}
	db := u.store.db.WithContext(ctx).Where("merchant_id = ? AND hour BETWEEN ? AND ?", r.MerchantID, r.FirstHour, r.LastHour)
	var amounts *gorm.DB
	switch found.Reason { //nolint:exhaustive // the other reasons are about amounts
	case usage.Unpriced:
		amounts = db.Model(&usageRow{}).Select("value").Where("price IS NULL AND product = ? AND subscription_id = ?", r.Meter, r.SubscriptionID)
	case usage.Differing:
		amounts = db.Model(&usageRow{}).Select("value").Where("differs IS NOT NULL AND product = ? AND subscription_id = ?", r.Meter, r.SubscriptionID)
	default:
		// Without the expression, PostgreSQL would read the usage of all projects that have no subscription.
		amounts = db.Model(&amountRow{}).Select("amount").
			Where("cloud = ? AND project_id = ? AND meter = ? AND kind = ? AND unit = ? AND state = ? AND subscription_id || '' = ?",
				r.Cloud, r.ProjectID, r.Meter, r.Kind, r.Unit, r.State, r.SubscriptionID)
		if found.Reason == usage.NoPlan {
			amounts = amounts.Where(`EXISTS (
				SELECT 1 FROM usage_unbilled b
				WHERE b.cloud = usage_amounts.cloud AND b.project_id = usage_amounts.project_id AND b.hour = usage_amounts.hour)`)
		}
	}
	var texts []string
	if err := amounts.Scan(&texts).Error; err != nil {
		return found, err
	}
	for _, t := range texts {
		amount, err := decimal.NewFromString(t)
		if err != nil {
			return found, err
		}
		found.Amount = found.Amount.Add(amount)
	}
	return found, nil
}

// deleteUnmatched deletes the unmatched usage whose last hour began before a time. The first condition on last_hour is for PostgreSQL, which
// checks it again if another transaction has extended the hours of a row meanwhile.
func (u *Usage) deleteUnmatched(ctx context.Context, before time.Time) error {
	const key = "merchant_id, cloud, project_id, subscription_id, meter, kind, unit, state, reason"
	return u.deleteAll(ctx, `DELETE FROM usage_unmatched WHERE last_hour < @before AND (`+key+`) IN (
		SELECT `+key+` FROM usage_unmatched WHERE last_hour < @before LIMIT @limit)`, map[string]any{"before": before.UnixMicro()})
}

type unmatchedRow struct {
	MerchantID     string `gorm:"column:merchant_id;primaryKey"`
	Cloud          string `gorm:"column:cloud;primaryKey"`
	ProjectID      string `gorm:"column:project_id;primaryKey"`
	SubscriptionID string `gorm:"column:subscription_id;primaryKey"`
	Meter          string `gorm:"column:meter;primaryKey"`
	Kind           string `gorm:"column:kind;primaryKey"`
	Unit           string `gorm:"column:unit;primaryKey"`
	State          string `gorm:"column:state;primaryKey"`
	Reason         string `gorm:"column:reason;primaryKey"`
	FirstHour      int64  `gorm:"column:first_hour"`
	LastHour       int64  `gorm:"column:last_hour"`
}

// TableName returns the table's name for gorm.
func (unmatchedRow) TableName() string { return "usage_unmatched" }

func (r unmatchedRow) key() []string {
	return []string{r.MerchantID, r.Cloud, r.ProjectID, r.SubscriptionID, r.Meter, r.Kind, r.Unit, r.State, r.Reason}
}
