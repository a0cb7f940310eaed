package saga

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Definition is a Workflow that Define has checked. A Definition handles states as JSON, so it does not depend on the Go type of
// the states.
type Definition struct {
	Name      string
	Version   int
	Unaudited bool    // see Workflow.Unaudited
	Meaning   Meaning // see Workflow.Meaning

	steps    []step
	classify func(error) Classification
	retry    func(ctx context.Context, input json.RawMessage, runID string) (Request, error)
	expect   func(state json.RawMessage) ([]Expected, error)
	result   func(state json.RawMessage) (json.RawMessage, error)

	newSubject func(input json.RawMessage) bool
	then       func(state json.RawMessage, end End) ([]FollowUp, error) // nil: the workflow has no follow-ups
}

type call func(ctx context.Context, state json.RawMessage) (output json.RawMessage, err error)

type finder func(ctx context.Context, state json.RawMessage) (found Found, output json.RawMessage, err error)

// The type `step` is a Step whose functions take the state as JSON.
type step struct {
	Name      string
	After     []string
	Each      bool
	Optional  bool
	Pivot     bool
	effect    Effect
	undoText  string // how a dry run describes the compensation
	find      finder // nil: the step has no Find
	claim     func(input json.RawMessage, user, item string) (string, error)
	items     func(input json.RawMessage) ([]string, error)
	satisfied func(state json.RawMessage, now time.Time) bool // nil: the step is never satisfied
	do, undo  call
}

// Define checks a workflow, and returns all faults of the workflow in one error. A workflow needs a name, a version of at least 1,
// steps, Classify, Retry, Expect and Result. A step needs a unique name without a slash, Do, and one of Undo, NoUndo and Pivot. A step
// with Undo also needs Find and Claim. A step with Pivot also needs Find, and may not be Optional. A step that only reads or checks needs
// NoUndo, and has no Find. The names in After must be names of existing steps. No step may depend on itself, directly or through other steps.
func Define[S any](w Workflow[S]) (*Definition, error) {
	d := &Definition{Name: w.Name, Version: w.Version, Unaudited: w.Unaudited, Meaning: w.Meaning, classify: w.Classify}
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("workflow %q: "+format, append([]any{w.Name}, args...)...))
	}
	if w.Name == "" || w.Version < 1 || len(w.Steps) == 0 || w.Classify == nil || w.Retry == nil ||
		w.Expect == nil || w.Result == nil {
		fault("a workflow needs a name, a version of at least 1, steps, Classify, Retry, Expect and Result")
	}
	for _, s := range w.Steps {
		switch {
		case s.Name == "" || strings.Contains(s.Name, "/"):
			fault("step %q needs a name that has no slash", s.Name)
		case d.step(s.Name) != nil:
			fault("step %q is defined twice", s.Name)
		case s.Do == nil:
			fault("step %q has no Do", s.Name)
		case count(s.Undo != nil, s.NoUndo != "", s.Pivot != "") != 1:
			fault("step %q needs one of Undo, NoUndo and Pivot", s.Name)
		case s.Pivot != "" && (s.Find == nil || s.Optional):
			fault("step %q has Pivot: it needs Find, and may not be Optional", s.Name)
		case s.Undo != nil && (s.Find == nil || s.Claim == nil):
			fault("step %q has Undo and therefore needs Find and Claim", s.Name)
		case s.Effect.reads() && (s.NoUndo == "" || s.Find != nil):
			fault("step %q only reads: it needs NoUndo, and may have no Find", s.Name)
		}
		d.steps = append(d.steps, erase(s))
	}
	for _, s := range d.steps {
		for _, after := range s.After {
			if d.step(after) == nil {
				fault("step %q must start after step %q, which does not exist", s.Name, after)
			}
		}
	}
	if circle := d.circle(); circle != "" {
		fault("step %q depends on itself", circle)
	}
	d.expect = func(state json.RawMessage) ([]Expected, error) {
		s, err := decode[S](state)
		if err != nil {
			return nil, err
		}
		return w.Expect(*s), nil
	}
	d.result = func(state json.RawMessage) (json.RawMessage, error) {
		s, err := decode[S](state)
		if err != nil {
			return nil, err
		}
		return json.Marshal(w.Result(*s))
	}
	d.retry = func(ctx context.Context, input json.RawMessage, runID string) (Request, error) {
		s, err := decode[S](input)
		if err != nil {
			return Request{}, err
		}
		return w.Retry(ctx, *s, runID)
	}
	d.newSubject = func(input json.RawMessage) bool {
		s, err := decode[S](input)
		return err == nil && w.NewSubject != nil && w.NewSubject(*s)
	}
	if w.Then != nil {
		d.then = w.then
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return d, nil
}

