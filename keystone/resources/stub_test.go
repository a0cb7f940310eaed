package resources_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/keystone/resources"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// The ids of three projects: the credential's project, the tenant, and the project of another customer.
const (
	own     = "0123456789abcdef0123456789abcdef"
	tenant  = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	another = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

const token = "gAAAAAtoken-of-the-credential"

type object = map[string]any

// The type `kind` describes a kind of resources, and the wire format in which the stub of its service lists them.
type kind struct {
	service, name string // as in the Proof
	path          string
	field, links  string // in a page, the names of the fields with the resources and with the links
	owner         string // in a resource, the name of the field with the project's id
}

// Parts of the wire format of Cinder.
const (
	volume        = "/volume/v3/" + own
	snapshotOwner = "os-extended-snapshot-attributes:project_id"
)

var kinds = []kind{
	{"compute", "servers", "/compute/v2.1/servers/detail", "servers", "servers_links", "tenant_id"},
	{"volumev3", "volumes", volume + "/volumes/detail", "volumes", "volumes_links", "os-vol-tenant-attr:tenant_id"},
	{"volumev3", "snapshots", volume + "/snapshots/detail", "snapshots", "snapshots_links", snapshotOwner},
	{"volumev3", "backups", volume + "/backups/detail", "backups", "backup_links", "os-backup-project-attr:project_id"},
	{"network", "ports", "/network/v2.0/ports", "ports", "ports_links", "project_id"},
	{"network", "networks", "/network/v2.0/networks", "networks", "networks_links", "project_id"},
	{"network", "subnets", "/network/v2.0/subnets", "subnets", "subnets_links", "project_id"},
	{"network", "routers", "/network/v2.0/routers", "routers", "routers_links", "project_id"},
	{"network", "floating IPs", "/network/v2.0/floatingips", "floatingips", "floatingips_links", "project_id"},
	{"network", "security groups", "/network/v2.0/security-groups", "security_groups", "security_groups_links", "project_id"},
	{"image", "images", "/image/v2/images", "images", "next", "owner"},
}

// The type `world` is a cloud of stubs. Each stub answers in the wire format of its service, and reacts to filters and missing
// rights like the real service. As in many clouds, the links to the next page contain the address of another host. The Prover must not
// send a request to this host.
type world struct {
	url       string
	admin     bool                // whether the credential has the role admin
	pageSize  int                 // the maximum number of resources in a page
	hole      bool                // whether the first page of each list is empty, and links to the next page
	resources map[string][]object // the resources of each kind, with the fields id, name, owner, hidden and visibility
	used      map[string]int      // what the quotas count beside the resources in the lists
	usages    map[string]int      // allocations in Placement
	swift     map[string][]string // containers of the accounts
	catalog   []object            // nil means all services in RegionOne
	scope     any                 // the token's project
	known     object              // Keystone's answer for the tenant
	// The function `fault` may answer a request in place of the stub. It then returns true.
	fault    func(w http.ResponseWriter, r *http.Request) bool
	requests []string

	mu sync.Mutex // protects requests, because a request can arrive after the Prover has stopped waiting for the answer
}

func start(t *testing.T) *world {
	t.Helper()
	w := &world{
		admin: true, pageSize: 100, resources: map[string][]object{}, used: map[string]int{}, usages: map[string]int{},
		swift: map[string][]string{}, scope: object{"id": own, "name": "admin"},
		known: object{"id": tenant, "name": "bs-subscription-1", "domain_id": "default", "tags": []string{}, "enabled": false},
		fault: func(http.ResponseWriter, *http.Request) bool { return false },
	}
	server := httptest.NewServer(w)
	t.Cleanup(server.Close)
	w.url = server.URL
	w.add("security groups", tenant, "default")
	w.add("servers", own, "own")
	return w
}

// The method `add` adds a resource to a project.
func (w *world) add(kind, project, name string) {
	id := fmt.Sprintf("%s-%02d", strings.ReplaceAll(kind, " ", "-"), len(w.resources[kind])+1)
	w.resources[kind] = append(w.resources[kind], object{"id": id, "name": name, "owner": project})
}

func (w *world) config() resources.Config {
	return resources.Config{Cloud: conn.Config{URL: w.url, Credential: conn.Credential{
		Username: "u", UserDomainID: "default", Password: "secret-password", ProjectID: own,
	}}}
}

// The variable `disabled` is the time at which the projects of the tests were disabled.
var disabled = time.Now().Add(-time.Hour)

func (w *world) read(t *testing.T) resources.Proof {
	t.Helper()
	return read(t, w.config())
}

// The function `read` returns the proof for the tenant. Before it returns, it calls `check` with the proof.
func read(t *testing.T, cfg resources.Config) resources.Proof {
	t.Helper()
	prover, err := resources.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	proof, err := prover.Empty(t.Context(), tenant, disabled)
	if err != nil {
		t.Fatal(err)
	}
	check(t, proof)
	return proof
}

// The function `check` fails the test if the parts of a proof disagree, if the proof does not name the person who can fix a fault,
// or if the proof contains a secret.
func check(t *testing.T, p resources.Proof) {
	t.Helper()
	empty := len(p.Found) == 0 && len(p.Unproven) == 0
	if empty != (p.State() == resources.Empty) || empty != (p.Err() == nil) || empty != (len(p.Reasons()) == 0) {
		t.Errorf("the state is %s, the error is %v, and the reasons are %q", p.State(), p.Err(), p.Reasons())
	}
	for _, u := range p.Unproven {
		if u.Class != upstream.Transient && u.Class != upstream.Unavailable && u.Class != upstream.Blocked || u.Fix == "" || u.Detail == "" {
			t.Errorf("got %+v", u)
		}
	}
	for _, secret := range []string{token, "secret-password", "secret-of-the-service"} {
		if text := fmt.Sprintf("%+v %v", p, p.Err()); strings.Contains(text, secret) {
			t.Errorf("the proof contains %q: %s", secret, text)
		}
	}
}

// The function `lines` returns the reasons of a proof, without the text about the person who can fix the cause.
func lines(p resources.Proof) (all []string) {
	for _, line := range p.Reasons() {
		line, _, _ = strings.Cut(line, "; ")
		all = append(all, line)
	}
	return all
}

// The method `service` returns the entry of a service in the catalog, with a public endpoint in each region.
func (w *world) service(kind, path string, regions ...string) object {
	endpoints := []object{}
	for _, region := range regions {
		endpoints = append(endpoints,
			object{"id": "e", "interface": "internal", "region": region, "region_id": region, "url": "http://internal.invalid" + path},
			object{"id": "e", "interface": "public", "region": region, "region_id": region, "url": w.url + path})
	}
	return object{"id": "s", "type": kind, "name": kind, "endpoints": endpoints}
}

// The method `only` reduces the catalog to the given service and Placement.
func (w *world) only(service string) {
	for _, entry := range w.services() {
		if entry["type"] == service || entry["type"] == "placement" {
			w.catalog = append(w.catalog, entry)
		}
	}
}

func (w *world) services() []object {
	return []object{
		w.service("identity", "/v3", "RegionOne"),
		w.service("billing", "/billing", "RegionOne"),
		w.service("compute", "/compute/v2.1", "RegionOne"),
		w.service("volumev2", "/volume/v2/"+own, "RegionOne"),
		w.service("volumev3", "/volume/v3/"+own, "RegionOne"),
		w.service("network", "/network", "RegionOne"),
		w.service("image", "/image", "RegionOne"),
		w.service("placement", "/placement", "RegionOne"),
		w.service("object-store", "/swift/v1/AUTH_"+own, "RegionOne"),
	}
}

func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/v3/") {
		w.keystone(rw, r)
		return
	}
	w.mu.Lock()
	w.requests = append(w.requests, r.URL.RequestURI())
	w.mu.Unlock()
	if r.Method != http.MethodGet || r.Header.Get("X-Auth-Token") != token {
		send(rw, http.StatusUnauthorized, object{})
		return
	}
	if w.fault(rw, r) {
		return
	}
	if i := slices.IndexFunc(kinds, func(k kind) bool { return k.path == r.URL.Path }); i >= 0 {
		w.list(rw, r, kinds[i])
		return
	}
	version := r.Header.Get("OpenStack-API-Version")
	switch path := r.URL.Path; {
	case path == "/volume/v3/"+own+"/os-quota-sets/"+tenant && r.URL.Query().Get("usage") == "true":
		w.allowed(rw, object{"quota_set": w.volumeQuota()})
	case path == "/network/v2.0/quotas/"+tenant+"/details":
		w.allowed(rw, object{"quota": w.networkQuota()})
	case path == "/image/v2/tasks":
		w.allowed(rw, object{"tasks": []object{}, "first": "/v2/tasks?limit=1", "schema": "/v2/schemas/tasks"})
	case path == "/placement/usages" && r.URL.Query().Get("project_id") == tenant && version == "placement 1.9":
		w.allowed(rw, object{"usages": w.usages})
	case strings.HasPrefix(path, "/swift/v1/AUTH_"):
		w.account(rw, r, strings.TrimPrefix(path, "/swift/v1/AUTH_"))
	default:
		send(rw, http.StatusNotFound, object{})
	}
}

