package store

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/tenantry/tenantry/orchestrator/merchants"
)

// Merchants stores merchants and their API keys. Merchants implements merchants.Store.
type Merchants struct{ store *Store }

var _ merchants.Store = (*Merchants)(nil)

// Merchants returns the store of merchants and API keys.
func (s *Store) Merchants() *Merchants { return &Merchants{s} }

// Create stores a merchant with its first API key, as merchants.Store specifies.
func (t *Merchants) Create(ctx context.Context, m merchants.Merchant, first merchants.APIKey) error {
	merchant, key := merchantRowOf(m), apiKeyRowOf(first)
	err := t.store.tx(ctx, func(tx *gorm.DB) error {
		result := tx.Clauses(clause.OnConflict{DoNothing: true}).Create(&merchant)
		switch {
		case result.Error != nil:
			return result.Error
		case result.RowsAffected == 0:
			return merchants.ErrExists
		}
		return tx.Create(&key).Error
	})
	return storing(m.ID, err)
}

// Update locks the row of a merchant and changes the merchant, as merchants.Store specifies.
func (t *Merchants) Update(
	ctx context.Context, id string, change func(*merchants.Merchant) error,
) (merchants.Merchant, error) {
	var m merchants.Merchant
	err := t.store.tx(ctx, func(tx *gorm.DB) error {
		row, err := lockMerchant(tx, id)
		if err != nil {
			return err
		}
		m = row.merchant()
		if err := change(&m); err != nil {
			return err
		}
		m.ID, m.CreatedAt = row.merchant().ID, row.merchant().CreatedAt
		changed := merchantRowOf(m)
		return tx.Select("*").Omit("id", "created_at").Updates(&changed).Error
	})
	if err != nil {
		return merchants.Merchant{}, storing(id, err)
	}
	return m, nil
}

// Merchant reads a merchant, as merchants.Store specifies.
func (t *Merchants) Merchant(ctx context.Context, id string) (merchants.Merchant, error) {
	row, err := theMerchant(t.store.db.WithContext(ctx), id)
	if err != nil {
		return merchants.Merchant{}, reading(id, err)
	}
	return row.merchant(), nil
}

// List reads a page of merchants, as merchants.Store specifies.
func (t *Merchants) List(ctx context.Context, f merchants.Filter) ([]merchants.Merchant, error) {
	db := columns(t.store.db.WithContext(ctx)).Limit(f.Limit)
	if f.Name != "" {
		db = db.Where("LOWER(name) LIKE LOWER(?) ESCAPE '!'", "%"+likeText.Replace(f.Name)+"%")
	}
	if f.After != "" {
		db = db.Where("(name, id) > (SELECT name, id FROM merchants WHERE id = ?)", f.After)
	}
	return listed(db)
}

// Settings reads enabled merchants: one for each combination of cloud, domain and roles, as merchants.Store specifies.
func (t *Merchants) Settings(ctx context.Context, limit int) ([]merchants.Merchant, error) {
	return listed(columns(t.store.db.WithContext(ctx)).Where(`id IN (
		SELECT MIN(id) FROM merchants WHERE disabled_at IS NULL GROUP BY cloud, domain, customer_roles, subscription_roles)`).Limit(limit))
}

// The function `listed` reads merchants, sorted by name.
func listed(query *gorm.DB) ([]merchants.Merchant, error) {
	var rows []merchantRow
	if err := query.Order("name, id").Find(&rows).Error; err != nil {
		return nil, fmt.Errorf("listing merchants: %w", err)
	}
	page := make([]merchants.Merchant, len(rows))
	for i, row := range rows {
		page[i] = row.merchant()
	}
	return page, nil
}

// Key reads an API key and the key's merchant, as merchants.Store specifies.
func (t *Merchants) Key(ctx context.Context, key string) (merchants.APIKey, merchants.Merchant, error) {
	var rows []apiKeyRow
	db := t.store.db.WithContext(ctx)
	err := columns(db).Where("id = ?", key).Find(&rows).Error
	if err == nil && len(rows) == 0 {
		err = merchants.ErrNotFound
	}
	var merchant merchantRow
	if err == nil {
		merchant, err = theMerchant(db, rows[0].MerchantID)
	}
	if err != nil {
		return merchants.APIKey{}, merchants.Merchant{}, fmt.Errorf("reading an API key: %w", err)
	}
	k, err := rows[0].key()
	return k, merchant.merchant(), err
}

// Keys reads a page of a merchant's API keys, as merchants.Store specifies.
func (t *Merchants) Keys(ctx context.Context, merchantID, after string, limit int) ([]merchants.APIKey, error) {
	db := t.store.db.WithContext(ctx).Limit(limit)
	if after != "" {
		db = db.Where("(created_at, id) > (SELECT created_at, id FROM api_keys WHERE merchant_id = ? AND id = ?)", merchantID, after)
	}
	keys, err := keysOf(db, merchantID)
	return keys, reading(merchantID, err)
}

