package store

import (
	"cmp"
	"maps"
	"slices"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

const (
	// maxForeign is the maximum number of meters of a cloud in foreign_meters. The samples of further meters are counted as otherMeters.
	maxForeign  = 1000
	otherMeters = "(others)"
)

// foreignLock is the key of the advisory lock that a transaction holds while it adds meters to foreign_meters. Such a transaction takes the lock
// before it locks rows of the table, and a transaction that holds the lock waits only for rows of this table.
const foreignLock = 0x7e4a_4753

// foreignRow contains the number of samples of projects that no run has made or adopted, and the times of the first and the last one.
type foreignRow struct {
	Cloud   string `gorm:"column:cloud;primaryKey" json:"cloud"`
	Meter   string `gorm:"column:meter;primaryKey" json:"meter"`
	Samples int64  `gorm:"column:samples" json:"samples"`
	FirstAt int64  `gorm:"column:first_at" json:"first_at"`
	LastAt  int64  `gorm:"column:last_at" json:"last_at"`
}

// TableName returns the table's name for gorm.
func (foreignRow) TableName() string { return "foreign_meters" }

func (r foreignRow) plus(other foreignRow) foreignRow {
	r.Samples += other.Samples
	r.FirstAt, r.LastAt = min(r.FirstAt, other.FirstAt), max(r.LastAt, other.LastAt)
	return r
}

// meterOf names a meter of a cloud.
type meterOf struct{ cloud, meter string }

// foreignMeters contains at most one row for each meter.
type foreignMeters map[meterOf]foreignRow

func (m foreignMeters) add(r foreignRow) {
	at := meterOf{r.Cloud, r.Meter}
	if known, found := m[at]; found {
		r = known.plus(r)
	}
	m[at] = r
}

// countForeign adds the rows to foreign_meters.
func (u *Usage) countForeign(tx *gorm.DB, rows foreignMeters) error {
	if len(rows) == 0 {
		return nil
	}
	clouds := map[string]bool{}
	for at := range rows {
		clouds[at.cloud] = true
	}
	names, err := foreignNames(tx, slices.Sorted(maps.Keys(clouds)))
	if err == nil && u.store.postgres() && names.lackOneOf(rows) {
		if err := tx.Exec("SELECT pg_advisory_xact_lock(?)", foreignLock).Error; err != nil {
			return err
		}
		names, err = foreignNames(tx, slices.Sorted(maps.Keys(clouds)))
	}
	if err != nil {
		return err
	}
	// All transactions write the rows in this order, so that they cannot lock each other out.
	sorted := slices.SortedFunc(maps.Values(names.limit(rows)), func(a, b foreignRow) int {
		return cmp.Or(cmp.Compare(a.Cloud, b.Cloud), cmp.Compare(a.Meter, b.Meter))
	})
	return insert(tx.Clauses(clause.OnConflict{
		Columns: []clause.Column{{Name: "cloud"}, {Name: "meter"}},
		DoUpdates: clause.Assignments(map[string]any{
			"samples":  gorm.Expr("foreign_meters.samples + excluded.samples"),
			"first_at": gorm.Expr("CASE WHEN excluded.first_at < foreign_meters.first_at THEN excluded.first_at ELSE foreign_meters.first_at END"),
			"last_at":  gorm.Expr("CASE WHEN excluded.last_at > foreign_meters.last_at THEN excluded.last_at ELSE foreign_meters.last_at END"),
		}),
	}), sorted)
}

// meterNames contains, for each cloud, the meters in foreign_meters, without otherMeters.
type meterNames map[string]map[string]bool

func foreignNames(tx *gorm.DB, clouds []string) (meterNames, error) {
	var rows []foreignRow
	err := tx.Model(&foreignRow{}).Select("cloud", "meter").Where("cloud IN ? AND meter <> ?", clouds, otherMeters).Find(&rows).Error
	names := meterNames{}
	for _, cloud := range clouds {
		names[cloud] = map[string]bool{}
	}
	for _, r := range rows {
		names[r.Cloud][r.Meter] = true
	}
	return names, err
}

// lackOneOf reports whether one of the meters would be added to foreign_meters.
func (n meterNames) lackOneOf(rows foreignMeters) bool {
	for at := range rows {
		if !n[at.cloud][at.meter] && at.meter != otherMeters && len(n[at.cloud]) < maxForeign {
			return true
		}
	}
	return false
}

// limit returns the rows. It adds the meters of the rows to the names, up to the limit. The meters above the limit are counted as
// otherMeters.
func (n meterNames) limit(rows foreignMeters) foreignMeters {
	limited := foreignMeters{}
	for at, r := range rows {
		switch names := n[at.cloud]; {
		case names[at.meter] || at.meter == otherMeters:
		case len(names) < maxForeign:
			names[at.meter] = true
		default:
			r.Meter = otherMeters
		}
		limited.add(r)
	}
	return limited
}
