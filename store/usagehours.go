package store

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/shopspring/decimal"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/tenantry/tenantry/orchestrator/usage"
)

var _ usage.Hours = (*Usage)(nil)

// dueHours chooses the @limit oldest hours that began at or before @last and can be taken: hours with new samples, hours that must be
// computed again, and hours that were taken before @expired. An hour that was taken later is not chosen, even if it has new samples.
//
// Each part reads at most @limit rows in the order of an index, so the cost does not depend on the number of due hours.
const dueHours = `
SELECT cloud, project_id, hour, MAX(spreads) AS spreads FROM (
	SELECT * FROM (
		SELECT d.cloud, d.project_id, d.hour, 1 AS spreads FROM usage_due d
		WHERE d.hour <= @last AND NOT EXISTS (
			SELECT 1 FROM usage_taken t
			WHERE t.cloud = d.cloud AND t.project_id = d.project_id AND t.hour = d.hour AND t.taken_at >= @expired)
		ORDER BY d.hour, d.cloud, d.project_id LIMIT @limit
	) due
	UNION ALL
	SELECT * FROM (
		SELECT a.cloud, a.project_id, a.hour, 0 AS spreads FROM usage_again a
		WHERE a.hour <= @last AND a.due_at <= @now AND NOT EXISTS (
			SELECT 1 FROM usage_taken t
			WHERE t.cloud = a.cloud AND t.project_id = a.project_id AND t.hour = a.hour AND t.taken_at >= @expired)
		ORDER BY a.hour, a.cloud, a.project_id LIMIT @limit
	) again
	UNION ALL
	SELECT * FROM (
		SELECT t.cloud, t.project_id, t.hour, CASE WHEN t.spreads THEN 1 ELSE 0 END AS spreads FROM usage_taken t
		WHERE t.hour <= @last AND t.taken_at < @expired
		ORDER BY t.hour, t.cloud, t.project_id LIMIT @limit
	) expired
) found
GROUP BY cloud, project_id, hour ORDER BY hour, cloud, project_id LIMIT @limit`

// takeHours marks the hours that dueHours chooses as taken, and returns them.
const takeHours = `
INSERT INTO usage_taken (cloud, project_id, hour, spreads, taken_at, take)
SELECT cloud, project_id, hour, spreads = 1, CAST(@now AS BIGINT), CAST(@take AS TEXT) FROM (` + dueHours + `) chosen WHERE TRUE
ON CONFLICT (cloud, project_id, hour) DO UPDATE SET spreads = excluded.spreads, taken_at = excluded.taken_at, take = excluded.take
RETURNING cloud, project_id, hour, spreads`

// takeWait is the maximum time for which awaitSamples waits. Meanwhile, a transaction that stores samples cannot begin.
const takeWait = "300ms"

// awaitSamples waits until all transactions that are storing samples have ended, and keeps further ones waiting until the end of tx. On
// SQLite, there is only one transaction that writes.
func (u *Usage) awaitSamples(tx *gorm.DB) error {
	if !u.store.postgres() {
		return nil
	}
	if err := tx.Exec("SELECT set_config('lock_timeout', ?, TRUE)", takeWait).Error; err != nil {
		return err
	}
	return tx.Exec("SELECT pg_advisory_xact_lock(?)", usageLock).Error
}

// TakeDue takes due hours, as usage.Hours specifies.
//
// On PostgreSQL, TakeDue takes usageLock, and so waits until all transactions that are storing samples have ended. The caller therefore
// reads the samples of these transactions. A transaction that stores samples later makes its hours due again.
func (u *Usage) TakeDue(ctx context.Context, now, ended time.Time, limit int) ([]usage.Due, error) {
	args := map[string]any{
		"now": now.UnixMicro(), "last": ended.Add(-time.Hour).UnixMicro(), "expired": now.Add(-usage.TakeTimeout).UnixMicro(),
		"limit": max(limit, 0), "take": rand.Text(),
	}
	var rows []takenRow
	found, err := u.anyDue(ctx, args)
	if err == nil && found {
		err = u.store.tx(ctx, func(tx *gorm.DB) error { rows, err = u.take(tx, args); return err })
	}
	if err != nil {
		return nil, fmt.Errorf("taking due hours: %w", err)
	}
	slices.SortFunc(rows, func(a, b takenRow) int {
		return cmp.Or(cmp.Compare(a.Hour, b.Hour), cmp.Compare(a.Cloud, b.Cloud), cmp.Compare(a.ProjectID, b.ProjectID))
	})
	due := make([]usage.Due, len(rows))
	for i, r := range rows {
		due[i] = usage.Due{Cloud: r.Cloud, Project: r.ProjectID, Hour: at(r.Hour), Spreads: r.Spreads, Take: args["take"].(string)}
	}
	return due, nil
}

