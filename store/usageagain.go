package store

import (
	"context"
	"fmt"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/tenantry/tenantry/orchestrator/usage"
)

var _ usage.Rebilling = (*Usage)(nil)

// billedAgainAfter is the time after which usage is billed again. A replica that has just read the merchant's products may still bill other hours
// with these products. After billedAgainAfter, it has read the products again.
const billedAgainAfter = 2 * time.Minute

// hourMicros is the length of an hour in the database.
const hourMicros = int64(time.Hour / time.Microsecond)

// BillAgain lets usage be billed again, as usage.Rebilling specifies. On PostgreSQL, the usage of the merchant is not billed at the same time, so
// that no bill adds unmatched usage that BillAgain removes.
func (u *Usage) BillAgain(ctx context.Context, now time.Time, s usage.Selection, limit int) (done usage.Selected, err error) {
	from, to := fullHour(s.From), fullHour(s.To)
	err = u.store.tx(ctx, func(tx *gorm.DB) error {
		if u.store.postgres() {
			if err := tx.Exec("SELECT pg_advisory_xact_lock(?, hashtext(?))", billLock, s.Merchant).Error; err != nil {
				return err
			}
		}
		rows, next, err := selectHours(tx, s, from, to, limit)
		if err != nil {
			return err
		}
		projects := map[[2]string]bool{}
		for i := range rows {
			rows[i].MerchantID, rows[i].DueAt = s.Merchant, now.Add(billedAgainAfter).UnixMicro()
			projects[[2]string{rows[i].Cloud, rows[i].ProjectID}] = true
		}
		done = usage.Selected{Hours: len(rows), Projects: len(projects)}
		end := to
		if next != 0 {
			end, done.Next = next, at(next)
		}
		if err := insert(tx.Clauses(waitAgain), rows); err != nil {
			return err
		}
		if s.Current {
			if err := forgetTerms(tx, rows); err != nil {
				return err
			}
		}
		return narrow(tx, s, from, end)
	})
	if err != nil {
		return usage.Selected{}, fmt.Errorf("letting usage be billed again: %w", err)
	}
	return done, nil
}

// The variable `waitAgain` makes an INSERT change the time at which usage is due, if the usage waits already.
var waitAgain = clause.OnConflict{
	Columns:   []clause.Column{{Name: "cloud"}, {Name: "project_id"}, {Name: "hour"}},
	DoUpdates: clause.AssignmentColumns([]string{"merchant_id", "subscription_id", "due_at"}),
}

// fullHour returns the first full hour at or after a time.
func fullHour(t time.Time) int64 {
	hour := t.Truncate(time.Hour)
	if hour.Before(t) {
		hour = hour.Add(time.Hour)
	}
	return hour.UnixMicro()
}

// selectHours reads the hours of projects with stored usage, oldest first. If it leaves hours out, `next` is the first of them.
func selectHours(tx *gorm.DB, s usage.Selection, from, to int64, limit int) (rows []unbilledRow, next int64, err error) {
	of := func(from, to int64) *gorm.DB {
		query := tx.Model(&amountRow{}).Select("hour, cloud, project_id, MAX(subscription_id) AS subscription_id").
			Where("merchant_id = ? AND hour >= ? AND hour < ?", s.Merchant, from, to).
			Where(`NOT EXISTS (
				SELECT 1 FROM usage_again g WHERE g.cloud = usage_amounts.cloud AND g.project_id = usage_amounts.project_id AND g.hour = usage_amounts.hour)`).
			Where(`NOT EXISTS (
				SELECT 1 FROM usage_taken t WHERE t.cloud = usage_amounts.cloud AND t.project_id = usage_amounts.project_id AND t.hour = usage_amounts.hour)`)
		if s.Subscription != "" {
			query = query.Where("subscription_id = ?", s.Subscription)
		}
		return query.Group("hour, cloud, project_id").Order("hour, cloud, project_id")
	}
	if err := of(from, to).Limit(limit + 1).Scan(&rows).Error; err != nil || len(rows) <= limit {
		return rows, 0, err
	}
	first, beyond := rows[0].Hour, rows[limit].Hour
	if beyond > first {
		for rows[len(rows)-1].Hour == beyond {
			rows = rows[:len(rows)-1]
		}
		return rows, beyond, nil
	}
	// The first hour has more projects than the limit.
	rows = nil
	if err := of(first, first+1).Scan(&rows).Error; err != nil {
		return nil, 0, err
	}
	next = first + hourMicros
	if next >= to {
		next = 0
	}
	return rows, next, nil
}

// The function `narrow` deletes the entries of unmatched usage whose hours are all in the range between `from` and `to`. It shortens the
// entries that begin or end in this range.
func narrow(tx *gorm.DB, s usage.Selection, from, to int64) error {
	of := func() *gorm.DB {
		query := tx.Model(&unmatchedRow{}).Where("merchant_id = ? AND reason <> ?", s.Merchant, string(usage.Differing))
		if s.Subscription != "" {
			query = query.Where("subscription_id = ?", s.Subscription)
		}
		return query
	}
	for _, change := range []*gorm.DB{
		of().Where("first_hour >= ? AND last_hour < ?", from, to).Delete(&unmatchedRow{}),
		of().Where("first_hour >= ? AND first_hour < ?", from, to).Update("first_hour", to),
		of().Where("last_hour >= ? AND last_hour < ?", from, to).Update("last_hour", from-hourMicros),
	} {
		if change.Error != nil {
			return change.Error
		}
	}
	return nil
}
