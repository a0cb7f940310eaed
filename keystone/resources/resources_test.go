package resources_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/resources"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

func TestAnEmptyProjectIsProvenEmpty(t *testing.T) {
	w := start(t)
	for _, k := range kinds {
		w.add(k.name, another, "of another customer")
	}
	w.swift[another] = []string{"of another customer"}
	proof := w.read(t)
	if proof.State() != resources.Empty || proof.ProjectID != tenant || time.Since(proof.At) > time.Minute {
		t.Errorf("got %+v", proof)
	}
	var asked []string
	for _, s := range proof.Asked {
		if s.Exempt == "" {
			asked = append(asked, s.Type+" "+s.Region)
		}
	}
	want := []string{
		"compute RegionOne", "volumev3 RegionOne", "network RegionOne", "image RegionOne", "placement RegionOne",
		"object-store RegionOne",
	}
	if !slices.Equal(asked, want) {
		t.Errorf("got %q, want %q", asked, want)
	}
	if none := (resources.Proof{}); none.State() != resources.NotProven || !errors.Is(none.Err(), resources.ErrNotProven) || len(none.Reasons()) != 1 {
		t.Errorf("the zero Proof has the state %s: %v", none.State(), none.Err())
	}
}

func TestACloudWithKeystoneAloneHasNothing(t *testing.T) {
	w := start(t)
	w.catalog = []object{w.service("identity", "/v3", "RegionOne")}
	if proof := w.read(t); proof.State() != resources.Empty {
		t.Errorf("got %s, %q", proof.State(), lines(proof))
	}
}

func TestWhatIsLeftIsFoundAndNamed(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			w := start(t)
			w.add(k.name, another, "of another customer")
			w.add(k.name, tenant, "left")
			got := w.read(t)
			wantLines(t, "", got, fmt.Sprintf(`%s in region "RegionOne" has %s (1): "left" (%s)`, k.service, k.name, w.last(k)))
			if got.State() != resources.NotEmpty {
				t.Errorf("got %s", got.State())
			}
		})
	}
}

// The method `last` returns the id of the last resource of a kind.
func (w *world) last(k kind) string {
	all := w.resources[k.name]
	return all[len(all)-1]["id"].(string)
}

func TestTheNextPagesAreRead(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			w := start(t)
			w.pageSize = 2
			for i := range 7 {
				w.add(k.name, tenant, fmt.Sprintf("left %d", i))
			}
			if got := found(w.read(t), k.service, k.name); got.Count != 7 || len(got.Examples) != 5 {
				t.Errorf("got %+v", got)
			}
			w.hole, w.pageSize = true, 100
			if got := found(w.read(t), k.service, k.name); got.Count != 7 {
				t.Errorf("after an empty page: got %+v", got)
			}
		})
	}
}

// The function `found` returns the resources of one kind in a proof.
func found(p resources.Proof, service, kind string) (of resources.Found) {
	for _, f := range p.Found {
		if f.Type == service && f.Kind == kind {
			of = f
		}
	}
	return of
}

func TestHiddenResourcesAndOtherKindsAreFound(t *testing.T) {
	w := start(t)
	w.add("servers", tenant, "deleted")
	w.resources["servers"][1]["hidden"] = true
	for i, name := range []string{"one", "two", "three"} {
		w.add("images", tenant, name)
		w.resources["images"][i]["hidden"] = i < 2
		w.resources["images"][i]["visibility"] = []string{"private", "community", "community"}[i]
	}
	w.used["subnetpools"], w.used["groups"] = 2, 1
	w.usages = map[string]int{"VCPU": 4, "DISK_GB": 0, "MEMORY_MB": 512}
	w.swift[tenant] = []string{"backups", "photos"}
	wantLines(t, "", w.read(t),
		`compute in region "RegionOne" has servers (1): "deleted" (servers-02)`,
		`volumev3 in region "RegionOne" has groups (1)`,
		`network in region "RegionOne" has subnetpool (2)`,
		`image in region "RegionOne" has community images (1): "three" (images-03)`,
		`image in region "RegionOne" has hidden images (1): "one" (images-01)`,
		`image in region "RegionOne" has hidden community images (1): "two" (images-02)`,
		`placement in region "RegionOne" has units of MEMORY_MB (512)`,
		`placement in region "RegionOne" has units of VCPU (4)`,
		`object-store in region "RegionOne" has containers (2): backups, photos`,
		`object-store in region "RegionOne" has objects (6)`,
		`object-store in region "RegionOne" has bytes (2000)`,
	)
	w.pageSize = 1
	if got := found(w.read(t), "object-store", "containers"); got.Count != 2 || len(got.Examples) != 2 {
		t.Errorf("on two pages: got %+v", got)
	}
}

