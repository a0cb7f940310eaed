package simulation

import (
	"cmp"
	"context"
	"flag"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream/gate"
	"github.com/tenantry/tenantry/workflows"
)

// The type `mutations` breaks the engine, its store or its steps on purpose.
type mutations struct {
	steps      func(*saga.Workflow[workflows.Order])
	switches   func(*saga.Workflow[workflows.Switch])              // changes suspend and resume
	plans      func(*saga.Step[workflows.ChangePlan])              // changes the step that changes a plan
	define     func(workflows.Deps) (*saga.Definition, error)      // replaces the workflow with the same name
	audits     func(workflows.Audits) workflows.Audits             // changes the answers that repairs get from audits
	identity   func(*replica, keystone.Identity) keystone.Identity // changes the client of Keystone
	transport  func(http.RoundTripper) http.RoundTripper           // replaces gate.Fence
	runs       func(saga.Filter, *saga.Run) bool                   // reports whether a run is hidden from the engine
	forgets    func(*saga.Run)                                     // changes each run that the engine reads
	lateWindow time.Duration
	registers  bool // the mutation breaks registrations, and is tried only on plans with registrations
	repairs    bool // the mutation breaks repairs, and is tried only on plans with repairs
	usage      bool // the mutation breaks the posting of usage, and is tried only on plans with usage
	untried    bool // if true, an upstream with an open circuit is never tried again
	unfenced   bool // checkpoints are written without a check of lease and version
}

type subscribe = saga.Workflow[workflows.Order]

// The function `step` returns a mutation that changes one step of the workflow `subscribe`.
func step(name string, change func(*saga.Step[workflows.Order])) mutations {
	return mutations{steps: func(w *subscribe) {
		for i := range w.Steps {
			if w.Steps[i].Name == name {
				change(&w.Steps[i])
			}
		}
	}}
}

// withoutUndo returns a mutation that removes the undo of a step.
func withoutUndo(name string) mutations {
	return step(name, func(s *saga.Step[workflows.Order]) {
		s.Undo = func(context.Context, *workflows.Order) error { return nil }
	})
}

// The function `trusting` returns a mutation in which an undo does nothing if Do has stored no result.
func trusting(name string, returned func(*workflows.Order) string) mutations {
	return step(name, func(s *saga.Step[workflows.Order]) {
		undo := s.Undo
		s.Undo = func(ctx context.Context, o *workflows.Order) error {
			if returned(o) == "" {
				return nil
			}
			return undo(ctx, o)
		}
	})
}

// The function `unrechecked` returns a mutation in which re-checks skip the undo of a step.
func unrechecked(name string) mutations {
	return step(name, func(s *saga.Step[workflows.Order]) {
		undo := s.Undo
		s.Undo = func(ctx context.Context, o *workflows.Order) error {
			if saga.CallOf(ctx).Kind == saga.CallRecheck {
				return nil
			}
			return undo(ctx, o)
		}
	})
}

// The function `switching` returns a mutation that changes the steps of suspend and resume.
func switching(change func(*saga.Step[workflows.Switch])) mutations {
	return mutations{switches: func(w *saga.Workflow[workflows.Switch]) {
		for i := range w.Steps {
			if w.Steps[i].Undo != nil {
				change(&w.Steps[i])
			}
		}
	}}
}

// everyStep returns a mutation that changes all steps of the workflow `subscribe`.
func everyStep(change func(*saga.Step[workflows.Order])) mutations {
	return mutations{steps: func(w *subscribe) {
		for i := range w.Steps {
			change(&w.Steps[i])
		}
	}}
}

// The function `finding` returns a mutation that changes the result of every step's Find function.
func finding(change func(*saga.Handle, saga.Found) saga.Found) mutations {
	return everyStep(func(s *saga.Step[workflows.Order]) {
		find := s.Find
		if find == nil {
			return
		}
		s.Find = func(ctx context.Context, o *workflows.Order) (saga.Found, error) {
			found, err := find(ctx, o)
			return change(saga.CallOf(ctx), found), err
		}
	})
}

// The type `shortsighted` is a database from which the engine cannot read everything.
type shortsighted struct {
	link
	mutations
}

