package service

import (
	"context"
	"maps"
	"slices"

	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/engine"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/usage/intake"
	"github.com/tenantry/tenantry/orchestrator/usage/spool"
	"github.com/tenantry/tenantry/store"
)

// newChecks returns the `health` of a service, and makes no check.
//
// The database is down if the check cannot write a row, or if runs cannot be stored. On a full disk, a row may fit although a run does not.
func newChecks(p parts, u *upstreams, runs *engine.Engine, samples *intake.Intake) *health {
	own := []check{
		{name: "database", needed: true, at: store.Address(p.DatabaseURL), ask: func(ctx context.Context) error {
			if err := p.store.CheckWrite(ctx, p.Now()); err != nil {
				return err
			}
			return runs.Storing()
		}},
		{name: "lease", needed: true, ask: runs.Leased},
	}
	if p.spool != nil {
		own = append(own, checkOfSpool(p.spool, samples))
	}
	own = append(own, (&usageCheck{watch: p.store.Usage(), now: p.Now}).check())
	return &health{
		own: own,
		upstreams: func(ctx context.Context) []check {
			all := []check{{name: BillingStack, at: p.billingURL, ask: u.billing.Ping}}
			needs := NeedsOf(ctx, p.Config, u.clouds.merchants)
			for _, cloud := range slices.Sorted(maps.Keys(needs)) {
				all = append(all, u.checkOf(cloud, needs[cloud]))
			}
			return all
		},
		failing: u.gates.Failing, now: p.Now, log: p.Log, first: make(chan struct{}), states: map[string]*state{},
	}
}

// checkOfSpool returns the check of the spool. The check fails if the spool has refused a post.
func checkOfSpool(s *spool.Shared, samples *intake.Intake) check {
	return check{
		name: "spool",
		ask:  func(context.Context) error { return samples.Refused() },
		detail: func(d *api.Dependency) {
			posts, bytes := s.Size()
			d.Spool = &api.SpoolState{Posts: posts, Bytes: bytes, MaxBytes: s.MaxBytes, Draining: samples.Draining()}
		},
	}
}

// checkOf returns the check of a cloud's Keystone. The check logs in, and looks up the domains and roles without the caches.
func (u *upstreams) checkOf(cloud string, n Needs) check {
	c := check{name: "keystone"}
	if cloud != merchants.DefaultCloud {
		c.name += "/" + cloud
	}
	identity, err := u.clouds.identity(cloud)
	if err != nil {
		c.ask = func(context.Context) error { return &ConfigurationError{err} }
		return c
	}
	c.at = u.clouds.address(cloud)
	c.ask = func(ctx context.Context) error {
		if err := identity.Ping(ctx); err != nil {
			return err
		}
		identity.Forget()
		faults := n.CheckDomains(ctx, identity)
		if len(faults) == 0 {
			faults = n.CheckRoles(ctx, identity)
		}
		if len(faults) == 0 {
			return nil
		}
		return faults[0].Err
	}
	return c
}
