package conn

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// Version implements [keystone.Self].
func (c *Conn) Version(ctx context.Context) (string, error) {
	const op = "reading the version of the Identity API"
	var answer struct {
		Version struct {
			ID string `json:"id"`
		} `json:"version"`
	}
	err := c.Do(ctx, Read, op, func(ctx context.Context) error {
		if _, err := c.Bare.Get(ctx, c.Bare.ServiceURL(""), &answer, nil); err != nil { //nolint:bodyclose // gophercloud has closed it
			return err
		}
		if answer.Version.ID == "" {
			return ErrIncomplete
		}
		return nil
	})
	return upstream.Clean(answer.Version.ID), err
}

// maxScopes is the maximum length of the result of Scopes.
const maxScopes = 20

// Scopes implements [keystone.Self]. The parameter `path` leads to the list of the projects that a user can use as the scope. The parameter
// `field` names the field of the answer that contains the list. The function `decode` decodes an element of this list.
func (c *Conn) Scopes(ctx context.Context, path, field string, limits upstream.Limits, decode func(*json.Decoder) (keystone.Project, error)) ([]keystone.Project, error) {
	token, err := c.LoginWithoutScope(ctx)
	if err != nil {
		return nil, err
	}
	var found []keystone.Project
	err = c.Do(ctx, Read, "listing the projects of the service's user", func(ctx context.Context) error {
		CallOf(ctx).Limits = limits
		_, err := c.ReadListAs(ctx, token, c.Bare.ServiceURL(path), field, func(d *json.Decoder) error {
			p, err := decode(d)
			if err == nil && len(found) < maxScopes {
				p.Name = c.Masked(ctx, p.Name, "")
				found = append(found, p)
			}
			return err
		})
		return err
	}, token)
	if e, ok := errors.AsType[*upstream.Error](err); ok && (e.Class == upstream.Permanent || e.Class == upstream.Blocked) {
		return nil, nil
	}
	return found, err
}