// Runs returns the matching runs, except the runs that the mutation hides.
func (s shortsighted) Runs(ctx context.Context, f saga.Filter) ([]*saga.Run, error) {
	runs, err := s.link.Runs(ctx, f)
	if s.runs != nil {
		runs = slices.DeleteFunc(runs, func(r *saga.Run) bool { return s.runs(f, r) })
	}
	return runs, err
}

// Run reads a run, and applies the mutation to the run.
func (s shortsighted) Run(ctx context.Context, id string) (*saga.Run, error) {
	run, err := s.link.Run(ctx, id)
	if err == nil && s.forgets != nil {
		s.forgets(run)
	}
	return run, err
}

// Each mutant removes behavior on which an invariant depends. The checker must notice each mutant within a thousand seeds. The list has
// no mutant that looks up claims before the intent is stored. There is so little time between the look-up and the storing that the
// checker did not notice such a mutant in 2,000 seeds. A test of package engine checks that the engine stores the intent before it looks
// up claims.
var mutants = map[string]mutations{
	"no undo of create-customer":            withoutUndo("create-customer"),
	"no undo of create-customer-tenant":     withoutUndo("create-customer-tenant"),
	"no undo of assign-customer-role":       withoutUndo("assign-customer-role"),
	"no undo of create-subscription":        withoutUndo("create-subscription"),
	"no undo of create-subscription-tenant": withoutUndo("create-subscription-tenant"),
	"undo trusts what create-customer-tenant returned": trusting("create-customer-tenant", func(o *workflows.Order) string {
		return o.CustomerTenantID
	}),
	"requests leave without a lease":     {transport: func(next http.RoundTripper) http.RoundTripper { return next }},
	"undos find no project":              {transport: func(next http.RoundTripper) http.RoundTripper { return gate.Fence(blind{next}) }},
	"checkpoints are not fenced":         {unfenced: true},
	"rechecks leave roles":               unrechecked("assign-customer-role"),
	"rechecks leave tenants":             unrechecked("create-customer-tenant"),
	"rechecks do not see succeeded runs": {runs: func(f saga.Filter, _ *saga.Run) bool { return slices.Contains(f.States, saga.Succeeded) }},
	"no undo of disable-tenant": switching(func(s *saga.Step[workflows.Switch]) {
		s.Undo = func(context.Context, *workflows.Switch) error { return nil }
	}),
	"re-checks leave a tenant disabled": switching(func(s *saga.Step[workflows.Switch]) {
		find := s.Find
		s.Find = func(ctx context.Context, o *workflows.Switch) (saga.Found, error) {
			found, err := find(ctx, o)
			if found == saga.Made {
				found = saga.Usable
			}
			return found, err
		}
	}),
	"no undo of change-plan": {plans: func(s *saga.Step[workflows.ChangePlan]) {
		s.Undo = func(context.Context, *workflows.ChangePlan) error { return nil }
	}},
	"re-checks leave a plan": {plans: func(s *saga.Step[workflows.ChangePlan]) {
		find := s.Find
		s.Find = func(ctx context.Context, o *workflows.ChangePlan) (saga.Found, error) {
			found, err := find(ctx, o)
			if found == saga.Made && saga.CallOf(ctx).Kind == saga.CallRecheck {
				found = saga.Usable
			}
			return found, err
		}
	}},
	"re-checks put an old plan over a newer one": {runs: func(f saga.Filter, _ *saga.Run) bool { return f.Workflow == workflows.ChangePlanName }},
	"a later plan does not oppose an earlier one": {plans: func(s *saga.Step[workflows.ChangePlan]) {
		s.Claim = func(o *workflows.ChangePlan, _ string) string { return "plan " + o.PlanID + " of " + o.SubscriptionID }
	}},
	"an open circuit never closes":       {untried: true},
	"undos do not await the late window": {lateWindow: time.Nanosecond},
	"nothing is ever found":              finding(func(*saga.Handle, saga.Found) saga.Found { return saga.Absent }),
	"re-checks do not look": {
		steps: finding(alwaysMade).steps, runs: func(f saga.Filter, _ *saga.Run) bool { return f.Live || slices.Contains(f.States, saga.Succeeded) },
	},
	"a take-over forgets the run's objects": {forgets: func(r *saga.Run) { r.Objects = nil }},
	"a take-over forgets that a run is held": {forgets: func(r *saga.Run) {
		if r.State != saga.Waiting {
			r.Hold = nil
		}
	}},
	"a lost answer counts as not done": {steps: func(w *subscribe) {
		classify := w.Classify
		w.Classify = func(err error) saga.Classification {
			v := classify(err)
			v.MaybeDone = false
			return v
		}
	}},
}

