package resources

import (
	"cmp"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/tenantry/tenantry/keystone"
)

// maxEndpoints is the maximum number of endpoints in a catalog. If a catalog has more, the project is not proven empty.
const maxEndpoints = 500

// The variable `exempt` contains the service types that have no resources of a project, or whose resources must outlive the
// project.
var exempt = map[string]string{
	"billing":  "bills outlive the project",
	"tenantry": "Tenantry itself",
	// the type with which `tenantry bootstrap keystone` registers Tenantry
	"subscription-orchestration": "Tenantry itself",
}

// These variables list the service types of Cinder. A Prover asks the services with a type in `volumes`. The types in `olderVolumes` are
// older interfaces.
var (
	volumes      = []string{"volumev3", "block-storage"}
	olderVolumes = []string{"volume", "volumev2"}
)

// The type `endpoint` is one service of the catalog in one region.
type endpoint struct {
	service, region string
	url             string // the public URL
	exempt          string // the reason why the service need not be asked
	fault           *fault // the reason why the service cannot be asked
}

func (e endpoint) asked() bool { return e.exempt == "" && e.fault == nil }

// The function `endpoints` returns the endpoints of a catalog, in the catalog's order. The result has at least one endpoint for each
// service, and at least one for each region of a service. The parameter `own` is the id of the credential's project.
func endpoints(catalog []keystone.CatalogService, own string, ignore []string) []endpoint {
	var all []endpoint
	for _, entry := range catalog {
		if entry.Type == "identity" { // the method `identity` asks Keystone
			continue
		}
		reason := exempt[entry.Type]
		if reason == "" && slices.Contains(ignore, entry.Type) {
			reason = "named in TENANTRY_EMPTINESS_IGNORE"
		}
		for _, e := range ofEntry(entry) {
			e.exempt = reason
			if !slices.Contains(all, e) {
				all = append(all, e)
			}
		}
		if len(all) > maxEndpoints {
			return append(all[:maxEndpoints], endpoint{
				service: "catalog", fault: blocked(fixCatalog, "the catalog has more than %d endpoints", maxEndpoints),
			})
		}
	}
	for i, old := range all {
		if old.exempt == "" && slices.Contains(olderVolumes, old.service) && slices.ContainsFunc(all, func(e endpoint) bool {
			return e.asked() && slices.Contains(volumes, e.service) && e.region == old.region && sameService(e.url, old.url, own)
		}) {
			all[i].exempt = "an older interface of the service volumev3"
		}
	}
	return append(all, missingPlacement(all, ignore)...)
}

// missingPlacement returns an endpoint with a fault for each region that has compute, but not placement. If a request to Nova has a filter
// or asks for a page, the list omits the servers of every cell whose database is down. Only Placement knows these servers.
func missingPlacement(all []endpoint, ignore []string) (missing []endpoint) {
	if slices.Contains(ignore, "placement") {
		return nil
	}
	for _, e := range all {
		at := endpoint{service: "placement", region: e.region}
		has := func(o endpoint) bool { return o.service == at.service && o.region == at.region }
		if e.service == "compute" && e.asked() && !slices.ContainsFunc(slices.Concat(all, missing), has) {
			at.fault = blocked(fixCatalog, "the catalog has no endpoint, but if the database of a cell is down, only Placement knows the servers in this cell")
			missing = append(missing, at)
		}
	}
	return missing
}

// ofEntry returns the public endpoints of a service. For a region without a public endpoint, the result has an endpoint with a
// fault.
func ofEntry(entry keystone.CatalogService) (found []endpoint) {
	var regions []string
	for _, e := range entry.Endpoints {
		region := cmp.Or(e.RegionID, e.Region)
		if !slices.Contains(regions, region) {
			regions = append(regions, region)
		}
		if e.Interface == "public" {
			found = append(found, endpoint{service: entry.Type, region: region, url: e.URL})
		}
	}
	for _, region := range regions {
		if !slices.ContainsFunc(found, func(e endpoint) bool { return e.region == region }) {
			fault := blocked(fixCatalog, "the catalog has no public endpoint")
			found = append(found, endpoint{service: entry.Type, region: region, fault: fault})
		}
	}
	if len(found) == 0 {
		found = append(found, endpoint{service: entry.Type, fault: blocked(fixCatalog, "the catalog has no endpoint")})
	}
	return found
}

// The function `parse` returns the URL of an endpoint. The path of the URL is "/", or a path that begins with a slash and does not end in
// a slash.
func parse(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" ||
		u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, blocked(fixCatalog, "the catalog's URL is not an HTTP URL, or has a user, a query or a fragment")
	}
	u.Path, u.RawPath = "/"+strings.Trim(u.Path, "/"), ""
	return u, nil
}

// The variable `version` matches the part of a path that names the version of an API.
var version = regexp.MustCompile(`^v[0-9]+(\.[0-9]+)?$`)

// lastPart returns the last part of a path and the path before this part. If the path ends in the id of the credential's project, lastPart
// first removes this id.
func lastPart(path, own string) (before, last string) {
	if own != "" {
		path = strings.TrimSuffix(path, "/"+own)
	}
	at := strings.LastIndex(path, "/")
	return path[:max(at, 0)], path[at+1:]
}

// withVersion returns the URL if its path ends in one of the versions, or in one of the versions and the id of the credential's
// project. If the path ends in no version, withVersion adds the first of the versions. If the path ends in any other version, withVersion
// returns an error.
func (a asker) withVersion(u *url.URL, versions ...string) (*url.URL, error) {
	_, last := lastPart(u.Path, a.own)
	switch {
	case slices.Contains(versions, last):
		return u, nil
	case version.MatchString(last):
		return nil, blocked(fixCatalog, "the version of the API in the catalog's path %s is not %s", a.clean(u.Path, maxPath), versions[0])
	}
	return u.JoinPath(versions[0]), nil
}

// sameService reports whether two URLs differ at most in the version of the API.
func sameService(a, b, own string) bool {
	var bases []url.URL
	for _, raw := range []string{a, b} {
		u, err := parse(raw)
		if err != nil {
			return false
		}
		before, last := lastPart(u.Path, own)
		if !version.MatchString(last) {
			before = strings.TrimSuffix(u.Path, "/")
		}
		bases = append(bases, url.URL{Scheme: u.Scheme, Host: strings.ToLower(u.Host), Path: before})
	}
	return bases[0] == bases[1]
}