func (w *world) keystone(rw http.ResponseWriter, r *http.Request) {
	switch r.Method + " " + r.URL.Path {
	case "POST /v3/auth/tokens", "GET /v3/auth/tokens":
		catalog := w.catalog
		if catalog == nil {
			catalog = w.services()
		}
		rw.Header().Set("X-Subject-Token", token)
		status := http.StatusOK
		if r.Method == http.MethodPost {
			status = http.StatusCreated
		}
		send(rw, status, object{"token": object{
			"user": object{"id": "u"}, "project": w.scope, "system": object{"all": w.scope == nil},
			"issued_at": "2026-01-01T00:00:00.000000Z", "expires_at": "2099-01-01T00:00:00.000000Z", "catalog": catalog,
		}})
	case "GET /v3/projects/" + tenant:
		if code, refused := w.known["code"].(int); refused {
			send(rw, code, object{"error": w.known})
			return
		}
		if w.known == nil {
			send(rw, http.StatusNotFound, object{"error": object{"code": 404, "message": "Could not find project", "title": "Not Found"}})
			return
		}
		send(rw, http.StatusOK, object{"project": w.known})
	default:
		send(rw, http.StatusNotFound, object{"error": object{"code": 404, "message": "Could not find project", "title": "Not Found"}})
	}
}