// alwaysMade changes the results of re-checks: every object that a re-check finds counts as the run's own object.
func alwaysMade(call *saga.Handle, found saga.Found) saga.Found {
	if call.Kind == saga.CallRecheck {
		return saga.Made
	}
	return found
}

// The type `blind` hides all projects from undos.
type blind struct{ next http.RoundTripper }

// RoundTrip implements [http.RoundTripper].
func (b blind) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method == http.MethodGet && saga.CallOf(req.Context()).Undoes() && strings.HasSuffix(req.URL.Path, "/projects") {
		return inProcess{says(http.StatusOK, `{"projects":[],"links":{"next":null}}`)}.RoundTrip(req)
	}
	return b.next.RoundTrip(req)
}

var killsFlag = flag.Int("kills", 0, "try each mutation of TestEveryMutationIsNoticed on this `number` of seeds, and count the seeds that notice the mutation")

// The map `noticedBy` has the first seeds that notice mutations, for those that many seeds do not notice. Such a seed is tried first, because each
// seed costs a tenth of a second. If it does not notice the mutation any more, all others are tried, too.
var noticedBy = map[string]int{
	"a run does not report differing rows":                21,
	"differing rows are not recorded":                     21,
	"differing rows are overwritten":                      21,
	"RemoveUser ignores the mark":                         22,
	"log-in does nothing":                                 22,
	"no undo of disable-tenant":                           27,
	"re-checks leave a tenant disabled":                   27,
	"repairs do not look again":                           27,
	"checkpoints are not fenced":                          43,
	"no undo of assign-role":                              43,
	"no undo of change-plan":                              43,
	"nothing is ever found":                               43,
	"re-checks do not look":                               43,
	"re-checks leave a plan":                              43,
	"rechecks do not see succeeded runs":                  43,
	"a failed posting drops its follow-up":                53,
	"set-password does nothing":                           54,
	"re-checks leave users":                               82,
	"close removes every customer":                        87,
	"a failed posting forgets the rows of its first step": 103,
	"a repair removes the tenants of others":              107,
	"a repair's removal of a tenant is no pivot":          107,
	"a foreign user counts as made":                       114,
	"passwords are handed over at any time":               118,
	"no undo of revoke-role":                              143,
	"removing a tenant is no pivot":                       143,
	"no undo of a repair's disable-project":               163,
	"removing a subscription is no pivot":                 175,
	"rechecks leave tenants":                              235,
	"a later plan does not oppose an earlier one":         239,
	"re-checks put an old plan over a newer one":          239,
	"no undo of a repair's assign-role":                   255,
	"no undo of a repair's set-resource":                  271,
	"a failed posting has no reason":                      349,
	"a take-over forgets that a run is held":              382,
	"rechecks leave roles":                                476,
	"log-in forgets that a password was handed over":      482,
}

func TestEveryMutationIsNoticed(t *testing.T) {
	for name, m := range mutants {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kills := 0
			notices := func(seed int) bool {
				changes := (m.define != nil || m.plans != nil || m.switches != nil) && !m.registers && !m.usage
				if m.registers && seed%mixed != registering || m.usage && !hasUsage(uint64(seed)) {
					return false
				}
				if changes && seed%mixed != mixed-1 { // the plan of this seed changes no subscription
					return false
				}
				p := newPlan(uint64(seed))
				if m.repairs && p.Aftermath == nil {
					return false
				} else if !m.repairs {
					p.Aftermath = nil
				}
				broken := inBubble(t, p, m, false).broken
				if len(broken) > 0 && *killsFlag == 0 {
					t.Logf("%q is noticed by seed %d: %s", name, seed, broken[0])
				}
				return len(broken) > 0
			}
			if seed, known := noticedBy[name]; known && *killsFlag == 0 && notices(seed) {
				return
			}
			for seed := range cmp.Or(*killsFlag, 1000) {
				if !notices(seed) {
					continue
				}
				if kills++; *killsFlag == 0 {
					return
				}
			}
			if kills == 0 {
				t.Error("no seed noticed the mutation")
			}
			t.Logf("killed by %d of %d seeds", kills, *killsFlag)
		})
	}
}
