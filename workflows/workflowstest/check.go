package workflowstest

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/workflows"
)

// Broken is one promise that was not kept.
type Broken struct {
	Invariant string // its name: "one-each"
	Run       string // empty where no single run is to blame
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

// invariants are all that is checked, each by its name.
var invariants = []struct {
	name  string
	check func(*view, report)
}{
	{"one-chain", oneChain},
	{"one-each", oneEach},
	{"succeeded-whole", succeededWhole},
	{"compensated-clean", compensatedClean},
	{"adopted-untouched", adoptedUntouched},
	{"no-orphan", noOrphan},
	{"no-surprise-role", noSurpriseRole},
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
	{"no-secret", noSecret},
}

// Check tells which promises are broken; none if it is empty. The order is that of the invariants and, within one, of
// the runs and objects in s: the same s gives the same answer.
//
// A request that an upstream carries out later than the engine's LateWindow after its sending breaks compensated-clean
// until the re-check that removes it: let the re-checks be made before.
func Check(s Seen) []Broken {
	var all []Broken
	v, undecodable := newView(s)
	all = append(all, undecodable...)
	for _, i := range invariants {
		i.check(v, func(run, detail string, objects ...string) {
			all = append(all, Broken{i.name, run, objects, detail})
		})
	}
	return all
}

// report notes that the invariant under check is broken.
type report func(run, detail string, objects ...string)

// view is what is seen, with the orders of the runs.
type view struct {
	Seen
	ordered []ordered
	byID    map[string]*saga.Run
}

// ordered is a run and what it is to do.
type ordered struct {
	run   *saga.Run
	order workflows.Order
}

func newView(s Seen) (*view, []Broken) {
	v := &view{Seen: s, byID: map[string]*saga.Run{}}
	var broken []Broken
	for _, r := range s.Runs {
		v.byID[r.ID] = r
		o, err := orderOf(r)
		if err != nil {
			broken = append(broken, Broken{Invariant: "decodable", Run: r.ID, Detail: err.Error()})
			continue
		}
		v.ordered = append(v.ordered, ordered{r, o})
	}
	return v, broken
}

// orderOf is the run's input with the outputs of its steps.
func orderOf(r *saga.Run) (o workflows.Order, err error) {
	if err := json.Unmarshal(r.Input, &o); err != nil {
		return o, fmt.Errorf("decoding the input: %w", err)
	}
	for _, s := range r.Steps {
		if len(s.Output) == 0 {
			continue
		}
		if err := json.Unmarshal(s.Output, &o); err != nil {
			return o, fmt.Errorf("decoding the output of step %s: %w", s.Name, err)
		}
	}
	return o, nil
}
