// Package billingstack stores the objects of the embedded BillingStack in the database.
package billingstack

import (
	"context"
	"errors"
	"math"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/billing/server"
)

// Records returns the BillingStack tables of the database db. The function `tx` must start a transaction of db, and call its argument f
// with this transaction.
func Records(db *gorm.DB, tx func(ctx context.Context, f func(tx *gorm.DB) error) error) server.Records {
	d := database{db, tx}
	return server.Records{
		Merchants:     &table[billing.Merchant, merchantRow]{database: d, toRow: toMerchantRow},
		Products:      &table[billing.Product, productRow]{database: d, toRow: toProductRow},
		Plans:         &plans{table[billing.Plan, planRow]{database: d, toRow: toPlanRow, complete: addItems}},
		Customers:     &table[billing.Customer, customerRow]{database: d, toRow: toCustomerRow},
		Subscriptions: &table[billing.Subscription, subscriptionRow]{database: d, toRow: toSubscriptionRow},
		Usage:         &table[billing.Usage, usageRow]{database: d, toRow: toUsageRow, check: checkUsage},
	}
}

type database struct {
	db *gorm.DB
	tx func(ctx context.Context, f func(tx *gorm.DB) error) error
}

// The type `table` stores BillingStack objects of type T in rows of type R. Each call is limited to the objects of one merchant; an
// empty merchantID means the objects of all merchants. A table is safe for concurrent use.
type table[T any, R rowOf[T]] struct {
	database

	toRow    func(merchantID string, addedAt int64, object T) R
	check    func(tx *gorm.DB, row R) error    // called before a row is inserted; nil if foreign keys check all references
	complete func(tx *gorm.DB, read []T) error // reads the parts of objects that are in other tables; nil if all parts are in this table
}

// rowOf is the interface of a row that stores an object of type T.
type rowOf[T any] interface {
	TableName() string
	object() T
	key() (addedAt int64, id string) // lists are sorted by the key
}

// List returns the objects that meet all conditions, oldest first.
func (t *table[T, R]) List(ctx context.Context, merchantID string, where []billing.Condition) ([]T, error) {
	return t.list(t.db.WithContext(ctx), merchantID, where)
}

func (t *table[T, R]) list(db *gorm.DB, merchantID string, where []billing.Condition) ([]T, error) {
	var rows []R
	if err := t.query(db, merchantID, where).Find(&rows).Error; err != nil {
		return nil, err
	}
	return t.objects(db, rows)
}

// The method `query` selects the objects that meet all conditions, oldest first.
func (t *table[T, R]) query(db *gorm.DB, merchantID string, where []billing.Condition) *gorm.DB {
	query := ofMerchant(db, merchantID)
	for _, condition := range where {
		query = query.Where(comparison(condition))
	}
	return query.Order("added_at, id")
}

func (t *table[T, R]) objects(db *gorm.DB, rows []R) ([]T, error) {
	objects := make([]T, len(rows))
	for i, row := range rows {
		objects[i] = row.object()
	}
	if t.complete != nil && len(objects) > 0 {
		return objects, t.complete(db, objects)
	}
	return objects, nil
}

// The variable `chunk` is the number of rows that Each reads at a time. Only tests change chunk.
var chunk = 5000

// Each calls the function `take` for each object that meets all conditions, oldest first. The method Each reads the rows in chunks,
// and holds no connection while it calls `take`. The function `take` may therefore be slow.
func (t *table[T, R]) Each(ctx context.Context, merchantID string, where []billing.Condition, take func(T) error) error {
	db := t.db.WithContext(ctx)
	addedAt, id := int64(math.MinInt64), ""
	for {
		var rows []R
		err := t.query(db, merchantID, where).Where("(added_at, id) > (?, ?)", addedAt, id).Limit(chunk).Find(&rows).Error
		if err != nil || len(rows) == 0 {
			return err
		}
		objects, err := t.objects(db, rows)
		if err != nil {
			return err
		}
		for _, one := range objects {
			if err := take(one); err != nil {
				return err
			}
		}
		addedAt, id = rows[len(rows)-1].key()
	}
}

// Create inserts an object. Create returns billing.ErrConflict if the id is already in use. Create returns billing.ErrReference if
// the object refers to another object that the merchant does not have.
func (t *table[T, R]) Create(ctx context.Context, merchantID string, object T) error {
	row := t.toRow(merchantID, time.Now().UnixMicro(), object)
	return t.tx(ctx, func(tx *gorm.DB) error {
		if t.check != nil {
			if err := t.check(tx, row); err != nil {
				return err
			}
		}
		return violation(tx, tx.Create(&row).Error, billing.ErrReference)
	})
}

// Update locks the row of an object, changes the object and returns the changed object. If the function `change` returns an error,
// Update stores nothing and returns this error. Update returns billing.ErrNotFound if the object does not exist, and
// billing.ErrReference if the changed object refers to an object that does not exist.
func (t *table[T, R]) Update(ctx context.Context, merchantID, id string, change func(*T) error) (T, error) {
	var changed T
	err := t.tx(ctx, func(tx *gorm.DB) error {
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
		addedAt, _ := rows[0].key()
		row := t.toRow(merchantID, addedAt, changed)
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

// Delete removes an object. Delete returns billing.ErrNotFound if the object does not exist, and billing.ErrConflict if another
// object refers to the object.
func (t *table[T, R]) Delete(ctx context.Context, merchantID, id string) error {
	deleted := ofMerchant(t.db.WithContext(ctx), merchantID).Where("id = ?", id).Delete(new(R))
	if deleted.Error != nil {
		return violation(t.db, deleted.Error, billing.ErrConflict)
	}
	if deleted.RowsAffected == 0 {
		return billing.ErrNotFound
	}
	return nil
}

// ofMerchant restricts a query to the rows of one merchant. If merchantID is empty, the query has no such restriction. The query
// selects the columns by name instead of using SELECT *.
func ofMerchant(db *gorm.DB, merchantID string) *gorm.DB {
	db = db.Session(&gorm.Session{QueryFields: true})
	if merchantID == "" {
		return db
	}
	return db.Where("merchant_id = ?", merchantID)
}

// The function `comparison` returns a condition as SQL, and quotes the name of the column. The caller must check that the column
// exists.
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
	case "like": // SQLite's LIKE ignores case; PostgreSQL's LIKE does not
		return clause.Expr{SQL: "LOWER(?) LIKE LOWER(?)", Vars: []any{column, c.Value}}
	}
	return clause.Eq{Column: column, Value: c.Value}
}

// The function `violation` translates the error of a violated constraint. For a duplicate key, `violation` returns
// billing.ErrConflict. For a violated foreign key, `violation` returns the argument `foreign`.
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
