package stories_test

import (
	"os/exec"
	"testing"

	"github.com/tenantry/tenantry/workflows"
	"github.com/tenantry/tenantry/workflows/workflowstest"
)

// crashTrial describes a workflow to the crash matrix: how its runs are ordered, and which process executes them.
type crashTrial struct {
	workflowstest.Trial

	workflow string
	// order creates what the order of a place needs, and returns the portal that makes its call.
	order func(*site, place) portal
	// replica is the command of the process that is started and killed.
	replica func() (*exec.Cmd, error)
}

// crashTrials returns those of all workflows. A workflow that the API does not have is ordered at a path of its own.
func crashTrials(t testing.TB) (all []crashTrial) {
	t.Helper()
	for n, trial := range workflowstest.Trials() {
		definition, err := trial.Define(workflows.Deps{})
		if err != nil {
			t.Fatal(err)
		}
		c := crashTrial{Trial: trial, workflow: definition.Name, order: orderTrial(n), replica: servingTrials}
		if definition.Name == workflows.SubscribeName {
			c.order, c.replica = orderSubscribe, tenantryServe
		}
		all = append(all, c)
	}
	return all
}

func orderSubscribe(s *site, p place) portal {
	o := order{key: "key", token: s.newToken()}
	if p.Adopted {
		o.customer = s.adopt()
	}
	return s.portal(o)
}

// refusedCall returns the call of the last step. An upstream refuses it if a run is to compensate.
func (c crashTrial) refusedCall() string {
	for _, p := range c.Places {
		if p.Step == c.Refused && !p.Undo {
			return p.Call
		}
	}
	return ""
}

// place is one Do or Undo of a run.
type place workflowstest.Place

func (p place) String() string {
	name := p.Step
	if p.Undo {
		name = "undo of " + name
	}
	if p.Adopted {
		name += ", customer adopted"
	}
	return name
}

// has reports whether a place has the instant.
func (p place) has(i instant) bool { return p.Call != "" || i != calling && i != carriedOut }

// states returns the step's states before its intent is stored, after that, and with its outcome.
func (p place) states() (before, under, after string) {
	if p.Undo {
		return "succeeded", "undoing", "undone"
	}
	return "", "running", "succeeded" // a step that has not begun has no row
}

// state returns the step's state in the database at an instant.
func (p place) state(i instant) string {
	before, under, after := p.states()
	switch i {
	case beforeIntent:
		return before
	case stored:
		return after
	default:
		return under
	}
}

// end returns the state in which the run must end.
func (p place) end() string {
	if p.Undo {
		return "compensated"
	}
	return "succeeded"
}
