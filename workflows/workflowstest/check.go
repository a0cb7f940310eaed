package workflowstest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/workflows"
)

// Broken is one violation of an invariant.
type Broken struct {
	Invariant string // name of the invariant, such as "one-each"
	Run       string // id of the run; empty if the violation does not belong to a single run
	Objects   []string
	Detail    string
}

func (b Broken) String() string {
	text := b.Invariant + ": "
	if b.Run != "" {
		text += "run " + b.Run + ": "
	}
	text += b.Detail
	if len(b.Objects) > 0 {
		text += ": " + strings.Join(b.Objects, ", ")
	}
	return text
}

// The variable `invariants` lists the names and functions of the invariants that Check checks.
var invariants = []struct {
	name  string
	check func(*view, report)
}{
	{"one-chain", oneChain},
	{"one-each", oneEach},
	{"succeeded-whole", succeededWhole},
	{"compensated-clean", compensatedClean},
	{"users", users},
	{"adopted-untouched", adoptedUntouched},
	{"no-orphan", noOrphan},
	{"no-surprise-role", noSurpriseRole},
	{"ledger-true", ledgerTrue},
	{"closed-under-after", closedUnderAfter},
	{"no-do-after-undo", noDoAfterUndo},
	{"one-outcome", oneOutcome},
	{"epochs", epochs},
	{"delete-intended", deleteIntended},
	{"one-at-a-time", oneAtATime},
	{"ends-or-waits", endsOrWaits},
	{"held-stays", heldStays},
	{"same-answer", sameAnswer},
	{"own-merchant", ownMerchant},
	{"usage-posted", usagePosted},
	{"usage-recorded", usageRecorded},
	{"usage-awaited", usageAwaited},
	{"no-secret", noSecret},
}

// Check returns all violations of the invariants. If the parameter `only` has names of invariants, Check checks only these. If Check is
// called again with the same parameters, it returns the same violations in the same sequence.
//
// If an upstream carries out a request after the late window, the invariant compensated-clean is violated until a re-check
// removes the effect. Wait for all re-checks before you call Check.
func Check(s Seen, only ...string) []Broken {
	var all []Broken
	v, undecodable := newView(s)
	all = append(all, undecodable...)
	for _, i := range invariants {
		if len(only) > 0 && !slices.Contains(only, i.name) {
			continue
		}
		i.check(v, func(run, detail string, objects ...string) {
			all = append(all, Broken{i.name, run, objects, detail})
		})
	}
	return all
}

// The type `report` is a function that adds a violation of the checked invariant.
type report func(run, detail string, objects ...string)

// The type `view` has the observed objects and runs, and the expected objects of each run.
type view struct {
	Seen
	now, others things // the objects of Now and Others
	ordered     []ordered
	byID        map[string]*saga.Run
	concerned   map[string][]ordered // by rootOf(id) of each object that the run expects or has stored, and by each mark of the run
}

func newView(s Seen) (*view, []Broken) {
	v := &view{Seen: s, byID: map[string]*saga.Run{}}
	definitions, err := Definitions(workflows.Deps{Installation: s.Installation})
	if err != nil {
		return v, []Broken{{Invariant: "decodable", Detail: err.Error()}}
	}
	var broken []Broken
	v.dropByHand()
	v.now = indexed(slices.DeleteFunc(s.Now.things(), func(t thing) bool { return v.isByHand(t.kind, t.id) }))
	v.others = indexed(s.Others.things())
	for _, r := range v.Runs {
		v.byID[r.ID] = r
		expected, err := expectedOf(definitions, r)
		if err != nil {
			broken = append(broken, Broken{Invariant: "decodable", Run: r.ID, Detail: err.Error()})
			continue
		}
		expected = slices.DeleteFunc(expected, func(e saga.Expected) bool { return v.isByHand(e.Kind, e.ID) })
		v.add(ordered{r, expected})
	}
	return v, broken
}

// The method `add` adds a run to the view.
func (v *view) add(x ordered) {
	v.ordered = append(v.ordered, x)
	if v.concerned == nil {
		v.concerned = map[string][]ordered{}
	}
	keys := map[string]bool{}
	for _, e := range x.expected {
		keys[rootOf(e.ID)] = true
	}
	for _, o := range x.run.Objects {
		keys[rootOf(o.ID)] = true
	}
	for _, mark := range marksOf(x.run.ID) {
		keys[mark] = true
	}
	for key := range keys {
		v.concerned[key] = append(v.concerned[key], x)
	}
}

// The method `about` returns the runs that expect or have stored the object with the given id. For a role assignment, the result also has
// the runs about its project. Without this index, the time that a check takes would grow with the square of the number of runs.
func (v *view) about(id string) []ordered { return v.concerned[rootOf(id)] }

// rootOf returns the id of the project if the given id is the id of a role assignment. Otherwise, it returns the given id.
func rootOf(id string) string {
	root, _, _ := strings.Cut(id, "/")
	return root
}

// The method `isByHand` reports whether the object is in ByHand, or is a role assignment on an object in ByHand.
func (v *view) isByHand(kind, id string) bool {
	return slices.ContainsFunc(v.ByHand, func(o saga.ObjectRef) bool {
		return o.Kind == kind && o.ID == id || kind == roleAssignment && strings.HasPrefix(id, o.ID+"/")
	})
}

// dropByHand removes the objects in ByHand from the removals and the runs.
func (v *view) dropByHand() {
	if len(v.ByHand) == 0 {
		return
	}
	v.Removals = slices.DeleteFunc(slices.Clone(v.Removals), func(r Removal) bool { return v.isByHand(r.Kind, r.ID) })
	v.Runs = slices.Clone(v.Runs)
	for i, r := range v.Runs {
		changed := *r
		changed.Objects = slices.DeleteFunc(slices.Clone(r.Objects), func(o saga.Object) bool { return v.isByHand(o.Kind, o.ID) })
		v.Runs[i] = &changed
	}
}

func expectedOf(definitions []*saga.Definition, r *saga.Run) ([]saga.Expected, error) {
	for _, d := range definitions {
		if d.Name == r.Workflow {
			return d.Expect(r)
		}
	}
	return nil, fmt.Errorf("the run's workflow %q is not defined", r.Workflow)
}
