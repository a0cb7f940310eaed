package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/roles"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/users"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/conn"
	v3 "github.com/tenantry/tenantry/keystone/v3"
)

// ensureUser creates the service user, unless the user exists, and returns the user's password. The password is empty if it is unknown.
// The caller stores the password before the user is created. Otherwise, an interruption could leave a user whose password nobody knows.
func (b *Bootstrap) ensureUser(ctx context.Context, o *Object, password Password) (known string, err error) {
	exists := o.State != missing
	if known, err = password(exists); err != nil {
		return "", err
	}
	if !exists {
		err = b.ensure(ctx, item{find: b.findUser, create: func(ctx context.Context, o *Object) error { return b.createUser(ctx, o, known) }}, o)
		if err != nil {
			return "", err
		}
		if o.State == Created {
			b.ownUser = true
			return known, nil
		}
	}
	if known == "" || o.State == Differs {
		return "", nil
	}
	_, err = b.cloud.LogIn(ctx, b.userDomain, o.Name, known)
	if b.ownUser, b.refused = err == nil, refused(err); b.refused {
		o.differ("it exists and has another password", b.lineOfPassword())
		return "", nil
	}
	return known, err
}

func (b *Bootstrap) lineOfPassword() string {
	return openstack("user set", [][]string{{"--domain", b.setup.UserDomain}, {"--password-prompt"}}, b.setup.User)
}

// The function `refused` reports whether Keystone has refused the name and the password of a user.
func refused(err error) bool {
	return errors.Is(err, keystone.ErrWrongLogin) || errors.Is(err, keystone.ErrPasswordExpired)
}

func (b *Bootstrap) createUser(ctx context.Context, o *Object, password string) (err error) {
	b.user, err = b.make(ctx, "user", o.Name, func(ctx context.Context) extracted {
		return users.Create(ctx, b.cloud.Own, users.CreateOpts{Name: o.Name, DomainID: b.userDomain, Password: password})
	}, password)
	return err
}

// The method `grant` returns the item of a role assignment of the service user. The role is assigned only if this Bootstrap has created
// the user, or if the caller knows the user's password. Otherwise, anybody who can create users could create the service user first, and
// get the role.
func (b *Bootstrap) grant(role string) item {
	s := b.setup
	on := fmt.Sprintf("%s of user %s on project %s", role, s.User, s.Project)
	if s.Persona == DomainManager {
		on = fmt.Sprintf("%s of user %s on domain %s", role, s.User, s.Domain)
	}
	return item{
		kind: "role assignment", name: on, line: s.lineOfGrant(role),
		find: func(ctx context.Context, o *Object) error {
			if b.user == "" || b.roles[strings.ToLower(role)] == "" || b.target() == "" {
				o.State = missing
				return nil
			}
			err := b.cloud.Do(ctx, conn.Read, "reading the role assignment "+on, func(ctx context.Context) error {
				return roles.Validate(ctx, b.cloud.Own, conn.Segment(b.roles[strings.ToLower(role)]), roles.ValidateOpts{
					UserID: conn.Segment(b.user), ProjectID: b.onProject(), DomainID: b.onDomain(),
				}).ExtractErr()
			})
			if errors.Is(err, keystone.ErrNotFound) {
				o.State, err = missing, nil
			}
			return err
		},
		create: func(ctx context.Context, o *Object) error {
			if !b.ownUser {
				o.differ("the user existed before, and does not have the role", s.lineOfGrant(role))
				return nil
			}
			return b.cloud.Do(ctx, conn.Write, "creating the role assignment "+on, func(ctx context.Context) error {
				return roles.Assign(ctx, b.cloud.Own, conn.Segment(b.roles[strings.ToLower(role)]), roles.AssignOpts{
					UserID: conn.Segment(b.user), ProjectID: b.onProject(), DomainID: b.onDomain(),
				}).ExtractErr()
			})
		},
	}
}

// The method `target` returns the id of the project or the domain on which the service user gets its roles.
func (b *Bootstrap) target() string {
	if b.setup.Persona == DomainManager {
		return b.domain
	}
	return b.project
}

func (b *Bootstrap) onProject() string {
	if b.setup.Persona == DomainManager {
		return ""
	}
	return conn.Segment(b.project)
}

func (b *Bootstrap) onDomain() string {
	if b.setup.Persona == DomainManager {
		return conn.Segment(b.domain)
	}
	return ""
}

// logIn logs in as the service user, with the scope that the service will use.
func (b *Bootstrap) logIn(ctx context.Context, password string) (Object, error) {
	s := b.setup
	o := Object{Kind: "login", Name: "user " + s.User, State: Exists}
	if s.Persona == DomainManager {
		o.Name += " on domain " + s.Domain
	} else {
		o.Name += " on project " + s.Project
	}
	cfg := b.config
	cfg.Credential = conn.Credential{UserID: b.user, Password: password, ProjectID: b.project}
	if s.Persona == DomainManager {
		cfg.Credential.DomainID = b.domain
	}
	cloud, err := v3.New(cfg)
	if err == nil {
		_, err = cloud.Login(ctx)
	}
	if errors.Is(err, keystone.ErrLoginRefused) {
		o.differ("Keystone refuses the login", openstack("role assignment list", [][]string{
			{"--names"}, {"--user", s.User}, {"--user-domain", s.UserDomain},
		}))
		return o, nil
	}
	return o, err
}
