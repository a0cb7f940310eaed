package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/clouds"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// keystoneTime is the time limit of each request to Keystone.
const keystoneTime = 5 * time.Second

// checkKeystone checks the domain and the roles of a merchant if they have changed. It returns an error if a new domain or role does not
// exist, if its name is ambiguous, or if Tenantry refuses a role. If checkKeystone cannot ask Keystone, it prints a warning and returns
// no error, because the command may run on a host without a credential, or before Keystone is installed.
func (p *program) checkKeystone(ctx context.Context, c Config, before, after merchants.Merchant) error {
	moved := before.Cloud != after.Cloud
	var checks []func(keystone.Identity) error
	if moved || before.Domain != after.Domain {
		checks = append(checks, func(id keystone.Identity) error {
			_, err := id.Domain(ctx, cmp.Or(after.Domain, c.Domain))
			return ofFlag("--domain", err)
		})
	}
	for _, roles := range []struct {
		flag          string
		before, after []string
	}{
		{"--customer-roles", before.CustomerRoles, after.CustomerRoles},
		{"--subscription-roles", before.SubscriptionRoles, after.SubscriptionRoles},
	} {
		if moved || !slices.Equal(roles.before, roles.after) {
			checks = append(checks, func(id keystone.Identity) error {
				_, err := id.Roles(ctx, roles.after)
				return ofFlag(roles.flag, err)
			})
		}
	}
	if len(checks) == 0 {
		return nil
	}
	id, err := identityOf(c, after.Cloud)
	for _, check := range checks {
		if err == nil {
			err = check(id)
		}
	}
	if errors.Is(err, keystone.ErrNotFound) || errors.Is(err, keystone.ErrAmbiguous) || errors.Is(err, keystone.ErrRefusedRole) {
		return exit(exitRefused, err)
	}
	if err != nil {
		p.say("tenantry: cannot check the domain and roles of the merchant in Keystone: %s", upstream.ForOperator(err))
	}
	return nil
}

func ofFlag(flag string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", flag, err)
}

// identityOf returns a client of a cloud's Keystone, with the credential that `tenantry serve` would use in this environment.
func identityOf(c Config, cloud string) (keystone.Identity, error) {
	config, err := clouds.FromCloud(cloud)
	if err != nil {
		return nil, err
	}
	config.OperatorRole, config.AllowAdminRole, config.Timeout = c.AdminRole, c.AllowCloudAdminRole, keystoneTime
	return clouds.Open(config)
}
