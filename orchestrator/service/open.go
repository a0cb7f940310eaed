package service

import (
	"context"
	"errors"

	"github.com/tenantry/tenantry/store"
)

// UnreachableError says that the database cannot be reached or is out of order.
type UnreachableError struct{ Err error }

func (e *UnreachableError) Error() string { return e.Err.Error() }
func (e *UnreachableError) Unwrap() error { return e.Err }

// ConfigurationError says that the service cannot be built as it is configured.
type ConfigurationError struct{ Err error }

func (e *ConfigurationError) Error() string { return e.Err.Error() }
func (e *ConfigurationError) Unwrap() error { return e.Err }

// Open opens the database and brings it to this release's schema; it tells how many migrations ran. The error is
// store.ErrOtherKey for a database whose tokens are sealed with another key, else an *UnreachableError.
func Open(ctx context.Context, c Config) (s *store.Store, migrations int, err error) {
	s, err = store.Open(ctx, c.DatabaseURL, c.SecretKey)
	if err != nil {
		return nil, 0, &UnreachableError{err}
	}
	migrations, err = s.Migrate(ctx)
	if errors.Is(err, store.ErrOtherKey) {
		return nil, 0, errors.Join(err, s.Close())
	}
	if err != nil {
		return nil, 0, errors.Join(&UnreachableError{err}, s.Close())
	}
	return s, migrations, nil
}
