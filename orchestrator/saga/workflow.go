// Package saga is the vocabulary of workflows and the machine that decides about their runs: which steps are called next,
// what is stored before and after each call, and when a run is retried, compensated or given to an operator. The machine is
// pure; package engine executes its decisions.
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
	// Satisfied, if set, reports from the state alone that there is nothing to do when the step's turn comes. The step has
	// succeeded then, without a call.
	Satisfied func(s *S, now time.Time) bool
	// Find reads the effect and changes nothing upstream. It is called before a Do that may be a repetition: if it finds the effect
	// made or usable, that ends the step, and what Find changed in s and the objects that it recorded are stored as Do's are. It is
	// also called before the Undo of a re-check, which goes on only if the effect is made. In all other cases, and in every
	// re-check, the changes and objects are not stored. A step with Undo needs Find; without Find, Do is repeated without a look.
	Find func(ctx context.Context, s *S) (Found, error)
	// Claim names the effect among those of all runs, from the order alone: what a re-check finds is left if another run
	// names it too. A step with Undo needs it. The item is that of Each, else empty.
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
	// NewSubject reports, from the order alone, that no other run can be about the run's subject, because the run named it.
	// nil: others can be.
	NewSubject func(S) bool
	// Retry accepts once more what a compensated run was asked for, for a run with a new id: it keeps the request and reads
	// anew, past all caches, what was resolved from it. A *RetryRefusedError says why it cannot be accepted. Merchant, key,
	// fingerprint and who asks are the engine's to add.
	Retry func(ctx context.Context, input S, runID string) (Request, error)
	// Expect lists what the run is to have upstream when it succeeds, as far as the state tells.
	Expect func(S) []Expected
	// Result is what a run shows of its state while it works and when it has ended.
	Result func(S) any
}
