package workflowstest

import (
	"slices"
	"strings"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// ledgerTrue compares the ledger with the upstreams. The ledger lists the objects that all runs have stored. An object that the ledger
// lists as existing must exist. If a new role assignment on a tenant exists, the ledger must list it as existing. At most one run may
// have stored an object with the origin Own.
func ledgerTrue(v *view, broken report) {
	owners := map[string][]string{}
	for _, x := range v.ordered {
		for _, o := range x.run.Objects {
			if o.RemovedAt != nil || v.removedLater(x.run, o) {
				continue
			}
			what := o.Kind + " " + o.ID
			if o.Origin == saga.Own && !v.madeAgain(x.run, o) {
				owners[what] = append(owners[what], x.run.ID)
			}
			if v.now.find(o.Kind, o.ID) == nil && !v.isLost(o) && !x.leftBehind(o) {
				broken(x.run.ID, "the ledger has an object that does not exist", what)
			}
		}
	}
	for _, t := range v.now.all {
		if len(owners[t.String()]) > 1 {
			broken("", "several runs have this object as their own", append(owners[t.String()], t.String())...)
		}
		if t.kind == roleAssignment && v.onTenant(t) && v.others.find(t.kind, t.id) == nil && !has(v.about(t.id), func(x ordered) bool {
			return x.keeps(t)
		}) {
			broken("", "the ledger lacks this role assignment", t.String())
		}
	}
}

// leftBehind reports whether an operator has skipped the undo of the object. For a role assignment, a skipped undo of its project
// counts too. A request of the skipped undo may still take effect later.
func (x ordered) leftBehind(o saga.Object) bool {
	return has(x.run.LeftBehind, func(l saga.LeftBehind) bool {
		return l.ID != "" && (l.ID == o.ID || strings.HasPrefix(o.ID, l.ID+"/"))
	})
}

// removedLater reports whether a later run has removed the object. For a role assignment, the removal of its project counts too.
func (v *view) removedLater(r *saga.Run, o saga.Object) bool {
	return has(v.about(o.ID), func(later ordered) bool {
		return isLater(later.run, r) && has(later.run.Objects, func(gone saga.Object) bool {
			return gone.RemovedAt != nil && (gone.Kind == o.Kind && gone.ID == o.ID || strings.HasPrefix(o.ID, gone.ID+"/"))
		})
	})
}

// madeAgain reports whether the object is in Lost, and a later run has created the object again.
func (v *view) madeAgain(r *saga.Run, o saga.Object) bool {
	return v.isLost(o) && has(v.about(o.ID), func(later ordered) bool {
		return isLater(later.run, r) && has(later.run.Objects, func(again saga.Object) bool {
			return again.Kind == o.Kind && again.ID == o.ID && again.Origin == saga.Own && again.RemovedAt == nil
		})
	})
}

// isLater reports whether the run `later` was executed after the run r of the same subject. If both runs have ended, isLater compares
// the end times. Otherwise, it compares the ids. The ids do not reliably show the sequence, because a run gets its id before it is
// accepted.
func isLater(later, r *saga.Run) bool {
	if later.EndedAt == nil || r.EndedAt == nil {
		return later.ID > r.ID
	}
	return later.EndedAt.After(*r.EndedAt)
}

func (v *view) isLost(o saga.Object) bool {
	return slices.Contains(v.Lost, saga.ObjectRef{Kind: o.Kind, ID: o.ID})
}

// onTenant reports whether the role assignment is on a tenant.
func (v *view) onTenant(t thing) bool {
	on, _, _ := strings.Cut(t.id, "/")
	p := v.now.find(project, on)
	return p != nil && strings.HasPrefix(p.name, "bs-")
}

// The method `keeps` reports whether the run has stored the thing as existing.
func (x ordered) keeps(t thing) bool {
	return has(x.run.Objects, func(o saga.Object) bool { return o.Kind == t.kind && o.ID == t.id && o.RemovedAt == nil })
}
