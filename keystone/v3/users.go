package v3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/users"

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

// FindUser implements [keystone.Users].
func (c *Cloud) FindUser(ctx context.Context, domainID, name string) (keystone.User, error) {
	op := fmt.Sprintf("finding user %q", name)
	found, err := conn.List[userBody](ctx, c.Conn, conn.Listing{Op: op, Path: "users", Query: url.Values{"name": {name}, "domain_id": {domainID}}})
	if err != nil {
		return keystone.User{}, err
	}
	// Filter again, because Keystone ignores an unknown filter and then lists all users.
	for _, u := range found {
		if u.Name == name && u.DomainID == domainID && keystone.ValidID(u.ID) {
			return u.user()
		}
	}
	return keystone.User{}, conn.NotFound(op)
}

// SimilarUser implements [keystone.Users].
func (c *Cloud) SimilarUser(ctx context.Context, domainID, name string) (keystone.User, error) {
	op := fmt.Sprintf("finding users with a name like %q", name)
	query := url.Values{"domain_id": {domainID}}
	conn.LikeName(query, name)
	similar := conn.Similar{DomainID: domainID, Name: name}
	cut, err := conn.Bulk(ctx, c.Conn, conn.Listing{Op: op, Path: "users", Query: query}, func(u userBody) error {
		if u, err := u.user(); err == nil {
			similar.See(u)
		}
		return nil
	})
	return similar.Result(op, cut, err)
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
	return conn.Account{Create: c.createUser, Find: c.FindUser, InUse: c.inUse, Delete: c.deleteUser}
}

func (c *Cloud) createUser(ctx context.Context, n keystone.NewUser) (u keystone.User, usable bool, err error) {
	err = c.Do(ctx, conn.Write, fmt.Sprintf("creating user %q", n.Name), func(ctx context.Context) error {
		extra := map[string]any{keystone.RunAttribute: n.RunID}
		if n.Email != "" {
			extra["email"] = n.Email
		}
		var answer userAnswer
		err := users.Create(ctx, c.Own, users.CreateOpts{
			Name: n.Name, DomainID: n.DomainID, Password: n.Password, Extra: extra,
			Options: map[users.Option]any{users.IgnoreChangePasswordUponFirstUse: true},
		}).ExtractInto(&answer)
		if err != nil {
			return err
		}
		if u, err = answer.User.user(); err == nil && (!keystone.ValidID(u.ID) || u.Name != n.Name || u.DomainID != n.DomainID) {
			return conn.ErrIncomplete
		}
		usable = !conn.PasswordExpires(answer.User.PasswordExpiresAt)
		return err
	}, n.Password)
	if err != nil {
		return keystone.User{}, false, err
	}
	return u, usable, nil
}

// SetPassword implements [keystone.Users].
func (c *Cloud) SetPassword(ctx context.Context, userID, password string) error {
	return conn.SetPassword(ctx, c.Conn, userID, password, func(ctx context.Context) error {
		return users.Update(ctx, c.Own, conn.Segment(userID), users.UpdateOpts{Password: password}).Err
	})
}

func (c *Cloud) deleteUser(ctx context.Context, u keystone.User) error {
	return c.Do(ctx, conn.Write, fmt.Sprintf("removing user %q", u.Name), func(ctx context.Context) error {
		return users.Delete(ctx, c.Own, conn.Segment(u.ID)).ExtractErr()
	})
}

// inUse returns the reason why the user is in use, or an empty reason.
func (c *Cloud) inUse(ctx context.Context, u keystone.User) (string, error) {
	type one struct{} // only the number of elements matters
	assigned, err := conn.List[one](ctx, c.Conn, conn.Listing{
		Op: fmt.Sprintf("listing the role assignments of user %q", u.Name), Path: "role_assignments", Query: url.Values{"user.id": {u.ID}},
	})
	switch {
	case err != nil:
		return "", err
	case len(assigned) > 0:
		return "the user has a role assignment", nil
	}
	groups, err := conn.List[one](ctx, c.Conn, conn.Listing{
		Op: fmt.Sprintf("listing the groups of user %q", u.Name), Path: "users/" + conn.Segment(u.ID) + "/groups", Field: "groups",
	})
	switch {
	case err != nil:
		return "", err
	case len(groups) > 0:
		return "the user is in a group", nil
	}
	return "", nil
}

