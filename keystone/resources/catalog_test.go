package resources_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/keystone/resources"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// wantLines checks that the proof has exactly these reasons, in this order.
func wantLines(t *testing.T, what string, p resources.Proof, want ...string) {
	t.Helper()
	if got := lines(p); !slices.Equal(got, want) {
		t.Errorf("%s: got\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestEachServiceInEachRegionIsAsked(t *testing.T) {
	w := start(t)
	w.catalog = append(w.services(), w.service("image", "/other", "RegionTwo"), w.service("image", "/image/v2/", "RegionThree"))
	got := w.read(t)
	if u := got.Unproven; len(u) != 5 || u[0].String() != `image in region "RegionTwo": images: GET /other/v2/images: status 404 Not Found; `+
		"the administrator of the cloud must repair the service, or its address in Keystone's catalog" || got.State() != resources.NotProven {
		t.Errorf("got %q, %s", lines(got), got.State())
	}
	w.add("images", tenant, "left")
	got = w.read(t)
	if f := got.Found; len(f) != 2 || f[0].Region != "RegionOne" || f[1].Region != "RegionThree" || got.State() != resources.NotEmpty {
		t.Errorf("got %+v, %s", got.Found, got.State())
	}
}

// A catalog names the region of an endpoint by the region's id. If the catalog has no id of the region, the region's name counts.
func TestAnEndpointWithoutTheIDOfItsRegionIsAsked(t *testing.T) {
	w := start(t)
	entry := w.service("image", "/image", "unused")
	entry["endpoints"] = []object{{"interface": "public", "region": "Old", "url": w.url + "/image"}}
	w.catalog = []object{entry}
	w.add("images", tenant, "left")
	wantLines(t, "", w.read(t), `image in region "Old" has images (1): "left" (images-01)`)
}

func TestAServiceThatCannotBeAskedIsNotProven(t *testing.T) {
	w := start(t)
	internal := object{"type": "image", "endpoints": []object{
		{"interface": "admin", "region": "R", "region_id": "R", "url": w.url + "/image"},
	}}
	at := func(url string) object {
		return object{"type": "image", "endpoints": []object{{"interface": "public", "region": "R", "url": url}}}
	}
	const noURL = `image in region "R": the catalog's URL is not an HTTP URL, or has a user, a query or a fragment`
	for _, c := range []struct {
		want  string
		entry object
	}{
		{`sharev2 in region "R": Tenantry cannot ask services of this type`, w.service("sharev2", "/share/v2", "R")},
		{`rating in region "R": Tenantry cannot ask services of this type`, w.service("rating", "/rating", "R")},
		{`volumev2 in region "R": Tenantry cannot ask services of this type`, w.service("volumev2", "/volume/v2", "R")},
		{`image in region "R": the catalog has no public endpoint`, internal},
		{`image in region "R": the catalog has no public endpoint`, object{"type": "image", "endpoints": []object{
			{"interface": "public", "region": "RegionOne", "url": w.url + "/image"},
			{"interface": "internal", "region": "R", "url": w.url + "/image"},
		}}},
		{`image: the catalog has no endpoint`, w.service("image", "")},
		{
			`compute in region "RegionOne": the version of the API in the catalog's path /v3 is not v2.1`,
			w.service("compute", "/v3", "RegionOne"),
		},
		{noURL, at("http://u:secret-of-the-service@h/")},
		{noURL, at("http://h/?secret-of-the-service")},
		{noURL, at("http://h/%(tenant_id)s")},
		{noURL, at("file:///secret-of-the-service")},
		{noURL, at("")},
		{
			`object-store in region "R": the path in the catalog does not end in the id of the credential's project`,
			w.service("object-store", "/swift/v1", "R"),
		},
		{`x�y in region "�": Tenantry cannot ask services of this type`, w.service("x\ny", "/", "\x1b")},
		{` in region "R": Tenantry cannot ask services of this type`, w.service("", "/", "R")},
		{`Compute in region "R": Tenantry cannot ask services of this type`, w.service("Compute", "/compute/v2.1", "R")},
	} {
		w.catalog = append(w.services(), c.entry)
		got := w.read(t)
		wantLines(t, "", got, c.want)
		if got.State() != resources.NotProven || got.Unproven[0].Class != upstream.Blocked {
			t.Errorf("%s: got %s, %s", c.want, got.State(), got.Unproven[0].Class)
		}
		cfg := w.config()
		cfg.Ignore = []string{"another-type", c.entry["type"].(string)}
		wantLines(t, "ignored", read(t, cfg))
	}
}

// Without a setting, only identity, billing, Tenantry's own types and the older interfaces of Cinder are exempt.
func TestOnlyTheseServiceTypesAreExempt(t *testing.T) {
	w := start(t)
	w.catalog = append(w.services(), w.service("tenantry", "/tenantry", "RegionOne"), w.service("dns", "/dns", "RegionOne"),
		w.service("subscription-orchestration", "/tenantry", "RegionOne"))
	cfg := w.config()
	cfg.Ignore = []string{"dns"}
	want := map[string]string{
		"identity": "asked only for the project itself", "billing": "bills outlive the project", "tenantry": "Tenantry itself",
		"subscription-orchestration": "Tenantry itself",
		"volumev2":                   "an older interface of the service volumev3", "dns": "named in TENANTRY_EMPTINESS_IGNORE",
	}
	for _, s := range read(t, cfg).Asked {
		if s.Exempt != want[s.Type] {
			t.Errorf("%s: got %q, want %q", s.Type, s.Exempt, want[s.Type])
		}
		delete(want, s.Type)
	}
	if len(want) != 0 {
		t.Errorf("not asked: %v", want)
	}
}

// An older interface of Cinder is exempt only if a newer interface with the same address in the same region was asked.
func TestAnOlderInterfaceIsExemptOnlyBesideTheNewerOne(t *testing.T) {
	w := start(t)
	const want = `volumev2 in region "RegionOne": Tenantry cannot ask services of this type`
	cfg := w.config()
	cfg.Ignore = []string{"volumev3"}
	wantLines(t, "volumev3 is ignored", read(t, cfg), want)
	older := func(path, region string) object { return w.service("volumev2", path, region) }
	newer := w.service("volumev3", "/volume/v3/"+own, "RegionOne")
	for what, entry := range map[string]object{
		"another path":    older("/volume-2/v2/"+own, "RegionOne"),
		"another version": older("/volume/old/"+own, "RegionOne"),
		"another host": {"type": "volumev2", "endpoints": []object{
			{"interface": "public", "region_id": "RegionOne", "url": "http://another.invalid/volume/v2/" + own},
		}},
	} {
		w.catalog = []object{entry, newer}
		wantLines(t, what, w.read(t), want)
	}
	w.catalog = []object{newer, {"type": "volumev2", "endpoints": []object{{"interface": "public", "region_id": "RegionOne", "url": "%"}}}}
	wantLines(t, "no URL", w.read(t), `volumev2 in region "RegionOne": the catalog's URL is not an HTTP URL, or has a user, a query or a fragment`)
	w.catalog = []object{newer, older("/volume/v2/"+own, "RegionTwo")}
	wantLines(t, "another region", w.read(t), `volumev2 in region "RegionTwo": Tenantry cannot ask services of this type`)
	for _, path := range []string{"/volume/v2/" + own, "/volume/v1", "/volume/v2/"} {
		w.catalog = []object{older(path, "RegionOne"), newer}
		wantLines(t, path, w.read(t))
	}
}

// Nova's lists omit the servers in a cell whose database is down. Only Placement knows these servers.
func TestComputeIsNotProvenWithoutPlacementInItsRegion(t *testing.T) {
	w := start(t)
	compute := w.service("compute", "/compute/v2.1", "RegionOne", "RegionTwo")
	w.catalog = []object{compute, w.service("placement", "/placement", "RegionTwo")}
	wantLines(t, "", w.read(t), `placement in region "RegionOne": the catalog has no endpoint, `+
		`but if the database of a cell is down, only Placement knows the servers in this cell`)
	cfg := w.config()
	cfg.Ignore = []string{"placement"}
	wantLines(t, "placement is ignored", read(t, cfg))
}

func TestAPathInTheCatalogMayHaveVersionAndProjectOrNot(t *testing.T) {
	for _, c := range []struct{ service, path, request string }{
		{"compute", "/compute", "/compute/v2.1/servers/detail"},
		{"compute", "/compute/v2.1/", "/compute/v2.1/servers/detail"},
		{"compute", "/compute/v2/" + own, "/compute/v2/" + own + "/servers/detail"},
		{"volumev3", "/volume", "/volume/v3/" + own + "/volumes/detail"},
		{"volumev3", "/volume/v3", "/volume/v3/" + own + "/volumes/detail"},
		{"block-storage", "/volume/v3/" + own, "/volume/v3/" + own + "/volumes/detail"},
		{"network", "/", "/v2.0/ports"},
		{"network", "/network/v2.0", "/network/v2.0/ports"},
		{"image", "", "/v2/images"},
		{"placement", "/placement/", "/placement/usages"},
	} {
		w := start(t)
		w.catalog = []object{w.service(c.service, c.path, "R")}
		w.read(t)
		if first, _, _ := strings.Cut(w.requests[0], "?"); first != c.request {
			t.Errorf("%s%s: got %s, want %s", c.service, c.path, first, c.request)
		}
	}
}

// A Keystone that does not know the project belongs to another cloud. The services of that cloud have no resources of the project,
// so their lists prove nothing.
func TestTheCloudMustKnowTheProject(t *testing.T) {
	w := start(t)
	w.known = nil
	wantLines(t, "", w.read(t), "identity: this cloud does not have the project")
}

func TestKeystoneMustAnswerWithTheProject(t *testing.T) {
	w := start(t)
	w.known["id"] = another
	wantLines(t, "", w.read(t), `identity: reading project "`+tenant+`": the answer does not contain the requested data`)
}

func TestACredentialThatMayNotReadTheProjectProvesNothing(t *testing.T) {
	w := start(t)
	w.known = object{"code": 403, "message": "You are not authorized to perform the requested action: identity:get_project."}
	got := w.read(t)
	if len(got.Unproven) != 1 || got.Unproven[0].Class != upstream.Blocked ||
		!strings.Contains(got.Unproven[0].Detail, "lacks a permission: identity:get_project") {
		t.Errorf("got %+v", got.Unproven)
	}
}

func TestACatalogThatCanLackServicesProvesNothing(t *testing.T) {
	w := start(t)
	w.scope = nil
	got := w.read(t)
	if len(got.Unproven) == 0 || got.Unproven[0].Detail != "the credential is not scoped to a project, so its catalog can lack endpoints" {
		t.Errorf("got %q", lines(got))
	}
	w.catalog = nil
	for range 501 {
		w.catalog = append(w.catalog, w.service("dns", http.MethodGet+strings.Repeat("x", len(w.catalog)), "R"))
	}
	got = w.read(t)
	if all := lines(got); len(all) != 502 || all[501] != "catalog: the catalog has more than 500 endpoints" {
		t.Errorf("got %d lines, the last is %q", len(all), all[len(all)-1])
	}
}
