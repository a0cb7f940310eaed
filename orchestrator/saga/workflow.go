// Package saga defines workflows, runs, and the machine that makes the decisions about a run. The machine decides which steps are
// called, what is stored before and after each call, and when the run is retried, compensated or held for an operator. The machine
// is pure: it makes no calls. Package engine stores the machine's decisions and makes the calls.
//
// A run executes in turns. In each turn, [Machine.Next] gets the stored run and an [Input] with the new events of the run, and
// returns a [Decision]. The decision contains a checkpoint and calls. The engine stores the checkpoint and then makes each call
// with [Definition.Attempt], which returns an [Outcome]. Machine.Next gets these outcomes in a later turn.
//
// Read the files in the order in which they are named here. The files workflow, failure, run and event contain the data. The files
// machine, accept, forward, attempt and outcome contain the decisions and calls of a run that goes forward. The files backward,
// takeover, recheck, action, followup and delay contain the other decisions of the machine. The file dryrun contains dry runs,
// which change nothing. The files interfaces and store contain interfaces that other packages implement. The files expect,
// definition and json contain helpers.
package saga

import (
	"context"
	"time"
)

// Found is the result of Find: whether the effect of a step exists, and whether the run may use the effect.
type Found int

// The results of Find. After the result Absent, the effect may still appear, because an earlier request without an answer may still
// take effect.
const (
	Absent  Found = iota
	Made          // this run made the effect, and undoes it when the run compensates
	Usable        // this run did not make the effect, and may adopt it
	Foreign       // this run did not make the effect, and must not use it
)

// Effect says what Do of a step does upstream.
type Effect int

// The effects of steps.
const (
	Creates Effect = iota // Do creates an object
	Changes               // Do changes an object that exists
	Removes               // Do removes an object
	Reads                 // Do reads data for later steps, and changes nothing upstream
	Checks                // Do reads and fails if a condition does not hold; it changes neither the state nor anything upstream
)

// The method `reads` reports whether Do changes nothing upstream.
func (e Effect) reads() bool { return e == Reads || e == Checks }

// Step is one remote effect and its compensation. The machine decides when Find, Do and Undo are called.
type Step[S any] struct {
	// Name is stored with every run. Never rename a released step.
	Name string
	// Each, if set, returns items, such as roles. The run gets one step per item, with the name Name/item. If only some runs need
	// the step, Each returns one empty item for these runs, and an empty list for the other runs. The step with the empty item has the name
	// Name, without a slash. Each is called once, with the run's input, when the run is accepted. Do and Undo find their item in
	// CallOf(ctx).Item.
	Each func(s *S) []string
	// After names the steps that must have succeeded or been skipped before this step starts. Steps that do not depend on each other
	// run in parallel.
	After []string
	// Satisfied, if set, reports whether the step has nothing to do. Satisfied may use only the state and the time. Satisfied is
	// called when the step is ready to start. If Satisfied returns true, the step succeeds without a call.
	Satisfied func(s *S, now time.Time) bool
	// Effect says what Do does upstream. A dry run calls Do only if Effect is Reads or Checks.
	Effect Effect
	// Find looks for the effect and changes nothing upstream. Find is called before Do if an earlier attempt of Do may have made the
	// effect. If Find then returns Made or Usable, the step succeeds and Do is not called. The changes that Find made to s and the
	// objects that Find recorded are then stored. If Find returns Absent or Foreign, the changes and objects of Find are dropped. A
	// re-check also calls Find, and calls Undo if Find returns Made. A re-check never stores the changes and objects of Find. A step
	// with Undo needs Find. If a step has no Find, Do is repeated without a search for the effect.
	//
	// A dry run calls Find at every step, even if the steps in After would create objects that do not exist yet. If the step's effect needs
	// such an object, Find must then return Absent. If Find returns Foreign, Find also returns the error that Do would return. Only a dry
	// run uses this error. If Do would skip the step, Find may return the SkipError that Do would return.
	Find func(ctx context.Context, s *S) (Found, error)
	// Claim returns the name of the effect. If two runs would make the same effect, Claim must return the same name for both runs.
	// If two runs would make different effects, Claim must return different names. A re-check does not remove an effect that
	// another run claims. The claim of a succeeded run does not count if another run succeeded later and claims an opposite of the
	// effect: see [Not] and [Setting]. Claim may use only the run's input, not the outputs of steps. There is one exception: if *S has the
	// method SetUser(id string), SetUser is called before Claim as soon as the run has created its user. The parameter `item` is the step's
	// item, or empty if the step has no Each. A step with Undo needs Claim.
	Claim func(s *S, item string) string
	// Do makes the effect. Do is repeated until an attempt is known to have succeeded, so an earlier attempt may already have made the
	// effect. Therefore, the request should be idempotent. A request that is not idempotent must contain a unique name, or an id
	// that the run chose. The upstream then refuses a second effect. Do's changes to s are stored as the step's output. Steps that
	// run in parallel must not change the same field. However, if the field is a map, each of these steps may add its own keys.
	Do func(ctx context.Context, s *S) error
	// Undo removes the effect. Undo is called for every step whose Do may have been called, even if Do failed. Undo may be repeated.
	// If the answer to Do was lost, the output of Do is missing. Undo must therefore be able to find the effect with the state that Do
	// received. If there is nothing to remove, Undo must return nil.
	Undo func(ctx context.Context, s *S) error
	// NoUndo is the reason why the step needs no compensation. NoUndo is set if Undo and Pivot are not set.
	NoUndo string
	// Pivot is the reason why the effect cannot be undone, or empty. After the first attempt of Do, the run can no longer be
	// compensated or cancelled. If the run cannot continue, it waits for an operator. A step with Pivot needs Find.
	Pivot string
	// Optional allows an operator to skip the step, and allows Do to skip the step with a SkipError. Later steps must not need the
	// output of an Optional step.
	Optional bool
}

