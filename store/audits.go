package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/orchestrator/audit"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// Audits stores audits, findings and repair plans, and reads the runs that an audit compares. Audits implements audit.Store.
type Audits struct {
	store *Store
	page  int // the number of runs or entries that EachRun or EachUnmatched reads at a time
}

var _ audit.Store = (*Audits)(nil)

// Audits returns the store of audits, findings and repair plans.
func (s *Store) Audits() *Audits { return &Audits{store: s, page: runsAtATime} }

// Create stores a pending audit, as audit.Store specifies. On PostgreSQL, concurrent calls wait for a lock, so that only one call at
// a time counts the pending audits. On SQLite, no other transaction writes at the same time.
func (t *Audits) Create(ctx context.Context, a audit.Audit) error {
	row, err := rowOfAudit(&a)
	if err != nil {
		return fmt.Errorf("encoding audit %s: %w", a.ID, err)
	}
	row.State = string(audit.Pending)
	err = t.store.tx(ctx, func(tx *gorm.DB) error {
		if t.store.postgres() {
			if err := tx.Exec("SELECT pg_advisory_xact_lock(?)", createLock).Error; err != nil {
				return err
			}
		}
		var same, pending int64
		if err := tx.Model(&auditRow{}).Where("id = ?", row.ID).Count(&same).Error; err != nil || same > 0 {
			return cmp.Or(err, audit.ErrExists)
		}
		err := tx.Model(&auditRow{}).Where("state = 'pending'").Count(&pending).Error
		if err != nil || pending >= audit.MaxPending {
			return cmp.Or(err, audit.ErrBusy)
		}
		return tx.Create(&row).Error
	})
	return aboutAudit("storing audit", a.ID, err)
}

// createLock is the number of the lock under which audits are created: "audits" in hexadecimal.
const createLock = 0x617564697473

// takeAudit gives the running audit, or the oldest pending audit, to a replica. If two replicas choose the same audit, the second
// replica waits until the first replica has written the row. PostgreSQL then evaluates the last condition again for the second
// replica. If the replicas choose different audits, the unique index audits_running refuses the second update.
const takeAudit = `
	UPDATE audits SET state = 'running', replica = @replica, started_at = @now, beat_at = @now, progress = '{}'
	WHERE id = COALESCE(
			(SELECT id FROM audits WHERE state = 'running'),
			(SELECT MIN(id) FROM audits WHERE state = 'pending'))
		AND (state = 'pending' OR state = 'running' AND beat_at < @lost)
	RETURNING id, scope, asked_by, created_at, started_at, ended_at, state, progress, gaps, found, read, failure, replica, beat_at`

// Take gives an audit to a replica, as audit.Store specifies.
func (t *Audits) Take(ctx context.Context, replica string, now, lost time.Time) (audit.Audit, error) {
	var rows []auditRow
	err := t.store.db.WithContext(ctx).Raw(takeAudit, map[string]any{
		"replica": upstream.Clean(replica), "now": now.UnixMicro(), "lost": lost.UnixMicro(),
	}).Scan(&rows).Error
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok && refused.ConstraintName == "audits_running" {
		return audit.Audit{}, audit.ErrNotFound
	}
	if err != nil {
		return audit.Audit{}, fmt.Errorf("taking an audit: %w", err)
	}
	return theAudit(rows)
}

// Beat stores a heartbeat of the replica and the progress of its audit, as audit.Store specifies.
func (t *Audits) Beat(ctx context.Context, auditID, replica string, now time.Time, p audit.Progress) error {
	row, err := rowOfAudit(&audit.Audit{BeatAt: &now, Progress: p})
	if err == nil {
		err = executed(t.store.db.WithContext(ctx), auditID, replica, []string{"beat_at", "progress"}, &row)
	}
	return aboutAudit("storing the progress of audit", auditID, err)
}

// The function `executed` writes columns of an audit that the replica executes. If the replica does not execute the audit, `executed`
// returns ErrLost.
func executed(db *gorm.DB, auditID, replica string, columns []string, row *auditRow) error {
	result := db.Model(&auditRow{}).
		Where("id = ? AND replica = ? AND state = 'running'", upstream.Clean(auditID), upstream.Clean(replica)).
		Select(columns).Updates(row)
	if result.Error == nil && result.RowsAffected == 0 {
		return audit.ErrLost
	}
	return result.Error
}

// Audit reads an audit.
func (t *Audits) Audit(ctx context.Context, id string) (audit.Audit, error) {
	var rows []auditRow
	if err := columns(t.store.db.WithContext(ctx)).Where("id = ?", upstream.Clean(id)).Find(&rows).Error; err != nil {
		return audit.Audit{}, fmt.Errorf("reading audit %s: %w", id, err)
	}
	return theAudit(rows)
}

func theAudit(rows []auditRow) (audit.Audit, error) {
	if len(rows) == 0 {
		return audit.Audit{}, audit.ErrNotFound
	}
	return rows[0].audit()
}

// Audits reads a page of audits, as audit.Store specifies.
func (t *Audits) Audits(ctx context.Context, before string, limit int) ([]audit.Audit, error) {
	db := columns(t.store.db.WithContext(ctx))
	if before != "" {
		db = db.Where("id < ?", upstream.Clean(before))
	}
	var rows []auditRow
	if err := db.Order("id DESC").Limit(limit).Find(&rows).Error; err != nil {
		return nil, fmt.Errorf("listing audits: %w", err)
	}
	page := make([]audit.Audit, len(rows))
	for i := range rows {
		var err error
		if page[i], err = rows[i].audit(); err != nil {
			return nil, err
		}
	}
	return page, nil
}

// aboutAudit adds a description of the failed operation to an error. The errors that package audit declares stay unchanged.
func aboutAudit(doing, id string, err error) error {
	for _, declared := range []error{audit.ErrNotFound, audit.ErrExists, audit.ErrBusy, audit.ErrLost, audit.ErrResolved} {
		if errors.Is(err, declared) {
			return err
		}
	}
	if err != nil {
		err = fmt.Errorf("%s %s: %w", doing, id, err)
	}
	return err
}
