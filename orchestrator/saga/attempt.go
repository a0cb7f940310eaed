package saga

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// ErrLeaseLost is why a call's context ended, or its request was not sent: the replica's lease is not certain any more.
var ErrLeaseLost = errors.New("the lease of this replica ended")

// CallKind is what a call of a step is for.
type CallKind string

// The kinds of calls. It is stored in the step while the call is in flight.
const (
	CallDo      CallKind = "do"
	CallUndo    CallKind = "undo"
	CallVerify  CallKind = "verify"  // an Undo once more, when the late window is over
	CallRecheck CallKind = "recheck" // an Undo of a run that has ended: runs about its subject may have come after it
)

// Call is one attempt that is to be made. All of it follows from the run as it is stored with the call's intent, and it encodes as
// JSON: another process may make the call.
type Call struct {
	RunID    string
	Merchant string
	Step     string // with the item, if it has one: "assign-customer-role/member"
	Item     string
	Kind     CallKind
	Attempt  int
	// Look says that an earlier Do may have taken effect: Find goes before it.
	Look bool
	// Begins says that no call of the run has succeeded yet: unless its subject is new, the call waits for re-checks about that.
	Begins bool
	// Input is the run's input, for what is computed from the order alone: NewSubject where the call Begins, Claim in a re-check.
	// For others it is nil.
	Input json.RawMessage
	// State is the run's input with what its steps have added.
	State json.RawMessage
}

// Undoes reports whether the call is of the step's Undo.
func (c Call) Undoes() bool { return c.Kind != CallDo }

// Outcome is what came of a call.
type Outcome struct {
	Call      Call
	StartedAt time.Time // StartedAt and EndedAt are noted by whoever made the call
	EndedAt   time.Time
	RequestID string // the upstream's own, of the last request
	Output    json.RawMessage
	Objects   []Object
	Removed   []Object
	Skipped   string // why there was nothing to do; Err is set as well
	DropToken bool
	Err       *Classification // nil: success
}

// Env is what a step reaches of whoever makes its call.
type Env interface {
	// Token returns the user's token that waits for a run. It returns ErrNoToken if it is gone.
	Token(ctx context.Context, runID string) (string, error)
	// Rechecking returns the ended run about the same subject whose re-check may still remove something; empty if there is
	// none.
	Rechecking(ctx context.Context) (by string, err error)
	// Claimed reports who claims an effect that a re-check of the run has found. It asks the runs that live before those that
	// have succeeded, so that one that succeeds meanwhile is seen as one or the other.
	Claimed(ctx context.Context, runID, claim string) (Claimed, error)
}

// Claimed says who claims an effect.
type Claimed struct {
	Live      string // a run that has not ended; whose the effect is will be seen when it has
	Succeeded bool   // a run that has succeeded
}

// Attempt makes one call, on a copy of the state. It classifies the error and recovers a panic.
//
//	do        if the run begins, re-checks about its subject are awaited; if an earlier Do may have taken effect, Find, and
//	          what is made or usable ends the step; then Do
//	undo      Undo, which looks itself
//	verify    the same
//	recheck   Find; if this run's own effect is there and no other run claims it, Undo
func (d *Definition) Attempt(ctx context.Context, c Call, env Env) (o Outcome) {
	h := &Handle{Call: c, env: env}
	output, err := h.attempt(ctx, d)
	if err != nil && h.beforehand {
		h.objects, h.removed, h.dropToken = nil, nil, false
	}
	o = Outcome{Call: c, Output: output, Objects: h.objects, Removed: h.removed, DropToken: h.dropToken}
	o.Call.Input, o.Call.State = nil, nil // they are in the run
	if err != nil {
		o.Output, o.Skipped, o.Err = nil, skipped(err), d.classified(err, h.beforehand)
	}
	return o
}

// attempt makes the call. A panic in it is an error.
func (h *Handle) attempt(ctx context.Context, d *Definition) (output json.RawMessage, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = panicError{v}
		}
	}()
	ctx = context.WithValue(ctx, handleKey{}, h)
	s := d.step(h.Step)
	switch h.Kind {
	case CallDo:
		return h.do(ctx, d, s)
	case CallRecheck:
		return h.recheck(ctx, s)
	case CallUndo, CallVerify:
	}
	return s.undo(ctx, h.State)
}

// before runs what goes before a Do or an Undo. If it fails, Do or Undo was not called: the error does not make the effect uncertain.
func (h *Handle) before(read func() error) error {
	h.beforehand = true
	err := read()
	h.beforehand = err != nil // and a panic leaves it true
	return err
}