// Workflow defines a kind of run: its steps, and how its requests and results are computed. S is the type of the state, which is
// stored as JSON. New fields may be added to S. Never remove or change a field, because runs of older releases must still be
// decoded.
type Workflow[S any] struct {
	Name    string
	Version int
	Steps   []Step[S]
	// Classify decides how the run reacts to an error of Find, Do or Undo. No other code makes this decision.
	Classify func(error) Classification
	// NewSubject reports whether the run begins without waiting for re-checks and late calls of earlier runs with the same subject.
	// NewSubject may use only the run's input. It returns true if the subject is a new id that was generated for this run, so that no
	// earlier run has it. It also returns true if earlier calls cannot disturb the run. If a subject has many runs, these runs must not
	// wait, because a run that waits reads all runs of its subject. If NewSubject is nil, all runs of this workflow wait.
	NewSubject func(S) bool
	// Retry returns the request for a new run that repeats a compensated run. The new run gets the id runID. Values that the
	// original request contained do not change. Values that were looked up for the original request are looked up again, without
	// caches. Retry returns a *RetryRefusedError if the request cannot be accepted again. Definition.Retry adds id, merchant, key
	// and fingerprint, and the engine adds the caller.
	Retry func(ctx context.Context, input S, runID string) (Request, error)
	// Expect lists the objects that should exist upstream when the run has succeeded. Expect omits an object as long as the state
	// does not contain enough data about the object.
	Expect func(S) []Expected
	// Result returns the part of the state that is shown as the run's result. Result is called for runs in any state.
	Result func(S) any
	// The function Then returns the follow-ups to put or to drop when the run ends. If Then is nil, the workflow has no follow-ups.
	// The follow-ups are stored in the same write as the end of the run. If the write fails, Then is called again. Therefore the
	// result of Then must depend only on the arguments. After the end of the run, Then is never called, not even by a re-check. If
	// Then panics, or if an input in its result cannot be encoded, the run does not end, but waits for an operator. A retry calls
	// Then again.
	Then func(s S, end End) []FollowUp
	// Meaning says what a run means for the user. Explanations of runs show it.
	Meaning Meaning
	// Unaudited says that the runs of the workflow make no objects that an audit checks. Audits do not read these runs.
	Unaudited bool
}

// Meaning says what a run of a workflow means for the user whom the run is about. Each field is one or two sentences.
type Meaning struct {
	Open   string // while the run may still succeed
	Failed string // when the run is being compensated, or is compensated
	Done   string // when the run has succeeded
}
