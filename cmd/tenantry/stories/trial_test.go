package stories_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/store"
	"github.com/tenantry/tenantry/workflows"
	"github.com/tenantry/tenantry/workflows/workflowstest"
)

// crashTrial contains the functions with which the crash matrix places an order for a workflow, and starts the process that
// executes the run.
type crashTrial struct {
	workflowstest.Trial

	workflow string
	second   bool // the replicas use Identity v2.0
	// The function `order` creates the objects that an order for the workflow needs, and returns the portal that places the order. If
	// the order needs earlier runs, the replica with the address `url` executes these runs.
	order func(s *site, p place, url string) portal
	// The function `replica` returns the command that starts a replica. The test kills this replica.
	replica func() (*exec.Cmd, error)
}

// The method `title` returns the name of the trial: the workflow and, if there is one, the variant.
func (c crashTrial) title() string {
	if c.Variant == "" {
		return c.workflow
	}
	return c.workflow + ": " + c.Variant
}

// crashTrials returns the crashTrial of each workflow. If the API has no operation for a workflow, the test places the workflow's
// orders at the path /trials/.
func crashTrials(t testing.TB) (all []crashTrial) {
	t.Helper()
	for n, trial := range workflowstest.Trials() {
		definition, err := trial.Define(workflows.Deps{})
		if err != nil {
			t.Fatal(err)
		}
		c := crashTrial{Trial: trial, workflow: definition.Name, order: orderTrial(n), replica: servingTrials}
		switch definition.Name {
		case workflows.SubscribeName:
			c.order, c.replica = orderSubscribe, tenantryServe
			if trial.Variant != "" {
				c.order = orderVisitor
			}
		case workflows.SuspendName:
			c.order, c.replica = orderChange("suspend"), tenantryServe
		case workflows.ResumeName:
			c.order, c.replica = orderChange("resume", "suspend"), tenantryServe
		case workflows.UnsubscribeName:
			c.order, c.replica = orderChange("unsubscribe"), tenantryServe
		case workflows.RestoreName:
			c.order, c.replica = orderChange("restore", "unsubscribe"), tenantryServe
		case workflows.RemoveName:
			c.order = orderAfter(n)
		case workflows.CloseName:
			c.order = orderAfter(n-1, n)
		case workflows.ChangePlanName:
			c.order, c.replica = orderChange("change-plan"), tenantryServe
		case workflows.RepairName, workflows.PostUsageName:
			c.order = orderRepair(n)
		case workflows.RegisterName:
			c.order, c.replica = orderRegister, tenantryServe
		}
		all = append(all, c)
	}
	return all
}

func orderSubscribe(s *site, p place, _ string) portal {
	o := order{key: "key", token: s.newToken()}
	if p.Adopted {
		o.customer = s.adopt()
	}
	return s.portal(o)
}

// orderRegister returns a portal that registers a user. Each call of the portal sends the password.
func orderRegister(s *site, _ place, _ string) portal {
	return s.registers("key", "grace", "correct horse")
}

// orderVisitor returns a portal that registers and subscribes a user with one call.
func orderVisitor(s *site, _ place, _ string) portal {
	return s.subscribesVisitor("key", "grace", "correct horse")
}

// The method `registers` returns a portal that registers a user.
func (s *site) registers(key, name, password string) portal {
	return s.asks("/users", key, fmt.Sprintf(`{"name": %q, "password": %q}`, name, password))
}

// subscribesVisitor returns a portal that registers and subscribes a user with one call.
func (s *site) subscribesVisitor(key, name, password string) portal {
	return s.asks("/subscriptions", key, fmt.Sprintf(
		`{"plan_id": %q, "customer": {"name": "Visitor", "currency": "eur", "language": "eng"}, "user": {"name": %q, "password": %q}}`,
		s.plan.ID, name, password))
}

// The method `asks` returns a portal that sends a body to a path of the merchant.
func (s *site) asks(path, key, body string) portal {
	return portal{key, func(url string) (answer, error) {
		req, err := http.NewRequest(http.MethodPost, url+"/v1/merchants/"+s.merchant.ID+path, strings.NewReader(body))
		if err != nil {
			return answer{}, err
		}
		req.SetBasicAuth(s.apiKey, s.secret)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Idempotency-Key", key)
		return s.do(req)
	}}
}

// orderChange returns a function that orders the change `name` of a subscription. The function first creates the subscription, and
// makes the changes in the list `before`.
func orderChange(name string, before ...string) func(*site, place, string) portal {
	return func(s *site, _ place, url string) portal {
		var made struct {
			Result struct {
				SubscriptionID string `json:"subscription_id"`
			}
		}
		s.unmarshal(s.insist(url, s.portal(order{key: "made", token: s.newToken()})).Body, &made)
		for _, change := range before {
			s.insist(url, s.changes(made.Result.SubscriptionID, change))
		}
		return s.changes(made.Result.SubscriptionID, name)
	}
}

// orderAfter returns a function that first creates and ends a subscription. Then the function makes one run for each of the given
// trials, except the last trial. Each run follows the previous run. The function returns a portal that orders the run of the last
// trial.
func orderAfter(trials ...int) func(*site, place, string) portal {
	return func(s *site, p place, url string) portal {
		before := s.insist(url, orderChange("unsubscribe")(s, p, url)).Run
		last := len(trials) - 1
		for _, n := range trials[:last] {
			before = s.insist(url, s.trialPortal(n, trialOrder{Key: fmt.Sprint("trial", n), Before: before})).Run
		}
		return s.trialPortal(trials[last], trialOrder{Key: "key", Before: before})
	}
}

