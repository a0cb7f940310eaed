package resources

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// Limits of a list.
const (
	pageSize    = 200 // the number of resources in a page that a Prover requests
	maxPages    = 50  // if a list has more pages, the project is not proven empty
	maxExamples = 5   // the maximum number of examples in a Found
)

// pageLimits are the limits of one page. A service that ignores the limit in the query may send more than pageSize resources. The
// longest resources are servers and volumes with their metadata.
var pageLimits = upstream.Limits{Bytes: 8 << 20, Values: 200_000, Flat: 3, List: 2, Elements: 2_000, Element: 256 << 10}

// The type `list` describes how a service lists the resources of one kind. Each resource in the list must name the project to which
// the resource belongs.
type list struct {
	kind    string // as in Found
	path    string
	query   url.Values // the filter for the project
	version string     // the header OpenStack-API-Version
	field   string     // in an answer, the name of the field with the resources
	next    string     // in an answer, the name of the field with the link to the next page
	owner   string     // in a resource, the name of the field with the project's id
	name    string     // in a resource, the name of the field with the resource's name

	// The function `uncounted` reports whether to ignore a resource with this name. If `uncounted` is nil, all resources count.
	uncounted func(name string) bool
}

// The type `item` is a resource in a list. The field `owner` is the id of the resource's project.
type item struct{ id, name, owner string }

// The method `count` reads a list, page by page, and adds the resources in the list to the proof. The result is the number of the
// project's resources in the list, including resources that `uncounted` ignores.
func (q *inquiry) count(ctx context.Context, base *url.URL, l list) (seen int64) {
	var (
		count    int64
		examples []Example
	)
	take := func(i item) error {
		if i.owner != q.project {
			return blocked(fixPolicy, "the list contains a resource of another project: the service does not honour the filter")
		}
		seen++
		if l.uncounted != nil && l.uncounted(i.name) {
			return nil
		}
		if count++; len(examples) < maxExamples {
			examples = append(examples, Example{ID: q.clean(i.id, maxText), Name: q.clean(i.name, maxText)})
		}
		return nil
	}
	if err := q.pages(ctx, base, l, take); err != nil {
		q.fault(l.kind, err)
	}
	q.add(l.kind, count, examples...)
	return seen
}

// The method `pages` reads the pages of a list. From the link to the next page, `pages` takes only the marker, because the link can
// name another host or lack the filter.
func (q *inquiry) pages(ctx context.Context, base *url.URL, l list, take func(item) error) error {
	at := base.JoinPath(l.path)
	query := maps.Clone(l.query)
	query.Set("limit", strconv.Itoa(pageSize))
	markers := []string{""}
	for {
		at.RawQuery = query.Encode()
		var marker string
		err := q.get(ctx, request{url: at, version: l.version, limits: pageLimits}, func(_ http.Header, body io.Reader) (err error) {
			if marker, err = l.page(body, take); err != nil {
				return err
			}
			if marker != "" && slices.Contains(markers, marker) {
				return blocked(fixRefused, "the list does not end: a page leads back to an earlier page")
			}
			if marker != "" && len(markers) == maxPages {
				return blocked(fixRefused, "the list has more than %d pages", maxPages)
			}
			return nil
		})
		if err != nil || marker == "" {
			return err
		}
		markers = append(markers, marker)
		query.Set("marker", marker)
	}
}

// The method `page` decodes one page, resource by resource, and returns the marker of the next page. If there is no next page, the
// marker is empty. In an answer, the marker can come before the resources.
func (l list) page(body io.Reader, take func(item) error) (marker string, err error) {
	d := json.NewDecoder(body)
	if begin, err := d.Token(); err != nil || begin != json.Delim('{') {
		return "", orForm(err)
	}
	listed, linked := false, false
	for d.More() {
		field, err := d.Token()
		if err != nil {
			return "", err
		}
		switch {
		case field == l.field && !listed:
			listed = true
			err = l.items(d, take)
		case field == l.next && !linked:
			linked = true
			marker, err = nextMarker(d)
		case field == l.field, field == l.next: // the field occurs twice, and the second value would replace the first
			err = errForm
		default:
			err = upstream.Skip(d)
		}
		if err != nil {
			return "", err
		}
	}
	if _, err := d.Token(); err != nil { // the end of the object
		return "", err
	}
	if !listed {
		return "", errForm
	}
	return marker, ended(d)
}

// The method `items` decodes the resources of a page.
func (l list) items(d *json.Decoder, take func(item) error) error {
	if begin, err := d.Token(); err != nil || begin != json.Delim('[') {
		return orForm(err)
	}
	for d.More() {
		var fields map[string]json.RawMessage
		if err := d.Decode(&fields); err != nil {
			return err
		}
		i := item{id: text(fields["id"]), name: text(fields[l.name]), owner: text(fields[l.owner])}
		if i.id == "" {
			return errForm
		}
		if fields[l.owner] == nil { // some services show the project to admins only
			return blocked(fixRole, "a resource in the list does not name its project")
		}
		if err := take(i); err != nil {
			return err
		}
	}
	_, err := d.Token()
	return err
}

// nextMarker decodes the link to the next page, and returns the marker in this link. If there is no next page, the result is empty.
// Glance sends the link as a text. The other services send a list of links. The link with the relation "next" leads to the next
// page.
func nextMarker(d *json.Decoder) (string, error) {
	var (
		raw   json.RawMessage
		links []struct{ Rel, Href string }
	)
	if err := d.Decode(&raw); err != nil {
		return "", err
	}
	var href string
	switch {
	case string(raw) == "null":
		return "", nil
	case raw[0] == '"':
		href = text(raw)
	default:
		if err := json.Unmarshal(raw, &links); err != nil {
			return "", errForm
		}
		next := slices.IndexFunc(links, func(link struct{ Rel, Href string }) bool { return link.Rel == "next" })
		if next < 0 {
			return "", nil
		}
		href = links[next].Href
	}
	u, err := url.Parse(href)
	if err != nil || u.Query().Get("marker") == "" {
		return "", &fault{class: upstream.Unavailable, text: "the link to the next page has no marker", fix: fixService}
	}
	return u.Query().Get("marker"), nil
}

// The function `text` decodes a JSON string. For any other value, the result is empty.
func text(raw json.RawMessage) string {
	var s string
	_ = json.Unmarshal(raw, &s) //nolint:errcheck // the result is then empty
	return s
}

// orForm returns the error. If the error is nil, orForm returns errForm.
func orForm(err error) error {
	if err == nil {
		return errForm
	}
	return err
}
