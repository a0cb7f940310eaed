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

// Some services hide the resources of other projects from a credential, but count these resources in the quotas of these projects. If a
// quota counts more resources than the lists contain, the lists are incomplete. If a credential may not read the quota, nothing shows that
// the credential sees all resources.

// volumeQuota compares the lists with Cinder's quota of the project. It also records in the proof how many groups of volumes
// the quota counts.
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

// inUse adds the reservations to the usage. The usage can be negative if the quota is wrong. The sum can overflow and become negative if
// both numbers are large. In both cases, the result is the larger of the two numbers.
func inUse(used, reserved int64) int64 { return max(used, reserved, used+reserved) }

// networkQuota compares the lists with Neutron's quota of the project. For every kind that has no list, it adds the number of resources in
// the quota to the proof. It does not add the rules of security groups, because each rule belongs to a group.
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

// Some kinds of resources cannot be listed, but the quota counts them. For each of these kinds, `compare` stores the count of the quota. If
// the quota counts more resources of a kind than the list of this kind has, `compare` stores a fault.
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