// orderRepair returns a function for the trial n. The function first makes the earlier runs that the trial needs, and then does the
// trial's damage. The function returns a portal that orders the run of the trial.
func orderRepair(n int) func(*site, place, string) portal {
	trials := workflowstest.Trials()
	return func(s *site, p place, url string) portal {
		o := trialOrder{Key: "key", Ground: s.ground()}
		o.Before = s.insist(url, s.portal(order{key: "made", token: s.newToken()})).Run
		o.First = o.Before
		objects := s.runOf(o.Before).Objects
		subscription := objects[slices.IndexFunc(objects, func(o saga.Object) bool { return o.Kind == "subscription" })].ID
		for _, before := range followed(trials[n]) {
			if before.Operation != "" {
				o.Before = s.insist(url, s.changes(subscription, before.Operation)).Run
				continue
			}
			at := slices.IndexFunc(trials, func(t workflowstest.Trial) bool { return maps.Equal(t.Do, before.Do) })
			o.Before = s.insist(url, s.trialPortal(at, trialOrder{Key: fmt.Sprint("trial", at), Before: o.Before})).Run
		}
		s.damage(trials[n], o)
		return s.trialPortal(n, o)
	}
}

// The function `followed` returns the trials whose runs must succeed before the given trial, in the sequence of the runs. The result
// does not contain the first of these trials.
func followed(trial workflowstest.Trial) (chain []workflowstest.Trial) {
	for before := trial.Follows; before.Follows != nil; before = before.Follows {
		chain = append([]workflowstest.Trial{*before}, chain...)
	}
	return chain
}

// The method `damage` does the damage of a trial, and adds the changed objects to s.byHand.
func (s *site) damage(trial workflowstest.Trial, o trialOrder) {
	s.t.Helper()
	g := o.Ground
	g.Before, g.First = s.runOf(o.Before), s.runOf(o.First)
	refs, err := trial.Damage(s.t.Context(), g, workflowstest.ByHand{Billing: s.billing, Keystone: func(method, path, body string) ([]byte, error) {
		var sent any
		if body != "" {
			sent = json.RawMessage(body)
		}
		var answer json.RawMessage
		if method != http.MethodGet {
			s.cloud.call(s.t, method, strings.TrimPrefix(path, "/v3"), sent, nil)
			return nil, nil
		}
		s.cloud.call(s.t, method, strings.TrimPrefix(path, "/v3"), nil, &answer)
		return answer, nil
	}})
	s.ok(err)
	s.byHand = append(s.byHand, refs...)
}

// runOf reads a run from the database.
func (s *site) runOf(id string) *saga.Run {
	s.t.Helper()
	st, err := store.Open(s.t.Context(), s.database, secretKey)
	s.ok(err)
	defer func() { _ = st.Close() }()
	r, err := st.Run(s.t.Context(), id)
	s.ok(err)
	return r
}

// The method `changes` returns a portal that changes a subscription. The name of the change is also the idempotency key.
func (s *site) changes(subscription, name string) portal {
	body := `{"why": "a test"}`
	if name == "change-plan" {
		body = fmt.Sprintf(`{"why": "a test", "plan_id": %q}`, s.newPlan.ID)
	}
	return s.change(name, subscription, name, body)
}

// The method `change` returns a portal that changes a subscription, with the given idempotency key and body.
func (s *site) change(key, subscription, name, body string) portal {
	return portal{key, func(url string) (answer, error) {
		req, err := http.NewRequest(http.MethodPost, url+"/v1/merchants/"+s.merchant.ID+"/subscriptions/"+subscription+"/"+name,
			strings.NewReader(body))
		if err != nil {
			return answer{}, err
		}
		req.SetBasicAuth(s.apiKey, s.secret)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Idempotency-Key", key)
		return s.do(req)
	}}
}

// refusedCall returns the call of the step c.Refused. If an upstream refuses this call, the run is compensated.
func (c crashTrial) refusedCall() string {
	for _, p := range c.Places {
		if p.Step == c.Refused && !p.Undo {
			return p.Call
		}
	}
	return ""
}

// The type `place` is the Do or the Undo of one step of a run.
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

// The method `has` reports whether the instant i occurs during the Do or Undo. If the Do or Undo calls no upstream, the instants
// `calling` and `carriedOut` do not occur.
func (p place) has(i instant) bool { return p.Call != "" || i != calling && i != carriedOut }

// The method `states` returns the step's state at three times: before the intent is stored, after the intent is stored, and after
// the outcome is stored.
func (p place) states() (before, under, after string) {
	if p.Undo {
		return "succeeded", "undoing", "undone"
	}
	return "", "running", "succeeded" // a step that has not begun has no row in the database
}

// The method `state` returns the state that the step has in the database at the instant i.
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

// undoesRefused reports whether the place is the Undo of the step whose call is refused. In this case, the upstream executes the call
// before it refuses the call.
func (c crashTrial) undoesRefused(p place) bool { return p.Undo && p.Step == c.Refused }

// stateAt returns the state that the step of the place has in the database at the instant i.
func (c crashTrial) stateAt(p place, i instant) string {
	if c.undoesRefused(p) && i == beforeIntent { // one statement stores the refusal and the intent of the undo
		return "running"
	}
	return p.state(i)
}

// The method `end` returns the state in which the run must end. If the refusal is not stored, the next replica finds the effect of the
// refused call, and the run succeeds.
func (c crashTrial) end(p place, i instant) string {
	if p.Undo && (!c.undoesRefused(p) || i != beforeIntent) {
		return "compensated"
	}
	return "succeeded"
}
