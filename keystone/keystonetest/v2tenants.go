package keystonetest

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"
)

// The method `tenant` returns the project with this id in the domain "default", or nil. Identity v2.0 does not show the projects of other
// domains.
func (k *Keystone) tenant(id string) *project {
	if p := k.projects.get(id); p != nil && p.domain == DefaultDomain {
		return p
	}
	return nil
}

// createTenant uses the id in the request. If the request has no id, Keystone chooses one.
func (k *Keystone) createTenant(c call) (int, any, error) {
	if err := k.requireAdmin(c); err != nil {
		return 0, nil, err
	}
	wanted, _ := c.body["tenant"].(object)
	if err := checkTenant(wanted, true); err != nil {
		return 0, nil, err
	}
	p := &project{domain: DefaultDomain, enabled: true}
	p.set2(wanted)
	p.id, _ = wanted["id"].(string)
	if k.projectNamed(p.name, is(DefaultDomain)) != nil || p.id != "" && k.projects.get(p.id) != nil {
		return 0, nil, conflict("Conflict occurred attempting to store project - it is not permitted to have two projects with the same name "+
			"in the same domain : %s.", p.name)
	}
	return http.StatusOK, object{"tenant": k.addProject(p).show2()}, nil
}

// checkTenant validates the fields of a tenant. The parameter `creating` is false for an update, in which the name may be missing.
func checkTenant(wanted object, creating bool) error {
	if wanted == nil {
		return badRequest("Expecting to find tenant in request body.")
	}
	name, hasName := wanted["name"]
	text, ok := name.(string)
	switch {
	case !hasName && !creating:
	case strings.TrimSpace(text) == "" || !ok:
		return badRequest("Name field is required and cannot be empty")
	case utf8.RuneCountInString(text) > 64:
		return badRequest("String length exceeded. The length of string '%s' exceeds the limit of column name(CHAR(64)).", text)
	}
	if enabled, ok := wanted["enabled"]; ok {
		if _, ok := enabled.(bool); !ok {
			return badRequest("Enabled field must be a boolean")
		}
	}
	return nil
}

// set2 copies the fields of the request to the tenant. As in Keystone, unknown fields are stored too.
func (p *project) set2(wanted object) {
	p.extra = maps.Clone(p.extra) // a clone, because p can be a copy of a stored project that must not change
	if p.extra == nil {
		p.extra = object{}
	}
	for field, value := range wanted {
		text, _ := value.(string)
		switch field {
		case "id", "tenantId", "domain_id", "parent_id", "is_domain":
		case "name":
			p.name = strings.TrimSpace(text)
		case "description":
			p.description = text
		case "enabled":
			p.enabled = value == true
		default:
			p.extra[field] = value
		}
	}
}

func (p *project) show2() object {
	shown := maps.Clone(p.extra)
	if shown == nil {
		shown = object{}
	}
	maps.Copy(shown, object{"id": p.id, "name": p.name, "description": p.description, "enabled": p.enabled})
	return shown
}

// listTenants lists all tenants. With a name in the query, the answer contains one tenant, not a list.
func (k *Keystone) listTenants(c call) (int, any, error) {
	if err := k.requireAdmin(c); err != nil {
		return 0, nil, err
	}
	if names, ok := c.query["name"]; ok {
		p := k.projectNamed(names[0], is(DefaultDomain))
		if p == nil {
			return 0, nil, notFound2("project", names[0])
		}
		return http.StatusOK, object{"tenant": p.show2()}, nil
	}
	return k.tenants(c, func(*project) bool { return true })
}

// listOwnTenants lists the tenants on which the caller has a role. Every user may make this call. The list omits disabled tenants.
func (k *Keystone) listOwnTenants(c call) (int, any, error) {
	if c.token == nil {
		return 0, nil, unauthorized
	}
	return k.tenants(c, func(p *project) bool { return p.enabled && len(k.rolesOn(c.token.user, p)) > 0 })
}

func (k *Keystone) tenants(c call, fits func(*project) bool) (int, any, error) {
	var found []*project
	for p := range k.projects.all() {
		if p.domain == DefaultDomain && fits(p) {
			found = append(found, p)
		}
	}
	found, err := paged(c, found, func(p *project) string { return p.id })
	if err != nil {
		return 0, nil, err
	}
	return listed2("tenants", found, (*project).show2)
}

