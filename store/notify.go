package store

import (
	"context"
	"errors"
	"strings"

	"gorm.io/gorm"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// The constant `channel` is the name of the PostgreSQL channel for LISTEN and NOTIFY. The files in statements/ contain the
// channel's name literally.
const channel = "tenantry"

// The method `notify` sends a notification to the other replicas when the transaction commits. With SQLite, `notify` does nothing,
// because there are no other replicas.
func (s *Store) notify(tx *gorm.DB, word string) error {
	if !s.postgres() {
		return nil
	}
	return tx.Exec("SELECT pg_notify(?, ?)", channel, word).Error
}

// Listen calls the function `wake` for each notification until ctx ends or the connection fails, as saga.Queue specifies. Listen
// opens a separate connection.
func (s *Store) Listen(ctx context.Context, wake func(saga.Wake)) (err error) {
	if !s.postgres() { // with SQLite there are no other replicas
		<-ctx.Done()
		return nil
	}
	conn, err := s.session(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return err
	}
	wake(saga.Wake{Kind: saga.WakeWork}) // wake the caller once, because notifications that were sent before LISTEN are lost
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		kind, runID, _ := strings.Cut(n.Payload, " ")
		wake(saga.Wake{Kind: saga.WakeKind(kind), RunID: runID})
	}
}