// The method `list` answers with one page. If the caller lacks the role admin, each service reacts differently. Nova refuses
// all_tenants. Cinder ignores the filter and shows the caller's resources. Neutron applies the filter to the caller's resources. Glance
// applies the filter to the public images.
func (w *world) list(rw http.ResponseWriter, r *http.Request, k kind) {
	query := r.URL.Query()
	if k.service == "compute" && !w.admin {
		send(rw, http.StatusForbidden, object{"forbidden": object{"code": 403, "message": "secret-of-the-service"}})
		return
	}
	project := query.Get("project_id")
	if k.service == "image" {
		project = query.Get("owner")
	}
	if (k.service == "compute" || k.service == "volumev3") && (!w.admin || query.Get("all_tenants") == "") {
		project = own
	}
	visible := []object{}
	for _, o := range w.resources[k.name] {
		if o["owner"] != project || !w.shows(k, o, query) {
			continue
		}
		shown := object{"id": o["id"], "name": o["name"], k.owner: o["owner"]}
		if k.owner == "os-backup-project-attr:project_id" && r.Header.Get("OpenStack-API-Version") != "volume 3.18" {
			delete(shown, k.owner)
		}
		if k.name == "floating IPs" {
			delete(shown, "name")
			shown["floating_ip_address"] = o["name"]
		}
		visible = append(visible, shown)
	}
	w.page(rw, r, k, visible)
}