// Each service reacts differently to a credential without the role admin, but no service shows the tenant's resources.
func TestACredentialThatSeesOnlyItsOwnProjectProvesNothing(t *testing.T) {
	w := start(t)
	w.admin = false
	for _, k := range kinds {
		w.resources[k.name] = nil
	}
	proof := w.read(t)
	wantLines(t, "", proof,
		`compute in region "RegionOne": servers: GET /compute/v2.1/servers/detail: status 403 Forbidden`,
		`volumev3 in region "RegionOne": quota: GET /volume/v3/`+own+`/os-quota-sets/`+tenant+`: status 403 Forbidden`,
		`network in region "RegionOne": quota: GET /network/v2.0/quotas/`+tenant+`/details: status 403 Forbidden`,
		`image in region "RegionOne": tasks: GET /image/v2/tasks: status 403 Forbidden`,
		`placement in region "RegionOne": allocations: GET /placement/usages: status 403 Forbidden`,
		`object-store in region "RegionOne": containers: GET /swift/v1/AUTH_`+tenant+`: status 403 Forbidden`,
	)
	for _, u := range proof.Unproven {
		if u.Class != upstream.Blocked || u.Status != http.StatusForbidden || !strings.Contains(u.Fix, "must give Tenantry's user the role admin") {
			t.Errorf("got %+v", u)
		}
	}
}

// A changed policy can allow a credential to read quotas, although the lists hide the resources of other projects.
func TestAQuotaThatCountsMoreThanTheListDisprovesTheList(t *testing.T) {
	for kind, want := range map[string]string{
		"volumes":         `volumev3 in region "RegionOne": volumes: the quota counts 1, but the list has 0`,
		"ports":           `network in region "RegionOne": port: the quota counts 1, but the list has 0`,
		"security groups": `network in region "RegionOne": security_group: the quota counts 2, but the list has 1`,
	} {
		w := start(t)
		w.used[kind] = 1
		wantLines(t, kind, w.read(t), want)
	}
	w := start(t)
	w.fault = func(rw http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/details") {
			return false
		}
		quota := w.networkQuota()
		quota["port"] = object{"used": 0, "reserved": 1}
		send(rw, http.StatusOK, object{"quota": quota})
		return true
	}
	wantLines(t, "a reservation of Neutron", w.read(t), `network in region "RegionOne": port: the quota counts 1, but the list has 0`)
	for _, c := range []struct {
		used, reserved, want int64
	}{{-1, 0, 0}, {0, 2, 2}, {-1, 1, 1}, {math.MaxInt64, 1, math.MaxInt64}} {
		w := start(t)
		w.fault = func(rw http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "/os-quota-sets/") {
				return false
			}
			none := object{"in_use": 0}
			send(rw, http.StatusOK, object{"quota_set": object{
				"id": tenant, "volumes": object{"in_use": c.used, "reserved": c.reserved}, "snapshots": none, "backups": none,
			}})
			return true
		}
		var want []string
		if c.want > 0 {
			want = append(want, fmt.Sprintf(`volumev3 in region "RegionOne": volumes: the quota counts %d, but the list has 0`, c.want))
		}
		wantLines(t, fmt.Sprint(c), w.read(t), want...)
	}
}

// The type `fault` is an answer that proves nothing.
type fault struct {
	what, reason string
	answer       func(w http.ResponseWriter, r *http.Request, k kind)
}

func status(code int) fault {
	return fault{fmt.Sprint(code), fmt.Sprintf("status %d", code), func(w http.ResponseWriter, _ *http.Request, _ kind) {
		send(w, code, object{"message": "secret-of-the-service"})
	}}
}

const otherForm = "the answer does not have the documented form"

func says(what, body string) fault {
	return fault{what, otherForm, func(w http.ResponseWriter, _ *http.Request, k kind) {
		words := strings.NewReplacer("FIELD", k.field, "OWNER", k.owner, "TENANT", tenant, "LINKS", k.links)
		_, _ = words.WriteString(w, body)
	}}
}

