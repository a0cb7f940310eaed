package v3

import (
	"context"
	"fmt"

	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/users"

	"github.com/tenantry/tenantry/keystone"
)

// User implements [keystone.Identity].
func (c *Cloud) User(ctx context.Context, id string) (keystone.User, error) {
	op := fmt.Sprintf("reading user %q", id)
	if err := checkIDs(op, id); err != nil {
		return keystone.User{}, err
	}
	var answer struct {
		User keystone.User `json:"user"`
	}
	err := c.do(ctx, read, op, func(ctx context.Context) error {
		err := users.Get(ctx, c.identity, segment(id)).ExtractInto(&answer)
		if err == nil && answer.User.ID != id {
			return errIncomplete
		}
		answer.User.Name = c.masked(ctx, answer.User.Name, "")
		return err
	})
	if err != nil {
		return keystone.User{}, err
	}
	return answer.User, nil
}
