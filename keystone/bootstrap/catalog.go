package bootstrap

import (
	"context"
	"fmt"
	"net/url"
	"slices"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/endpoints"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/services"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/conn"
)

// service is a service in the catalog, in the JSON format of Keystone.
type service struct {
	ID      string `json:"id"`
	Type    string `json:"type"`
	Name    string `json:"name"`
	Enabled *bool  `json:"enabled"`
}

func (b *Bootstrap) findService(ctx context.Context, o *Object) error {
	return b.settled(ctx, o, b.readService)
}

func (b *Bootstrap) readService(ctx context.Context, o *Object) error {
	found, err := conn.List[service](ctx, b.cloud.Conn, conn.Listing{
		Op: fmt.Sprintf("finding services of type %q", o.Name), Path: "services", Query: url.Values{"type": {o.Name}},
	})
	found = slices.DeleteFunc(found, func(s service) bool { return s.Type != o.Name || !keystone.ValidID(s.ID) })
	switch {
	case err != nil:
		return err
	case len(found) == 0:
		o.State = missing
		return nil
	case len(found) > 1:
		o.several = true
		o.differ(fmt.Sprintf("the catalog has %d services of this type", len(found)), openstack("service delete", nil, found[1].ID))
		return nil
	}
	one := found[0]
	b.service = one.ID
	if one.Name != b.setup.Name {
		o.differ(fmt.Sprintf("its name is %q, not %q", one.Name, b.setup.Name), openstack("service set", [][]string{{"--name", b.setup.Name}}, one.ID))
	}
	if one.Enabled != nil && !*one.Enabled {
		o.differ("it is disabled", openstack("service set", [][]string{{"--enable"}}, one.ID))
	}
	return nil
}

func (b *Bootstrap) createService(ctx context.Context, o *Object) error {
	return b.createAlone(ctx, o, "services", b.readService, func(ctx context.Context) (string, error) {
		return b.make(ctx, "service", o.Name, func(ctx context.Context) extracted {
			return services.Create(ctx, b.cloud.Own, services.CreateOpts{Type: o.Name, Name: b.setup.Name, Description: description})
		})
	})
}

// endpoint is an endpoint in the catalog, in the JSON format of Keystone.
type endpoint struct {
	ID        string `json:"id"`
	ServiceID string `json:"service_id"`
	Interface string `json:"interface"`
	RegionID  string `json:"region_id"`
	URL       string `json:"url"`
	Enabled   *bool  `json:"enabled"`
}

// The method `endpoint` returns the item of an endpoint. The parameter `face` is the endpoint's interface.
func (b *Bootstrap) endpoint(face, address string) item {
	read := func(ctx context.Context, o *Object) error { return b.readEndpoint(ctx, o, face, address) }
	find := func(ctx context.Context, o *Object) error { return b.settled(ctx, o, read) }
	return item{
		kind: "endpoint", name: fmt.Sprintf("%s in region %s", face, b.setup.Region), line: b.setup.lineOfEndpoint(face, address),
		find: find,
		create: func(ctx context.Context, o *Object) error {
			if b.service == "" {
				o.differ("the service is not unique", b.setup.lineOfEndpoint(face, address))
				return nil
			}
			return b.createAlone(ctx, o, "endpoints", read, func(ctx context.Context) (string, error) {
				return b.make(ctx, "endpoint", o.Name, func(ctx context.Context) extracted {
					return endpoints.Create(ctx, b.cloud.Own, endpoints.CreateOpts{
						Availability: gophercloud.Availability(face), Region: b.setup.Region, URL: address, ServiceID: b.service,
					})
				})
			})
		},
	}
}

func (b *Bootstrap) readEndpoint(ctx context.Context, o *Object, face, address string) error {
	if b.service == "" {
		o.State = missing
		return nil
	}
	found, err := conn.List[endpoint](ctx, b.cloud.Conn, conn.Listing{
		Op: "finding endpoints of the service", Path: "endpoints", Query: url.Values{"service_id": {b.service}, "interface": {face}},
	})
	found = slices.DeleteFunc(found, func(e endpoint) bool {
		return e.ServiceID != b.service || e.Interface != face || e.RegionID != b.setup.Region || !keystone.ValidID(e.ID)
	})
	switch {
	case err != nil:
		return err
	case len(found) == 0:
		o.State = missing
		return nil
	case len(found) > 1:
		o.several = true
		o.differ(fmt.Sprintf("the region has %d endpoints of this interface", len(found)), openstack("endpoint delete", nil, found[1].ID))
		return nil
	}
	one := found[0]
	if one.URL != address {
		o.differ(fmt.Sprintf("its URL is %q, not %q", one.URL, address), openstack("endpoint set", [][]string{{"--url", address}}, one.ID))
	}
	if one.Enabled != nil && !*one.Enabled {
		o.differ("it is disabled", openstack("endpoint set", [][]string{{"--enable"}}, one.ID))
	}
	return nil
}

// maxTries is the maximum number of times that createAlone creates an object.
const maxTries = 10

// createAlone creates a service or an endpoint. Keystone allows two of the same kind, so a concurrent Bootstrap could create a second one.
// Therefore createAlone reads the list after it has created the object. If the list contains another one, createAlone deletes its own
// object, waits for a random time, and begins again. Of two concurrent Bootstraps, at least one sees both objects.
func (b *Bootstrap) createAlone(
	ctx context.Context, o *Object, collection string, read func(context.Context, *Object) error, create func(context.Context) (string, error),
) error {
	for range maxTries {
		id, err := create(ctx)
		if err != nil {
			return err
		}
		b.guard.created(collection, id)
		seen := Object{Kind: o.Kind, Name: o.Name, State: Created}
		if err := read(ctx, &seen); err != nil {
			return err
		}
		if seen.State == Created {
			return nil
		}
		if seen.State == missing {
			return conn.Incomplete("finding the new " + o.Kind)
		}
		if err := b.remove(ctx, collection, id); err != nil {
			return err
		}
		if err := b.pause(ctx); err != nil {
			return err
		}
		*o = Object{Kind: o.Kind, Name: o.Name, State: Exists}
		if err := b.settled(ctx, o, read); err != nil || o.State != missing {
			return err
		}
		o.State = Created
	}
	return fmt.Errorf("creating %s %q: another process creates the same %[1]s: repeat the command", o.Kind, o.Name)
}

// The method `settled` reads an object. While the catalog has several objects in place of this one, `settled` reads again, because
// concurrent Bootstraps may be about to delete their second objects.
func (b *Bootstrap) settled(ctx context.Context, o *Object, read func(context.Context, *Object) error) error {
	first := *o
	for range maxTries {
		*o = first
		if err := read(ctx, o); err != nil || !o.several {
			return err
		}
		if err := b.pause(ctx); err != nil {
			return err
		}
	}
	return nil
}

// The method `remove` deletes a service or an endpoint that this Bootstrap has created.
func (b *Bootstrap) remove(ctx context.Context, collection, id string) error {
	return b.cloud.Do(ctx, conn.Write, fmt.Sprintf("deleting the second of the %s", collection), func(ctx context.Context) error {
		if collection == "services" {
			return services.Delete(ctx, b.cloud.Own, conn.Segment(id)).ExtractErr()
		}
		return endpoints.Delete(ctx, b.cloud.Own, conn.Segment(id)).ExtractErr()
	})
}
