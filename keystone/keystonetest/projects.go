package keystonetest

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"
)

func (k *Keystone) createProject(c call) (int, any, error) {
	wanted, _ := c.body["project"].(object)
	if err := checkProject(wanted, true); err != nil {
		return 0, nil, err
	}
	if err := k.require(c, "create_project"); err != nil {
		return 0, nil, err
	}
	home, _ := wanted["domain_id"].(string)
	if home == "" {
		home = k.homeOf(c.token)
	}
	if k.domain(home) == nil {
		return 0, nil, badRequest("Could not find domain: %s.", home)
	}
	p := &project{domain: home, enabled: true}
	p.set(wanted)
	if parent := k.projects.get(p.parent); parent != nil && !parent.enabled {
		return 0, nil, badRequest("cannot create a project in a branch containing a disabled project: %s", parent.id)
	}
	if k.projectNamed(p.name, is(p.domain)) != nil {
		// The id in the message is a new id for the refused project, not the id of the existing project.
		return 0, nil, conflict("Conflict occurred attempting to store project - it is not permitted to have two projects with either the "+
			"same name or same id in the same domain: name is %s, project id %s.", p.name, k.randomID())
	}
	k.addProject(p)
	return http.StatusCreated, object{"project": p.show(c)}, nil
}

// checkProject validates the fields of a project according to Keystone's schema.
func checkProject(wanted object, creating bool) error {
	name, hasName := wanted["name"]
	if !hasName && creating {
		return badRequest("'name' is a required property")
	}
	if text, ok := name.(string); hasName && (!ok || strings.TrimSpace(text) == "" || utf8.RuneCountInString(text) > 64) {
		return badRequest("Invalid input for field 'name': %v", name)
	}
	if enabled, ok := wanted["enabled"]; ok {
		if _, ok := enabled.(bool); !ok {
			return badRequest("Invalid input for field 'enabled': %v is not of type 'boolean'", enabled)
		}
	}
	for _, field := range []string{"description", "domain_id", "parent_id"} {
		if value := wanted[field]; value != nil {
			if _, ok := value.(string); !ok {
				return badRequest("Invalid input for field '%s': %v is not of type 'string', 'null'", field, value)
			}
		}
	}
	tags, ok := wanted["tags"]
	if !ok {
		return nil
	}
	all, ok := tags.([]any)
	if !ok || len(all) > 80 {
		return badRequest("Invalid input for field 'tags'")
	}
	seen := map[any]bool{}
	for i, tag := range all {
		text, ok := tag.(string)
		if !ok || text == "" || utf8.RuneCountInString(text) > 255 || strings.ContainsAny(text, "/,") || seen[text] {
			return badRequest("Invalid input for field 'tags/%d': %v", i, tag)
		}
		seen[text] = true
	}
	return nil
}

// The method `set` copies the fields of the request to the project. As in Keystone, unknown fields are stored too, and an id is ignored.
func (p *project) set(wanted object) {
	p.extra = maps.Clone(p.extra) // a clone, because p can be a copy that shares the map with a stored project
	if p.extra == nil {
		p.extra = object{}
	}
	for field, value := range wanted {
		text, _ := value.(string)
		switch field {
		case "id", "domain_id", "is_domain", "options", "links":
		case "name":
			p.name = strings.TrimSpace(text)
		case "description":
			p.description = text
		case "parent_id":
			p.parent = text
		case "enabled":
			p.enabled = value == true
		case "tags":
			p.tags = []string{}
			for _, tag := range value.([]any) {
				p.tags = append(p.tags, tag.(string))
			}
		default:
			p.extra[field] = value
		}
	}
}

func (p *project) show(c call) any {
	shown := maps.Clone(p.extra)
	if shown == nil {
		shown = object{}
	}
	maps.Copy(shown, object{
		"id": p.id, "name": p.name, "domain_id": p.domain, "parent_id": p.parent, "description": p.description,
		"enabled": p.enabled, "is_domain": false, "tags": append([]string{}, p.tags...), "options": object{},
		"links": object{"self": c.self + "/projects/" + p.id},
	})
	return shown
}

func (k *Keystone) listProjects(c call) (int, any, error) {
	if err := k.requireReader(c, "list_projects"); err != nil {
		return 0, nil, err
	}
	all := k.projects.all()
	if names, ok := c.query["name"]; ok {
		all = func(yield func(*project) bool) {
			for _, id := range k.projectsByName[k.plain(names[0])] {
				if !yield(k.projects.get(id)) {
					return
				}
			}
		}
	}
	// Keystone cuts the list before it applies the filters for tags and for the token's domain.
	found, truncated := limited(k, all, k.nameFiltersOf(c.query), (*project).title, func(p *project) bool {
		return c.matches("domain_id", p.domain) && c.matches("parent_id", p.parent) && c.matches("enabled", fmt.Sprint(p.enabled))
	}, func(p *project) bool { return p.tagged(c) && c.inReach(p.domain) })
	return listed(c, "projects", found, truncated, (*project).show)
}