// LogIn implements [keystone.Users].
func (c *Cloud) LogIn(ctx context.Context, domainID, name, password string) (t keystone.UserToken, err error) {
	const op = "logging in a user"
	if err := conn.CheckLogin(op, name, password); err != nil {
		return t, err
	}
	var second *keystone.SecondFactorError
	err = c.Do(ctx, conn.UserLogin, op, func(ctx context.Context) error {
		id, issued, err := newToken(ctx, c.Bare, &unscoped{gophercloud.AuthOptions{Username: name, DomainID: domainID, Password: password}})
		if err != nil {
			second = secondFactor(err)
			return err
		}
		t = keystone.UserToken{ID: id, UserID: issued.UserID, UserName: c.Masked(ctx, issued.UserName, name), ExpiresAt: issued.ExpiresAt}
		if t.ID == "" || t.UserID == "" || t.ExpiresAt.IsZero() || issued.Scoped() || issued.UserDomainID != domainID {
			return conn.ErrIncomplete
		}
		return nil
	}, password)
	if second != nil {
		return keystone.UserToken{}, &upstream.Error{
			Service: keystone.Service, Class: upstream.Permanent, Op: op, Status: http.StatusUnauthorized, Err: second,
		}
	}
	if err != nil {
		return keystone.UserToken{}, err
	}
	return t, nil
}

// The type `unscoped` asks explicitly for a token without a scope. Otherwise, Keystone would issue a token for the user's default project, if
// the user has one.
type unscoped struct{ gophercloud.AuthOptions }

// ToTokenV3CreateMap returns the body of the login.
func (o *unscoped) ToTokenV3CreateMap(map[string]any) (map[string]any, error) {
	body, err := o.AuthOptions.ToTokenV3CreateMap(nil)
	if err != nil {
		return nil, err
	}
	if auth, ok := body["auth"].(map[string]any); ok {
		auth["scope"] = "unscoped"
	}
	return body, nil
}

// secondFactor returns the error of a login that needs another method, or nil if err is another error. Keystone's answer contains a
// receipt and the required combinations of methods.
func secondFactor(err error) *keystone.SecondFactorError {
	answered, ok := errors.AsType[gophercloud.ErrUnexpectedResponseCode](err)
	if !ok || answered.Actual != http.StatusUnauthorized {
		return nil
	}
	receipt := strings.TrimSpace(answered.ResponseHeader.Get("Openstack-Auth-Receipt"))
	if !conn.IsToken(receipt) {
		return nil
	}
	return &keystone.SecondFactorError{Receipt: receipt, Methods: conn.RequiredMethods(answered.Body)}
}

type userAnswer struct {
	User userBody `json:"user"`
}

// userBody is a user in the JSON format of Keystone.
type userBody struct {
	keystone.User

	Enabled           *bool          `json:"enabled"`
	RunID             conn.Attribute `json:"tenantry_run"`
	PasswordExpiresAt string         `json:"password_expires_at"`
}

// The method `user` converts the body to a [keystone.User]. A user without a state counts as enabled. If Keystone is configured to ignore
// the state of users from LDAP, it omits the state, and these users can log in.
func (b userBody) user() (keystone.User, error) {
	u := b.User
	if u.ID == "" || u.DomainID == "" {
		return keystone.User{}, conn.ErrIncomplete
	}
	u.Enabled, u.RunID = b.Enabled == nil || *b.Enabled, string(b.RunID)
	return u, nil
}
