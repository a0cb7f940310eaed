package v3

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/tenantry/tenantry/keystone"
)

// EachProject implements [keystone.Inventory].
func (c *Cloud) EachProject(ctx context.Context, domainID, prefix string, take func(keystone.Project)) (whole bool, err error) {
	op := "listing the projects of a domain"
	if err := checkIDs(op, domainID); err != nil {
		return false, err
	}
	r := projectReader{
		cloud: c, op: fmt.Sprintf("listing the projects of domain %s", domainID), domainID: domainID, prefix: prefix, take: take,
		taken: map[string]struct{}{},
	}
	return r.read(ctx, prefix)
}

// projectReader reads one list, which Keystone may have cut.
type projectReader struct {
	cloud            *Cloud
	op               string
	domainID, prefix string
	take             func(keystone.Project)
	taken            map[string]struct{} // the ids of the projects for which take was called
}

// read reads the projects whose names begin with the prefix, in parts if Keystone cuts the list.
//
// If a part cannot be divided, read does not read the other parts: the list would not be whole, and a Keystone that ignores the filter, and
// therefore cuts every part, would be asked without end.
func (r *projectReader) read(ctx context.Context, prefix string) (whole bool, err error) {
	cut, err := r.part(ctx, prefix)
	if err != nil || !cut {
		return err == nil, err
	}
	parts := divide(prefix)
	whole = len(parts) > 0
	for _, longer := range parts {
		if whole, err = r.read(ctx, longer); err != nil || !whole {
			return false, err
		}
	}
	return whole, nil
}

// part reads the projects whose names begin with the prefix. The result `cut` reports whether Keystone has cut the list.
//
// The filter ignores the case. Keystone gives such a filter to its database, so that a short part takes 20 ms. For the filter
// name__startswith, which respects the case, Keystone reads all projects of the domain and then drops most of them: 1.6 s for each part if
// there are 10,000 projects. The filter is a LIKE, in which "_" and "%" match other characters, too, and some databases drop "\". Therefore
// part sends only what is before "\", and compares all names again.
func (r *projectReader) part(ctx context.Context, prefix string) (cut bool, err error) {
	op, query := r.op, url.Values{"domain_id": {r.domainID}}
	if filter, _, _ := strings.Cut(prefix, `\`); filter != "" {
		op += fmt.Sprintf(" that begin with %q", filter)
		query.Set("name__istartswith", filter)
	}
	return bulk(ctx, r.cloud, op, "projects", query, func(b projectBody) error {
		p, err := b.project()
		if err != nil || p.DomainID != r.domainID || !strings.HasPrefix(p.Name, r.prefix) {
			return err
		}
		if _, again := r.taken[p.ID]; !again {
			r.taken[p.ID] = struct{}{}
			r.take(p)
		}
		return nil
	})
}

// divide returns longer prefixes which all names of tenants with the prefix have: the prefixes of the two kinds of tenants, and after
// these the next digits of the UUID. It returns nil if there are none.
func divide(prefix string) (parts []string) {
	for _, kind := range []string{keystone.CustomerTenant(""), keystone.SubscriptionTenant("")} {
		digits, ok := strings.CutPrefix(prefix, kind)
		switch {
		case ok && beginsUUID(digits):
			for _, next := range "0123456789abcdef" {
				part := prefix
				if slices.Contains(hyphens, len(digits)) {
					part += "-"
				}
				parts = append(parts, part+string(next))
			}
		case !ok && strings.HasPrefix(kind, prefix):
			parts = append(parts, kind)
		}
	}
	return parts
}

// hyphens are the indexes of the hyphens in a UUID.
var hyphens = []int{8, 13, 18, 23}

// beginsUUID reports whether a UUID in lower case begins with the text, and is longer.
func beginsUUID(text string) bool {
	for i, c := range []byte(text) {
		if slices.Contains(hyphens, i) {
			if c != '-' {
				return false
			}
		} else if !strings.ContainsRune("0123456789abcdef", rune(c)) {
			return false
		}
	}
	return len(text) < 36
}