// tenantOf returns the tenant in the path of the request if the caller is an administrator.
func (k *Keystone) tenantOf(c call, name string) (*project, error) {
	if err := k.requireAdmin(c); err != nil {
		return nil, err
	}
	p := k.tenant(c.PathValue(name))
	if p == nil {
		return nil, notFound2("project", c.PathValue(name))
	}
	return p, nil
}

func (k *Keystone) getTenant(c call) (int, any, error) {
	p, err := k.tenantOf(c, "id")
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, object{"tenant": p.show2()}, nil
}

// updateTenant changes the fields in the request, and keeps all other fields. If the tenant is disabled, its tokens stay invalid, even if
// the tenant is enabled again.
func (k *Keystone) updateTenant(c call) (int, any, error) {
	p, err := k.tenantOf(c, "id")
	if err != nil {
		return 0, nil, err
	}
	wanted, _ := c.body["tenant"].(object)
	if err := checkTenant(wanted, false); err != nil {
		return 0, nil, err
	}
	if name, ok := wanted["name"].(string); ok {
		if other := k.projectNamed(strings.TrimSpace(name), is(DefaultDomain)); other != nil && other.id != p.id {
			return 0, nil, conflict("Conflict occurred attempting to store project - it is not permitted to have two projects with the same "+
				"name in the same domain : %s.", name)
		}
	}
	if err := k.checkEnabled(p, wanted); err != nil {
		return 0, nil, err
	}
	p = k.updateProject(p, func(p *project) { p.set2(wanted) })
	if !p.enabled {
		for _, t := range k.tokens {
			t.revoked = t.revoked || t.project == p.id
		}
	}
	return http.StatusOK, object{"tenant": p.show2()}, nil
}

func (k *Keystone) deleteTenant(c call) (int, any, error) {
	p, err := k.tenantOf(c, "id")
	if err != nil {
		return 0, nil, err
	}
	if k.childOf(p, func(*project) bool { return true }) != nil {
		return 0, nil, forbidden("Cannot delete the project " + p.id + " since it is not a leaf in the hierarchy.")
	}
	k.removeProject(p)
	return http.StatusNoContent, nil, nil
}

// listTenantUsers lists the users that have a role on the tenant.
func (k *Keystone) listTenantUsers(c call) (int, any, error) {
	p, err := k.tenantOf(c, "id")
	if err != nil {
		return 0, nil, err
	}
	var found []*user
	for _, g := range k.grantsOn[p.id] {
		if u := k.users.get(g.user); u != nil && !slices.Contains(found, u) {
			found = append(found, u)
		}
	}
	return listed2("users", found, (*user).show2)
}

// listTenantRoles lists the user's roles on the tenant. The list also contains the roles that other roles of the user imply, and the
// roles that the user inherits.
func (k *Keystone) listTenantRoles(c call) (int, any, error) {
	p, err := k.tenantOf(c, "tenant")
	if err != nil {
		return 0, nil, err
	}
	roles := k.rolesOn(c.PathValue("user"), p)
	shown := make([]object, 0, len(roles))
	for _, r := range roles {
		shown = append(shown, r.show2())
	}
	return http.StatusOK, object{"roles": shown}, nil
}

// tenantGrant returns the role assignment in the path of the request. Keystone checks the tenant and the role, but not the user.
func (k *Keystone) tenantGrant(c call) (grant, *role, error) {
	p, err := k.tenantOf(c, "tenant")
	if err != nil {
		return grant{}, nil, err
	}
	r := k.roles.get(c.PathValue("role"))
	if r == nil {
		return grant{}, nil, notFound2("role", c.PathValue("role"))
	}
	return grant{role: r.id, user: c.PathValue("user"), project: p.id}, r, nil
}

// addTenantRole answers 409 if the user has the role already.
func (k *Keystone) addTenantRole(c call) (int, any, error) {
	g, r, err := k.tenantGrant(c)
	if err != nil {
		return 0, nil, err
	}
	if k.grants.get(g) != nil {
		return 0, nil, conflict("Conflict occurred attempting to store role grant - User %s already has role %s in tenant %s.",
			g.user, g.role, g.project)
	}
	k.assign(g)
	return http.StatusOK, object{"role": r.show2()}, nil
}

func (k *Keystone) removeTenantRole(c call) (int, any, error) {
	g, _, err := k.tenantGrant(c)
	if err != nil {
		return 0, nil, err
	}
	if !k.revoke(g) {
		return 0, nil, notFound2("role assignment with role", g.role+", user or group: "+g.user+", project or domain: "+g.project)
	}
	return http.StatusNoContent, nil, nil
}