var listFaults = []fault{
	status(203), status(204), status(206), status(300), status(302), status(400), status(401), status(403), status(404), status(406),
	status(410), status(429), status(500), status(502), status(503),
	says("a page of HTML", "<html>secret-of-the-service</html>"),
	says("no list", "{}"),
	says("a list that is null", `{"FIELD":null}`),
	says("a list that is an object", `{"FIELD":{}}`),
	says("a bare list", `[]`),
	says("a resource that is null", `{"FIELD":[null]}`),
	says("a resource without an id", `{"FIELD":[{"OWNER":"TENANT"}]}`),
	{"a resource without a project", "a resource in the list does not name its project", func(w http.ResponseWriter, _ *http.Request, k kind) {
		send(w, http.StatusOK, object{k.field: []object{{"id": "x", "name": "secret-of-the-service"}}})
	}},
	says("more after the list", `{"FIELD":[]}{}`),
	says("links in another form", `{"FIELD":[],"LINKS":7}`),
	says("two lists", `{"FIELD":[],"FIELD":[]}`),
	says("two links to the next page", `{"LINKS":null,"FIELD":[],"LINKS":null}`),
	says("the list under another name", `{"items":[]}`),
	says("a text", `"FIELD"`),
	{"an empty answer", "the answer is cut off", func(http.ResponseWriter, *http.Request, kind) {}},
	{"an answer that is cut off", "the answer is cut off", func(w http.ResponseWriter, _ *http.Request, k kind) {
		w.Header().Set("Content-Length", "1000")
		_, _ = fmt.Fprintf(w, `{%q:[]`, k.field)
	}},
	{"a resource of another project", "a resource of another project", func(w http.ResponseWriter, _ *http.Request, k kind) {
		send(w, http.StatusOK, object{k.field: []object{{"id": "x", k.owner: another}}})
	}},
	{"a resource of no project", "a resource of another project", func(w http.ResponseWriter, _ *http.Request, k kind) {
		send(w, http.StatusOK, object{k.field: []object{{"id": "x", k.owner: nil}}})
	}},
	{"a link without a marker", "the link to the next page has no marker", func(w http.ResponseWriter, r *http.Request, k kind) {
		send(w, http.StatusOK, object{k.field: []object{}, k.links: linkTo(k, "http://h/page/2")})
	}},
	{"an empty link", "the link to the next page has no marker", func(w http.ResponseWriter, r *http.Request, k kind) {
		send(w, http.StatusOK, object{k.field: []object{}, k.links: linkTo(k, "")})
	}},
	{"a page that links to itself", "the list does not end: a page leads back to an earlier page", func(w http.ResponseWriter, r *http.Request, k kind) {
		send(w, http.StatusOK, object{k.field: []object{}, k.links: linkTo(k, "http://h/?marker=same")})
	}},
	{"endless pages", "more than 50 pages", func(w http.ResponseWriter, r *http.Request, k kind) {
		n, _ := strconv.Atoi(r.URL.Query().Get("marker"))
		send(w, http.StatusOK, object{k.field: []object{}, k.links: linkTo(k, fmt.Sprintf("http://h/?marker=%d", n+1))})
	}},
	{"a large answer", "the answer is longer than 8388608 bytes", func(w http.ResponseWriter, _ *http.Request, k kind) {
		_, _ = fmt.Fprintf(w, `{%q:[`, k.field)
		for i := range 41 {
			_, _ = fmt.Fprintf(w, `{"id":"%d",%q:%q,"x":%q},`, i, k.owner, tenant, strings.Repeat("x", 200<<10))
		}
	}},
	{"a large resource", "an element of the list is longer than 262144 bytes", func(w http.ResponseWriter, _ *http.Request, k kind) {
		_, _ = fmt.Fprintf(w, `{%q:[{"id":%q}]}`, k.field, strings.Repeat("x", 256<<10))
	}},
	{"many resources", "the list has more than 2000 elements", func(w http.ResponseWriter, _ *http.Request, k kind) {
		one := fmt.Sprintf(`{"id":"x",%q:%q}`, k.owner, tenant)
		_, _ = fmt.Fprintf(w, `{%q:[%s%s]}`, k.field, strings.Repeat(one+",", 2000), one)
	}},
	{"many values", "the answer has more than 200000 values", func(w http.ResponseWriter, _ *http.Request, k kind) {
		one := fmt.Sprintf(`{"id":"x",%q:%q,"x":[%s0]}`, k.owner, tenant, strings.Repeat("0,", 100_000))
		_, _ = fmt.Fprintf(w, `{%q:[%s,%s,%s]}`, k.field, one, one, one)
	}},
}

func linkTo(k kind, href string) any {
	if k.service == "image" {
		return href
	}
	return []object{{"rel": "next", "href": href}}
}

func TestAListThatIsNotWholeProvesNothing(t *testing.T) {
	for _, k := range kinds {
		for _, f := range listFaults {
			t.Run(k.name+"/"+f.what, func(t *testing.T) {
				w := start(t)
				w.only(k.service)
				w.fault = func(rw http.ResponseWriter, r *http.Request) bool {
					if r.URL.Path != k.path || r.URL.Query().Has("os_hidden") {
						return false
					}
					f.answer(rw, r, k)
					return true
				}
				wantReason(t, w.read(t), fmt.Sprintf(`%s in region "RegionOne": %s: GET %s: `, k.service, k.name, k.path), f.reason)
			})
		}
	}
}

