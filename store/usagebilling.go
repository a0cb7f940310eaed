package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/usage"
)

var _ usage.Books = (*Usage)(nil)

const (
	// If maxUnposted rows of a merchant are not posted, no more usage of this merchant is billed. Rows older than unpostedFor do not count.
	// BillingStack may refuse these rows permanently, and other usage must still be billed.
	maxUnposted = 1000
	unpostedFor = 24 * time.Hour
	// If the usage of an hour could not be billed, Tenantry tries again after billedLater.
	billedLater = time.Hour
	// neverBilled is the age at which Tenantry gives up an hour whose usage could not be billed.
	neverBilled = 30 * 24 * time.Hour
	// billLock is the first part of the keys of the advisory locks of merchants whose usage is being billed: "bill" in hexadecimal.
	billLock = 0x62696c6c
)

// Bill bills usage, as usage.Books specifies.
//
// On PostgreSQL, only one transaction at a time bills the usage of a merchant. Otherwise, two transactions could bill two projects of the same
// subscription at the same time, and neither would subtract the rows of the other. Bill locks rows of usage_unbilled. If FinishHour changes
// the usage of such a row, FinishHour waits for Bill. Bill skips the rows that FinishHour has locked.
func (u *Usage) Bill(ctx context.Context, now time.Time, merchant string, limit int,
	bill func(usage.Reading) (usage.Bill, []saga.FollowUp),
) (billed int, err error) {
	err = u.store.tx(ctx, func(tx *gorm.DB) error {
		if alone, err := u.billsAlone(tx, merchant); !alone || err != nil {
			return err
		}
		var waiting []unbilledRow
		locked := columns(tx).Clauses(clause.Locking{Strength: clause.LockingStrengthUpdate, Options: clause.LockingOptionsSkipLocked})
		err := locked.Where("merchant_id = ? AND due_at <= ?", merchant, now.UnixMicro()).
			Order("hour, cloud, project_id").Limit(limit).Find(&waiting).Error
		if err != nil || len(waiting) == 0 {
			return err
		}
		if full, err := unposted(tx, now, merchant); full || err != nil {
			return err
		}
		waiting = slices.DeleteFunc(waiting, func(w unbilledRow) bool { return w.Hour != waiting[0].Hour })
		billed = len(waiting)
		r, err := readingOf(tx, waiting)
		if err != nil {
			return err
		}
		made, followUps := bill(r)
		if err := tx.Delete(&failureRow{MerchantID: merchant}).Error; err != nil {
			return err
		}
		return writeBill(tx, now, waiting, made, followUps)
	})
	if err != nil {
		return 0, fmt.Errorf("billing usage: %w", err)
	}
	return billed, nil
}

// billsAlone reports whether no other transaction is billing the usage of the merchant. If it returns true, no other transaction can begin to
// bill this usage before the end of this transaction. On SQLite, no other transaction writes at the same time.
func (u *Usage) billsAlone(tx *gorm.DB, merchant string) (alone bool, err error) {
	if !u.store.postgres() {
		return true, nil
	}
	// If two merchants have the same hash, their usage is not billed at the same time.
	err = tx.Raw("SELECT pg_try_advisory_xact_lock(?, hashtext(?))", billLock, merchant).Row().Scan(&alone)
	return alone, err
}

// The function `unposted` reports whether the merchant has many rows that are not posted.
func unposted(tx *gorm.DB, now time.Time, merchant string) (full bool, err error) {
	var ids []string
	err = tx.Model(&usageRow{}).Where("merchant_id = ? AND posted_at IS NULL AND made_at > ?", merchant, now.Add(-unpostedFor).UnixMicro()).
		Limit(maxUnposted).Pluck("id", &ids).Error
	return len(ids) == maxUnposted, err
}

