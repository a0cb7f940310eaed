package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/tenantry/tenantry/orchestrator/usage"
)

// Usage stores samples and meter keys. Usage implements usage.Store and usage.Keys.
type Usage struct{ store *Store }

var (
	_ usage.Store = (*Usage)(nil)
	_ usage.Keys  = (*Usage)(nil)
)

// Usage returns the store of samples and meter keys.
func (s *Store) Usage() *Usage { return &Usage{s} }

// addTime is the time limit of the statements that store a batch of samples.
const addTime = 30 * time.Second

// usageLock is the key of the advisory lock that protects usage_due and series. A transaction that stores samples takes the lock in shared mode.
const usageLock = 0x7e4a_4752

// Add stores a batch of samples, as usage.Store specifies.
func (u *Usage) Add(ctx context.Context, now time.Time, b usage.Batch) (added usage.Added, err error) {
	ctx, cancel := context.WithTimeout(ctx, addTime)
	defer cancel()
	rows := rowsOfBatch(now, b)
	err = u.store.tx(ctx, func(tx *gorm.DB) error {
		if len(rows.apart) > 0 {
			if _, err := insertOnce(tx, rows.apart); err != nil {
				return err
			}
		}
		if len(rows.samples) == 0 {
			return nil
		}
		foreign, err := rows.insert(tx, u.store.postgres(), &added)
		if err != nil {
			return err
		}
		return u.countForeign(tx, foreign)
	})
	if badRow(err) {
		err = wrapBadRow(err)
	}
	if err != nil {
		return usage.Added{}, fmt.Errorf("storing samples: %w", err)
	}
	added.Known = len(rows.samples) - added.Stored - added.Foreign
	return added, nil
}

const secondsOfDay = 24 * 60 * 60

// sampleRows contains the rows of a batch. The series and hours are sorted and have no duplicates.
type sampleRows struct {
	samples []sampleRow
	series  []seriesRow
	hours   []dueRow
	apart   []apartRow
}

func rowsOfBatch(now time.Time, b usage.Batch) (rows sampleRows) {
	series, hours := map[string]seriesRow{}, map[dueRow]bool{}
	for i := range b.Samples {
		s := &b.Samples[i]
		row := sampleRow{
			Cloud: s.Cloud, Day: int(s.At.Unix() / secondsOfDay), ID: s.ID, SeriesID: s.Series.ID(), At: s.At.UnixMicro(), Volume: s.Volume.String(),
			ProjectID: s.Project, Meter: s.Meter,
		}
		rows.samples = append(rows.samples, row)
		of, known := series[row.SeriesID]
		if !known {
			of = seriesRow{row.SeriesID, s.Cloud, s.Source, s.Project, s.Resource, s.Meter, string(s.Kind), s.Unit, row.Day}
		}
		of.LastDay = max(of.LastDay, row.Day)
		series[row.SeriesID] = of
		for _, hour := range s.Hours() {
			hours[dueRow{s.Cloud, s.Project, hour.UnixMicro()}] = true
		}
	}
	for _, row := range series {
		rows.series = append(rows.series, row)
	}
	// Each table is written in the order of its key, so that two transactions cannot lock each other out.
	slices.SortFunc(rows.samples, func(a, b sampleRow) int {
		return cmp.Or(cmp.Compare(a.Cloud, b.Cloud), cmp.Compare(a.Day, b.Day), cmp.Compare(a.ID, b.ID))
	})
	slices.SortFunc(rows.series, func(a, b seriesRow) int { return cmp.Compare(a.ID, b.ID) })
	for row := range hours {
		rows.hours = append(rows.hours, row)
	}
	slices.SortFunc(rows.hours, func(a, b dueRow) int {
		return cmp.Or(cmp.Compare(a.Cloud, b.Cloud), cmp.Compare(a.ProjectID, b.ProjectID), cmp.Compare(a.Hour, b.Hour))
	})
	for _, a := range b.Apart {
		hash := sha256.Sum256([]byte(a.Cloud + "\n" + a.Reason + "\n" + a.Raw))
		rows.apart = append(rows.apart, apartRow{
			ID: base64.RawURLEncoding.EncodeToString(hash[:16]), Cloud: a.Cloud, Reason: a.Reason, Sample: a.Raw, ReceivedAt: now.UnixMicro(),
		})
	}
	slices.SortFunc(rows.apart, func(a, b apartRow) int { return cmp.Compare(a.ID, b.ID) })
	return rows
}