// wantReason checks that the state is not Empty, and that at least one line begins with `begin` and contains `part`.
func wantReason(t *testing.T, p resources.Proof, begin, part string) {
	t.Helper()
	if !slices.ContainsFunc(lines(p), func(s string) bool { return strings.HasPrefix(s, begin) && strings.Contains(s, part) }) ||
		p.State() == resources.Empty || p.Err() == nil {
		t.Errorf("got %q, %s, want %s...%s", lines(p), p.State(), begin, part)
	}
}

// If a later page has a fault, the proof still contains the resources on the earlier pages.
func TestWhatWasFoundBeforeAFaultIsReported(t *testing.T) {
	for _, k := range kinds {
		w := start(t)
		w.pageSize = 1
		w.add(k.name, tenant, "left")
		w.add(k.name, tenant, "left, too")
		w.fault = func(rw http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != k.path || r.URL.Query().Get("marker") == "" {
				return false
			}
			send(rw, http.StatusInternalServerError, object{})
			return true
		}
		proof := w.read(t)
		if got := found(proof, k.service, k.name); k.name != "security groups" && got.Count != 1 {
			t.Errorf("%s: got %+v", k.name, got)
		}
		wantReason(t, proof, fmt.Sprintf(`%s in region "RegionOne": %s: GET %s: `, k.service, k.name, k.path), "status 500")
	}
}

func TestAnAnswerOfAnotherFormProvesNothing(t *testing.T) {
	form, cut := otherForm, "the answer is cut off"
	quota := `{"quota":{"port":{"used":0},"network":{"used":0},"subnet":{"used":0},"router":{"used":0},"floatingip":{"used":0}%s}}`
	for path, bodies := range map[string]map[string]string{
		"/volume/v3/" + own + "/os-quota-sets/" + tenant: {
			"{}": form, `{"quota_set":{"id":"` + tenant + `"}}`: form, "": cut, `{"quota_set":{"id":"` + tenant: cut, "[]": form,
			`{"quota_set":{"id":"` + another + `","volumes":{"in_use":0},"snapshots":{"in_use":0},"backups":{"in_use":0}}}`: form,
			`{"quota_set":{"id":"` + tenant + `","volumes":10,"snapshots":10,"backups":10}}`:                                form,
		},
		"/network/v2.0/quotas/" + tenant + "/details": {
			"{}": form, fmt.Sprintf(quota, ""): form, fmt.Sprintf(quota, `,"security_group":{"limit":1}`): form, "": cut,
			fmt.Sprintf(quota, `,"security_group":7`): form,
		},
		"/image/v2/tasks":          {"{}": form, "": cut, `{"tasks":null}`: form, `{"tasks":{}}`: form},
		"/placement/usages":        {"{}": form, "": cut, `{"usages":null}`: form, `{"usages":{"VCPU":{}}}`: form, `{"usages":[]}`: form},
		"/swift/v1/AUTH_" + tenant: {"[]": "the answer has no valid header X-Account-"},
	} {
		for body, want := range bodies {
			w := start(t)
			w.fault = func(rw http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path == path {
					_, _ = io.WriteString(rw, body)
				}
				return r.URL.Path == path
			}
			if got := lines(w.read(t)); len(got) != 1 || !strings.Contains(got[0], "GET "+path+": "+want) {
				t.Errorf("%s: %s: got %q", path, body, got)
			}
		}
	}
}

