package main

import (
	"context"
	"errors"

	"github.com/tenantry/tenantry/orchestrator/service"
	"github.com/tenantry/tenantry/store"
)

// The method `config` reads the configuration of the server.
func (p *program) config() (Config, error) {
	c, err := loadConfig("", p.environ)
	return c, exit(exitUsage, err)
}

// The function `open` opens the configured database and migrates it to this release's schema.
func open(ctx context.Context, c Config) (*store.Store, int, error) {
	c, err := withSecretKey(c)
	if err != nil {
		return nil, 0, err
	}
	s, migrations, err := service.Open(ctx, c.Config)
	return s, migrations, ofService(c, err)
}

// ofService adds an exit code to an error of the service.
func ofService(c Config, err error) error {
	_, unreachable := errors.AsType[*service.UnreachableError](err)
	_, configured := errors.AsType[*service.ConfigurationError](err)
	switch {
	case errors.Is(err, store.ErrOtherKey):
		return usage("%w: the configured key is from %s", err, c.secretKeySource)
	case unreachable:
		return exit(exitUnreachable, err)
	case configured:
		return exit(exitUsage, err)
	}
	return err
}

// withStore opens the configured database, passes the configuration and the store to the callback, and then closes the database.
func (p *program) withStore(ctx context.Context, do func(Config, *store.Store) error) (err error) {
	c, err := p.config()
	if err != nil {
		return err
	}
	s, _, err := open(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return do(c, s)
}
