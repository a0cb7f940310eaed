package billingstack

import (
	"cmp"
	"context"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/tenantry/tenantry/billing"
)

// The type `plans` stores plans and their items.
type plans struct {
	table[billing.Plan, planRow]
}

type itemRow struct {
	PlanID      string `gorm:"column:plan_id;primaryKey"`
	ProductID   string `gorm:"column:product_id;primaryKey"`
	MerchantID  string `gorm:"column:merchant_id"`
	Title       string `gorm:"column:title"`
	Description string `gorm:"column:description"`
	Pricing     []any  `gorm:"column:pricing;serializer:json"`
	AddedAt     int64  `gorm:"column:added_at"`
}

// TableName returns the table's name for gorm.
func (itemRow) TableName() string { return "billing_plan_items" }

func (r itemRow) object() billing.PlanItem {
	return billing.PlanItem{
		PlanID: r.PlanID, ProductID: r.ProductID, Title: r.Title, Description: r.Description, Pricing: r.Pricing,
	}
}

func toItemRow(merchantID string, addedAt int64, i billing.PlanItem) itemRow {
	return itemRow{
		PlanID: i.PlanID, ProductID: i.ProductID, MerchantID: merchantID, Title: i.Title, Description: i.Description,
		Pricing: append([]any{}, i.Pricing...), AddedAt: addedAt,
	}
}

// addItems reads the items of the given plans and adds them to the plans. If an item has no title or description, addItems uses the
// product's title or description.
func addItems(tx *gorm.DB, plans []billing.Plan) error {
	ids := make([]string, len(plans))
	at := map[string]int{}
	for i, plan := range plans {
		ids[i], at[plan.ID] = plan.ID, i
	}
	var items []itemRow
	err := ofMerchant(tx, "").Where("plan_id IN ?", ids).Order("added_at, product_id").Find(&items).Error
	if err != nil || len(items) == 0 {
		return err
	}
	productIDs := make([]string, len(items))
	for i, item := range items {
		productIDs[i] = item.ProductID
	}
	var products []productRow
	if err := ofMerchant(tx, "").Where("id IN ?", productIDs).Find(&products).Error; err != nil {
		return err
	}
	byID := map[string]productRow{}
	for _, product := range products {
		byID[product.ID] = product
	}
	for _, row := range items {
		item, product := row.object(), byID[row.ProductID]
		item.Name = product.Name
		item.Title = cmp.Or(item.Title, product.Title)
		item.Description = cmp.Or(item.Description, product.Description)
		plan := &plans[at[row.PlanID]]
		plan.Items = append(plan.Items, item)
	}
	return nil
}

// AddItem adds a product to a plan. AddItem returns billing.ErrNotFound if the merchant does not have the plan, and
// billing.ErrReference if the merchant does not have the product. AddItem returns billing.ErrConflict if the plan already has the
// product.
func (p *plans) AddItem(ctx context.Context, merchantID string, item billing.PlanItem) error {
	row := toItemRow(merchantID, time.Now().UnixMicro(), item)
	return p.tx(ctx, func(tx *gorm.DB) error {
		var n int64
		err := ofMerchant(tx, merchantID).Model(&planRow{}).Where("id = ?", item.PlanID).Count(&n).Error
		if err != nil {
			return err
		}
		if n == 0 {
			return billing.ErrNotFound
		}
		return violation(tx, tx.Create(&row).Error, billing.ErrReference)
	})
}

// UpdateItem locks the row of an item and changes the item. UpdateItem returns billing.ErrNotFound if the item does not exist.
func (p *plans) UpdateItem(ctx context.Context, merchantID, planID, productID string, change func(*billing.PlanItem) error) error {
	return p.tx(ctx, func(tx *gorm.DB) error {
		var rows []itemRow
		err := ofMerchant(tx, merchantID).Clauses(clause.Locking{Strength: clause.LockingStrengthUpdate}).
			Where("plan_id = ? AND product_id = ?", planID, productID).Find(&rows).Error
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			return billing.ErrNotFound
		}
		item := rows[0].object()
		if err := change(&item); err != nil {
			return err
		}
		row := toItemRow(merchantID, rows[0].AddedAt, item)
		return tx.Select("title", "description", "pricing").Updates(&row).Error
	})
}

// DeleteItem removes a product from a plan. DeleteItem returns billing.ErrNotFound if the plan does not have the product.
func (p *plans) DeleteItem(ctx context.Context, merchantID, planID, productID string) error {
	deleted := ofMerchant(p.db.WithContext(ctx), merchantID).
		Where("plan_id = ? AND product_id = ?", planID, productID).Delete(&itemRow{})
	if deleted.Error == nil && deleted.RowsAffected == 0 {
		return billing.ErrNotFound
	}
	return deleted.Error
}