// insert stores the samples of projects that runs have made or adopted. For the samples of other projects, it returns rows of foreign_meters.
func (r *sampleRows) insert(tx *gorm.DB, postgres bool, added *usage.Added) (foreign foreignMeters, err error) {
	if postgres {
		foreign, err = r.insertPostgres(tx, added)
	} else {
		foreign, err = r.insertSQLite(tx, added)
	}
	for _, row := range foreign {
		added.Foreign += int(row.Samples)
	}
	return foreign, err
}

func (r *sampleRows) insertPostgres(tx *gorm.DB, added *usage.Added) (foreignMeters, error) {
	if err := tx.Exec("SELECT pg_advisory_xact_lock_shared(?)", usageLock).Error; err != nil {
		return nil, err
	}
	// The sessions of the store allow no hash joins, because most statements join few rows. This statement may join thousands of samples with
	// thousands of projects.
	if err := tx.Exec("SET LOCAL enable_hashjoin = on").Error; err != nil {
		return nil, err
	}
	args, err := jsons(map[string]any{"samples": r.samples, "series": r.series, "hours": r.hours})
	if err != nil {
		return nil, err
	}
	var dropped []byte
	if err := tx.Raw(pgAddSamples, args).Row().Scan(&added.Stored, &dropped); err != nil {
		return nil, err
	}
	var rows []foreignRow
	if err := json.Unmarshal(dropped, &rows); err != nil {
		return nil, err
	}
	foreign := foreignMeters{}
	for _, row := range rows {
		foreign.add(row)
	}
	return foreign, nil
}

// SQLite has only one writer, so no other transaction writes at the same time.
func (r *sampleRows) insertSQLite(tx *gorm.DB, added *usage.Added) (foreignMeters, error) {
	type place struct{ cloud, project string }
	ours := map[place]bool{}
	for _, row := range r.series {
		at := place{row.Cloud, row.ProjectID}
		if _, known := ours[at]; known {
			continue
		}
		var n int64
		err := tx.Model(&objectRow{}).Where("id = ? AND cloud = ? AND kind = 'project' AND id NOT LIKE '%/%'", at.project, at.cloud).Limit(1).Count(&n).Error
		if err != nil {
			return nil, err
		}
		ours[at] = n > 0
	}
	foreign := foreignMeters{}
	var samples []sampleRow
	for i := range r.samples {
		row := &r.samples[i]
		if ours[place{row.Cloud, row.ProjectID}] {
			samples = append(samples, *row)
			continue
		}
		foreign.add(foreignRow{row.Cloud, row.Meter, 1, row.At, row.At})
	}
	series := slices.DeleteFunc(r.series, func(row seriesRow) bool { return !ours[place{row.Cloud, row.ProjectID}] })
	hours := slices.DeleteFunc(r.hours, func(row dueRow) bool { return !ours[place{row.Cloud, row.ProjectID}] })
	stored, err := insertOnce(tx, samples)
	if err == nil {
		err = insertSeries(tx, series)
	}
	if err == nil {
		_, err = insertOnce(tx, hours)
	}
	added.Stored = stored
	return foreign, err
}

// insertOnce inserts the rows that do not exist yet, and returns their number.
func insertOnce[T any](tx *gorm.DB, rows []T) (inserted int, err error) {
	for part := range slices.Chunk(rows, rowsOfSQLite) {
		result := tx.Clauses(clause.OnConflict{DoNothing: true}).Create(&part)
		if result.Error != nil {
			return inserted, result.Error
		}
		inserted += int(result.RowsAffected)
	}
	return inserted, nil
}

// insertSeries inserts the series that do not exist yet, and updates the last day of the existing series.
func insertSeries(tx *gorm.DB, rows []seriesRow) error {
	for part := range slices.Chunk(rows, rowsOfSQLite) {
		err := tx.Clauses(clause.OnConflict{
			Columns: []clause.Column{{Name: "id"}}, DoUpdates: clause.AssignmentColumns([]string{"last_day"}),
			Where: clause.Where{Exprs: []clause.Expression{clause.Expr{SQL: "series.last_day < excluded.last_day"}}},
		}).Create(&part).Error
		if err != nil {
			return err
		}
	}
	return nil
}

// deletedAtOnce is the maximum number of rows that one statement deletes, so that other transactions do not wait long.
const deletedAtOnce = 10_000

