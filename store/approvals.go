package store

import (
	"context"
	"fmt"
	"strings"

	"gorm.io/gorm/clause"

	"github.com/tenantry/tenantry/orchestrator/audit"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// Approvals reads the approvals of a plan, as audit.PlanStore specifies.
func (t *Audits) Approvals(ctx context.Context, planID string) (map[string]audit.Approval, error) {
	var rows []approvalRow
	if err := columns(t.store.db.WithContext(ctx)).Where("plan_id = ?", upstream.Clean(planID)).Find(&rows).Error; err != nil {
		return nil, fmt.Errorf("reading the approvals of plan %s: %w", planID, err)
	}
	all := map[string]audit.Approval{}
	for i := range rows {
		a, err := rows[i].approval()
		if err != nil {
			return nil, err
		}
		all[a.FindingID] = a
	}
	return all, nil
}

// ApprovalsOf reads the approvals of the repairs of a finding, as audit.PlanStore specifies.
func (t *Audits) ApprovalsOf(ctx context.Context, findingID string, limit int) ([]audit.Approval, error) {
	var rows []approvalRow
	err := columns(t.store.db.WithContext(ctx)).Where("finding_id = ?", upstream.Clean(findingID)).
		Order("finding_id DESC, plan_id DESC").Limit(limit).Find(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("reading the approvals of finding %s: %w", findingID, err)
	}
	all := make([]audit.Approval, len(rows))
	for i := range rows {
		if all[i], err = rows[i].approval(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// Approve stores approvals, as audit.PlanStore specifies.
func (t *Audits) Approve(ctx context.Context, all []audit.Approval) error {
	rows := make([]approvalRow, len(all))
	for i, a := range all {
		rows[i] = approvalRow{PlanID: a.PlanID, FindingID: a.FindingID, ApprovedBy: a.Who, ApprovedAt: a.At.UnixMicro()}
		cleaned(&rows[i].PlanID, &rows[i].FindingID, &rows[i].ApprovedBy)
		if a.Refusal == nil {
			continue
		}
		r := *a.Refusal
		cleaned(&r.Code, &r.Detail, &r.FixBy)
		r.At = at(r.At.UnixMicro())
		if err := encode(&rows[i].Refusal, r, false); err != nil {
			return err
		}
	}
	if len(rows) == 0 {
		return nil
	}
	put := clause.OnConflict{Columns: []clause.Column{{Name: "plan_id"}, {Name: "finding_id"}}, UpdateAll: true}
	if err := insert(t.store.db.WithContext(ctx).Clauses(put), rows); err != nil {
		return fmt.Errorf("storing %d approvals: %w", len(rows), err)
	}
	return nil
}

// Withdraw removes approvals, as audit.PlanStore specifies.
func (t *Audits) Withdraw(ctx context.Context, planID string, findingIDs []string) error {
	if len(findingIDs) == 0 {
		return nil
	}
	err := t.store.db.WithContext(ctx).Where("plan_id = ? AND finding_id IN ?", planID, findingIDs).Delete(&approvalRow{}).Error
	if err != nil {
		return fmt.Errorf("withdrawing approvals of plan %s: %w", planID, err)
	}
	return nil
}

// KeyedRuns reads the runs of idempotency keys, as audit.PlanStore specifies.
func (t *Audits) KeyedRuns(ctx context.Context, keys []audit.RunKey) (map[audit.RunKey]audit.KeyedRun, error) {
	found := map[audit.RunKey]audit.KeyedRun{}
	if len(keys) == 0 {
		return found, nil
	}
	values := make([]any, 0, 2*len(keys))
	for _, k := range keys {
		values = append(values, upstream.Clean(k.MerchantID), k.Key)
	}
	var rows []struct{ MerchantID, Key, ID, State string }
	err := t.store.db.WithContext(ctx).Raw(`
		WITH wanted (merchant_id, key) AS (VALUES (?, ?)`+strings.Repeat(", (?, ?)", len(keys)-1)+`)
		SELECT k.merchant_id, k.key, r.id, r.state
		FROM wanted w JOIN idempotency_keys k ON k.merchant_id = w.merchant_id AND k.key = w.key JOIN runs r ON r.id = k.run_id`,
		values...).Scan(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("reading the runs of %d keys: %w", len(keys), err)
	}
	for _, row := range rows {
		found[audit.RunKey{MerchantID: row.MerchantID, Key: row.Key}] = audit.KeyedRun{ID: row.ID, State: saga.RunState(row.State)}
	}
	return found, nil
}

// approvalRow is a row of the table repair_approvals.
type approvalRow struct {
	PlanID     string  `gorm:"column:plan_id;primaryKey"`
	FindingID  string  `gorm:"column:finding_id;primaryKey"`
	ApprovedBy string  `gorm:"column:approved_by"`
	ApprovedAt int64   `gorm:"column:approved_at;autoCreateTime:false"`
	Refusal    *string `gorm:"column:refusal"`
}

// TableName returns the table's name for gorm.
func (approvalRow) TableName() string { return "repair_approvals" }

func (row *approvalRow) approval() (audit.Approval, error) {
	a := audit.Approval{PlanID: row.PlanID, FindingID: row.FindingID, Who: row.ApprovedBy, At: at(row.ApprovedAt)}
	err := decode(row.Refusal, &a.Refusal)
	if err != nil {
		err = fmt.Errorf("decoding an approval of plan %s: %w", row.PlanID, err)
	}
	return a, err
}
