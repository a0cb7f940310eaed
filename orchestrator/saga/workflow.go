// Package saga is the vocabulary of workflows and the machine that decides about their runs: which steps are called next,
// what is stored before and after each call, and when a run is retried, compensated or given to an operator. The machine is
// pure; package engine executes its decisions.
//
// One turn of a run: [Machine.Next] is given the run as it is stored and what has happened since. It returns a [Decision]: the
// checkpoint to store, and the calls to make once that is stored. Each call is made by [Definition.Attempt], and its [Outcome] is
// what Next is given in the next turn.
//
// To read the package, take the files in this order: workflow, failure, run, event; machine, accept, forward, attempt, outcome;
// backward, takeover, recheck, action, delay; then interfaces and store, which others implement; and expect, definition and json,
// which are mechanics.
package saga

import (
	"context"
	"time"
)

// Found is what a Find has found of a step's effect.
type Found int

// What can be found. Absence proves nothing: a request that was given up as lost may still take effect.
const (
	Absent  Found = iota
	Made          // by this run, which has to undo it if it is compensated
	Usable        // somebody else's, which the run may use as its own
	Foreign       // somebody else's, which is in the way
)

// Step is one remote effect and its compensation. Whoever makes the calls decides when to look, retry or undo: a step has
// no flags.
type Step[S any] struct {
	// Name is stored with every run: never renamed once released.
	Name string
	// Each, if set, makes one step an item, named Name/item: one step a role, say. It is asked once, at acceptance,
	// with the run's input; Do and Undo find the item in CallOf(ctx).Item.
	Each func(s *S) []string
	// After names the steps that must have succeeded or been skipped before this one. Steps with no path between
	// them run side by side.
	After []string
	// Satisfied, if set, is asked once all that the step comes After is done. True: the step succeeds without a call. It may use the
	// state and the time only.
	Satisfied func(s *S, now time.Time) bool
	// Find reads the effect and changes nothing upstream. Before a Do that may be a repetition: if Find returns Made or Usable, the
	// step has succeeded, and what Find changed in s and the objects that it recorded are stored as Do's are. Before the Undo of a
	// re-check: only Made lets the Undo be called, and nothing that Find changed is stored. A step with Undo needs Find; without
	// Find, Do is repeated without a look.
	Find func(ctx context.Context, s *S) (Found, error)
	// Claim returns a text that is equal for two runs exactly if both would make the same effect. It may use the order only, not what
	// steps have added. A re-check leaves an effect that another run claims too. A step with Undo needs Claim. The item is
	// that of Each, else empty.
	Claim func(s *S, item string) string
	// Do makes the effect. It is repeated until an attempt is known to have made it, so an earlier attempt may have made it too: the
	// upstream must refuse a second one, by an id that the run chose or a unique name, or the request must be idempotent. What Do
	// changes in s is stored as the step's output.
	Do func(ctx context.Context, s *S) error
	// Undo removes the effect. It runs for every step begun, finished or not, maybe more than once. It is given the state as
	// Do was, so it must find the effect by what Do was given. Nothing to remove is success.
	Undo func(ctx context.Context, s *S) error
	// NoUndo says why no compensation is needed; it stands instead of Undo.
	NoUndo string
	// Optional says that an operator may skip the step: nothing after it needs what it would have given.
	Optional bool
}

// Workflow is a definition: a name and its steps. S is the state: JSON with fields only ever added, so that a run
// accepted by an older release still decodes.
type Workflow[S any] struct {
	Name    string
	Version int
	Steps   []Step[S]
	// Classify says what an error of Find, Do or Undo means for the run. It is the only place where that is decided.
	Classify func(error) Classification
	// NewSubject reports, from the order alone, that the run chose the id of its subject: no earlier run can have touched it, and the
	// run's first call need not wait for re-checks. nil means never.
	NewSubject func(S) bool
	// Retry accepts once more what a compensated run was asked for, for a run with a new id: it keeps the request and reads
	// anew, past all caches, what was resolved from it. A *RetryRefusedError says why it cannot be accepted. Definition.Retry
	// adds id, merchant, key and fingerprint, and the engine who asks.
	Retry func(ctx context.Context, input S, runID string) (Request, error)
	// Expect lists what the run is to have upstream when it succeeds, as far as the state tells.
	Expect func(S) []Expected
	// Result is what a run shows of its state while it works and when it has ended.
	Result func(S) any
}