// DeleteOld deletes old samples, as usage.Store specifies.
func (u *Usage) DeleteOld(ctx context.Context, samples, apart time.Time) error {
	day := int(samples.Unix() / secondsOfDay)
	db := u.store.db.WithContext(ctx)
	var clouds []string
	if err := db.Model(&seriesRow{}).Distinct("cloud").Pluck("cloud", &clouds).Error; err != nil {
		return fmt.Errorf("reading the clouds of samples: %w", err)
	}
	for _, cloud := range clouds {
		err := u.deleteAll(ctx, `DELETE FROM samples WHERE cloud = @cloud AND (day, id) IN (
			SELECT day, id FROM samples WHERE cloud = @cloud AND day < @day LIMIT @limit)`, map[string]any{"cloud": cloud, "day": day})
		if err != nil {
			return err
		}
	}
	if err := u.deleteEmptySeries(ctx); err != nil {
		return fmt.Errorf("deleting series without samples: %w", err)
	}
	err := u.deleteAll(ctx, `DELETE FROM apart_samples WHERE id IN (SELECT id FROM apart_samples WHERE received_at < @before LIMIT @limit)`,
		map[string]any{"before": apart.UnixMicro()})
	if err != nil {
		return err
	}
	return u.deleteUnmatched(ctx, apart)
}

const (
	// seriesAtOnce is the maximum number of series that one transaction deletes. Transactions that store samples wait for its end.
	seriesAtOnce = 500
	// seriesRead is the maximum number of series that one statement examines. On SQLite, other statements wait for its end.
	seriesRead = 10_000
	// seriesTries is the number of attempts to delete the same series. An attempt fails if other transactions store samples for too long.
	seriesTries = 3
)

// emptySeries finds the series that have no samples and whose ids are greater than @after and at most @last.
//
// The subquery has a LIMIT so that PostgreSQL reads one entry of the index samples_series for each series, even if it has no statistics.
const emptySeries = `
SELECT s.id FROM series s
WHERE s.id > @after AND s.id <= @last AND (SELECT p.at FROM samples p WHERE p.series_id = s.id LIMIT 1) IS NULL
ORDER BY s.id`

// deleteEmptySeries deletes the series that have no samples, such as the series of servers that were deleted long ago.
func (u *Usage) deleteEmptySeries(ctx context.Context) error {
	db := u.store.db.WithContext(ctx)
	for after := ""; ; {
		var last *string
		err := db.Raw("SELECT MAX(id) FROM (SELECT id FROM series WHERE id > ? ORDER BY id LIMIT ?) s", after, seriesRead).Row().Scan(&last)
		if err != nil || last == nil {
			return err
		}
		var ids []string
		if err := db.Raw(emptySeries, map[string]any{"after": after, "last": *last}).Scan(&ids).Error; err != nil {
			return err
		}
		for part := range slices.Chunk(ids, seriesAtOnce) {
			if err := u.deleteIfEmpty(ctx, part); err != nil {
				return err
			}
		}
		after = *last
	}
}

// deleteIfEmpty deletes the given series that have no samples.
//
// The caller may have missed a sample that was being stored. Therefore the deletion looks again, while no transaction stores samples. Such a
// transaction does not insert the row of a series that exists already.
func (u *Usage) deleteIfEmpty(ctx context.Context, ids []string) (err error) {
	for range seriesTries {
		err = u.store.tx(ctx, func(tx *gorm.DB) error {
			if err := u.awaitSamples(tx); err != nil {
				return err
			}
			return tx.Exec(`DELETE FROM series WHERE id IN ? AND (SELECT p.at FROM samples p WHERE p.series_id = series.id LIMIT 1) IS NULL`, ids).Error
		})
		if pg, ok := errors.AsType[*pgconn.PgError](err); !ok || pg.Code != "55P03" { // the lock was not available in time
			return err
		}
	}
	return err
}

// deleteAll repeats a statement until it deletes no more rows.
func (u *Usage) deleteAll(ctx context.Context, statement string, args map[string]any) error {
	args["limit"] = deletedAtOnce
	for {
		result := u.store.db.WithContext(ctx).Exec(statement, args)
		if result.Error != nil {
			return fmt.Errorf("deleting old samples: %w", result.Error)
		}
		if result.RowsAffected < deletedAtOnce {
			return nil
		}
	}
}

// CreateMeterKey stores a key, as usage.Keys specifies.
func (u *Usage) CreateMeterKey(ctx context.Context, k usage.MeterKey) error {
	row := meterKeyRow{k.Key, k.Cloud, hex.EncodeToString(k.SecretHash[:]), k.CreatedAt.UnixMicro(), micros(k.RevokedAt)}
	if err := u.store.db.WithContext(ctx).Create(&row).Error; err != nil {
		return fmt.Errorf("storing meter key %s: %w", k.Key, err)
	}
	return nil
}

// MeterKey reads a key, as usage.Keys specifies.
func (u *Usage) MeterKey(ctx context.Context, key string) (usage.MeterKey, error) {
	return oneKey(u.store.db.WithContext(ctx), key)
}

