// Package clouds reads the configuration of clouds from clouds.yaml and the OS_* variables, as the openstack command does, and opens
// clients with the configured Identity version.
package clouds

import (
	"context"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/conn"
	v2 "github.com/tenantry/tenantry/keystone/v2"
	v3 "github.com/tenantry/tenantry/keystone/v3"
)

// Open creates a client for the Identity version in the configuration, but sends no request. The client logs in when one of its methods is
// first called. Open reports all faults of the configuration in one error.
func Open(cfg conn.Config) (keystone.Cloud, error) {
	if cfg.Version == "2.0" {
		return v2.New(cfg)
	}
	return v3.New(cfg)
}

// Login logs in with the credential of a person: see [keystone.Cloud.Login].
func Login(ctx context.Context, cfg conn.Config) (token string, err error) {
	c, err := Open(cfg)
	if err != nil {
		return "", err
	}
	return c.Login(ctx)
}
