package store

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/tenantry/tenantry/orchestrator/audit"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// findingsAtATime is the maximum number of findings that one statement reads or writes. One statement inserts at most rowsOfPostgres rows. On
// SQLite, one statement inserts at most rowsOfSQLite rows, because SQLite's driver needs a long time to pass many parameters.
const (
	findingsAtATime = 1000
	rowsOfPostgres  = 1000
	rowsOfSQLite    = 20
)

// maxHistory is the maximum number of changes that the store keeps for a finding.
const maxHistory = 100

// Finish ends an audit and stores its findings in one transaction, as audit.Store specifies. Finish first writes the row of the audit,
// which stays locked until the end of the transaction. If a replica tries to take the audit during this time, the replica waits, and then
// finds that the audit has ended.
func (t *Audits) Finish(ctx context.Context, replica string, o audit.Outcome) error {
	f, err := newFinish(o)
	if err == nil {
		err = t.store.tx(ctx, func(tx *gorm.DB) error { return f.write(tx, replica) })
	}
	return aboutAudit("storing the end of audit", o.Audit.ID, err)
}

// The type `finish` contains the rows of an Outcome. The rows and ids are sorted by id, and have no duplicates.
type finish struct {
	audit    auditRow
	seen     []findingRow
	resolved []string
}

func newFinish(o audit.Outcome) (f finish, err error) {
	if !o.Audit.State.Ended() || o.Audit.EndedAt == nil {
		return f, fmt.Errorf("the audit has no end time, or its state %q is not the state of an ended audit", o.Audit.State)
	}
	if f.audit, err = rowOfAudit(&o.Audit); err != nil {
		return f, err
	}
	seen := map[string]findingRow{}
	for i := range o.Seen {
		row, err := rowOfFinding(&o.Seen[i])
		if err != nil {
			return f, err
		}
		seen[row.ID] = row
	}
	byID := func(a, b findingRow) int { return cmp.Compare(a.ID, b.ID) }
	f.seen = slices.SortedFunc(maps.Values(seen), byID)
	resolved := map[string]bool{}
	for _, id := range o.Resolved {
		id = upstream.Clean(id)
		if _, again := seen[id]; !again {
			resolved[id] = true
		}
	}
	f.resolved = slices.Sorted(maps.Keys(resolved))
	return f, nil
}

func (f *finish) write(tx *gorm.DB, replica string) error {
	ended := []string{"state", "ended_at", "progress", "gaps", "found", "read", "failure"}
	if err := executed(tx, f.audit.ID, replica, ended, &f.audit); err != nil {
		return err
	}
	for rows := range slices.Chunk(f.seen, findingsAtATime) {
		if err := f.writeSeen(tx, rows); err != nil {
			return err
		}
	}
	for ids := range slices.Chunk(f.resolved, findingsAtATime) {
		if err := f.writeResolved(tx, ids); err != nil {
			return err
		}
	}
	return nil
}

// writeSeen stores findings that the audit has seen.
func (f *finish) writeSeen(tx *gorm.DB, rows []findingRow) error {
	ids := make([]string, len(rows))
	for i := range rows {
		ids[i] = rows[i].ID
	}
	stored, err := lockFindings(tx, ids)
	if err != nil {
		return err
	}
	byID := map[string]*findingRow{}
	for i := range stored {
		byID[stored[i].ID] = &stored[i]
	}
	var changes []changeRow
	for i := range rows {
		before := byID[rows[i].ID]
		why, err := rows[i].see(before, &f.audit)
		if err != nil {
			return err
		}
		if before == nil || before.Status != rows[i].Status {
			changes = append(changes, rows[i].changed(changeRow{At: *f.audit.EndedAt, AuditID: f.audit.ID, Why: why}))
		}
	}
	put := clause.OnConflict{Columns: []clause.Column{{Name: "id"}}, UpdateAll: true}
	if err := insert(tx.Clauses(put), rows); err != nil {
		return err
	}
	return writeChanges(tx, changes)
}

// The function `insert` inserts rows, with as many statements as necessary. PostgreSQL allows 65,535 parameters in a statement.
func insert[R any](tx *gorm.DB, rows []R) error {
	n := rowsOfPostgres
	if tx.Name() == "sqlite" {
		n = rowsOfSQLite
	}
	return tx.CreateInBatches(rows, n).Error
}

