package guard

import (
	"net/http"

	"github.com/tenantry/tenantry/keystone"
)

// Dialect describes the requests of one version of the Identity API.
//
// The fields mayCreate and mayUpdate list the fields that the body of a request may set. A request must not set "is_domain", because a
// project with this field is a domain. An update must not change the name or the domain, because the project would then no longer belong
// to Tenantry.
//
// An update replaces all tags. The new tags must therefore contain the tags of a tenant: see [keystone.HasTenantTags]. The guard does not
// compare the new tags with the project's current tags. A comparison would need a read of the project before each update, and another
// client could still change the tags between the read and the update. An update without tags keeps the current tags, even if a tag that
// marks a tenant is missing.
//
// Users have the same paths in both versions.
type Dialect struct {
	login                []string // the path of a login
	projects             string   // the path of the projects, and the name of a list of projects in an answer
	one                  string   // the name of a single project in a body
	update               string   // the method of an update
	mayCreate, mayUpdate []string
	tagsField            string // the field of a project that contains its tags
	isAssignment         func(path []string) bool
	project              func(fields map[string]any) project
	mayCreateUser        []string // see the file users.go
	userDomain           func(fields map[string]any) string
}

// V3 is the dialect of Identity v3.
var V3 = Dialect{
	login:     []string{"auth", "tokens"},
	projects:  "projects",
	one:       "project",
	update:    http.MethodPatch,
	mayCreate: []string{"name", "domain_id", "description", "enabled", "tags"},
	mayUpdate: []string{"description", "enabled", "tags"},
	tagsField: "tags",
	isAssignment: func(path []string) bool {
		return len(path) == 6 && path[0] == "projects" && path[2] == "users" && path[4] == "roles"
	},
	project: func(fields map[string]any) project {
		return project{ID: text(fields["id"]), Name: text(fields["name"]), DomainID: text(fields["domain_id"]), Tags: texts(fields["tags"])}
	},
	mayCreateUser: []string{"name", "domain_id", "password", "email", "options", keystone.RunAttribute},
	userDomain:    func(fields map[string]any) string { return text(fields["domain_id"]) },
}

// V2 is the dialect of Identity v2.0. All its projects are in the domain "default", and their tags are in their descriptions.
var V2 = Dialect{
	login:     []string{"tokens"},
	projects:  "tenants",
	one:       "tenant",
	update:    http.MethodPut,
	mayCreate: []string{"id", "name", "description", "enabled"},
	mayUpdate: []string{"description", "enabled"},
	tagsField: "description",
	isAssignment: func(path []string) bool {
		return len(path) == 7 && path[0] == "tenants" && path[2] == "users" && path[4] == "roles" && path[5] == "OS-KSADM"
	},
	project: func(fields map[string]any) project {
		_, tags := keystone.TagsOfDescription(text(fields["description"]))
		return project{ID: text(fields["id"]), Name: text(fields["name"]), DomainID: keystone.DefaultDomain.ID, Tags: tags}
	},
	mayCreateUser: []string{"name", "password", "email", "enabled", "options", keystone.RunAttribute},
	userDomain:    func(map[string]any) string { return keystone.DefaultDomain.ID },
}

// The function `text` returns a value that is a text. Any other value is an empty text. Keystone refuses such a value.
func text(value any) string {
	text, _ := value.(string)
	return text
}

// The function `texts` returns the texts in a list, and skips other values. Keystone refuses a list with other values.
func texts(value any) (all []string) {
	list, _ := value.([]any)
	for _, v := range list {
		if text, ok := v.(string); ok {
			all = append(all, text)
		}
	}
	return all
}