// The method `shows` reports whether a service lists this resource of the requested project.
func (w *world) shows(k kind, o object, query url.Values) bool {
	hidden, _ := o["hidden"].(bool)
	visibility, _ := o["visibility"].(string)
	switch k.service {
	case "compute":
		return !hidden || query.Get("soft_deleted") == "1"
	case "network":
		return w.admin
	case "image":
		return hidden == (query.Get("os_hidden") == "true") &&
			(visibility == "community") == (query.Get("visibility") == "community") && (w.admin || visibility == "public")
	}
	return true
}

func (w *world) page(rw http.ResponseWriter, r *http.Request, k kind, visible []object) {
	marker, page := r.URL.Query().Get("marker"), object{k.field: []object{}}
	next := ""
	switch {
	case w.hole && marker == "":
		next = "hole"
	default:
		from := 1 + slices.IndexFunc(visible, func(o object) bool { return o["id"] == marker })
		to := min(len(visible), from+w.pageSize)
		page[k.field] = visible[from:to]
		if to < len(visible) {
			next = visible[to-1]["id"].(string)
		}
	}
	link := "http://elsewhere.invalid" + k.path + "?limit=200&marker=" + next
	switch k.service {
	case "image":
		page["first"], page["schema"] = "/v2/images", "/v2/schemas/images"
		if next != "" {
			page["next"] = "/v2/images?limit=200&marker=" + next
		}
	case "network":
		page[k.links] = []object{{"rel": "previous", "href": link + "&page_reverse=True"}}
		fallthrough
	default:
		if next != "" {
			before, _ := page[k.links].([]object)
			page[k.links] = append(before, object{"rel": "next", "href": link})
		}
	}
	send(rw, http.StatusOK, page)
}

func (w *world) volumeQuota() object {
	quota := object{"id": tenant}
	for _, kind := range []string{"volumes", "snapshots", "backups", "groups", "gigabytes"} {
		quota[kind] = object{"in_use": w.of(kind), "limit": 10, "reserved": 0, "allocated": 0}
	}
	return quota
}

func (w *world) networkQuota() object {
	quota := object{}
	for _, kind := range []string{
		"port", "network", "subnet", "router", "floatingip", "security_group", "security_group_rule", "subnetpool", "rbac_policy",
	} {
		name := map[string]string{"floatingip": "floating IPs", "security_group": "security groups"}[kind]
		if name == "" {
			name = kind + "s"
		}
		quota[kind] = object{"limit": 10, "reserved": 0, "used": w.of(name)}
	}
	quota["security_group_rule"] = object{"limit": 100, "reserved": 0, "used": 4}
	return quota
}

// The method `of` returns the number of resources of this kind that a quota counts.
func (w *world) of(kind string) int {
	n := w.used[kind]
	for _, o := range w.resources[kind] {
		if o["owner"] == tenant {
			n++
		}
	}
	return n
}

// The method `account` answers like Swift with the middleware keystoneauth.
func (w *world) account(rw http.ResponseWriter, r *http.Request, project string) {
	if !w.admin && project != own {
		send(rw, http.StatusForbidden, object{})
		return
	}
	all := w.swift[project]
	rw.Header().Set("X-Account-Container-Count", strconv.Itoa(len(all)))
	rw.Header().Set("X-Account-Object-Count", strconv.Itoa(3*len(all)))
	rw.Header().Set("X-Account-Bytes-Used", strconv.Itoa(1000*len(all)))
	page := []object{}
	for _, name := range all {
		if name > r.URL.Query().Get("marker") && len(page) < w.pageSize {
			page = append(page, object{"name": name, "count": 3, "bytes": 1000, "last_modified": "2026-01-01T00:00:00.000000"})
		}
	}
	if len(all) == 0 {
		rw.WriteHeader(http.StatusNoContent)
		return
	}
	send(rw, http.StatusOK, page)
}

func (w *world) allowed(rw http.ResponseWriter, body object) {
	if !w.admin {
		send(rw, http.StatusForbidden, object{"message": "secret-of-the-service"})
		return
	}
	send(rw, http.StatusOK, body)
}

func send(rw http.ResponseWriter, status int, body any) {
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(status)
	_ = json.NewEncoder(rw).Encode(body)
}
