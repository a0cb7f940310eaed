package service

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/engine"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/usage/intake"
	"github.com/tenantry/tenantry/orchestrator/usage/spool"
	"github.com/tenantry/tenantry/store"
)

const (
	maxNames    = 50  // the maximum number of domains and roles that one check of a cloud looks up
	maxSettings = 500 // the maximum number of combinations of clouds, domains and roles that are read
)

// newChecks returns the health of a service, before its first check.
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
			needs := u.needs(ctx, p.Config)
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

// The type `needs` contains the names of the domains and roles that orders need on one cloud. In each map, the value of a name is a prefix
// for error texts. The prefix identifies the merchant whose settings contain the name. If the configuration contains the name, the prefix
// is empty.
type needs struct{ domains, roles map[string]string }

// The method `needs` returns, for each cloud, the names of the domains and roles that orders need. If the merchants cannot be read, `needs`
// returns only the names in the configuration.
func (u *upstreams) needs(ctx context.Context, c Config) map[string]needs {
	all := map[string]needs{}
	add := func(cloud, domain string, roles []string, whose string) {
		n, known := all[cloud]
		if !known {
			n = needs{map[string]string{}, map[string]string{}}
			all[cloud] = n
		}
		if _, known := n.domains[domain]; !known && len(n.domains)+len(n.roles) < maxNames {
			n.domains[domain] = whose
		}
		for _, role := range roles {
			if _, known := n.roles[role]; !known && len(n.domains)+len(n.roles) < maxNames {
				n.roles[role] = whose
			}
		}
	}
	add(merchants.DefaultCloud, c.Domain, slices.Concat(c.CustomerRoles, c.SubscriptionRoles), "")
	bounded, cancel := context.WithTimeout(ctx, neededTime)
	defer cancel()
	registered, err := u.clouds.merchants.Settings(bounded, maxSettings)
	if err != nil {
		return all // the check of the database reports this fault
	}
	for _, m := range registered {
		add(m.Cloud, cmp.Or(m.Domain, c.Domain), slices.Concat(m.CustomerRoles, m.SubscriptionRoles), "merchant "+m.Name+" ("+m.ID+"): ")
	}
	return all
}

// checkOf returns the check of a cloud's Keystone. The check logs in, and looks up the domains and roles without the caches.
func (u *upstreams) checkOf(cloud string, n needs) check {
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
		return n.resolve(ctx, identity)
	}
	return c
}

// The method `resolve` returns an error if a domain or role does not exist in Keystone, or if orders must not use it.
func (n needs) resolve(ctx context.Context, identity keystone.Identity) error {
	for _, domain := range slices.Sorted(maps.Keys(n.domains)) {
		if _, err := identity.Domain(ctx, domain); err != nil {
			return fmt.Errorf("%s%w", n.domains[domain], err)
		}
	}
	for _, role := range slices.Sorted(maps.Keys(n.roles)) {
		if _, err := identity.Roles(ctx, []string{role}); err != nil {
			return fmt.Errorf("%s%w", n.roles[role], err)
		}
	}
	return nil
}
