package v3

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// Roles implements [keystone.Identity]. If AllowAdminRole is false, Roles also reads the roles that each role implies. If this read
// fails, Roles returns an error.
func (c *Cloud) Roles(ctx context.Context, names []string) ([]keystone.Role, error) {
	roles := make([]keystone.Role, 0, len(names))
	for _, name := range names {
		role, err := c.role(ctx, name)
		if err != nil {
			return nil, err
		}
		roles = append(roles, role)
	}
	return roles, nil
}

func (c *Cloud) role(ctx context.Context, name string) (keystone.Role, error) {
	c.mu.Lock()
	role, ok := c.roles[name]
	c.mu.Unlock()
	if ok {
		return role, nil
	}
	role, err := c.resolve(ctx, name)
	if err != nil {
		return keystone.Role{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.roles[name] = role
	return role, nil
}

// Forget implements [keystone.Identity].
func (c *Cloud) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.roles)
	clear(c.domains)
}

// forgetRoles clears the cache of roles. The cache is cleared when a role in the cache may have been deleted.
func (c *Cloud) forgetRoles() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.roles)
}

func (c *Cloud) resolve(ctx context.Context, name string) (keystone.Role, error) {
	op := fmt.Sprintf("finding role %q", name)
	refused := func(why string) error {
		return &upstream.Error{Service: keystone.Service, Class: upstream.Permanent, Op: op, Message: why, Err: keystone.ErrRefusedRole}
	}
	if !c.allowAll && isAdmin(name) {
		return keystone.Role{}, refused("choose another role, or set allow_cloud_admin_role")
	}
	if name == "" { // Keystone would list all roles
		return keystone.Role{}, notFound(op)
	}
	type role struct {
		keystone.Role

		DomainID string `json:"domain_id"`
	}
	found, err := list[role](ctx, c, op, "roles", url.Values{"name": {name}})
	if err != nil {
		return keystone.Role{}, err
	}
	found = slices.DeleteFunc(found, func(r role) bool { return r.DomainID != "" })
	r, err := single(op, found, func(r role) string { return r.Name })
	if err == nil {
		err = checkIDs(op, r.ID)
	}
	switch {
	case err != nil:
		return keystone.Role{}, err
	case c.allowAll:
		return r.Role, nil
	case isAdmin(r.Name): // the name in the request may have another spelling, such as "ädmin"
		return keystone.Role{}, refused(`Keystone returned role admin for this name; choose another role, or set allow_cloud_admin_role`)
	}
	implies, err := c.impliesAdmin(ctx, r.Role)
	if err != nil {
		return keystone.Role{}, err
	}
	if implies {
		return keystone.Role{}, refused("the role implies admin; choose another role, or set allow_cloud_admin_role")
	}
	return r.Role, nil
}

// isAdmin reports whether the role with this name is role admin. Like Keystone's policy, isAdmin ignores the case of role names.
func isAdmin(name string) bool { return strings.EqualFold(name, "admin") }

// impliesAdmin reports whether the role implies "admin", directly or through other roles.
func (c *Cloud) impliesAdmin(ctx context.Context, role keystone.Role) (bool, error) {
	type inference struct {
		Prior   keystone.Role   `json:"prior_role"`
		Implies []keystone.Role `json:"implies"`
	}
	op := fmt.Sprintf("reading what role %q implies", role.Name)
	rules, err := list[inference](ctx, c, op, "role_inferences", nil)
	if err != nil {
		return false, err
	}
	implied := make(map[string][]keystone.Role, len(rules))
	for _, rule := range rules {
		implied[rule.Prior.ID] = append(implied[rule.Prior.ID], rule.Implies...)
	}
	seen := map[string]bool{role.ID: true}
	for next := []keystone.Role{role}; len(next) > 0; next = next[1:] {
		for _, r := range implied[next[0].ID] {
			if isAdmin(r.Name) {
				return true, nil
			}
			if !seen[r.ID] {
				seen[r.ID] = true
				next = append(next, r)
			}
		}
	}
	return false, nil
}