func TestAnAccountThatIsNotReadWholeProvesNothing(t *testing.T) {
	headers := func(h http.Header, n string) {
		h.Set("X-Account-Container-Count", n)
		h.Set("X-Account-Object-Count", "0")
		h.Set("X-Account-Bytes-Used", "0")
	}
	for want, answer := range map[string]func(http.ResponseWriter, *http.Request){
		"status 404 Not Found":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) },
		"status 410 Gone":        func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) },
		"status 502 Bad Gateway": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
		"the answer has no valid header X-Account-Container-Count": func(w http.ResponseWriter, _ *http.Request) {
			headers(w.Header(), "-1")
			w.WriteHeader(http.StatusNoContent)
		},
		otherForm: func(w http.ResponseWriter, _ *http.Request) {
			headers(w.Header(), "0")
			_, _ = io.WriteString(w, `[{"subdir":"x"}]`)
		},
		otherForm + " ": func(w http.ResponseWriter, _ *http.Request) {
			headers(w.Header(), "0")
			_, _ = io.WriteString(w, `null`)
		},
		"the answer is cut off": func(w http.ResponseWriter, _ *http.Request) {
			headers(w.Header(), "0")
			_, _ = io.WriteString(w, `[`)
		},
		"an element of the list is longer than 16384 bytes": func(w http.ResponseWriter, _ *http.Request) {
			headers(w.Header(), "0")
			_, _ = fmt.Fprintf(w, `[{"name":%q}]`, strings.Repeat("x", 16<<10))
		},
		"the list has more than 10000 elements": func(w http.ResponseWriter, _ *http.Request) {
			headers(w.Header(), "0")
			_, _ = io.WriteString(w, `[`+strings.Repeat(`{"name":"x"},`, 10_000)+`{"name":"x"}]`)
		},
		"the list does not end: a page leads back to an earlier page": func(w http.ResponseWriter, _ *http.Request) {
			headers(w.Header(), "1")
			send(w, 200, []object{{"name": "same"}})
		},
		"the list has more than 50 pages": func(w http.ResponseWriter, r *http.Request) {
			headers(w.Header(), "1")
			send(w, 200, []object{{"name": r.URL.Query().Get("marker") + "x"}})
		},
	} {
		w := start(t)
		w.fault = func(rw http.ResponseWriter, r *http.Request) bool {
			if !strings.HasPrefix(r.URL.Path, "/swift/") {
				return false
			}
			answer(rw, r)
			return true
		}
		proof := w.read(t)
		got := lines(proof)
		if len(got) == 0 || proof.State() == resources.Empty || !strings.HasSuffix(got[len(got)-1], "containers: GET /swift/v1/AUTH_"+tenant+": "+strings.TrimSpace(want)) {
			t.Errorf("got %q, want %s", got, want)
		}
	}
	w := start(t)
	w.fault = func(rw http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/swift/") {
			headers(rw.Header(), "3") // the list does not yet contain the three containers
			send(rw, 200, []object{})
			return true
		}
		return false
	}
	if got := found(w.read(t), "object-store", "containers"); got.Count != 3 {
		t.Errorf("got %+v", got)
	}
}

// The type `transport` is a round tripper that the test provides.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestAServiceThatDoesNotAnswerIsAskedOnce(t *testing.T) {
	w := start(t)
	w.add("images", tenant, "left")
	cfg, asked := w.config(), 0
	cfg.Transport = transport(func(r *http.Request) (*http.Response, error) {
		if strings.HasPrefix(r.URL.Path, "/network/") {
			asked++
			return nil, fmt.Errorf("reading http://secret-of-the-service: %w", context.DeadlineExceeded)
		}
		return http.DefaultTransport.RoundTrip(r)
	})
	proof := read(t, cfg)
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	wantLines(t, "", proof, `image in region "RegionOne" has images (1): "left" (images-01)`,
		`network in region "RegionOne": ports: GET /network/v2.0/ports: no answer in time`)
}

func TestTheTimeOfARequestIsLimited(t *testing.T) {
	w := start(t)
	release := make(chan struct{})
	defer close(release)
	w.fault = func(http.ResponseWriter, *http.Request) bool { <-release; return true }
	cfg := w.config()
	cfg.RequestTimeout = time.Millisecond
	proof := read(t, cfg)
	if len(proof.Unproven) != 6 {
		t.Errorf("got %q", lines(proof))
	}
	for _, u := range proof.Unproven {
		if u.Class != upstream.Transient || !strings.HasSuffix(u.Detail, "no answer in time") {
			t.Errorf("got %+v", u)
		}
	}
}

// The time limit of an answer includes the time to read the body. If a service sends a body too slowly, the Prover sends no further
// requests to this service.
func TestTheTimeOfABodyIsLimited(t *testing.T) {
	w := start(t)
	w.catalog = []object{w.service("network", "/network", "R")}
	release := make(chan struct{})
	defer close(release)
	w.fault = func(rw http.ResponseWriter, _ *http.Request) bool {
		_, _ = io.WriteString(rw, `{"ports":[`)
		_ = http.NewResponseController(rw).Flush()
		<-release
		return true
	}
	cfg := w.config()
	cfg.RequestTimeout = 50 * time.Millisecond
	wantLines(t, "", read(t, cfg), `network in region "R": ports: GET /network/v2.0/ports: no answer in time`)
}

