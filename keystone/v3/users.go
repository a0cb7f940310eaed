package v3

import (
	"context"
	"fmt"

	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/users"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/conn"
)

// User implements [keystone.Identity].
func (c *Cloud) User(ctx context.Context, id string) (keystone.User, error) {
	op := fmt.Sprintf("reading user %q", id)
	if err := conn.CheckIDs(op, id); err != nil {
		return keystone.User{}, err
	}
	var found keystone.User
	err := c.Do(ctx, conn.Read, op, func(ctx context.Context) (err error) {
		var answer struct {
			User userBody `json:"user"`
		}
		if err := users.Get(ctx, c.Own, conn.Segment(id)).ExtractInto(&answer); err != nil {
			return err
		}
		if found, err = answer.User.user(); err == nil && found.ID != id {
			return conn.ErrIncomplete
		}
		found.Name = c.Masked(ctx, found.Name, "")
		return err
	})
	if err != nil {
		return keystone.User{}, err
	}
	return found, nil
}

// userBody is a user in the JSON format of Keystone.
type userBody struct {
	keystone.User

	Enabled *bool `json:"enabled"`
}

// The method `user` converts the body to a [keystone.User]. A user without a state counts as enabled. If Keystone is configured to ignore
// the state of users from LDAP, it omits the state, and these users can log in.
func (b userBody) user() (keystone.User, error) {
	u := b.User
	if u.ID == "" || u.DomainID == "" {
		return keystone.User{}, conn.ErrIncomplete
	}
	u.Enabled = b.Enabled == nil || *b.Enabled
	return u, nil
}