func oneKey(db *gorm.DB, key string) (usage.MeterKey, error) {
	var rows []meterKeyRow
	if err := columns(db).Where("id = ?", key).Find(&rows).Error; err != nil {
		return usage.MeterKey{}, fmt.Errorf("reading a meter key: %w", err)
	}
	if len(rows) == 0 {
		return usage.MeterKey{}, usage.ErrNoKey
	}
	return rows[0].key()
}

// MeterKeys reads all keys, as usage.Keys specifies.
func (u *Usage) MeterKeys(ctx context.Context) ([]usage.MeterKey, error) {
	var rows []meterKeyRow
	if err := columns(u.store.db.WithContext(ctx)).Order("created_at, id").Find(&rows).Error; err != nil {
		return nil, fmt.Errorf("listing the meter keys: %w", err)
	}
	keys := make([]usage.MeterKey, len(rows))
	for i, row := range rows {
		var err error
		if keys[i], err = row.key(); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// RevokeMeterKey revokes a key, as usage.Keys specifies.
func (u *Usage) RevokeMeterKey(ctx context.Context, key string, now time.Time) (k usage.MeterKey, err error) {
	err = u.store.tx(ctx, func(tx *gorm.DB) error {
		err := tx.Model(&meterKeyRow{}).Where("id = ? AND revoked_at IS NULL", key).Update("revoked_at", now.UnixMicro()).Error
		if err == nil {
			k, err = oneKey(tx, key)
		}
		return err
	})
	return k, err
}

// The JSON tags of the rows below are the names of the columns, because the PostgreSQL statement decodes rows from JSON.

type sampleRow struct {
	Cloud    string `gorm:"column:cloud;primaryKey" json:"cloud"`
	Day      int    `gorm:"column:day;primaryKey" json:"day"`
	ID       string `gorm:"column:id;primaryKey" json:"id"`
	SeriesID string `gorm:"column:series_id" json:"series_id"`
	At       int64  `gorm:"column:at" json:"at"`
	Volume   string `gorm:"column:volume" json:"volume"`

	ProjectID string `gorm:"-" json:"project_id"`
	Meter     string `gorm:"-" json:"meter"`
}

// TableName returns the table's name for gorm.
func (sampleRow) TableName() string { return "samples" }

type seriesRow struct {
	ID         string `gorm:"column:id;primaryKey" json:"id"`
	Cloud      string `gorm:"column:cloud" json:"cloud"`
	Source     string `gorm:"column:source" json:"source"`
	ProjectID  string `gorm:"column:project_id" json:"project_id"`
	ResourceID string `gorm:"column:resource_id" json:"resource_id"`
	Meter      string `gorm:"column:meter" json:"meter"`
	Kind       string `gorm:"column:kind" json:"kind"`
	Unit       string `gorm:"column:unit" json:"unit"`
	LastDay    int    `gorm:"column:last_day" json:"last_day"` // of all samples; see sampleRow.Day
}

// TableName returns the table's name for gorm.
func (seriesRow) TableName() string { return "series" }

type dueRow struct {
	Cloud     string `gorm:"column:cloud;primaryKey" json:"cloud"`
	ProjectID string `gorm:"column:project_id;primaryKey" json:"project_id"`
	Hour      int64  `gorm:"column:hour;primaryKey" json:"hour"`
}

// TableName returns the table's name for gorm.
func (dueRow) TableName() string { return "usage_due" }

type apartRow struct {
	ID         string `gorm:"column:id;primaryKey"`
	Cloud      string `gorm:"column:cloud"`
	Reason     string `gorm:"column:reason"`
	Sample     string `gorm:"column:sample"`
	ReceivedAt int64  `gorm:"column:received_at"`
}

// TableName returns the table's name for gorm.
func (apartRow) TableName() string { return "apart_samples" }

type meterKeyRow struct {
	ID         string `gorm:"column:id;primaryKey"`
	Cloud      string `gorm:"column:cloud"`
	SecretHash string `gorm:"column:secret_hash"`
	CreatedAt  int64  `gorm:"column:created_at;autoCreateTime:false"`
	RevokedAt  *int64 `gorm:"column:revoked_at"`
}

// TableName returns the table's name for gorm.
func (meterKeyRow) TableName() string { return "meter_keys" }

func (r meterKeyRow) key() (usage.MeterKey, error) {
	k := usage.MeterKey{Key: r.ID, Cloud: r.Cloud, CreatedAt: at(r.CreatedAt), RevokedAt: maybeAt(r.RevokedAt)}
	hash, err := hex.DecodeString(r.SecretHash)
	if err != nil || len(hash) != len(k.SecretHash) {
		return usage.MeterKey{}, fmt.Errorf("decoding meter key %s: the stored hash is not a SHA-256 hash", r.ID)
	}
	copy(k.SecretHash[:], hash)
	return k, nil
}
