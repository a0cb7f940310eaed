package store

import (
	"context"
	"database/sql"
	"errors"

	"gorm.io/gorm"
)

// DB returns the database, for queries that no method of the store makes.
func (s *Store) DB() *gorm.DB { return s.db }

// TurnReadOnly makes n connections of the pool read-only. The connections then behave as if the server had become a standby.
func (s *Store) TurnReadOnly(ctx context.Context, n int) error {
	pool, err := s.db.DB()
	if err != nil {
		return err
	}
	var held []*sql.Conn
	for range n {
		c, err := pool.Conn(ctx)
		if err != nil {
			return err
		}
		held = append(held, c)
		if _, err := c.ExecContext(ctx, "SET default_transaction_read_only = on"); err != nil {
			return err
		}
	}
	for _, c := range held {
		err = errors.Join(err, c.Close())
	}
	return err
}

// InPagesOf returns a store of audits for the same database. Its methods EachRun and EachUnmatched read n runs or entries at a time.
func (t *Audits) InPagesOf(n int) *Audits { return &Audits{store: t.store, page: n} }
