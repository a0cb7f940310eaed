package v3

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// Scopes implements [keystone.Self].
func (c *Cloud) Scopes(ctx context.Context) ([]keystone.Project, error) {
	return c.Conn.Scopes(ctx, "auth/projects", "projects", pingLimits, func(d *json.Decoder) (p keystone.Project, err error) {
		err = d.Decode(&p)
		return p, err
	})
}

// Holder implements [keystone.Self]. If Keystone does not show the application credential to its own user, only its id and name are known.
func (c *Cloud) Holder(ctx context.Context) (keystone.Holder, error) {
	body, reach, err := c.ownToken(ctx)
	if err != nil {
		return keystone.Holder{}, err
	}
	h := keystone.Holder{Reach: reach, UserID: body.User.ID, UserName: c.Masked(ctx, body.User.Name, ""), UserDomainID: body.User.Domain.ID}
	if body.ApplicationCredential == nil {
		return h, nil
	}
	h.Application = &keystone.ApplicationCredential{}
	var named struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	}
	const op = "reading the application credential"
	if err := json.Unmarshal(body.ApplicationCredential, &named); err != nil || conn.CheckIDs(op, named.ID, h.UserID) != nil {
		return keystone.Holder{}, conn.Incomplete(op)
	}
	h.Application.ID, h.Application.Name = named.ID, c.Masked(ctx, named.Name, "")
	var answer struct {
		Credential struct {
			ExpiresAt    string `json:"expires_at"`
			Unrestricted bool   `json:"unrestricted"`
		} `json:"application_credential"`
	}
	err = c.Do(ctx, conn.Read, op, func(ctx context.Context) error {
		_, err := c.Own.Get(ctx, c.Own.ServiceURL("users", h.UserID, "application_credentials", named.ID), &answer, nil) //nolint:bodyclose // gophercloud has closed it
		return err
	})
	if e, ok := errors.AsType[*upstream.Error](err); ok && (e.Class == upstream.Permanent || e.Class == upstream.Blocked) {
		return h, nil
	}
	if err != nil {
		return keystone.Holder{}, err
	}
	h.Application.Unrestricted = answer.Credential.Unrestricted
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05.999999"} { // Keystone omits the time zone, which is UTC
		if at, err := time.Parse(layout, answer.Credential.ExpiresAt); err == nil {
			h.Application.ExpiresAt = at
			break
		}
	}
	return h, nil
}

// EachPower implements [keystone.Self].
func (c *Cloud) EachPower(ctx context.Context, h keystone.Holder, take func(keystone.Power)) error {
	const op = "listing the role assignments of the service's user"
	if err := conn.CheckIDs(op, h.UserID); err != nil {
		return err
	}
	groups, err := conn.List[ref](ctx, c.Conn, conn.Listing{Op: op, Path: "users/" + conn.Segment(h.UserID) + "/groups", Field: "groups"})
	if err != nil {
		return err
	}
	filters := []url.Values{{"user.id": {h.UserID}}}
	for _, g := range groups {
		filters = append(filters, url.Values{"group.id": {g.ID}})
	}
	for _, query := range filters {
		cut, err := conn.Bulk(ctx, c.Conn, conn.Listing{Op: op, Path: "role_assignments", Query: query}, func(b assignmentBody) error {
			if query.Get("user.id") != b.User.ID || query.Get("group.id") != b.Group.ID {
				return nil // Keystone ignores an unknown filter
			}
			if len(b.Scope.System) > 0 {
				take(keystone.Power{Granted: keystone.Granted{RoleID: b.Role.ID, UserID: b.User.ID, GroupID: b.Group.ID}, System: true})
				return nil
			}
			g, err := b.granted()
			if err == nil {
				take(keystone.Power{Granted: g})
			}
			return err
		})
		if err == nil && cut {
			err = conn.ErrCut(op)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
