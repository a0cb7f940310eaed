package resources

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
)

// A service that hides the resources of other projects from a credential still counts them for the quota of their project. A quota
// that counts more than the lists have disproves the lists. A credential that may not read the quota is not shown to see the resources.

// volumeQuota compares the lists with Cinder's quota of the project, and adds the groups.
func (q *inquiry) volumeQuota(ctx context.Context, base *url.URL, seen map[string]int64) {
	at := base.JoinPath("os-quota-sets", url.PathEscape(q.project))
	at.RawQuery = "usage=true"
	used := map[string]int64{}
	err := q.get(ctx, request{url: at, limits: objectLimits}, func(_ http.Header, body io.Reader) error {
		var answer struct {
			QuotaSet map[string]json.RawMessage `json:"quota_set"`
		}
		if err := decode(body, &answer); err != nil {
			return err
		}
		if text(answer.QuotaSet["id"]) != q.project {
			return errForm
		}
		for kind := range maps.Keys(seen) {
			if answer.QuotaSet[kind] == nil {
				return errForm
			}
		}
		for _, kind := range append(slices.Collect(maps.Keys(seen)), "groups") {
			var one struct {
				InUse    *int64 `json:"in_use"`
				Reserved int64  `json:"reserved"`
			}
			if answer.QuotaSet[kind] == nil {
				continue
			}
			if err := json.Unmarshal(answer.QuotaSet[kind], &one); err != nil || one.InUse == nil {
				return errForm
			}
			used[kind] = inUse(*one.InUse, one.Reserved)
		}
		return nil
	})
	q.compare(err, used, seen)
}

// inUse adds the reservations to the usage. A quota that is out of step can be negative, and the sum of two large numbers, too.
func inUse(used, reserved int64) int64 { return max(used, reserved, used+reserved) }

// networkQuota compares the lists with Neutron's quota of the project, and adds the other kinds that the quota counts. Rules are
// not added, because they belong to a security group.
func (q *inquiry) networkQuota(ctx context.Context, base *url.URL, seen map[string]int64) {
	used := map[string]int64{}
	at := base.JoinPath("quotas", url.PathEscape(q.project), "details")
	err := q.get(ctx, request{url: at, limits: objectLimits}, func(_ http.Header, body io.Reader) error {
		var answer struct {
			Quota map[string]struct {
				Used     *int64
				Reserved int64
			}
		}
		if err := decode(body, &answer); err != nil {
			return err
		}
		for kind := range maps.Keys(seen) {
			if _, ok := answer.Quota[kind]; !ok {
				return errForm
			}
		}
		for kind, one := range answer.Quota {
			if one.Used == nil {
				return errForm
			}
			used[kind] = inUse(*one.Used, one.Reserved)
		}
		delete(used, "security_group_rule")
		return nil
	})
	q.compare(err, used, seen)
}

// The method `compare` adds the kinds that only the quota counts, and reports the kinds of which the quota counts more than the
// lists have.
func (q *inquiry) compare(err error, used, seen map[string]int64) {
	if err != nil {
		q.fault("quota", err)
		return
	}
	for _, kind := range slices.Sorted(maps.Keys(used)) {
		listed, ok := seen[kind]
		switch {
		case !ok:
			q.add(q.clean(kind, maxText), used[kind])
		case used[kind] > listed:
			q.fault(kind, blocked(fixQuota, "the quota counts %d, but the list has %d", used[kind], listed))
		}
	}
}