// Claims reports whether a run claims an effect. A run claims an effect if the Claim of one of its steps returns the effect's name.
// If this release does not know a step of the run, Claims returns true.
func (d *Definition) Claims(r *Run, effect string) (bool, error) {
	return d.anyClaim(r, func(claim string) bool { return claim == effect })
}

// Opposes reports whether a run claims an opposite of an effect: see [Not] and [Setting]. If this release does not know a step of
// the run, Opposes returns true.
func (d *Definition) Opposes(r *Run, effect string) (bool, error) {
	return d.anyClaim(r, func(claim string) bool { return opposite(claim, effect) })
}

// anyClaim reports whether the function `is` returns true for a claim of the run.
func (d *Definition) anyClaim(r *Run, is func(claim string) bool) (bool, error) {
	for i := range r.Steps {
		s := d.step(r.Steps[i].Name)
		if s == nil {
			return true, nil
		}
		if s.claim == nil {
			continue
		}
		claim, err := s.claim(r.Input, r.User, r.Steps[i].item())
		if err != nil {
			return false, fmt.Errorf("reading the claims of run %s: %w", r.ID, err)
		}
		if is(claim) {
			return true, nil
		}
	}
	return false, nil
}

// Not returns the claim on the opposite of an effect. For example, a step that revokes a role claims the opposite of the role
// assignment. A step that enables a tenant claims the opposite of the disabled state.
func Not(effect string) string {
	if opposite, found := strings.CutPrefix(effect, "not "); found {
		return opposite
	}
	return "not " + effect
}

// Setting returns the claim on a value of a setting. A setting has one value at a time. Claims on different values of the same
// setting are opposites of each other.
func Setting(of, value string) string { return of + setTo + value }

const setTo = " = "

// The function `opposite` reports whether two claims name effects that exclude each other.
func opposite(a, b string) bool {
	ofA, valueA, hasA := strings.Cut(a, setTo)
	ofB, valueB, hasB := strings.Cut(b, setTo)
	return a == Not(b) || hasA && hasB && ofA == ofB && valueA != valueB
}

// Retry returns the request for a new run that repeats the compensated run r: see Workflow.Retry. The new run gets the id runID.
func (d *Definition) Retry(ctx context.Context, r *Run, runID string) (Request, error) {
	q, err := d.retry(ctx, r.Input, runID)
	q.ID, q.Workflow, q.Merchant, q.RetryOf = runID, r.Workflow, r.Merchant, r.ID
	q.Key, q.Fingerprint = r.Key, r.Fingerprint
	return q, err
}

// Result computes the result of a run from the run's input and the outputs of its steps.
func (d *Definition) Result(r *Run) (json.RawMessage, error) {
	state, err := r.Data()
	if err != nil {
		return nil, err
	}
	return d.result(state)
}

// The method `rows` returns the step rows of a new run. A step with Each has one row per item. The After of a row lists all rows of
// the steps that must be done first.
func (d *Definition) rows(input json.RawMessage) ([]StepRow, error) {
	instances := map[string][]string{}
	var all []StepRow
	for _, name := range d.sorted() {
		s := d.step(name)
		var after []string
		for _, a := range s.After {
			after = append(after, instances[a]...)
		}
		items, err := s.items(input)
		if err != nil {
			return nil, fmt.Errorf("laying out step %q: %w", name, err)
		}
		names := []string{name}
		if s.Each {
			names = nil
			for _, item := range items {
				names = append(names, strings.TrimSuffix(name+"/"+item, "/"))
			}
		}
		for _, n := range names {
			all = append(all, StepRow{
				Name: n, Position: len(all), After: slices.Clone(after), Optional: s.Optional, Pivot: s.Pivot, State: StepPending,
			})
		}
		if len(names) == 0 { // the step has no rows, so its successors wait for its predecessors instead
			names = after
		}
		instances[name] = names
	}
	return all, nil
}