// readingOf reads the waiting usage of an hour. A subscription may have several projects, if its tenant was created again.
func readingOf(tx *gorm.DB, waiting []unbilledRow) (r usage.Reading, err error) {
	r.Merchant, r.Hour = waiting[0].MerchantID, at(waiting[0].Hour)
	var subscriptions, clouds, projects []string
	for _, w := range waiting {
		if w.SubscriptionID == "" {
			clouds, projects = append(clouds, w.Cloud), append(projects, w.ProjectID)
		} else {
			subscriptions = append(subscriptions, w.SubscriptionID)
		}
	}
	// These are two queries, because PostgreSQL would read an index from end to end for an OR. The second query has no condition on the
	// subscription: with such a condition, PostgreSQL could read the usage of all projects without a subscription.
	var amounts, ofProjects []amountRow
	of := columns(tx).Where("merchant_id = ? AND hour = ?", r.Merchant, waiting[0].Hour).Session(&gorm.Session{})
	err = of.Where("subscription_id IN ?", subscriptions).Find(&amounts).Error
	if err == nil {
		err = of.Where("cloud IN ? AND project_id IN ?", slices.Compact(slices.Sorted(slices.Values(clouds))), projects).Find(&ofProjects).Error
	}
	if err != nil {
		return r, err
	}
	amounts = append(amounts, slices.DeleteFunc(ofProjects, func(a amountRow) bool { return a.SubscriptionID != "" })...)
	for i := range amounts {
		a := &amounts[i]
		m, err := a.measured()
		if err != nil {
			return r, err
		}
		r.Measured = append(r.Measured, usage.Metered{Measured: m, Cloud: a.Cloud, Project: a.ProjectID, Subscription: a.SubscriptionID})
	}
	var rows []usageRow
	if err := columns(tx).Where("subscription_id IN ? AND hour = ?", subscriptions, waiting[0].Hour).Find(&rows).Error; err != nil {
		return r, err
	}
	for i := range rows {
		row, err := rows[i].row()
		if err != nil {
			return r, err
		}
		r.Earlier = append(r.Earlier, row)
	}
	r.Terms, err = readTerms(tx, r.Merchant, waiting[0].Hour, subscriptions)
	return r, err
}

func writeBill(tx *gorm.DB, now time.Time, waiting []unbilledRow, made usage.Bill, followUps []saga.FollowUp) error {
	for _, w := range waiting {
		var err error
		if made.Later[w.SubscriptionID] && now.Sub(at(w.Hour)) < neverBilled {
			err = tx.Model(&w).Update("due_at", now.Add(billedLater).UnixMicro()).Error
		} else {
			err = tx.Delete(&w).Error
		}
		if err != nil {
			return err
		}
	}
	rows := make([]usageRow, len(made.Rows))
	for i, r := range made.Rows {
		meters, err := json.Marshal(r.Meters)
		if err != nil {
			return err
		}
		units, err := json.Marshal(r.Units)
		if err != nil {
			return err
		}
		rows[i] = usageRow{
			ID: r.ID, MerchantID: waiting[0].MerchantID, SubscriptionID: r.Subscription, ProductID: r.Product, Product: r.Name, PlanID: r.Plan,
			Hour: waiting[0].Hour, FromAt: r.From.UnixMicro(), ToAt: r.To.UnixMicro(), Revision: r.Revision, Value: r.Value.String(),
			MadeAt: now.UnixMicro(), Meters: string(meters), Units: string(units),
		}
		if r.Price != nil {
			rows[i].Price = new(r.Price.String())
		}
	}
	if err := insert(tx, rows); err != nil {
		return err
	}
	if err := writeTerms(tx, waiting[0].MerchantID, waiting[0].Hour, made.Terms); err != nil {
		return err
	}
	if err := widen(tx, unmatchedOf(waiting[0], made.Unmatched)); err != nil {
		return err
	}
	changes := make([]followUpChange, len(followUps))
	for i := range followUps {
		var err error
		if changes[i], err = changeOfFollowUp("", &followUps[i]); err != nil {
			return err
		}
	}
	return writeFollowUps(tx, changes, map[string]bool{"": true})
}

type unbilledRow struct {
	Cloud          string `gorm:"column:cloud;primaryKey"`
	ProjectID      string `gorm:"column:project_id;primaryKey"`
	Hour           int64  `gorm:"column:hour;primaryKey;autoIncrement:false"`
	MerchantID     string `gorm:"column:merchant_id"`
	SubscriptionID string `gorm:"column:subscription_id"`
	DueAt          int64  `gorm:"column:due_at"`
}

// TableName returns the table's name for gorm.
func (unbilledRow) TableName() string { return "usage_unbilled" }
