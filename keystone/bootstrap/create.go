package bootstrap

import (
	"context"
	"fmt"
	"strings"

	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/domains"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/projects"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/roles"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/conn"
)

// The type `extracted` is a result of gophercloud.
type extracted interface {
	ExtractIntoStructPtr(to any, label string) error
}

// The method `make` sends a request that creates an object, and returns the object's id.
func (b *Bootstrap) make(ctx context.Context, kind, name string, request func(context.Context) extracted, secrets ...string) (id string, err error) {
	err = b.cloud.Do(ctx, conn.Write, fmt.Sprintf("creating %s %q", kind, name), func(ctx context.Context) error {
		var made entity
		if err := request(ctx).ExtractIntoStructPtr(&made, kind); err != nil {
			return err
		}
		if id = made.ID; !keystone.ValidID(id) {
			return conn.ErrIncomplete
		}
		return nil
	}, secrets...)
	return id, err
}

func (b *Bootstrap) createRole(ctx context.Context, o *Object) (err error) {
	b.roles[strings.ToLower(o.Name)], err = b.make(ctx, "role", o.Name, func(ctx context.Context) extracted {
		return roles.Create(ctx, b.cloud.Own, roles.CreateOpts{Name: o.Name})
	})
	return err
}

func (b *Bootstrap) createDomain(ctx context.Context, o *Object) (err error) {
	b.domain, err = b.make(ctx, "domain", o.Name, func(ctx context.Context) extracted {
		return domains.Create(ctx, b.cloud.Own, domains.CreateOpts{Name: o.Name})
	})
	if o.Name == b.setup.UserDomain {
		b.userDomain = b.domain
	}
	return err
}

func (b *Bootstrap) createProject(ctx context.Context, o *Object) (err error) {
	b.project, err = b.make(ctx, "project", o.Name, func(ctx context.Context) extracted {
		return projects.Create(ctx, b.cloud.Own, projects.CreateOpts{Name: o.Name, DomainID: b.userDomain})
	})
	return err
}
