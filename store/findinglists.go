package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/tenantry/tenantry/orchestrator/audit"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// Findings reads a page of findings, as audit.Store specifies.
func (t *Audits) Findings(ctx context.Context, f audit.Filter) ([]audit.Finding, error) {
	var rows []findingRow
	if err := filteredFindings(columns(t.store.db.WithContext(ctx)), f).Find(&rows).Error; err != nil {
		return nil, fmt.Errorf("listing findings: %w", err)
	}
	page := make([]audit.Finding, len(rows))
	for i := range rows {
		var err error
		if page[i], err = rows[i].finding(); err != nil {
			return nil, err
		}
	}
	return page, nil
}

// filteredFindings restricts a query to a page of findings. The query reads a single index, begins after the id f.After, and stops
// when the page is full.
func filteredFindings(db *gorm.DB, f audit.Filter) *gorm.DB {
	first, after := "", upstream.Clean(f.After)
	if len(f.IDs) > 0 {
		db = db.Where("id IN ?", f.IDs)
	}
	for _, c := range []struct{ column, value string }{
		{"subscription_id", f.SubscriptionID},
		{"project_id", f.ProjectID},
		{"customer_id", f.CustomerID},
		{"user_id", f.UserID},
		{"last_audit", f.AuditID},
		{"merchant_id", f.MerchantID},
		{"cloud", f.Cloud},
	} {
		switch value := upstream.Clean(c.value); {
		case c.value == "":
		case first == "" && c.column != "cloud" && len(f.IDs) == 0:
			// With this condition and this ORDER BY, PostgreSQL uses the index of this column. Otherwise, it might read the findings by id.
			first = c.column
			db = db.Where("("+first+", id) > (?, ?) AND "+first+" <= ?", value, after, value)
		default: // an expression without an index, so that the database does not use the index of the column
			db = db.Where(c.column+" || '' = ?", value)
		}
	}
	if len(f.Statuses) > 0 {
		db = db.Where("status IN ?", f.Statuses)
	}
	unresolved := len(f.Statuses) > 0 && !slices.Contains(f.Statuses, audit.Resolved)
	if unresolved && len(f.IDs) == 0 && (first == "" || first == "merchant_id") {
		db = db.Where("status <> 'resolved'") // repeats the condition of the partial indexes literally
	}
	if f.Severity != "" {
		db = db.Where("severity IN ?", severitiesFrom(f.Severity))
	}
	if len(f.Codes) > 0 {
		db = db.Where("code IN ?", f.Codes)
	}
	if first != "" {
		return db.Order(first + ", id").Limit(f.Limit)
	}
	return db.Where("id > ?", after).Order("id").Limit(f.Limit)
}

// severitiesFrom returns the given severity and all worse severities.
func severitiesFrom(least audit.Severity) []audit.Severity {
	return slices.DeleteFunc(slices.Clone(audit.Severities), func(s audit.Severity) bool { return !s.AtLeast(least) })
}

// CountFindings counts findings, as audit.Store specifies.
func (t *Audits) CountFindings(ctx context.Context, cloud, merchantID string) ([]audit.FindingCount, error) {
	db := t.store.db.WithContext(ctx).Model(&findingRow{}).Select("severity, code, status, count(*) AS count").Where("status <> 'resolved'")
	if merchantID != "" {
		db = db.Where("merchant_id = ?", upstream.Clean(merchantID))
	}
	if cloud != "" {
		db = db.Where("cloud || '' = ?", upstream.Clean(cloud))
	}
	var counts []audit.FindingCount
	if err := db.Group("severity, code, status").Find(&counts).Error; err != nil {
		return nil, fmt.Errorf("counting findings: %w", err)
	}
	slices.SortFunc(counts, func(a, b audit.FindingCount) int {
		return cmp.Or(slices.Index(audit.Severities, a.Severity)-slices.Index(audit.Severities, b.Severity),
			cmp.Compare(a.Code, b.Code), cmp.Compare(a.Status, b.Status))
	})
	return counts, nil
}

// Finding reads one finding.
func (t *Audits) Finding(ctx context.Context, id string) (audit.Finding, error) {
	row, err := theFinding(t.store.db.WithContext(ctx), id)
	if err != nil {
		return audit.Finding{}, aboutAudit("reading finding", id, err)
	}
	return row.finding()
}

func theFinding(db *gorm.DB, id string) (*findingRow, error) {
	var rows []findingRow
	err := columns(db).Where("id = ?", upstream.Clean(id)).Find(&rows).Error
	if err != nil || len(rows) == 0 {
		return nil, cmp.Or(err, audit.ErrNotFound)
	}
	return &rows[0], nil
}

// History reads the most recent changes of the status of a finding, oldest first.
func (t *Audits) History(ctx context.Context, id string) ([]audit.Change, error) {
	var rows []changeRow
	err := columns(t.store.db.WithContext(ctx)).Where("finding_id = ?", upstream.Clean(id)).Order("seq").Find(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("reading the history of finding %s: %w", id, err)
	}
	changes := make([]audit.Change, len(rows))
	for i := range rows {
		changes[i] = rows[i].change()
	}
	return changes, nil
}

// Accept changes the acceptance of a finding, as audit.Store specifies. Accept locks the row, so that no audit writes the finding
// meanwhile.
func (t *Audits) Accept(ctx context.Context, id string, by audit.Change, a *audit.Acceptance) (audit.Finding, error) {
	var row *findingRow
	err := t.store.tx(ctx, func(tx *gorm.DB) (err error) {
		row, err = theFinding(tx.Clauses(clause.Locking{Strength: clause.LockingStrengthUpdate}), id)
		switch {
		case err != nil:
			return err
		case row.Status == string(audit.Resolved):
			return audit.ErrResolved
		case a == nil && row.Status != string(audit.Accepted):
			return nil
		}
		c := changeRow{At: by.At.UnixMicro(), Who: by.Who, Why: by.Why}
		row.Status, row.Acceptance = string(audit.Known), nil
		if a != nil {
			row.Status = string(audit.Accepted)
			c.Who, c.Why, c.Until = cmp.Or(c.Who, a.Who), cmp.Or(c.Why, a.Why), micros(a.Until)
			stored := audit.Acceptance{Who: a.Who, Why: a.Why, At: at(a.At.UnixMicro()), Until: maybeAt(c.Until)}
			cleaned(&stored.Who, &stored.Why)
			if err := encode(&row.Acceptance, stored, false); err != nil {
				return err
			}
		}
		cleaned(&c.Who, &c.Why)
		c = row.changed(c)
		if err := tx.Select("status", "acceptance", "changes").Updates(row).Error; err != nil {
			return err
		}
		return writeChanges(tx, []changeRow{c})
	})
	if err != nil {
		return audit.Finding{}, aboutAudit("accepting finding", id, err)
	}
	return row.finding()
}
