package workflowstest

import (
	"fmt"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

// The function `users` checks the users whom runs have created: registrations, and subscribe runs with a new user. If such a run has succeeded,
// it has exactly one user. If it is compensated, it has no user, unless the undo has kept the user, or an operator has skipped the undo. The
// names of two users of runs must differ in more than upper and lower case. Users who were left behind do not count.
func users(v *view, broken report) {
	names := map[string]keystone.User{}
	for _, r := range v.Runs {
		input, err := newUserOf(r)
		if err != nil {
			broken(r.ID, "decoding the input: "+err.Error())
		}
		if err != nil || input == nil {
			continue
		}
		x := ordered{run: r}
		found := 0
		for _, u := range v.Now.Users {
			if u.RunID != r.ID || v.isByHand(user, u.ID) {
				continue
			}
			found++
			if u.Name != input.Name || u.DomainID != input.DomainID {
				broken(r.ID, "the run has created a user with another name or in another domain", u.ID)
			}
			if r.State == saga.Compensated && x.leftUser() {
				continue
			}
			folded := u.DomainID + " " + keystone.FoldedName(u.Name)
			if other, taken := names[folded]; taken {
				broken(r.ID, "two users of runs have the same name, except for upper and lower case", other.ID, u.ID)
			}
			names[folded] = u
		}
		switch {
		case r.State == saga.Succeeded && found != 1:
			broken(r.ID, fmt.Sprintf("the run succeeded, but %d users have its mark", found))
		case r.State == saga.Compensated && found > 0 && !x.leftUser():
			broken(r.ID, "the run is compensated, but its user still exists")
		}
		kept := has(v.Events[r.ID], func(e saga.Event) bool { return e.Kind == saga.EventUserKept })
		if kept && !x.leftUser() {
			broken(r.ID, "the run has kept its user, but does not name the user as left behind")
		}
	}
}

// leftUser reports whether the user of a compensated run stays: the undo has kept the user, or an operator has skipped the undo.
func (x ordered) leftUser() bool {
	return has(x.run.LeftBehind, func(l saga.LeftBehind) bool { return l.Step == "create-user" })
}

// The method `registered` reports whether the thing is the user whom the run has created. The invariant `users` checks the user's name. If the
// answer with the user's id was lost, the run does not expect the user.
func (x ordered) registered(t thing) bool {
	made, err := newUserOf(x.run)
	return err == nil && made != nil && t.kind == user && t.bears(x.run.ID)
}