// Rotate stores a new API key. Of the previous keys, the newest live key stays valid. Rotate revokes the other live keys and
// returns these keys, as merchants.Store specifies.
func (t *Merchants) Rotate(
	ctx context.Context, next merchants.APIKey,
) (stored merchants.APIKey, revoked []merchants.APIKey, err error) {
	err = t.store.tx(ctx, func(tx *gorm.DB) error {
		if _, err := lockMerchant(tx, next.MerchantID); err != nil {
			return err
		}
		live, err := keysOf(tx.Where("revoked_at IS NULL"), next.MerchantID)
		if err != nil {
			return err
		}
		if len(live) > 0 { // the newest live key is the newest of all keys
			// The caller, perhaps on another host, read its clock before Rotate locked the merchant. Therefore the newest stored key
			// can have a later time than the new key.
			if after := live[len(live)-1].CreatedAt.Add(time.Microsecond); next.CreatedAt.Before(after) {
				next.CreatedAt = after
			}
		}
		for _, k := range live[:max(0, len(live)-1)] {
			k.RevokedAt = &next.CreatedAt
			row := apiKeyRowOf(k)
			if err := tx.Select("revoked_at").Updates(&row).Error; err != nil {
				return err
			}
			revoked = append(revoked, k)
		}
		row := apiKeyRowOf(next)
		return tx.Create(&row).Error
	})
	if err != nil {
		return merchants.APIKey{}, nil, storing(next.MerchantID, err)
	}
	return next, revoked, nil
}

func theMerchant(db *gorm.DB, id string) (merchantRow, error) {
	var rows []merchantRow
	if err := columns(db).Where("id = ?", id).Find(&rows).Error; err != nil {
		return merchantRow{}, err
	}
	if len(rows) == 0 {
		return merchantRow{}, merchants.ErrNotFound
	}
	return rows[0], nil
}

func lockMerchant(tx *gorm.DB, id string) (merchantRow, error) {
	return theMerchant(tx.Clauses(clause.Locking{Strength: clause.LockingStrengthUpdate}), id)
}

func keysOf(db *gorm.DB, merchantID string) ([]merchants.APIKey, error) {
	var rows []apiKeyRow
	if err := columns(db).Where("merchant_id = ?", merchantID).Order("created_at, id").Find(&rows).Error; err != nil {
		return nil, err
	}
	keys := make([]merchants.APIKey, len(rows))
	for i, row := range rows {
		var err error
		if keys[i], err = row.key(); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

func storing(id string, err error) error { return about("storing merchant", id, err) }
func reading(id string, err error) error { return about("reading merchant", id, err) }

func about(doing, id string, err error) error {
	if err == nil || errors.Is(err, merchants.ErrNotFound) || errors.Is(err, merchants.ErrExists) {
		return err
	}
	return fmt.Errorf("%s %s: %w", doing, id, err)
}

type merchantRow struct {
	ID                string   `gorm:"column:id;primaryKey"`
	Name              string   `gorm:"column:name"`
	Cloud             string   `gorm:"column:cloud"`
	Domain            string   `gorm:"column:domain"`
	CustomerRoles     []string `gorm:"column:customer_roles;serializer:json"`
	SubscriptionRoles []string `gorm:"column:subscription_roles;serializer:json"`
	OnFailure         string   `gorm:"column:on_failure"`
	AdoptUnmarked     bool     `gorm:"column:adopt_unmarked"`
	SignUp            bool     `gorm:"column:sign_up"`
	MaxLiveRuns       int      `gorm:"column:max_live_runs"`
	CreatedAt         int64    `gorm:"column:created_at;autoCreateTime:false"`
	DisabledAt        *int64   `gorm:"column:disabled_at"`
}

// TableName returns the table's name for gorm.
func (merchantRow) TableName() string { return "merchants" }

func merchantRowOf(m merchants.Merchant) merchantRow {
	return merchantRow{
		ID: m.ID, Name: m.Name, Cloud: m.Cloud, Domain: m.Domain, CustomerRoles: append([]string{}, m.CustomerRoles...),
		SubscriptionRoles: append([]string{}, m.SubscriptionRoles...), OnFailure: m.OnFailure,
		AdoptUnmarked: m.AdoptUnmarked, SignUp: m.SignUp, MaxLiveRuns: m.MaxLiveRuns,
		CreatedAt: m.CreatedAt.UnixMicro(), DisabledAt: micros(m.DisabledAt),
	}
}

func (r merchantRow) merchant() merchants.Merchant {
	return merchants.Merchant{
		ID: r.ID, Name: r.Name, Cloud: r.Cloud, Domain: r.Domain, CustomerRoles: r.CustomerRoles,
		SubscriptionRoles: r.SubscriptionRoles, OnFailure: r.OnFailure, AdoptUnmarked: r.AdoptUnmarked, SignUp: r.SignUp,
		MaxLiveRuns: r.MaxLiveRuns, CreatedAt: at(r.CreatedAt), DisabledAt: maybeAt(r.DisabledAt),
	}
}

type apiKeyRow struct {
	ID         string `gorm:"column:id;primaryKey"`
	MerchantID string `gorm:"column:merchant_id"`
	SecretHash string `gorm:"column:secret_hash"`
	CreatedAt  int64  `gorm:"column:created_at;autoCreateTime:false"`
	RevokedAt  *int64 `gorm:"column:revoked_at"`
}

// TableName returns the table's name for gorm.
func (apiKeyRow) TableName() string { return "api_keys" }

func apiKeyRowOf(k merchants.APIKey) apiKeyRow {
	return apiKeyRow{
		ID: k.Key, MerchantID: k.MerchantID, SecretHash: hex.EncodeToString(k.SecretHash[:]),
		CreatedAt: k.CreatedAt.UnixMicro(), RevokedAt: micros(k.RevokedAt),
	}
}

func (r apiKeyRow) key() (merchants.APIKey, error) {
	k := merchants.APIKey{
		Key: r.ID, MerchantID: r.MerchantID, CreatedAt: at(r.CreatedAt), RevokedAt: maybeAt(r.RevokedAt),
	}
	hash, err := hex.DecodeString(r.SecretHash)
	if err != nil || len(hash) != len(k.SecretHash) {
		return merchants.APIKey{}, fmt.Errorf("decoding API key %s: the stored hash is not a SHA-256 hash", r.ID)
	}
	copy(k.SecretHash[:], hash)
	return k, nil
}