// The time limit of a proof does not depend on the number of services.
func TestTheTimeOfAProofIsLimited(t *testing.T) {
	w := start(t)
	cfg := w.config()
	begun, latest := time.Now(), time.Time{}
	cfg.RequestTimeout, cfg.Timeout = 2*time.Hour, time.Hour
	cfg.Transport = transport(func(r *http.Request) (*http.Response, error) {
		if at, _ := r.Context().Deadline(); latest.IsZero() || at.After(latest) {
			latest = at
		}
		return nil, context.DeadlineExceeded
	})
	if proof := read(t, cfg); len(proof.Unproven) != 6 {
		t.Errorf("got %q", lines(proof))
	}
	if limit := latest.Sub(begun); limit < time.Hour || limit > time.Hour+time.Since(begun) {
		t.Errorf("the deadline of the last request is %s after the start of the proof", limit)
	}
}

func TestAProofThatIsCancelledOrCannotLogInFails(t *testing.T) {
	w := start(t)
	prove := func(ctx context.Context, cfg resources.Config, id string, at time.Time) *upstream.Error {
		t.Helper()
		prover, err := resources.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		proof, err := prover.Empty(ctx, id, at)
		e, ok := errors.AsType[*upstream.Error](err)
		if !ok || !reflect.DeepEqual(proof, resources.Proof{}) || proof.State() == resources.Empty {
			t.Fatalf("got %+v, %v", proof, err)
		}
		return e
	}
	ctx, cancel := context.WithCancel(t.Context())
	w.fault = func(http.ResponseWriter, *http.Request) bool { cancel(); return false }
	if e := prove(ctx, w.config(), tenant, disabled); e.Class != upstream.Transient || !errors.Is(e, context.Canceled) {
		t.Errorf("got %v", e)
	}
	for _, id := range []string{"", "..", "../x", "a\nb"} {
		if e := prove(t.Context(), w.config(), id, disabled); e.Class != upstream.Permanent || !strings.Contains(e.Error(), "is not the id of a project") {
			t.Errorf("got %v", e)
		}
	}
	if e := prove(t.Context(), w.config(), tenant, time.Time{}); e.Class != upstream.Permanent {
		t.Errorf("got %v", e)
	}
	cfg := w.config()
	cfg.Cloud.URL = "http://127.0.0.1:1/v3"
	if e := prove(t.Context(), cfg, tenant, disabled); e.Class != upstream.Unavailable || e.Service != keystone.Service {
		t.Errorf("got %v", e)
	}
	w.catalog = []object{}
	if e := prove(t.Context(), w.config(), tenant, disabled); e.Class != upstream.Transient {
		t.Errorf("an empty catalog: got %v", e)
	}
	if _, err := resources.New(resources.Config{}); err == nil {
		t.Error("a configuration without a cloud is accepted")
	}
}

// Services cache tokens, so a user can create resources after the project was disabled.
func TestAProjectIsNotProvenBeforeTenMinutesOrWhileItIsEnabled(t *testing.T) {
	w := start(t)
	w.add("servers", tenant, "left")
	at := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		after, wait time.Duration
	}{{0, 10 * time.Minute}, {9*time.Minute + 59*time.Second, time.Second}, {-24 * time.Hour, time.Hour}, {10 * time.Minute, 0}} {
		w.requests = nil
		cfg := w.config()
		cfg.Now = func() time.Time { return at.Add(c.after) }
		prover, err := resources.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		proof, err := prover.Empty(t.Context(), tenant, at)
		if err != nil {
			t.Fatal(err)
		}
		check(t, proof)
		if c.wait == 0 {
			wantLines(t, "10 minutes after", proof, `compute in region "RegionOne" has servers (1): "left" (servers-02)`)
			continue
		}
		e, _ := errors.AsType[*upstream.Error](proof.Err())
		if e == nil || e.Class != upstream.Transient || e.RetryAfter != c.wait || proof.State() != resources.NotProven || len(w.requests) != 0 {
			t.Errorf("%s after: got %+v, %v, requests %q", c.after, proof, e, w.requests)
		}
		wantLines(t, c.after.String(), proof,
			"identity: the project was disabled at 2026-01-01T12:00:00Z, and services can accept its users' tokens for 10m0s")
	}
	w = start(t)
	w.known["enabled"] = true
	wantLines(t, "enabled", w.read(t), "identity: the project is enabled, so users can create resources in it")
	prover, err := resources.New(w.config())
	if err != nil {
		t.Fatal(err)
	}
	if looked, err := prover.Look(t.Context(), tenant); err != nil || looked.State() != resources.Empty {
		t.Errorf("a look at an enabled project: %v, %v %v", err, looked.State(), looked.Reasons())
	}
}