// The method `see` sets the status of a finding that an audit has seen, and the columns that depend on the status. The argument
// `before` is the stored finding, or nil if the finding is not stored. If the audit ends an acceptance, `see` returns the reason.
func (row *findingRow) see(before *findingRow, end *auditRow) (why string, err error) {
	row.Status, row.LastSeen, row.LastAudit = string(audit.New), *end.EndedAt, end.ID
	row.FirstSeen, row.FirstAudit = row.LastSeen, row.LastAudit
	if before == nil {
		return "", nil
	}
	row.Changes = before.Changes
	if before.Status == string(audit.Resolved) {
		return "", nil
	}
	row.Status, row.FirstSeen, row.FirstAudit = string(audit.Known), before.FirstSeen, before.FirstAudit
	if before.Status != string(audit.Accepted) {
		return "", nil
	}
	var accepted audit.Acceptance
	if err := decode(before.Acceptance, &accepted); err != nil {
		return "", fmt.Errorf("decoding the acceptance of finding %s: %w", row.ID, err)
	}
	now, then := audit.Severity(row.Severity), audit.Severity(before.Severity)
	switch {
	case now != then && now.AtLeast(then):
		return fmt.Sprintf("the severity was %s, and is %s now", then, now), nil
	case accepted.Until != nil && !accepted.Until.After(at(*end.EndedAt)):
		return "the acceptance has ended", nil
	}
	row.Status, row.Acceptance = before.Status, before.Acceptance
	return "", nil
}

// The method `changed` increments the number of changes of the finding's status. It also fills in
// the row c of the change, and returns this row.
func (row *findingRow) changed(c changeRow) changeRow {
	row.Changes++
	c.FindingID, c.Seq, c.Status = row.ID, row.Changes, row.Status
	return c
}

// writeResolved resolves the findings with the given ids. It ignores an id if no finding with this id is stored, or if the finding
// is already resolved.
func (f *finish) writeResolved(tx *gorm.DB, ids []string) error {
	stored, err := lockFindings(tx, ids)
	if err != nil {
		return err
	}
	ids = nil
	var changes []changeRow
	for i := range stored {
		if row := &stored[i]; row.Status != string(audit.Resolved) {
			row.Status, ids = string(audit.Resolved), append(ids, row.ID)
			changes = append(changes, row.changed(changeRow{At: *f.audit.EndedAt, AuditID: f.audit.ID}))
		}
	}
	err = tx.Model(&findingRow{}).Where("id IN ?", ids).Updates(map[string]any{
		"status": string(audit.Resolved), "resolved_at": *f.audit.EndedAt, "acceptance": nil,
		"changes": gorm.Expr("changes + 1"),
	}).Error
	if err != nil {
		return err
	}
	return writeChanges(tx, changes)
}

// lockFindings reads the stored findings with the given ids, sorted by id. It locks their rows, so that no operator can accept these
// findings before the transaction ends.
func lockFindings(tx *gorm.DB, ids []string) (rows []findingRow, err error) {
	err = tx.Clauses(clause.Locking{Strength: clause.LockingStrengthUpdate}).
		Select("id, severity, status, first_seen, first_audit, acceptance, changes").
		Where("id IN ?", ids).Order("id").Find(&rows).Error
	return rows, err
}

// dropOldChanges deletes the old changes of findings. The last @kept changes of each finding remain.
const dropOldChanges = `
	DELETE FROM finding_changes WHERE finding_id IN @ids
		AND seq <= (SELECT changes FROM findings WHERE findings.id = finding_changes.finding_id) - @kept`

// writeChanges stores changes of findings, and deletes old changes. The findings themselves must have been written before.
func writeChanges(tx *gorm.DB, changes []changeRow) error {
	if len(changes) == 0 {
		return nil
	}
	if err := insert(tx, changes); err != nil {
		return err
	}
	var full []string
	for i := range changes {
		if changes[i].Seq > maxHistory {
			full = append(full, changes[i].FindingID)
		}
	}
	if len(full) == 0 {
		return nil
	}
	return tx.Exec(dropOldChanges, map[string]any{"ids": full, "kept": maxHistory}).Error
}
