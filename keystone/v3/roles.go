package v3

import (
	"context"
	"fmt"
	"net/url"
	"slices"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// Roles implements [keystone.Identity]. If there are reserved roles, Roles also reads the roles that each role implies. If this read
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

// forgetRoles clears the cache of roles. Call it if a role in the cache may have been deleted.
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
	if _, found := keystone.FindReserved([]string{name}, c.Reserved); found {
		return keystone.Role{}, refused(keystone.AvoidReserved(name))
	}
	if name == "" { // without a name, Keystone would list all roles
		return keystone.Role{}, conn.NotFound(op)
	}
	found, err := conn.List[roleBody](ctx, c.Conn, conn.Listing{Op: op, Path: "roles", Query: url.Values{"name": {name}}})
	if err != nil {
		return keystone.Role{}, err
	}
	found = slices.DeleteFunc(found, func(r roleBody) bool { return r.DomainID != "" })
	for i := range found {
		found[i].Name = c.Masked(ctx, found[i].Name, name)
	}
	r, err := conn.Single(op, found, func(r roleBody) string { return r.Name })
	if err == nil {
		err = conn.CheckIDs(op, r.ID)
	}
	if err != nil || len(c.Reserved) == 0 {
		return r.Role, err
	}
	// The returned name can be reserved even if the requested name is not: for example, Keystone may return role admin for "ädmin".
	if reserved, found := keystone.FindReserved([]string{r.Name}, c.Reserved); found {
		return keystone.Role{}, refused(fmt.Sprintf("Keystone returned role %s for this name; %s", reserved, keystone.AvoidReserved(reserved)))
	}
	implied, implies, err := c.impliesReserved(ctx, r.Role)
	if err != nil {
		return keystone.Role{}, err
	}
	if implies {
		return keystone.Role{}, refused(fmt.Sprintf("the role implies role %q; %s", implied, keystone.AvoidReserved(implied)))
	}
	return r.Role, nil
}

// roleBody is a role in the JSON format of Keystone.
type roleBody struct {
	keystone.Role

	DomainID string `json:"domain_id"` // empty if the role is global
}

// The type `inference` contains a role and the roles that it implies directly, in the JSON format of Keystone.
type inference struct {
	Prior   keystone.Role   `json:"prior_role"`
	Implies []keystone.Role `json:"implies"`
}

// impliesReserved returns the name of the first reserved role that the role implies, directly or through other roles. If the role implies
// no reserved role, the result `found` is false.
func (c *Cloud) impliesReserved(ctx context.Context, role keystone.Role) (implied string, found bool, err error) {
	op := fmt.Sprintf("reading the roles that role %q implies", role.Name)
	rules, err := conn.List[inference](ctx, c.Conn, conn.Listing{Op: op, Path: "role_inferences"})
	if err != nil {
		return "", false, err
	}
	rulesOf := make(map[string][]keystone.Role, len(rules))
	for _, rule := range rules {
		rulesOf[rule.Prior.ID] = append(rulesOf[rule.Prior.ID], rule.Implies...)
	}
	seen := map[string]bool{role.ID: true}
	for next := []keystone.Role{role}; len(next) > 0; next = next[1:] {
		for _, r := range rulesOf[next[0].ID] {
			if implied, found = keystone.FindReserved([]string{r.Name}, c.Reserved); found {
				return implied, true, nil
			}
			if !seen[r.ID] {
				seen[r.ID] = true
				next = append(next, r)
			}
		}
	}
	return "", false, nil
}
