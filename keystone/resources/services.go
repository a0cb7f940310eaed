package resources

import (
	"context"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// The method `ask` asks an endpoint, and adds the result to the Proof.
func (a asker) ask(ctx context.Context, e endpoint, p *Proof) {
	q := &inquiry{asker: a, Service: ServiceAsked{
		Type: a.clean(e.service, maxText), Region: a.clean(e.region, maxText), Exempt: e.exempt,
	}}
	defer q.addTo(p)
	if e.exempt != "" {
		return
	}
	if e.fault != nil {
		q.fault("", e.fault)
		return
	}
	u, err := parse(e.url)
	if err == nil {
		err = q.ask(ctx, e.service, u)
	}
	if err != nil {
		q.fault("", err)
	}
}

// The method `ask` asks a service of a known type.
func (q *inquiry) ask(ctx context.Context, service string, u *url.URL) (err error) {
	switch service {
	case "compute":
		if u, err = q.withVersion(u, "v2.1", "v2"); err == nil {
			q.compute(ctx, u)
		}
	case "volumev3", "block-storage":
		if u, err = q.withVersion(u, "v3"); err == nil {
			if !strings.HasSuffix(u.Path, "/"+q.own) { // Cinder requires this id in the path before microversion 3.67
				u = u.JoinPath(url.PathEscape(q.own))
			}
			q.volumes(ctx, u)
		}
	case "network":
		if u, err = q.withVersion(u, "v2.0"); err == nil {
			q.network(ctx, u)
		}
	case "image":
		if u, err = q.withVersion(u, "v2"); err == nil {
			q.images(ctx, u)
		}
	case "placement":
		q.placement(ctx, u)
	case "object-store":
		return q.objects(ctx, u)
	default:
		return blocked(fixIgnore, "Tenantry cannot ask services of this type")
	}
	return err
}

// The method `compute` asks Nova. A credential that may not list the servers of other projects gets 403 for all_tenants. Without
// soft_deleted, Nova omits servers that are deleted, but wait for their removal (reclaim_instance_interval).
func (q *inquiry) compute(ctx context.Context, base *url.URL) {
	q.count(ctx, base, list{
		kind: "servers", path: "servers/detail", field: "servers", next: "servers_links", owner: "tenant_id", name: "name",
		query: url.Values{"all_tenants": {"1"}, "project_id": {q.project}, "soft_deleted": {"1"}},
	})
}

// The method `volumes` asks Cinder. Since microversion 3.18, the details of a backup contain its project.
func (q *inquiry) volumes(ctx context.Context, base *url.URL) {
	filter := url.Values{"all_tenants": {"1"}, "project_id": {q.project}}
	seen := map[string]int64{}
	for _, l := range []list{
		{kind: "volumes", next: "volumes_links", owner: "os-vol-tenant-attr:tenant_id"},
		{kind: "snapshots", next: "snapshots_links", owner: "os-extended-snapshot-attributes:project_id"},
		{kind: "backups", next: "backup_links", owner: "os-backup-project-attr:project_id", version: "volume 3.18"},
	} {
		l.field, l.name, l.path, l.query = l.kind, "name", l.kind+"/detail", filter
		seen[l.kind] = q.count(ctx, base, l)
	}
	q.volumeQuota(ctx, base, seen)
}

// The method `network` asks Neutron for the resources of the project.
func (q *inquiry) network(ctx context.Context, base *url.URL) {
	seen := map[string]int64{}
	for _, l := range []struct{ kind, field, path string }{
		{"ports", "ports", "ports"},
		{"networks", "networks", "networks"},
		{"subnets", "subnets", "subnets"},
		{"routers", "routers", "routers"},
		{"floating IPs", "floatingips", "floatingips"},
		{"security groups", "security_groups", "security-groups"},
	} {
		one := list{
			kind: l.kind, path: l.path, field: l.field, next: l.field + "_links", owner: "project_id", name: "name",
			query: url.Values{"project_id": {q.project}},
		}
		switch l.field {
		case "floatingips":
			one.name = "floating_ip_address"
		case "security_groups":
			one.uncounted = func(name string) bool { return name == "default" } // every project has exactly one group with this name
		}
		seen[l.field[:len(l.field)-1]] = q.count(ctx, base, one)
	}
	q.networkQuota(ctx, base, seen)
}

// The method `images` asks Glance. If the query does not contain `visibility`, Glance omits the community images of other projects.
// visibility=all would include these images, but not every release knows this value. The queries never contain os_hidden=false: a
// release that does not know os_hidden would treat it as a filter on a property that no image has.
func (q *inquiry) images(ctx context.Context, base *url.URL) {
	for _, kind := range []struct {
		name  string
		query url.Values
	}{
		{"images", url.Values{}},
		{"community images", url.Values{"visibility": {"community"}}},
		{"hidden images", url.Values{"os_hidden": {"true"}}},
		{"hidden community images", url.Values{"os_hidden": {"true"}, "visibility": {"community"}}},
	} {
		kind.query.Set("owner", q.project)
		q.count(ctx, base, list{
			kind: kind.name, path: "images", field: "images", next: "next", owner: "owner", name: "name", query: kind.query,
		})
	}
	tasks := base.JoinPath("tasks")
	tasks.RawQuery = "limit=1"
	err := q.get(ctx, request{url: tasks, limits: objectLimits}, func(_ http.Header, body io.Reader) error {
		var answer struct{ Tasks []struct{} }
		if err := decode(body, &answer); err != nil {
			return err
		}
		if answer.Tasks == nil {
			return errForm
		}
		return nil
	})
	if err != nil {
		q.fault("tasks", err)
	}
}

// The method `placement` asks Placement for the allocations of the project. The answer has this form since microversion 1.9.
func (q *inquiry) placement(ctx context.Context, base *url.URL) {
	at := base.JoinPath("usages")
	at.RawQuery = url.Values{"project_id": {q.project}}.Encode()
	var answer struct{ Usages map[string]int64 }
	err := q.get(ctx, request{url: at, version: "placement 1.9", limits: objectLimits}, func(_ http.Header, body io.Reader) error {
		if err := decode(body, &answer); err != nil {
			return err
		}
		if answer.Usages == nil {
			return errForm
		}
		return nil
	})
	if err != nil {
		q.fault("allocations", err)
	}
	for _, class := range slices.Sorted(maps.Keys(answer.Usages)) {
		q.add("units of "+q.clean(class, maxText), answer.Usages[class])
	}
}