// The function `count` returns the number of true conditions.
func count(conditions ...bool) (n int) {
	for _, c := range conditions {
		if c {
			n++
		}
	}
	return n
}

// The method `step` returns this release's code for a step, or nil if this release has no code for the step. The argument `name` is
// the stored name of the step, which may end with a slash and an item.
func (d *Definition) step(name string) *step {
	family, _, _ := strings.Cut(name, "/")
	for i := range d.steps {
		if d.steps[i].Name == family {
			return &d.steps[i]
		}
	}
	return nil
}

// The method `sorted` returns the names of the steps. Each step comes after the steps in its After. If this rule allows several sequences,
// the steps have the sequence of the definition. If a step depends on itself or on a missing step, the step can never start, and `sorted`
// leaves the step out.
func (d *Definition) sorted() []string {
	var names []string
	for len(names) < len(d.steps) {
		before := len(names)
		for _, s := range d.steps {
			ready := !slices.ContainsFunc(s.After, func(a string) bool { return !slices.Contains(names, a) })
			if ready && !slices.Contains(names, s.Name) {
				names = append(names, s.Name)
			}
		}
		if len(names) == before {
			break
		}
	}
	return names
}

// The method `circle` returns the name of a step that can never start although its After names only existing steps. If there is no
// such step, `circle` returns "".
func (d *Definition) circle() string {
	names := d.sorted()
	for _, s := range d.steps {
		known := !slices.ContainsFunc(s.After, func(a string) bool { return d.step(a) == nil })
		if known && !slices.Contains(names, s.Name) {
			return s.Name
		}
	}
	return ""
}

// The function `erase` converts a Step to the type `step`, which handles the state as JSON.
func erase[S any](s Step[S]) step {
	erased := step{
		Name: s.Name, After: s.After, Each: s.Each != nil, Optional: s.Optional, Pivot: s.Pivot != "",
		effect: s.Effect, undoText: undoText(s.Effect, s.NoUndo, s.Pivot),
		do:    eraseCall(s.Do),
		undo:  eraseCall(s.Undo),
		items: func(json.RawMessage) ([]string, error) { return nil, nil },
	}
	if s.Find != nil {
		erased.find = func(ctx context.Context, state json.RawMessage) (found Found, output json.RawMessage, err error) {
			output, err = eraseCall(func(ctx context.Context, s2 *S) (err error) {
				found, err = s.Find(ctx, s2)
				return err
			})(ctx, state)
			return found, output, err
		}
	}
	if s.Claim != nil {
		erased.claim = func(input json.RawMessage, user, item string) (string, error) {
			order, err := decode[S](input)
			if err != nil {
				return "", err
			}
			if of, ok := any(order).(interface{ SetUser(id string) }); ok && user != "" {
				of.SetUser(user)
			}
			return s.Claim(order, item), nil
		}
	}
	if s.Satisfied != nil {
		erased.satisfied = func(state json.RawMessage, now time.Time) (satisfied bool) {
			defer func() {
				if recover() != nil { // a panic of Satisfied counts as false, so that Do is called
					satisfied = false
				}
			}()
			decoded, err := decode[S](state)
			return err == nil && s.Satisfied(decoded, now)
		}
	}
	if s.Each != nil {
		erased.items = func(input json.RawMessage) ([]string, error) {
			state, err := decode[S](input)
			if err != nil {
				return nil, err
			}
			return s.Each(state), nil
		}
	}
	return erased
}

// eraseCall returns a call that decodes the state, calls f with the decoded state, and returns the fields that f changed.
func eraseCall[S any](f func(context.Context, *S) error) call {
	if f == nil {
		return nil
	}
	return func(ctx context.Context, state json.RawMessage) (json.RawMessage, error) {
		s, err := decode[S](state)
		if err != nil {
			return nil, err
		}
		before, err := json.Marshal(s)
		if err != nil {
			return nil, fmt.Errorf("encoding the state: %w", err)
		}
		if err := f(ctx, s); err != nil {
			return nil, err
		}
		return changes(before, s)
	}
}
