package store

import (
	"context"
	"encoding/base64"
	"fmt"
	"time"

	"gorm.io/gorm/clause"
)

// SignIns stores the sessions of people who have signed in to the console or to a portal. The content of a session is sealed with the secret key, because it
// contains a credential. SignIns implements scs.CtxStore.
type SignIns struct {
	store *Store
	now   func() time.Time
}

// SignIns returns the store of sessions.
func (s *Store) SignIns(now func() time.Time) *SignIns { return &SignIns{s, now} }

type signInRow struct {
	ID        string `gorm:"column:id;primaryKey"`
	KeyID     string `gorm:"column:key_id"`
	Sealed    string `gorm:"column:sealed"`
	ExpiresAt int64  `gorm:"column:expires_at"`
}

// TableName returns the table's name for gorm.
func (signInRow) TableName() string { return "sign_ins" }

// sealedFor is the additional authenticated data of a sealed session. With it, a person who can write to the database cannot give a session the
// content of another session.
func (signInRow) sealedFor(id string) string { return "sign-in " + id }

// FindCtx reads the content of a session. If there is no such session, if it has expired, or if it is sealed with another secret key, `found` is
// false.
func (t *SignIns) FindCtx(ctx context.Context, id string) (content []byte, found bool, err error) {
	var rows []signInRow
	err = columns(t.store.db.WithContext(ctx)).Where("id = ?", id).Find(&rows).Error
	if err != nil {
		return nil, false, fmt.Errorf("reading a session: %w", err)
	}
	if len(rows) == 0 || rows[0].ExpiresAt <= t.now().UnixMicro() || rows[0].KeyID != t.store.seal.keyID {
		return nil, false, nil
	}
	opened, err := t.store.seal.open(rows[0].sealedFor(id), rows[0].Sealed)
	if err != nil {
		return nil, false, nil //nolint:nilerr // scs expects that a session which was tampered with is not found
	}
	content, err = base64.StdEncoding.DecodeString(opened)
	return content, err == nil, err
}

// CommitCtx stores the content of a session, in place of the content that was stored before.
func (t *SignIns) CommitCtx(ctx context.Context, id string, content []byte, expiry time.Time) error {
	row := signInRow{ID: id, KeyID: t.store.seal.keyID, ExpiresAt: expiry.UnixMicro()}
	var err error
	if row.Sealed, err = t.store.seal.close(row.sealedFor(id), base64.StdEncoding.EncodeToString(content)); err != nil {
		return err
	}
	if err := t.store.db.WithContext(ctx).Clauses(clause.OnConflict{UpdateAll: true}).Create(&row).Error; err != nil {
		return fmt.Errorf("storing a session: %w", err)
	}
	return nil
}

// DeleteCtx deletes a session. If there is no such session, DeleteCtx does nothing.
func (t *SignIns) DeleteCtx(ctx context.Context, id string) error {
	if err := t.store.db.WithContext(ctx).Delete(&signInRow{ID: id}).Error; err != nil {
		return fmt.Errorf("deleting a session: %w", err)
	}
	return nil
}

// Find implements scs.Store. Only FindCtx is called.
func (t *SignIns) Find(id string) ([]byte, bool, error) { return t.FindCtx(context.Background(), id) }

// Commit implements scs.Store. Only CommitCtx is called.
func (t *SignIns) Commit(id string, content []byte, expiry time.Time) error {
	return t.CommitCtx(context.Background(), id, content, expiry)
}

// Delete implements scs.Store. Only DeleteCtx is called.
func (t *SignIns) Delete(id string) error { return t.DeleteCtx(context.Background(), id) }

// Among returns the given sessions that have not ended.
func (t *SignIns) Among(ctx context.Context, ids []string) (map[string]bool, error) {
	var found []string
	err := t.store.db.WithContext(ctx).Model(&signInRow{}).Where("id IN ? AND expires_at > ?", ids, t.now().UnixMicro()).Pluck("id", &found).Error
	if err != nil {
		return nil, fmt.Errorf("reading sessions: %w", err)
	}
	all := map[string]bool{}
	for _, id := range found {
		all[id] = true
	}
	return all, nil
}

// DeleteExpired deletes the sessions that have expired.
func (t *SignIns) DeleteExpired(ctx context.Context) error {
	return t.store.db.WithContext(ctx).Where("expires_at <= ?", t.now().UnixMicro()).Delete(&signInRow{}).Error
}
