// Package saga defines workflows and runs, and the machine that decides what a run does next: which steps are called, what is
// stored before and after each call, and when the run is retried, compensated or held for an operator. The machine is pure: package
// engine stores its decisions and makes its calls.
//
// One turn of a run: [Machine.Next] gets the run as it is stored and what has happened since, and returns a [Decision]: the checkpoint
// to store, and the calls to make once that is stored. [Definition.Attempt] makes each call, and returns an [Outcome], which Next gets
// in the next turn.
//
// Read the files in this order: workflow, failure, run and event for the data; machine, accept, forward, attempt and outcome for a run
// that goes forward; backward, takeover, recheck, action and delay for all else; interfaces and store, which other packages implement;
// expect, definition and json, which are mechanics.
package saga

import (
	"context"
	"time"
)

// Found is what Find reports about a step's effect.
type Found int

// The results of Find. Absent proves nothing: a request that was given up as lost may still take effect.
const (
	Absent  Found = iota
	Made          // made by this run, which undoes it when it compensates
	Usable        // not made by this run, which may adopt it
	Foreign       // not made by this run, which must not use it
)

// Step is one remote effect and its compensation. A step does not decide when to look, retry or undo: the machine does.
type Step[S any] struct {
	// Name is stored with every run. Never rename a released step.
	Name string
	// Each, if set, returns items, such as roles: the run gets one step per item, named Name/item. It is called once, with the
	// run's input, when the run is accepted. Do and Undo find their item in CallOf(ctx).Item.
	Each func(s *S) []string
	// After names the steps that must have succeeded or been skipped before this one starts. Steps with no path between them run in
	// parallel.
	After []string
	// Satisfied, if set, reports from the state and the time alone whether there is nothing to do. It is called when the step is ready
	// to start. If it returns true, the step succeeds without a call.
	Satisfied func(s *S, now time.Time) bool
	// Find reads the effect and changes nothing upstream. It is called before a Do that may be a repetition. If it returns Made or
	// Usable, the step succeeds without Do, and what Find changed in s and the objects that it recorded are stored. It is also
	// called in a re-check, which calls Undo only if Find returns Made. In all other cases, and in every re-check, its changes and
	// objects are dropped. A step with Undo needs Find. Without Find, Do is repeated without looking first.
	Find func(ctx context.Context, s *S) (Found, error)
	// Claim returns the name of the effect. Two runs must return the same name exactly if both would make the same effect: a re-check
	// does not remove an effect that another run claims. Claim may use only the order, not what steps have added. item is the
	// step's item of Each, or empty. A step with Undo needs Claim.
	Claim func(s *S, item string) string
	// Do makes the effect. It is repeated until an attempt is known to have made it, so an earlier attempt may have made it
	// already. Therefore the upstream must refuse a second effect, by an id that the run chose or by a unique name, or the request
	// must be idempotent. What Do changes in s is stored as the step's output.
	Do func(ctx context.Context, s *S) error
	// Undo removes the effect. It is called for every step whose Do may have been called, whether or not Do succeeded, and it may
	// be repeated. Do's output is missing if its answer was lost, so Undo must find the effect by what Do was given. If there is
	// nothing to remove, Undo succeeds.
	Undo func(ctx context.Context, s *S) error
	// NoUndo replaces Undo: it says why no compensation is needed.
	NoUndo string
	// Optional allows an operator, or Do with a SkipError, to skip the step. Later steps must not need its output.
	Optional bool
}

// Workflow defines a kind of run: its steps, and how its requests and results are computed. S is the state, stored as JSON. Fields
// of S are only ever added, so that runs that an older release accepted still decode.
type Workflow[S any] struct {
	Name    string
	Version int
	Steps   []Step[S]
	// Classify decides what an error of Find, Do or Undo means for the run. No other code decides that.
	Classify func(error) Classification
	// NewSubject reports, from the order alone, whether the run chose the id of its subject. No earlier run can have touched such a
	// subject, so the run's first call does not wait for re-checks. nil means never.
	NewSubject func(S) bool
	// Retry returns the request for a run, with the id runID, that repeats a compensated one. It keeps what was asked for and reads
	// again, past all caches, what was resolved from it. It returns a *RetryRefusedError if the request cannot be accepted again.
	// Definition.Retry adds id, merchant, key and fingerprint, and the engine adds who asks.
	Retry func(ctx context.Context, input S, runID string) (Request, error)
	// Expect lists what the run should have upstream once it has succeeded, as far as the state shows.
	Expect func(S) []Expected
	// Result returns what a run shows of its state, while it executes and after it has ended.
	Result func(S) any
}
