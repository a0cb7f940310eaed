package service

import (
	"context"
	"errors"

	"github.com/tenantry/tenantry/store"
)

// UnreachableError reports that the database cannot be reached or used.
type UnreachableError struct{ Err error }

func (e *UnreachableError) Error() string { return e.Err.Error() }
func (e *UnreachableError) Unwrap() error { return e.Err }

// ConfigurationError reports that the service cannot be started with its configuration.
type ConfigurationError struct{ Err error }

func (e *ConfigurationError) Error() string { return e.Err.Error() }
func (e *ConfigurationError) Unwrap() error { return e.Err }

// Open opens the database, migrates its schema to this release, and returns the number of executed migrations. Open may be called
// repeatedly. Open returns store.ErrOtherKey if the database's tokens are sealed with another key, and a *ConfigurationError if the
// URLs of the database do not fit together. Any other error is an *UnreachableError.
func Open(ctx context.Context, c Config) (s *store.Store, migrations int, err error) {
	s, err = store.OpenPooled(ctx, c.DatabaseURL, c.DatabaseListenURL, c.SecretKey)
	if wrong, ok := errors.AsType[*store.WrongURLError](err); ok {
		return nil, 0, &ConfigurationError{wrong}
	}
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
