package v2

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/gophercloud/gophercloud/v2/openstack/identity/v2/users"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// User implements [keystone.Identity].
func (c *Cloud) User(ctx context.Context, id string) (keystone.User, error) {
	op := fmt.Sprintf("reading user %q", id)
	if err := conn.CheckIDs(op, id); err != nil {
		return keystone.User{}, err
	}
	var found keystone.User
	err := c.Do(ctx, conn.Read, op, func(ctx context.Context) (err error) {
		var answer userAnswer
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

// FindUser implements [keystone.Users]. Keystone answers in the same way as for FindProject.
func (c *Cloud) FindUser(ctx context.Context, domainID, name string) (found keystone.User, err error) {
	op := fmt.Sprintf("finding user %q", name)
	if domainID != keystone.DefaultDomain.ID || name == "" { // without a name, Keystone would list all users
		return found, conn.NotFound(op)
	}
	err = ofName(name, c.Do(ctx, conn.Read, op, func(ctx context.Context) (err error) {
		var answer userAnswer
		address := c.Own.ServiceURL("users") + "?" + conn.Query("name", name)
		if _, err := c.Own.Get(ctx, address, &answer, nil); err != nil { //nolint:bodyclose // gophercloud has closed it
			return err
		}
		if found, err = answer.User.user(); err == nil && !keystone.ValidID(found.ID) {
			return conn.ErrIncomplete
		}
		return err
	}))
	if err == nil && found.Name != name { // Keystone on MySQL ignores the case
		err = conn.NotFound(op)
	}
	if err != nil {
		return keystone.User{}, err
	}
	return found, nil
}

// The function `ofName` returns the error of a lookup by name. If Keystone does not have the object, it answers 404 with a message that
// contains the name. Any other 404 is Unavailable, because a caller creates an object that is not found.
func ofName(name string, err error) error {
	if e, ok := errors.AsType[*upstream.Error](err); ok && errors.Is(err, keystone.ErrNotFound) && !strings.Contains(e.Message, name) {
		e.Class, e.Err = upstream.Unavailable, nil
	}
	return err
}

// SimilarUser implements [keystone.Users]. SimilarUser lists all users, because Identity v2.0 has only a filter for the exact name.
func (c *Cloud) SimilarUser(ctx context.Context, domainID, name string) (keystone.User, error) {
	similar := conn.Similar{DomainID: domainID, Name: name}
	whole, err := c.EachUser(ctx, domainID, similar.See)
	return similar.Result(fmt.Sprintf("finding users with a name like %q", name), !whole, err)
}

// EnsureUser implements [keystone.Users].
func (c *Cloud) EnsureUser(ctx context.Context, n keystone.NewUser) (u keystone.User, made, passwordSet bool, err error) {
	return c.account().EnsureUser(ctx, n)
}

// RemoveUser implements [keystone.Users].
func (c *Cloud) RemoveUser(ctx context.Context, domainID, name, runID string) (removed keystone.User, kept string, err error) {
	return c.account().RemoveUser(ctx, domainID, name, runID)
}

func (c *Cloud) account() conn.Account {
	return conn.Account{Create: c.createUser, Find: c.FindUser, Delete: c.deleteUser}
}

// newUser is the body of the request for a new user. Gophercloud's type for this body has no field for the password.
type newUser keystone.NewUser

// ToUserCreateMap implements [users.CreateOptsBuilder].
func (n newUser) ToUserCreateMap() (map[string]any, error) {
	fields := map[string]any{
		"name": n.Name, "password": n.Password, "enabled": true, keystone.RunAttribute: n.RunID,
		"options": map[string]any{"ignore_change_password_upon_first_use": true},
	}
	if n.Email != "" {
		fields["email"] = n.Email
	}
	return map[string]any{"user": fields}, nil
}

// createUser creates the user. Identity v2.0 does not show whether the password expires at once, so the result `usable` is always false.
func (c *Cloud) createUser(ctx context.Context, n keystone.NewUser) (u keystone.User, usable bool, err error) {
	op := fmt.Sprintf("creating user %q", n.Name)
	if n.DomainID != keystone.DefaultDomain.ID {
		return keystone.User{}, false, conn.NotFound(fmt.Sprintf("%s in domain %q", op, n.DomainID))
	}
	err = c.Do(ctx, conn.Write, op, func(ctx context.Context) error {
		var answer userAnswer
		if err := users.Create(ctx, c.Own, newUser(n)).ExtractInto(&answer); err != nil {
			return err
		}
		if u, err = answer.User.user(); err == nil && (!keystone.ValidID(u.ID) || u.Name != n.Name) {
			return conn.ErrIncomplete
		}
		return err
	}, n.Password)
	if err != nil {
		return keystone.User{}, false, err
	}
	return u, false, nil
}

// newPassword is the body of the request that sets a password. Gophercloud's type for this body has no field for the password.
type newPassword string

// ToUserUpdateMap implements [users.UpdateOptsBuilder].
func (p newPassword) ToUserUpdateMap() (map[string]any, error) {
	return map[string]any{"user": map[string]any{"password": string(p)}}, nil
}

// SetPassword implements [keystone.Users].
func (c *Cloud) SetPassword(ctx context.Context, userID, password string) error {
	return conn.SetPassword(ctx, c.Conn, userID, password, func(ctx context.Context) error {
		return users.Update(ctx, c.Own, conn.Segment(userID), newPassword(password)).Err
	})
}

func (c *Cloud) deleteUser(ctx context.Context, u keystone.User) error {
	return c.Do(ctx, conn.Write, fmt.Sprintf("removing user %q", u.Name), func(ctx context.Context) error {
		return users.Delete(ctx, c.Own, conn.Segment(u.ID)).Err
	})
}

// LogIn implements [keystone.Users].
func (c *Cloud) LogIn(ctx context.Context, domainID, name, password string) (t keystone.UserToken, err error) {
	const op = "logging in a user"
	if err := conn.CheckLogin(op, name, password); err != nil {
		return t, err
	}
	if domainID != keystone.DefaultDomain.ID {
		return t, conn.NotFound(op)
	}
	err = c.Do(ctx, conn.UserLogin, op, func(ctx context.Context) error {
		access, err := newToken(ctx, c.Bare, auth{"passwordCredentials": map[string]any{"username": name, "password": password}})
		if err != nil {
			return err
		}
		t = keystone.UserToken{
			ID: access.Token.ID, UserID: access.User.ID, UserName: c.Masked(ctx, access.User.Name, name), ExpiresAt: access.Token.Expires,
		}
		if access.Token.Tenant != nil {
			return conn.ErrIncomplete
		}
		return nil
	}, password)
	if err != nil {
		return keystone.UserToken{}, err
	}
	return t, nil
}

// userAnswer is an answer that contains one user.
type userAnswer struct {
	User userBody `json:"user"`
}

// userBody is a user in the JSON format of Keystone.
type userBody struct {
	ID      string         `json:"id"`
	Name    string         `json:"name"`
	Enabled *bool          `json:"enabled"`
	RunID   conn.Attribute `json:"tenantry_run"`
}

// The method `user` converts the body to a [keystone.User]. A user without a state counts as enabled. If Keystone is configured to ignore
// the state of users from LDAP, it omits the state, and these users can log in.
func (b userBody) user() (keystone.User, error) {
	if b.ID == "" {
		return keystone.User{}, conn.ErrIncomplete
	}
	return keystone.User{
		ID: b.ID, Name: b.Name, DomainID: keystone.DefaultDomain.ID, Enabled: b.Enabled == nil || *b.Enabled, RunID: string(b.RunID),
	}, nil
}
