package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/shopspring/decimal"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/usage"
)

var (
	_ usage.Books   = (*Usage)(nil)
	_ usage.Account = (*Usage)(nil)
)

const (
	// maxUnposted is the number of rows of a merchant that are not posted, from which no more of its usage is billed. Rows older than
	// unpostedFor do not count: BillingStack may refuse them for good, and this must not keep other usage from being billed.
	maxUnposted = 1000
	unpostedFor = 24 * time.Hour
	// billedLater is the time after which usage is billed that could not be billed.
	billedLater = time.Hour
	// neverBilled is the age at which such an hour is given up.
	neverBilled = 30 * 24 * time.Hour
	// billLock is the first part of the keys of the advisory locks of merchants whose usage is being billed: "bill" in hexadecimal.
	billLock = 0x62696c6c
)

// Bill bills usage, as usage.Books specifies.
//
// On PostgreSQL, only one transaction at a time bills the usage of a merchant. Otherwise, two transactions could bill two projects of the same
// subscription, and none of them would subtract the rows of the other one. The rows of usage_unbilled are locked, so that FinishHour waits if it
// changes their usage. Bill skips the rows that FinishHour has locked.
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

// billsAlone reports whether no other transaction is billing the usage of the merchant. If so, no other transaction can begin to do so before the
// end of this one. On SQLite, no other transaction writes at the same time.
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

// readingOf reads the usage of an hour that waits to be billed. A subscription may have several projects, if its tenant was created again.
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
	// subscription, because PostgreSQL could then read the usage of all projects without a subscription.
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
	return r, nil
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
		rows[i] = usageRow{
			ID: r.ID, MerchantID: waiting[0].MerchantID, SubscriptionID: r.Subscription, ProductID: r.Product, Product: r.Name, PlanID: r.Plan,
			Hour: waiting[0].Hour, FromAt: r.From.UnixMicro(), ToAt: r.To.UnixMicro(), Revision: r.Revision, Value: r.Value.String(),
			MadeAt: now.UnixMicro(), Meters: string(meters),
		}
		if r.Price != nil {
			rows[i].Price = new(r.Price.String())
		}
	}
	if err := insert(tx, rows); err != nil {
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

// Troubles reads unmatched usage, as usage.Account specifies.
func (u *Usage) Troubles(ctx context.Context, merchant string, after, limit int) ([]usage.Trouble, error) {
	var rows []unmatchedRow
	err := columns(u.store.db.WithContext(ctx)).Where("merchant_id = ?", merchant).
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

// The method `trouble` adds the amounts of all hours.
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
		// With the expression, PostgreSQL does not read the usage of all projects without a subscription.
		amounts = db.Model(&amountRow{}).Select("amount").
			Where("cloud = ? AND project_id = ? AND meter = ? AND kind = ? AND unit = ? AND state = ? AND subscription_id || '' = ?",
				r.Cloud, r.ProjectID, r.Meter, r.Kind, r.Unit, r.State, r.SubscriptionID)
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
		err = json.Unmarshal([]byte(r.Meters), &row.Meters)
	}
	if err != nil {
		return row, fmt.Errorf("decoding the usage %s: %w", r.ID, err)
	}
	return row, nil
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
