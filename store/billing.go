package store

import (
	"context"
	"errors"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/tenantry/tenantry/billing"
)

// Billing holds the tables of the embedded BillingStack: what billing/server asks for as its Records, field by field.
type Billing struct {
	Merchants     *BillingTable[billing.Merchant, billingMerchantRow]
	Products      *BillingTable[billing.Product, billingProductRow]
	Plans         *BillingPlans
	Customers     *BillingTable[billing.Customer, billingCustomerRow]
	Subscriptions *BillingTable[billing.Subscription, billingSubscriptionRow]
	Usage         *BillingTable[billing.Usage, billingUsageRow]
}

// Billing gives the embedded BillingStack's tables.
func (s *Store) Billing() Billing {
	return Billing{
		Merchants: &BillingTable[billing.Merchant, billingMerchantRow]{store: s, toRow: billingMerchant},
		Products:  &BillingTable[billing.Product, billingProductRow]{store: s, toRow: billingProduct},
		Plans: &BillingPlans{
			BillingTable[billing.Plan, billingPlanRow]{store: s, toRow: billingPlan, complete: completePlans},
		},
		Customers:     &BillingTable[billing.Customer, billingCustomerRow]{store: s, toRow: billingCustomer},
		Subscriptions: &BillingTable[billing.Subscription, billingSubscriptionRow]{store: s, toRow: billingSubscription},
		Usage:         &BillingTable[billing.Usage, billingUsageRow]{store: s, toRow: billingUsage, check: checkUsage},
	}
}

// BillingTable keeps the objects T of BillingStack in rows R. An empty merchantID is for merchants alone: they are bound to
// none. It is safe for concurrent use.
type BillingTable[T any, R billingRow[T]] struct {
	store    *Store
	toRow    func(merchantID string, addedAt int64, object T) R
	check    func(tx *gorm.DB, row R) error    // before a new row; what foreign keys do not say
	complete func(tx *gorm.DB, read []T) error // what a T has from other tables
}

type billingRow[T any] interface {
	TableName() string
	object() T
	added() int64
}

// List gives what meets all conditions, oldest first.
func (t *BillingTable[T, R]) List(ctx context.Context, merchantID string, where []billing.Condition) ([]T, error) {
	return t.list(t.store.db.WithContext(ctx), merchantID, where)
}

func (t *BillingTable[T, R]) list(db *gorm.DB, merchantID string, where []billing.Condition) ([]T, error) {
	query := ofMerchant(db, merchantID)
	for _, condition := range where {
		query = query.Where(comparison(condition))
	}
	var rows []R
	if err := query.Order("added_at, id").Find(&rows).Error; err != nil {
		return nil, err
	}
	objects := make([]T, len(rows))
	for i, row := range rows {
		objects[i] = row.object()
	}
	if t.complete != nil && len(objects) > 0 {
		return objects, t.complete(db, objects)
	}
	return objects, nil
}

// Create returns billing.ErrConflict when the id is taken, billing.ErrReference when the object names one that the
// merchant does not have.
func (t *BillingTable[T, R]) Create(ctx context.Context, merchantID string, object T) error {
	row := t.toRow(merchantID, time.Now().UnixMicro(), object)
	return t.store.tx(ctx, func(tx *gorm.DB) error {
		if t.check != nil {
			if err := t.check(tx, row); err != nil {
				return err
			}
		}
		return violation(tx, tx.Create(&row).Error, billing.ErrReference)
	})
}

// Update changes a row under its lock. What change returns undoes it. It returns billing.ErrNotFound, billing.ErrReference.
func (t *BillingTable[T, R]) Update(ctx context.Context, merchantID, id string, change func(*T) error) (T, error) {
	var changed T
	err := t.store.tx(ctx, func(tx *gorm.DB) error {
		var rows []R
		err := ofMerchant(tx, merchantID).Clauses(clause.Locking{Strength: clause.LockingStrengthUpdate}).
			Where("id = ?", id).Find(&rows).Error
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			return billing.ErrNotFound
		}
		changed = rows[0].object()
		if err := change(&changed); err != nil {
			return err
		}
		row := t.toRow(merchantID, rows[0].added(), changed)
		if err := tx.Select("*").Omit("id", "merchant_id", "added_at").Updates(&row).Error; err != nil {
			return violation(tx, err, billing.ErrReference)
		}
		if t.complete != nil {
			one := []T{changed}
			if err := t.complete(tx, one); err != nil {
				return err
			}
			changed = one[0]
		}
		return nil
	})
	return changed, err
}

// Delete returns billing.ErrNotFound, or billing.ErrConflict when something refers to the object.
func (t *BillingTable[T, R]) Delete(ctx context.Context, merchantID, id string) error {
	deleted := ofMerchant(t.store.db.WithContext(ctx), merchantID).Where("id = ?", id).Delete(new(R))
	if deleted.Error != nil {
		return violation(t.store.db, deleted.Error, billing.ErrConflict)
	}
	if deleted.RowsAffected == 0 {
		return billing.ErrNotFound
	}
	return nil
}

// ofMerchant also names every column in what it reads.
func ofMerchant(db *gorm.DB, merchantID string) *gorm.DB {
	db = db.Session(&gorm.Session{QueryFields: true})
	if merchantID == "" {
		return db
	}
	return db.Where("merchant_id = ?", merchantID)
}

// comparison quotes the column; that it exists is for the caller to know.
func comparison(c billing.Condition) clause.Expression {
	column := clause.Column{Name: c.Field}
	switch c.Op {
	case "ne":
		return clause.Neq{Column: column, Value: c.Value}
	case "ge":
		return clause.Gte{Column: column, Value: c.Value}
	case "le":
		return clause.Lte{Column: column, Value: c.Value}
	case "gt":
		return clause.Gt{Column: column, Value: c.Value}
	case "lt":
		return clause.Lt{Column: column, Value: c.Value}
	case "like": // SQLite's LIKE knows no case, PostgreSQL's does
		return clause.Expr{SQL: "LOWER(?) LIKE LOWER(?)", Vars: []any{column, c.Value}}
	}
	return clause.Eq{Column: column, Value: c.Value}
}

// violation names what a constraint refused; foreign says what a foreign key means here.
func violation(db *gorm.DB, err, foreign error) error {
	translator, ok := db.Dialector.(gorm.ErrorTranslator)
	if err == nil || !ok {
		return err
	}
	switch translated := translator.Translate(err); {
	case errors.Is(translated, gorm.ErrDuplicatedKey):
		return billing.ErrConflict
	case errors.Is(translated, gorm.ErrForeignKeyViolated):
		return foreign
	}
	return err
}
