package v3

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// Reach implements [keystone.Inventory].
func (c *Cloud) Reach(ctx context.Context) (keystone.Reach, error) {
	_, reach, err := c.ownToken(ctx)
	return reach, err
}

// ownToken asks Keystone about the token with which it sends the request. Therefore ownToken needs no separate login.
func (c *Cloud) ownToken(ctx context.Context) (body tokenBody, reach keystone.Reach, err error) {
	const op = "reading the scope of Tenantry's own token"
	err = c.Do(ctx, conn.Read, op, func(ctx context.Context) error {
		conn.CallOf(ctx).Subject = true
		var answer tokenAnswer
		address := c.Own.ServiceURL("auth", "tokens") + "?nocatalog"
		if _, err := c.Own.Get(ctx, address, &answer, nil); err != nil { //nolint:bodyclose // gophercloud has closed it
			return err
		}
		body = answer.Token
		t := body.token()
		reach = keystone.Reach{ProjectID: t.ProjectID, DomainID: t.DomainID, System: t.System, Roles: t.Roles}
		if scopes := count(t.ProjectID != "", t.DomainID != "", t.System); scopes != 1 || t.Roles == nil {
			return conn.ErrIncomplete
		}
		return nil
	})
	if e, ok := errors.AsType[*upstream.Error](err); ok && errors.Is(err, keystone.ErrNotFound) {
		e.Class, e.Err = upstream.Unavailable, nil // the token has just become invalid
	}
	if err != nil {
		return tokenBody{}, keystone.Reach{}, err
	}
	return body, reach, nil
}

func count(conditions ...bool) (n int) {
	for _, c := range conditions {
		if c {
			n++
		}
	}
	return n
}

// EachAssignment implements [keystone.Inventory].
func (c *Cloud) EachAssignment(ctx context.Context, f keystone.AssignmentFilter, take func(keystone.Granted)) error {
	op, query := "listing role assignments", url.Values{}
	if f.ProjectID != "" {
		op += " on project " + upstream.Clean(f.ProjectID)
		query.Set("scope.project.id", f.ProjectID)
	}
	if f.UserID != "" {
		op += " of user " + upstream.Clean(f.UserID)
		query.Set("user.id", f.UserID)
	}
	cut, err := conn.Bulk(ctx, c.Conn, conn.Listing{Op: op, Path: "role_assignments", Query: query}, func(b assignmentBody) error {
		if len(b.Scope.System) > 0 {
			return nil
		}
		g, err := b.granted()
		if err == nil && (f.ProjectID == "" || f.ProjectID == g.ProjectID) && (f.UserID == "" || f.UserID == g.UserID) {
			take(g)
		}
		return err
	})
	if err == nil && cut { // Keystone 22 never cuts this list
		return conn.ErrCut(op)
	}
	return err
}

// EachUser implements [keystone.Inventory].
func (c *Cloud) EachUser(ctx context.Context, domainID string, take func(keystone.User)) (whole bool, err error) {
	op := "listing the users of a domain"
	if err := conn.CheckIDs(op, domainID); err != nil {
		return false, err
	}
	op = fmt.Sprintf("listing the users of domain %s", domainID)
	mask := sync.OnceValue(c.Masker) // first called after the login
	cut, err := conn.Bulk(ctx, c.Conn, conn.Listing{Op: op, Path: "users", Query: url.Values{"domain_id": {domainID}}}, func(b userBody) error {
		u, err := b.user()
		if err == nil && u.DomainID == domainID {
			u.Name = mask().Replace(u.Name)
			take(u)
		}
		return err
	})
	return err == nil && !cut, err
}

// AllRoles implements [keystone.Inventory].
func (c *Cloud) AllRoles(ctx context.Context) ([]keystone.Role, error) {
	const op = "listing roles"
	found, err := conn.List[roleBody](ctx, c.Conn, conn.Listing{Op: op, Path: "roles"})
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

// Implied implements [keystone.Inventory].
func (c *Cloud) Implied(ctx context.Context) (map[string][]string, error) {
	const op = "reading the implied roles"
	rules, err := conn.List[inference](ctx, c.Conn, conn.Listing{Op: op, Path: "role_inferences"})
	if err != nil {
		return nil, err
	}
	implied := make(map[string][]string, len(rules))
	for _, rule := range rules {
		for _, r := range rule.Implies {
			if rule.Prior.ID == "" || r.ID == "" {
				return nil, conn.Incomplete(op)
			}
			implied[rule.Prior.ID] = append(implied[rule.Prior.ID], r.ID)
		}
	}
	return implied, nil
}