// anyDue reports whether there is an hour that can be taken. Replicas often search when there is no such hour. In this case, they need no
// lock.
func (u *Usage) anyDue(ctx context.Context, args map[string]any) (found bool, err error) {
	err = u.store.db.WithContext(ctx).Raw("SELECT EXISTS ("+dueHours+")", args).Row().Scan(&found)
	return found, err
}

func (u *Usage) take(tx *gorm.DB, args map[string]any) (rows []takenRow, err error) {
	if err := u.awaitSamples(tx); err != nil {
		return nil, err
	}
	if err := tx.Raw(takeHours, args).Scan(&rows).Error; err != nil {
		return nil, err
	}
	for _, table := range []string{"usage_due", "usage_again"} {
		err := tx.Exec("DELETE FROM "+table+` WHERE (cloud, project_id, hour) IN (
			SELECT cloud, project_id, hour FROM usage_taken WHERE take = ?)`, args["take"]).Error
		if err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// pgRecorded reads the points of a project's series that contribute to the hour from @from to @to, and the time of each series' next point.
// It also reads the newest point of each series before the hour. If several points have this time, it reads all of them. A series is not read if
// its last point before @to is before the hour, unless the series is a gauge and the point is after @held. Most series of a project can
// have ended long ago. The condition on @day, the day of @held, leaves them out, so that PostgreSQL need not look for their samples.
//
// PostgreSQL must read the samples series by series, because the subqueries are LATERAL and sorted. Each subquery reads only a part of the
// index samples_series, even if PostgreSQL has no statistics. The series are sorted first, so that PostgreSQL can sort the points of one
// series at a time instead of all points. sqliteRecorded returns the same rows.
const pgRecorded = `
SELECT s.id AS series_id, s.source, s.resource_id, s.meter, s.kind, s.unit, n.at AS next_at, p.id, p.at, p.volume
FROM (
	SELECT id, source, resource_id, meter, kind, unit FROM series
	WHERE cloud = @cloud AND project_id = @project AND last_day >= @day ORDER BY id
) s
CROSS JOIN LATERAL (
	SELECT at FROM samples WHERE series_id = s.id AND at < @to ORDER BY at DESC, id DESC LIMIT 1
) l
LEFT JOIN LATERAL (
	SELECT at FROM samples WHERE series_id = s.id AND at < @from ORDER BY at DESC, id DESC LIMIT 1
) b ON TRUE
LEFT JOIN LATERAL (
	SELECT at FROM samples WHERE series_id = s.id AND at >= @to ORDER BY at, id LIMIT 1
) n ON TRUE
CROSS JOIN LATERAL (
	SELECT id, at, volume FROM samples WHERE series_id = s.id AND at >= COALESCE(b.at, @from) AND at < @to ORDER BY at, id
) p
WHERE l.at >= @from OR s.kind = 'gauge' AND l.at > @held
ORDER BY s.id, p.at, p.id`

// sqliteRecorded returns the same rows as pgRecorded. SQLite has no LATERAL.
const sqliteRecorded = `
WITH near AS MATERIALIZED (
	SELECT s.id, s.source, s.resource_id, s.meter, s.kind, s.unit,
		(SELECT MAX(at) FROM samples WHERE series_id = s.id AND at < @to) AS last_at
	FROM series s WHERE s.cloud = @cloud AND s.project_id = @project AND s.last_day >= @day
), needed AS MATERIALIZED (
	SELECT s.id, s.source, s.resource_id, s.meter, s.kind, s.unit,
		(SELECT MAX(at) FROM samples WHERE series_id = s.id AND at < @from) AS before_at,
		(SELECT MIN(at) FROM samples WHERE series_id = s.id AND at >= @to) AS next_at
	FROM near s WHERE s.last_at >= @from OR s.kind = 'gauge' AND s.last_at > @held
)
SELECT s.id AS series_id, s.source, s.resource_id, s.meter, s.kind, s.unit, s.next_at, p.id, p.at, p.volume
FROM needed s CROSS JOIN samples p ON p.series_id = s.id AND p.at >= COALESCE(s.before_at, @from) AND p.at < @to
ORDER BY s.id, p.at, p.id`

// pointsAtOnce is the maximum number of points that Recorded passes at once. They need about 1 MB.
const pointsAtOnce = 10_000

// Recorded reads the samples of an hour, as usage.Hours specifies. All samples are read by one statement, so they are consistent with each
// other.
func (u *Usage) Recorded(ctx context.Context, d usage.Due) iter.Seq2[usage.Recorded, error] {
	return func(yield func(usage.Recorded, error) bool) {
		ended := false
		err := u.recorded(ctx, d, func(r usage.Recorded) bool {
			ended = !yield(r, nil)
			return !ended
		})
		if err != nil && !ended {
			yield(usage.Recorded{}, fmt.Errorf("reading the samples of project %s in the hour %s: %w", d.Project, d.Hour.UTC().Format(time.RFC3339), err))
		}
	}
}

func (u *Usage) recorded(ctx context.Context, d usage.Due, yield func(usage.Recorded) bool) (err error) {
	statement := sqliteRecorded
	if u.store.postgres() {
		statement = pgRecorded
	}
	held := d.Hour.Add(-usage.MaxHold)
	rows, err := u.store.db.WithContext(ctx).Raw(statement, map[string]any{
		"cloud": d.Cloud, "project": d.Project, "from": d.Hour.UnixMicro(), "to": d.Hour.Add(time.Hour).UnixMicro(),
		"held": held.UnixMicro(), "day": held.Unix() / secondsOfDay,
	}).Rows()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	return eachRecorded(rows, d, yield)
}

// eachRecorded decodes the rows of pgRecorded, and calls `yield` for each series or part of a series, until `yield` returns false. Of the points
// before the hour, only the last one is kept.
func eachRecorded(rows *sql.Rows, d usage.Due, yield func(usage.Recorded) bool) error {
	last := ""
	var part usage.Recorded
	for rows.Next() {
		var (
			series seriesRow
			sample sampleRow
			next   *int64
		)
		err := rows.Scan(&series.ID, &series.Source, &series.ResourceID, &series.Meter, &series.Kind, &series.Unit, &next,
			&sample.ID, &sample.At, &sample.Volume)
		if err != nil {
			return err
		}
		volume, err := decimal.NewFromString(sample.Volume)
		if err != nil {
			return fmt.Errorf("decoding the volume of sample %s in series %s: %w", sample.ID, series.ID, err)
		}
		if series.ID != last || len(part.Points) == pointsAtOnce {
			if last != "" && !yield(part) {
				return nil
			}
			part.Points = part.Points[:0]
		}
		if series.ID != last {
			last = series.ID
			part = usage.Recorded{
				Series: usage.Series{
					Cloud: d.Cloud, Source: series.Source, Project: d.Project, Resource: series.ResourceID, Meter: series.Meter,
					Kind: usage.Kind(series.Kind),
				},
				Unit: series.Unit, Points: part.Points,
			}
			if next != nil {
				part.Next = at(*next)
			}
		}
		point := usage.Point{At: at(sample.At), Volume: volume}
		if len(part.Points) == 1 && point.At.Before(d.Hour) {
			part.Points[0] = point
		} else {
			part.Points = append(part.Points, point)
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if last != "" {
		yield(part)
	}
	return nil
}

// FinishHour stores the usage of an hour, as usage.Hours specifies.
func (u *Usage) FinishHour(ctx context.Context, now time.Time, d usage.Due, f usage.Finished) error {
	err := u.store.tx(ctx, func(tx *gorm.DB) error {
		if u.store.postgres() {
			if err := tx.Exec("SELECT pg_advisory_xact_lock_shared(?)", usageLock).Error; err != nil {
				return err
			}
		}
		hour := d.Hour.UnixMicro()
		taken := tx.Exec("DELETE FROM usage_taken WHERE cloud = ? AND project_id = ? AND hour = ? AND take = ?", d.Cloud, d.Project, hour, d.Take)
		if taken.Error != nil || taken.RowsAffected == 0 {
			return taken.Error
		}
		old := tx.Exec("DELETE FROM usage_amounts WHERE cloud = ? AND project_id = ? AND hour = ?", d.Cloud, d.Project, hour)
		if old.Error != nil {
			return old.Error
		}
		if err := insert(tx, rowsOfAmounts(d, f)); err != nil {
			return err
		}
		if err := insert(tx.Clauses(sooner("cloud", "project_id", "hour")), rowsOfAgain(d, f)); err != nil {
			return err
		}
		return waitsToBeBilled(tx, now, d, f, old.RowsAffected > 0)
	})
	if err != nil {
		return fmt.Errorf("storing the usage of project %s in the hour %s: %w", d.Project, d.Hour.UTC().Format(time.RFC3339), err)
	}
	return nil
}

// DropHour ends the computation of an hour, as usage.Hours specifies.
func (u *Usage) DropHour(ctx context.Context, d usage.Due) error {
	err := u.store.db.WithContext(ctx).Exec("DELETE FROM usage_taken WHERE cloud = ? AND project_id = ? AND hour = ? AND take = ?",
		d.Cloud, d.Project, d.Hour.UnixMicro(), d.Take).Error
	if err != nil {
		return fmt.Errorf("dropping the hour %s of project %s: %w", d.Hour.UTC().Format(time.RFC3339), d.Project, err)
	}
	return nil
}

// revisedAfter is the time after which changed usage is billed. Late samples often come in several posts.
const revisedAfter = 10 * time.Minute

// waitsToBeBilled records that the usage of the hour waits to be billed. If the hour was computed before, the usage is due after revisedAfter, and
// otherwise at once. If the hour will be computed again, its usage no longer waits. An hour without usage waits, too, because an earlier usage of
// the hour may have been billed.
func waitsToBeBilled(tx *gorm.DB, now time.Time, d usage.Due, f usage.Finished, before bool) error {
	if f.Merchant == "" {
		return nil
	}
	if !f.AgainAt.IsZero() {
		return tx.Exec("DELETE FROM usage_unbilled WHERE cloud = ? AND project_id = ? AND hour = ?", d.Cloud, d.Project, d.Hour.UnixMicro()).Error
	}
	if before {
		now = now.Add(revisedAfter)
	}
	put := sooner("cloud", "project_id", "hour")
	put.DoUpdates = append(put.DoUpdates, clause.AssignmentColumns([]string{"merchant_id", "subscription_id"})...)
	return tx.Clauses(put).Create(&unbilledRow{
		Cloud: d.Cloud, ProjectID: d.Project, Hour: d.Hour.UnixMicro(), MerchantID: f.Merchant, SubscriptionID: f.Subscription, DueAt: now.UnixMicro(),
	}).Error
}

// The function `sooner` lets an INSERT keep the earlier due_at of a row that exists.
func sooner(key ...string) clause.OnConflict {
	put := clause.OnConflict{}
	for _, name := range key {
		put.Columns = append(put.Columns, clause.Column{Name: name})
	}
	put.DoUpdates = clause.Set{{
		Column: clause.Column{Name: "due_at"},
		Value:  gorm.Expr("CASE WHEN excluded.due_at < ? THEN excluded.due_at ELSE ? END", dueAt, dueAt),
	}}
	return put
}

var dueAt = clause.Column{Table: clause.CurrentTable, Name: "due_at"}

func rowsOfAmounts(d usage.Due, f usage.Finished) []amountRow {
	rows := make([]amountRow, len(f.Usage))
	for i, m := range f.Usage {
		rows[i] = amountRow{
			Cloud: d.Cloud, ProjectID: d.Project, Hour: d.Hour.UnixMicro(), FromAt: m.From.UnixMicro(), ToAt: m.To.UnixMicro(),
			Meter: m.Meter, Kind: string(m.Kind), Unit: m.Unit, Amount: m.Amount.String(), PlanID: m.Plan, State: m.State,
			MerchantID: f.Merchant, SubscriptionID: f.Subscription,
		}
	}
	return rows
}

// rowsOfAgain returns one row for each hour, sorted, so that two transactions cannot lock each other out.
func rowsOfAgain(d usage.Due, f usage.Finished) (rows []againRow) {
	for _, hour := range f.Again {
		rows = append(rows, againRow{Cloud: d.Cloud, ProjectID: d.Project, Hour: hour.UnixMicro()})
	}
	if !f.AgainAt.IsZero() {
		rows = append(rows, againRow{d.Cloud, d.Project, d.Hour.UnixMicro(), f.AgainAt.UnixMicro()})
	}
	slices.SortFunc(rows, func(a, b againRow) int { return cmp.Or(cmp.Compare(a.Hour, b.Hour), cmp.Compare(a.DueAt, b.DueAt)) })
	return slices.CompactFunc(rows, func(a, b againRow) bool { return a.Hour == b.Hour })
}

// Measured reads the usage of a subscription, as usage.Account specifies.
func (u *Usage) Measured(ctx context.Context, merchant, subscription string, r usage.Range, limit int) (found []usage.Measured, next time.Time, err error) {
	of := func() *gorm.DB {
		return columns(u.store.db.WithContext(ctx)).Where("merchant_id = ? AND subscription_id = ?", merchant, subscription)
	}
	fail := func(err error) ([]usage.Measured, time.Time, error) {
		return nil, time.Time{}, fmt.Errorf("reading the usage of subscription %s: %w", subscription, err)
	}
	to := r.To.UnixMicro()
	var beyond []int64 // the hour of the first row beyond the limit
	err = of().Model(&amountRow{}).Where("hour >= ? AND hour < ?", r.From.UnixMicro(), to).Order("hour").Offset(limit).Limit(1).Pluck("hour", &beyond).Error
	if err != nil {
		return fail(err)
	}
	if len(beyond) > 0 {
		to = beyond[0]
		if first := r.From.UnixMicro(); to <= first { // this hour alone has more rows than the limit
			to = beyond[0] + time.Hour.Microseconds()
		}
		next = at(to)
	}
	var rows []amountRow
	if err := of().Where("hour >= ? AND hour < ?", r.From.UnixMicro(), to).Find(&rows).Error; err != nil {
		return fail(err)
	}
	slices.SortFunc(rows, func(a, b amountRow) int {
		return cmp.Or(cmp.Compare(a.FromAt, b.FromAt), cmp.Compare(a.Meter, b.Meter), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Unit, b.Unit))
	})
	found = make([]usage.Measured, len(rows))
	for i := range rows {
		if found[i], err = rows[i].measured(); err != nil {
			return fail(err)
		}
	}
	return found, next, nil
}

func (r *amountRow) measured() (usage.Measured, error) {
	amount, err := decimal.NewFromString(r.Amount)
	if err != nil {
		return usage.Measured{}, fmt.Errorf("decoding the usage of meter %s of project %s in the hour %s: %w",
			r.Meter, r.ProjectID, at(r.Hour).Format(time.RFC3339), err)
	}
	return usage.Measured{
		Range: usage.Range{From: at(r.FromAt), To: at(r.ToAt)}, Meter: r.Meter, Kind: usage.Kind(r.Kind), Unit: r.Unit,
		Amount: amount, Plan: r.PlanID, State: r.State,
	}, nil
}

type takenRow struct {
	Cloud     string `gorm:"column:cloud"`
	ProjectID string `gorm:"column:project_id"`
	Hour      int64  `gorm:"column:hour"`
	Spreads   bool   `gorm:"column:spreads"`
}

type againRow struct {
	Cloud     string `gorm:"column:cloud;primaryKey"`
	ProjectID string `gorm:"column:project_id;primaryKey"`
	Hour      int64  `gorm:"column:hour;primaryKey;autoIncrement:false"`
	DueAt     int64  `gorm:"column:due_at"`
}

// TableName returns the table's name for gorm.
func (againRow) TableName() string { return "usage_again" }

type amountRow struct {
	Cloud     string `gorm:"column:cloud;primaryKey"`
	ProjectID string `gorm:"column:project_id;primaryKey"`
	Hour      int64  `gorm:"column:hour;primaryKey;autoIncrement:false"`
	FromAt    int64  `gorm:"column:from_at;primaryKey;autoIncrement:false"`
	ToAt      int64  `gorm:"column:to_at"`
	Meter     string `gorm:"column:meter;primaryKey"`
	Kind      string `gorm:"column:kind;primaryKey"`
	Unit      string `gorm:"column:unit;primaryKey"`
	Amount    string `gorm:"column:amount"`
	PlanID    string `gorm:"column:plan_id"`
	State     string `gorm:"column:state"`

	MerchantID     string `gorm:"column:merchant_id"`
	SubscriptionID string `gorm:"column:subscription_id"`
}

// TableName returns the table's name for gorm.
func (amountRow) TableName() string { return "usage_amounts" }