func (p *project) title() string { return p.name }

// tagged reports whether the project matches the tag filters in the query.
func (p *project) tagged(c call) bool {
	has := func(tag string) bool { return slices.Contains(p.tags, tag) }
	lacks := func(tag string) bool { return !has(tag) }
	q := c.query
	wanted := func(filter string) []string { return strings.Split(q.Get(filter), ",") }
	return (!q.Has("tags") || !slices.ContainsFunc(wanted("tags"), lacks)) &&
		(!q.Has("tags-any") || slices.ContainsFunc(wanted("tags-any"), has)) &&
		(!q.Has("not-tags") || slices.ContainsFunc(wanted("not-tags"), lacks)) &&
		(!q.Has("not-tags-any") || !slices.ContainsFunc(wanted("not-tags-any"), has))
}

// listOwnProjects lists the projects on which the caller has a role. As in Keystone 22, the list contains disabled projects. Every
// user may make this call.
func (k *Keystone) listOwnProjects(c call) (int, any, error) {
	if c.token == nil {
		return 0, nil, unauthorized
	}
	var found []*project
	for p := range k.projects.all() {
		if len(k.rolesOn(c.token.user, p)) > 0 {
			found = append(found, p)
		}
	}
	return listed(c, "projects", found, false, (*project).show)
}

func (k *Keystone) getProject(c call) (int, any, error) {
	own, inDomain := c.token != nil && c.token.project == c.PathValue("id"), false
	if p := k.projects.get(c.PathValue("id")); p != nil {
		inDomain = k.readsDomain(c, p.domain)
	}
	p, err := k.projectOf(c, "get_project", own, inDomain, k.readsSystem(c))
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, object{"project": p.show(c)}, nil
}

// projectOf returns the project in the path of the request if the policy rule allows the call. If the project does not exist, an
// administrator gets a 404, and any other user gets a 403.
func (k *Keystone) projectOf(c call, rule string, others ...bool) (*project, error) {
	if err := k.require(c, rule, others...); err != nil {
		return nil, err
	}
	p := k.projects.get(c.PathValue("id"))
	if p == nil {
		return nil, notFound("project", c.PathValue("id"))
	}
	return p, nil
}

func (k *Keystone) patchProject(c call) (int, any, error) {
	// Keystone checks the caller's role, then the body, and then whether the project exists.
	if err := k.require(c, "update_project"); err != nil {
		return 0, nil, err
	}
	wanted, _ := c.body["project"].(object)
	if len(wanted) == 0 {
		return 0, nil, badRequest("{} does not have enough properties")
	}
	if err := checkProject(wanted, false); err != nil {
		return 0, nil, err
	}
	p, err := k.projectOf(c, "update_project")
	if err != nil {
		return 0, nil, err
	}
	if err := k.checkEnabled(p, wanted); err != nil {
		return 0, nil, err
	}
	p = k.updateProject(p, func(p *project) { p.set(wanted) })
	shown := p.show(c).(object)
	shown["extra"] = p.extra
	return http.StatusOK, object{"project": shown}, nil
}

// checkEnabled refuses to disable the parent of an enabled project, and to enable the child of a disabled project. As in Keystone,
// an update without the field `enabled` counts as an update that enables the project.
func (k *Keystone) checkEnabled(p *project, wanted object) error {
	enabled := wanted["enabled"] != false
	if p.enabled && !enabled && k.childOf(p, func(child *project) bool { return child.enabled }) != nil {
		return forbidden(fmt.Sprintf("Cannot disable project %s since its subtree contains enabled projects.", p.id))
	}
	if parent := k.projects.get(p.parent); !p.enabled && enabled && parent != nil && !parent.enabled {
		return forbidden(fmt.Sprintf("Cannot enable project %s since it has disabled parents", p.id))
	}
	return nil
}

func (k *Keystone) deleteProject(c call) (int, any, error) {
	p, err := k.projectOf(c, "delete_project")
	if err != nil {
		return 0, nil, err
	}
	if k.childOf(p, func(*project) bool { return true }) != nil {
		return 0, nil, forbidden(fmt.Sprintf("Cannot delete the project %s since it is not a leaf in the hierarchy. "+
			"Use the cascade option if you want to delete a whole subtree.", p.id))
	}
	k.removeProject(p)
	return http.StatusNoContent, nil, nil
}