// The class of each answer decides whether the caller asks again, or a person must act first.
func TestEachFaultHasAClassAndSaysWhoCanFixIt(t *testing.T) {
	const role, service = "must give Tenantry's user the role admin", "must repair the service, or its address"
	refused, later := "must find out why the service does not answer", "nobody needs to act"
	for status, want := range map[int]struct {
		class upstream.Class
		fix   string
	}{
		204: {upstream.Unavailable, service}, 302: {upstream.Unavailable, service}, 400: {upstream.Blocked, refused},
		401: {upstream.Unavailable, "refuses a token that Keystone has just issued"}, 403: {upstream.Blocked, role},
		404: {upstream.Unavailable, service}, 405: {upstream.Unavailable, service}, 406: {upstream.Blocked, refused},
		408: {upstream.Transient, later}, 409: {upstream.Blocked, refused}, 410: {upstream.Unavailable, service},
		425: {upstream.Transient, later}, 429: {upstream.Transient, later}, 500: {upstream.Transient, later},
		502: {upstream.Unavailable, service}, 503: {upstream.Unavailable, service}, 504: {upstream.Unavailable, service},
	} {
		w := start(t)
		w.fault = func(rw http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/network/v2.0/ports" {
				return false
			}
			rw.Header().Set("Retry-After", "90")
			rw.Header().Set("X-Openstack-Request-Id", "req-7")
			send(rw, status, object{})
			return true
		}
		proof := w.read(t)
		if len(proof.Unproven) != 1 {
			t.Fatalf("%d: got %q", status, lines(proof))
		}
		u := proof.Unproven[0]
		if u.Class != want.class || !strings.Contains(u.Fix, want.fix) || u.Status != status || u.RequestID != "req-7" || u.RetryAfter != 90*time.Second ||
			u.Type != "network" || u.Region != "RegionOne" || u.Kind != "ports" || !strings.Contains(u.String(), " (req-7); ") {
			t.Errorf("%d: got %+v", status, u)
		}
		if e, _ := errors.AsType[*upstream.Error](proof.Err()); e == nil || e.Class != want.class || e.RetryAfter != 90*time.Second ||
			e.Service != resources.Service || !errors.Is(e, resources.ErrNotProven) {
			t.Errorf("%d: got %v", status, e)
		}
	}
	notSent := &upstream.NotSentError{Circuit: "x", RetryAfter: time.Minute, Err: errors.New("secret-of-the-service")}
	for _, c := range []struct {
		err   error
		class upstream.Class
		want  string
	}{
		{&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, upstream.Unavailable, "connection refused"},
		{&net.OpError{Op: "dial", Err: &net.DNSError{IsNotFound: true}}, upstream.Unavailable, "no such host"},
		{&net.OpError{Op: "dial", Err: context.DeadlineExceeded}, upstream.Transient, "no answer in time"},
		{&tls.CertificateVerificationError{Err: errors.New("secret-of-the-service")}, upstream.Unavailable, "the connection was lost"},
		{tls.RecordHeaderError{Msg: "secret-of-the-service"}, upstream.Unavailable, "the connection was lost"},
		{&net.OpError{Op: "read", Err: syscall.ECONNRESET}, upstream.Transient, "connection reset by peer"},
		{io.EOF, upstream.Transient, "the connection was lost"},
		{notSent, upstream.Unavailable, "the request was not sent"},
		{&upstream.NotSentError{Err: errors.New("secret-of-the-service")}, upstream.Transient, "the request was not sent"},
	} {
		w := start(t)
		cfg := w.config()
		w.catalog = []object{w.service("image", "/image", "R")}
		cfg.Transport = transport(func(*http.Request) (*http.Response, error) { return nil, c.err })
		proof := read(t, cfg)
		wantLines(t, "", proof, `image in region "R": images: GET /image/v2/images: `+c.want)
		if proof.Unproven[0].Class != c.class {
			t.Errorf("%v: got %s, want %s", c.err, proof.Unproven[0].Class, c.class)
		}
	}
}

// A redirect could lead to another host, and this host must not get the token. A redirect could also lead to a page that looks like an
// empty list.
func TestARedirectIsNotFollowed(t *testing.T) {
	w := start(t)
	w.fault = func(rw http.ResponseWriter, r *http.Request) bool {
		switch r.URL.Path {
		case "/network/v2.0/ports":
			http.Redirect(rw, r, "/elsewhere", http.StatusTemporaryRedirect)
		case "/elsewhere":
			send(rw, http.StatusOK, object{"ports": []object{}})
		default:
			return false
		}
		return true
	}
	wantLines(t, "", w.read(t), `network in region "RegionOne": ports: GET /network/v2.0/ports: status 307 Temporary Redirect`)
	if slices.Contains(w.requests, "/elsewhere") {
		t.Error("the redirect was followed")
	}
}

