package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/merchants"
)

const (
	maxNames    = 50  // the maximum number of domains and roles that one check of a cloud looks up
	maxSettings = 500 // the maximum number of combinations of clouds, domains and roles that are read
)

// Needs contains the domains and roles that orders need on one cloud. In each map, the key is the name of a domain or role. The value is the
// id of the merchant whose settings contain the name. If the configuration contains the name, the value is empty.
type Needs struct {
	Domains, Roles map[string]string

	names map[string]string // of the merchants, by id
}

// NeedsOf returns the needs of orders on each cloud, by the name of the cloud. If `from` is nil, or if the merchants cannot be read,
// NeedsOf returns only the names in the configuration.
func NeedsOf(ctx context.Context, c Config, from merchants.Store) map[string]Needs {
	all := map[string]Needs{}
	add := func(cloud, domain string, roles []string, m merchants.Merchant) {
		n, known := all[cloud]
		if !known {
			n = Needs{map[string]string{}, map[string]string{}, map[string]string{}}
			all[cloud] = n
		}
		n.names[m.ID] = m.Name
		if _, known := n.Domains[domain]; !known && len(n.Domains)+len(n.Roles) < maxNames {
			n.Domains[domain] = m.ID
		}
		for _, role := range roles {
			if _, known := n.Roles[role]; !known && len(n.Domains)+len(n.Roles) < maxNames {
				n.Roles[role] = m.ID
			}
		}
	}
	add(merchants.DefaultCloud, c.Domain, slices.Concat(c.CustomerRoles, c.SubscriptionRoles), merchants.Merchant{})
	if from == nil {
		return all
	}
	bounded, cancel := context.WithTimeout(ctx, neededTime)
	defer cancel()
	registered, err := from.Settings(bounded, maxSettings)
	if err != nil {
		return all // the check of the database reports this fault
	}
	for _, m := range registered {
		add(m.Cloud, cmp.Or(m.Domain, c.Domain), slices.Concat(m.CustomerRoles, m.SubscriptionRoles), m)
	}
	return all
}

// Fault says why orders cannot use a domain or a role.
type Fault struct {
	Name     string // of the domain or role
	Merchant string // id of the merchant whose settings contain the name; empty if the configuration contains it
	Err      error  // names the merchant
}

// CheckDomains looks up the domains in Keystone, and returns a fault for each domain that orders cannot use. If Keystone does not answer, the
// last fault says so, and CheckDomains does not look up the other domains.
func (n Needs) CheckDomains(ctx context.Context, identity keystone.Identity) []Fault {
	return n.check(n.Domains, func(name string) error {
		_, err := identity.Domain(ctx, name)
		return err
	})
}

// CheckRoles is like CheckDomains, for the roles.
func (n Needs) CheckRoles(ctx context.Context, identity keystone.Identity) []Fault {
	return n.check(n.Roles, func(name string) error {
		_, err := identity.Roles(ctx, []string{name})
		return err
	})
}

func (n Needs) check(names map[string]string, lookUp func(name string) error) (faults []Fault) {
	for _, name := range slices.Sorted(maps.Keys(names)) {
		err := lookUp(name)
		if err == nil {
			continue
		}
		answered := errors.Is(err, keystone.ErrNotFound) || errors.Is(err, keystone.ErrAmbiguous) || errors.Is(err, keystone.ErrRefusedRole)
		merchant := names[name]
		if merchant != "" {
			err = fmt.Errorf("merchant %s (%s): %w", n.names[merchant], merchant, err)
		}
		faults = append(faults, Fault{name, merchant, err})
		if !answered {
			break
		}
	}
	return faults
}
