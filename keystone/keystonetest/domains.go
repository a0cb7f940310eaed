package keystonetest

import (
	"net/http"
)

func (k *Keystone) addDomain(name, description string) *domain {
	d := &domain{id: k.randomID(), name: name, description: description, enabled: true}
	k.domains.put(d.id, d)
	return d
}

func (k *Keystone) createDomain(c call) (int, any, error) {
	wanted, _ := c.body["domain"].(object)
	name, _ := wanted["name"].(string)
	if name == "" {
		return 0, nil, badRequest("'name' is a required property")
	}
	if err := k.require(c, "create_domain"); err != nil {
		return 0, nil, err
	}
	if k.domains.find(func(d *domain) bool { return k.same(d.name, name) }) != nil {
		return 0, nil, conflict("Conflict occurred attempting to store project - it is not permitted to have two projects acting as domains "+
			"with the same name: %s.", name)
	}
	description, _ := wanted["description"].(string)
	return http.StatusCreated, object{"domain": k.addDomain(name, description).show(c)}, nil
}

// updateDomain can only enable and disable a domain.
func (k *Keystone) updateDomain(c call) (int, any, error) {
	d, err := k.domainOf(c, "update_domain")
	if err != nil {
		return 0, nil, err
	}
	wanted, _ := c.body["domain"].(object)
	updated := *d
	updated.enabled = wanted["enabled"] != false
	k.domains.put(d.id, &updated)
	return http.StatusOK, object{"domain": updated.show(c)}, nil
}

// deleteDomain also deletes the domain's projects, users, groups and role assignments.
func (k *Keystone) deleteDomain(c call) (int, any, error) {
	d, err := k.domainOf(c, "delete_domain")
	if err != nil {
		return 0, nil, err
	}
	if d.enabled {
		return 0, nil, forbidden("Cannot delete a domain that is enabled, please disable it first.")
	}
	for p := range k.projects.all() {
		if p.domain == d.id {
			k.removeProject(p)
		}
	}
	for u := range k.users.all() {
		if u.domain == d.id {
			k.removeUser(u)
		}
	}
	for g := range k.groups.all() {
		if g.domain == d.id {
			k.removeGroup(g)
		}
	}
	k.revokeAll(k.grantsOn, d.id)
	k.domains.remove(d.id)
	return http.StatusNoContent, nil, nil
}

func (k *Keystone) listDomains(c call) (int, any, error) {
	if err := k.require(c, "list_domains", k.readsSystem(c)); err != nil {
		return 0, nil, err
	}
	var found []*domain
	for d := range k.domains.all() {
		if k.hasName(c, d.name) {
			found = append(found, d)
		}
	}
	found, truncated := cut(k, found)
	return listed(c, "domains", found, truncated, (*domain).show)
}

func (k *Keystone) getDomain(c call) (int, any, error) {
	var own string // the domain of the token
	if c.token != nil {
		own = c.token.domain
		if p := k.projects.get(c.token.project); p != nil {
			own = p.domain
		}
	}
	d, err := k.domainOf(c, "get_domain", k.readsSystem(c), own != "" && k.domain(c.PathValue("id")) == k.domain(own))
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, object{"domain": d.show(c)}, nil
}

// domainOf returns the domain in the path of the request if the policy rule allows the call.
func (k *Keystone) domainOf(c call, rule string, others ...bool) (*domain, error) {
	if err := k.require(c, rule, others...); err != nil {
		return nil, err
	}
	d := k.domain(c.PathValue("id"))
	if d == nil {
		return nil, notFound("domain", c.PathValue("id"))
	}
	return d, nil
}

func (d *domain) show(c call) any {
	return object{
		"id": d.id, "name": d.name, "description": d.description, "enabled": d.enabled,
		"tags": []string{}, "options": object{}, "links": object{"self": c.self + "/domains/" + d.id},
	}
}