func (h *Handle) do(ctx context.Context, d *Definition, s *step) (output json.RawMessage, err error) {
	found := Absent
	err = h.before(func() error {
		if h.Begins && !d.newSubject(h.Input) {
			by, err := h.env.Rechecking(ctx)
			if err != nil {
				return err
			}
			if by != "" {
				return waitError{code: "subject-rechecked", detail: "late effects of run " + by + " about the same subject are being looked for"}
			}
		}
		if h.Look && s.find != nil {
			var err error
			found, output, err = s.find(ctx, h.State)
			return err
		}
		return nil
	})
	if err != nil || found == Made || found == Usable {
		return output, err
	}
	h.objects = nil
	return s.do(ctx, h.State)
}

func (h *Handle) recheck(ctx context.Context, s *step) (output json.RawMessage, err error) {
	mine := false
	err = h.before(func() error {
		found, _, err := s.find(ctx, h.State)
		h.objects = nil
		if err != nil || found != Made {
			return err
		}
		claim, err := s.claim(h.Input, h.Item)
		if err != nil {
			return err
		}
		by, err := h.env.Claimed(ctx, h.RunID, claim)
		if err == nil && by.Live != "" {
			return waitError{
				code: "claimed-by-a-live-run", detail: "run " + by.Live + " about the same subject may have adopted it", retryAfter: claimedRetry,
			}
		}
		mine = !by.Succeeded
		return err
	})
	if err != nil || !mine {
		return nil, err
	}
	return s.undo(ctx, h.State)
}

// claimedRetry is when a re-check comes back to an effect that a live run may claim.
const claimedRetry = time.Hour

// waitError makes a call be tried again later, without a fault of anybody.
type waitError struct {
	code, detail string
	retryAfter   time.Duration
}

func (w waitError) Error() string { return w.detail }

// panicError is what is left of a panic in a step.
type panicError struct{ value any }

func (p panicError) Error() string { return fmt.Sprintf("the step panicked: %v", p.value) }

// classified asks the workflow what an error means, except for those that are the engine's own. One that came beforehand adds no
// doubt about the effect.
func (d *Definition) classified(err error, beforehand bool) (found *Classification) {
	defer func() {
		if v := recover(); v != nil { // in the workflow's Classify
			found = panicked(panicError{v}, beforehand)
		}
	}()
	if p, ok := errors.AsType[panicError](err); ok {
		return panicked(p, beforehand)
	}
	if errors.Is(err, ErrLeaseLost) {
		return &Classification{Class: upstream.Transient, MaybeDone: !beforehand, Failure: Failure{Code: "lease-lost", Detail: err.Error()}}
	}
	if w, ok := errors.AsType[waitError](err); ok {
		return &Classification{
			Class: upstream.Transient, RetryAfter: w.retryAfter, Failure: Failure{Code: w.code, Detail: w.detail, FixBy: FixByNobody},
		}
	}
	c := d.classify(err)
	c.MaybeDone = c.MaybeDone && !beforehand
	return &c
}

// panicked blocks the run.
func panicked(p panicError, beforehand bool) *Classification {
	return &Classification{Class: upstream.Blocked, MaybeDone: !beforehand, Failure: Failure{
		Code: "step-panicked", Detail: p.Error(), FixBy: FixByOperator,
	}}
}

// Handle is how Do and Undo find their attempt: see [CallOf].
type Handle struct {
	Call

	env        Env
	beforehand bool // neither Do nor Undo has begun
	objects    []Object
	removed    []Object
	dropToken  bool
}

type handleKey struct{}

// CallOf returns the attempt that ctx belongs to. Outside of one it has no run.
func CallOf(ctx context.Context) *Handle {
	if h, ok := ctx.Value(handleKey{}).(*Handle); ok {
		return h
	}
	return &Handle{}
}

// Made records an object that this step made or adopted; it is stored with the outcome, whatever that is.
func (h *Handle) Made(o Object) {
	o.Step = h.Step
	h.objects = append(h.objects, o)
}

// Gone records that the object of this kind and id was there and is gone now by this call.
func (h *Handle) Gone(kind, id string) {
	h.removed = append(h.removed, Object{Step: h.Step, Kind: kind, ID: id})
}

// Token returns the user's token that waits for the run. It returns ErrNoToken if it was used, has expired, or was never
// stored.
func (h *Handle) Token(ctx context.Context) (string, error) {
	if h.env == nil {
		return "", ErrNoToken
	}
	return h.env.Token(ctx, h.RunID)
}

// ForgetToken says that the user's token is not needed any more: it is deleted with the outcome.
func (h *Handle) ForgetToken() { h.dropToken = true }
