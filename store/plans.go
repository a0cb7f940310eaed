package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/tenantry/tenantry/orchestrator/audit"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// CreatePlan stores a plan, as audit.PlanStore specifies.
func (t *Audits) CreatePlan(ctx context.Context, p audit.Plan) error {
	if len(p.Entries) > audit.MaxPlanEntries {
		return fmt.Errorf("storing plan %s: it has %d entries, more than the maximum of %d", p.ID, len(p.Entries), audit.MaxPlanEntries)
	}
	row, err := rowOfPlan(&p)
	if err == nil {
		err = t.store.db.WithContext(ctx).Create(&row).Error
	}
	if err != nil {
		return fmt.Errorf("storing plan %s: %w", p.ID, err)
	}
	return nil
}

// Plan reads a plan, as audit.PlanStore specifies.
func (t *Audits) Plan(ctx context.Context, id string) (audit.Plan, error) {
	var rows []planRow
	if err := columns(t.store.db.WithContext(ctx)).Where("id = ?", upstream.Clean(id)).Find(&rows).Error; err != nil {
		return audit.Plan{}, fmt.Errorf("reading plan %s: %w", id, err)
	}
	if len(rows) == 0 {
		return audit.Plan{}, audit.ErrNotFound
	}
	return rows[0].plan()
}

// Plans reads a page of plans, as audit.PlanStore specifies.
func (t *Audits) Plans(ctx context.Context, before string, limit int) ([]audit.PlanSummary, error) {
	db := t.store.db.WithContext(ctx).Model(&planRow{}).Select("id, installation, created_at, created_by, size, left_out, suspect, " +
		"(SELECT count(*) FROM repair_approvals a WHERE a.plan_id = repair_plans.id) AS approved")
	if before != "" {
		db = db.Where("id < ?", upstream.Clean(before))
	}
	var rows []struct {
		Plan     planRow `gorm:"embedded"`
		Approved int     `gorm:"column:approved"`
	}
	if err := db.Order("id DESC").Limit(limit).Find(&rows).Error; err != nil {
		return nil, fmt.Errorf("listing plans: %w", err)
	}
	page := make([]audit.PlanSummary, len(rows))
	for i := range rows {
		page[i] = audit.PlanSummary{Plan: rows[i].Plan.head(), Size: rows[i].Plan.Size, Approved: rows[i].Approved}
	}
	return page, nil
}

// planRow is a row of the table repair_plans.
type planRow struct {
	ID           string `gorm:"column:id;primaryKey"`
	Installation string `gorm:"column:installation"`
	CreatedAt    int64  `gorm:"column:created_at;autoCreateTime:false"`
	CreatedBy    string `gorm:"column:created_by"`
	Entries      string `gorm:"column:entries"`
	Size         int    `gorm:"column:size"`
	LeftOut      int    `gorm:"column:left_out"`
	Suspect      int    `gorm:"column:suspect"`
}

// TableName returns the table's name for gorm.
func (planRow) TableName() string { return "repair_plans" }

func rowOfPlan(p *audit.Plan) (planRow, error) {
	row := planRow{
		ID: p.ID, Installation: p.Installation, CreatedAt: p.CreatedAt.UnixMicro(), CreatedBy: p.By, Size: len(p.Entries),
		LeftOut: p.LeftOut, Suspect: p.Suspect,
	}
	cleaned(&row.ID, &row.Installation, &row.CreatedBy)
	entries := slices.Clone(p.Entries)
	for i := range entries {
		e := &entries[i]
		code, severity, action := string(e.Code), string(e.Severity), string(e.Action)
		cleaned(&e.FindingID, &code, &severity, &e.Detail, &e.Cloud, &e.MerchantID, &e.CustomerID, &e.SubscriptionID, &e.ProjectID,
			&e.UserID, &e.RunID, &action)
		e.Code, e.Severity, e.Action = audit.Code(code), audit.Severity(severity), audit.RepairAction(action)
		e.Objects, e.Values = cleanedObjects(e.Objects), cleanedValues(e.Values)
	}
	return row, encodeText(&row.Entries, entries)
}

// The method `head` returns the plan without its entries.
func (row *planRow) head() audit.Plan {
	return audit.Plan{
		ID: row.ID, Installation: row.Installation, CreatedAt: at(row.CreatedAt), By: row.CreatedBy, LeftOut: row.LeftOut, Suspect: row.Suspect,
	}
}

func (row *planRow) plan() (audit.Plan, error) {
	p := row.head()
	err := decode(&row.Entries, &p.Entries)
	if err != nil {
		err = fmt.Errorf("decoding plan %s: %w", row.ID, err)
	}
	return p, err
}
