package store

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm/clause"
)

// settingRow is a value that all replicas of a database share. Only the value of writeCheck changes.
type settingRow struct {
	Name  string `gorm:"column:name;primaryKey"`
	Value string `gorm:"column:value"`
}

// TableName returns the table's name for gorm.
func (settingRow) TableName() string { return "settings" }

// installationID is the setting with the id of the installation.
const installationID = "installation-id"

// InstallationID returns the id that all replicas of this database share. The first call generates and stores the id. Migrate makes
// this first call. InstallationID always writes, so it fails if the database cannot be written.
func (s *Store) InstallationID(ctx context.Context) (string, error) {
	return s.setOnce(ctx, installationID, uuid.NewString())
}

// KnownInstallationID is like InstallationID, but only reads. If the database has no id yet, the result is empty.
func (s *Store) KnownInstallationID(ctx context.Context) (string, error) {
	return s.setting(ctx, installationID)
}

// setOnce stores a value if the setting has no value yet, and returns the stored value.
func (s *Store) setOnce(ctx context.Context, name, value string) (stored string, err error) {
	err = s.db.WithContext(ctx).Clauses(clause.OnConflict{DoNothing: true}).Create(&settingRow{name, value}).Error
	if err != nil {
		return "", fmt.Errorf("storing setting %s: %w", name, err)
	}
	return s.setting(ctx, name)
}

// The method `setting` returns the value of a setting, or an empty string if the setting has no value.
func (s *Store) setting(ctx context.Context, name string) (stored string, err error) {
	err = s.db.WithContext(ctx).Model(&settingRow{}).Where("name = ?", name).Select("value").Scan(&stored).Error
	if err != nil {
		return "", fmt.Errorf("reading setting %s: %w", name, err)
	}
	return stored, nil
}

// writeCheck is the row that CheckWrite writes.
const writeCheck = "last-write-check"

// CheckWrite returns an error if the database cannot be written: for example, if the database is down or read-only, or if its disk
// is full. CheckWrite stores the given time in a row that nothing reads.
func (s *Store) CheckWrite(ctx context.Context, now time.Time) error {
	// SQLite writes a row only if the row's value changes.
	row := settingRow{writeCheck, now.UTC().Format(time.RFC3339Nano)}
	return s.explain(s.db.WithContext(ctx).Clauses(clause.OnConflict{UpdateAll: true}).Create(&row).Error)
}