// With the request id, the administrator of the cloud can find the request in the log of the service.
func TestAnAnswerOfAnotherFormHasItsRequestID(t *testing.T) {
	w := start(t)
	w.fault = func(rw http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/image/v2/tasks" {
			return false
		}
		rw.Header().Set("X-Openstack-Request-Id", "req-7")
		send(rw, http.StatusOK, object{})
		return true
	}
	wantLines(t, "", w.read(t), `image in region "RegionOne": tasks: GET /image/v2/tasks: `+otherForm+" (req-7)")
}

// The caller's decision depends on the error alone.
func TestTheErrorOfAProofSaysWhatToDo(t *testing.T) {
	image := resources.Found{Type: "image", Region: "R", Kind: "images", Count: 7, Examples: []resources.Example{{ID: "1", Name: "cd"}, {ID: "2"}}}
	of := func(class upstream.Class, wait time.Duration) resources.Unproven {
		return resources.Unproven{Type: "dns", Class: class, Detail: class.String(), Fix: "ask again", RetryAfter: wait}
	}
	transient, unavailable, blocked := of(upstream.Transient, 3), of(upstream.Unavailable, 1), of(upstream.Blocked, 2)
	for want, c := range map[string]struct {
		proof resources.Proof
		class upstream.Class
		is    error
		after time.Duration
	}{
		`the project is not empty: image in region "R" has images (7): "cd" (1), 2, .... dns: blocked; ask again`: {
			resources.Proof{Found: []resources.Found{image}, Unproven: []resources.Unproven{blocked}}, upstream.Permanent, resources.ErrNotEmpty, 0,
		},
		"the project is not proven empty: dns: transient; ask again": {
			resources.Proof{Unproven: []resources.Unproven{transient}}, upstream.Transient, resources.ErrNotProven, 3,
		},
		"the project is not proven empty: dns: transient; ask again. dns: unavailable; ask again": {
			resources.Proof{Unproven: []resources.Unproven{transient, unavailable}}, upstream.Unavailable, resources.ErrNotProven, 3,
		},
		"the project is not proven empty: dns: blocked; ask again. dns: unavailable; ask again": {
			resources.Proof{Unproven: []resources.Unproven{blocked, unavailable}}, upstream.Blocked, resources.ErrNotProven, 2,
		},
		"the project is not proven empty: no service was asked": {resources.Proof{}, upstream.Blocked, resources.ErrNotProven, 0},
	} {
		c.proof.ProjectID = tenant
		e, ok := errors.AsType[*upstream.Error](c.proof.Err())
		if !ok || e.Error() != "proving that project "+tenant+" is empty: "+want || e.Class != c.class || !errors.Is(e, c.is) || e.RetryAfter != c.after || e.MaybeDone {
			t.Errorf("got %v, %+v; want %s", e, e, want)
		}
	}
}

func TestTheErrorOfALongProofIsCutAtALine(t *testing.T) {
	var proof resources.Proof
	for range 100 {
		proof.Unproven = append(proof.Unproven, resources.Unproven{Type: "dns", Class: upstream.Blocked, Detail: strings.Repeat("x", 100), Fix: "ask"})
	}
	line := "dns: " + strings.Repeat("x", 100) + "; ask"
	if got, want := proof.Err().Error(), strings.Repeat(line+". ", 7)+"And 93 more"; !strings.HasSuffix(got, "empty: "+want) || len(got) > 1<<10 {
		t.Errorf("got %s", got)
	}
	proof.Unproven[0].Detail = strings.Repeat("é", 1000)
	if got := proof.Err().Error(); !strings.HasSuffix(got, "é…. And 99 more") || len(got) > 1<<10 || !utf8.ValidString(got) {
		t.Errorf("got %s", got)
	}
}

// A service may repeat the token of the request in its answer.
func TestATokenInANameIsMasked(t *testing.T) {
	w := start(t)
	w.add("images", tenant, "x"+token)
	w.swift[tenant] = []string{token}
	w.usages = map[string]int{token: 1}
	w.catalog = append(w.services(), w.service(token, "/", token))
	if got := strings.Join(lines(w.read(t)), "\n"); strings.Count(got, "[secret]") != 5 {
		t.Errorf("got %s", got)
	}
}

func TestTextsOfTheServicesAreCleaned(t *testing.T) {
	w := start(t)
	w.add("images", tenant, "a\x1b[31m\u202e\n<b>"+strings.Repeat("x", 100))
	got := found(w.read(t), "image", "images").Examples[0].Name
	if want := "a\ufffd[31m\ufffd\ufffd<b>" + strings.Repeat("x", 52) + "…"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
