package v2

import (
	"context"
	"fmt"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

const rolesPath = "OS-KSADM/roles"

// roleBody is a role in the JSON format of Keystone.
type roleBody struct {
	keystone.Role

	DomainID string `json:"domain_id"` // empty if the role is global
}

// Roles implements [keystone.Identity]. Identity v2.0 does not show which roles a role implies, so Roles refuses only reserved names.
func (c *Cloud) Roles(ctx context.Context, names []string) ([]keystone.Role, error) {
	roles := make([]keystone.Role, 0, len(names))
	for _, name := range names {
		op := fmt.Sprintf("finding role %q", name)
		if _, found := keystone.FindReserved([]string{name}, c.Reserved); found {
			return nil, &upstream.Error{
				Service: keystone.Service, Class: upstream.Permanent, Op: op, Message: keystone.AvoidReserved(name), Err: keystone.ErrRefusedRole,
			}
		}
		known, err := c.allRoles(ctx, false)
		if err != nil {
			return nil, err
		}
		role, ok := known[name]
		if !ok { // the role may have been created since the last read
			if known, err = c.allRoles(ctx, true); err != nil {
				return nil, err
			}
			if role, ok = known[name]; !ok {
				return nil, conn.NotFound(op)
			}
		}
		roles = append(roles, role)
	}
	return roles, nil
}

// allRoles returns the global roles by name. The result is cached. If the parameter `again` is true, allRoles reads the roles again.
func (c *Cloud) allRoles(ctx context.Context, again bool) (map[string]keystone.Role, error) {
	c.mu.Lock()
	known := c.roles
	c.mu.Unlock()
	if known != nil && !again {
		return known, nil
	}
	all, err := c.AllRoles(ctx)
	if err != nil {
		return nil, err
	}
	known = make(map[string]keystone.Role, len(all))
	for _, r := range all {
		known[r.Name] = r
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.roles = known
	return known, nil
}

// Forget implements [keystone.Identity].
func (c *Cloud) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.roles = nil
}

// AllRoles implements [keystone.Inventory].
func (c *Cloud) AllRoles(ctx context.Context) ([]keystone.Role, error) {
	const op = "listing roles"
	found, err := conn.List[roleBody](ctx, c.Conn, conn.Listing{Op: op, Path: rolesPath, Field: "roles"})
	if err != nil {
		return nil, err
	}
	roles := make([]keystone.Role, 0, len(found))
	for _, r := range found {
		if r.ID == "" || r.Name == "" {
			return nil, conn.Incomplete(op)
		}
		if r.DomainID == "" {
			roles = append(roles, r.Role)
		}
	}
	return roles, nil
}
