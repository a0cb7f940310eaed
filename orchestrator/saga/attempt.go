package saga

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// ErrLeaseLost means that the replica's lease has ended or may have ended. When the lease ends, the contexts of calls are cancelled
// with ErrLeaseLost, and requests that were not sent yet fail with ErrLeaseLost.
var ErrLeaseLost = errors.New("the lease of this replica ended")

// ErrNoPassword means that this replica does not have the password of the run. A password is only in the memory of the replica that received
// it. If that replica ends, or if another replica executes the run, the run waits until the caller repeats the request with the password.
var ErrNoPassword = errors.New("the password is no longer in memory: repeat the request with the same key and the password")

// CallKind is the purpose of a call: do, undo, verify or re-check.
type CallKind string

// The kinds of calls. While a call is in flight, the step's row stores the kind of the call.
const (
	CallDo      CallKind = "do"
	CallUndo    CallKind = "undo"
	CallVerify  CallKind = "verify"  // call Undo again when the late window is over
	CallRecheck CallKind = "recheck" // after the end of the run: call Find, and perhaps Undo; another run of the subject may be live
)

// Call is one attempt that the engine must make. A Call is computed from the stored run alone, and can be encoded as JSON. Another
// process can therefore make the call.
type Call struct {
	RunID    string
	User     string // Run.User
	Merchant string
	Step     string // the step's name; "assign-customer-role/member" is a step with the item "member"
	Item     string
	Kind     CallKind
	Attempt  int
	Handed   int // the number of the run's password: see Run.Handed
	// Look is true if the outcome of an earlier Do is unknown: the Do may have taken effect. If Look is true, Attempt calls Find
	// before Do.
	Look bool
	// Begins is true if no call of the run has succeeded yet. If Begins is true and the run's subject is not new, the call waits
	// until all ended runs with this subject are settled.
	Begins bool
	// Input is the run's input. Input is set if Begins is true (NewSubject needs the input) or if the call is a re-check (Claim
	// needs the input).
	Input json.RawMessage
	// State is the run's input merged with the outputs of its steps.
	State json.RawMessage
}

// Undoes reports whether the call is part of the step's compensation.
func (c Call) Undoes() bool { return c.Kind != CallDo }

// Outcome is the result of a call.
type Outcome struct {
	Call      Call
	StartedAt time.Time // the engine sets StartedAt and EndedAt
	EndedAt   time.Time
	RequestID string // the request id in the upstream's last answer to the call
	Output    json.RawMessage
	Objects   []Object
	Removed   []Object
	Skipped   string // reason why the step had nothing to do, or empty; if Skipped is set, Err is set, too
	DropToken bool
	Token     string          // a user's token that the call has obtained; it is only for later calls of this replica, and never stored
	User      string          // the id of the run's user, if the call has created or found the user
	Late      bool            // a re-check has found a late effect, and has called Undo
	Kept      string          // the reason why Undo has kept the object of the step, or empty
	Err       *Classification // nil: success
}

// Env has the methods of the engine that an attempt needs.
type Env interface {
	// Token returns the user's token that is stored for a run, or ErrNoToken if the token is gone.
	Token(ctx context.Context, runID string) (string, error)
	// Password returns the password of a run, or ErrNoPassword.
	Password(runID string) (string, error)
	// Unsettled looks for an unsettled run with the same subject. A run is unsettled if it has ended, but one of its calls may
	// still change something: see Run.Unsettled. Unsettled returns the id of the unsettled run, or an empty id if there is no such
	// run.
	Unsettled(ctx context.Context) (by string, err error)
	// Claimed looks for other runs that claim an effect. A re-check of the run with the id runID has found this effect. Claimed
	// reads the live runs before the succeeded runs. Otherwise, Claimed could miss a run that succeeds between the two reads. A
	// succeeded run's claim does not count if another run succeeded later and claims an opposite of the effect: see [Not] and
	// [Setting].
	Claimed(ctx context.Context, runID, claim string) (Claimed, error)
}

// Claimed contains the result of Env.Claimed: the runs that claim an effect.
type Claimed struct {
	// Live is the id of a live run that claims the effect or an opposite of the effect. The final state of that run decides whether
	// the effect stays.
	Live      string
	Succeeded bool // whether a succeeded run claims the effect
}

// Attempt makes one call on a copy of the state. Attempt classifies the error of the call, and recovers from a panic.
//
// For a CallDo, Attempt first looks for an unsettled run with the same subject (see Run.Unsettled). If Begins is false or the
// subject is new, Attempt skips this search. While there is an unsettled run, Attempt returns an error, and the engine repeats the
// call later. If an earlier Do may have taken effect, Attempt then calls Find. If Find returns Made or Usable, the step has
// succeeded. If Find returns Absent or Foreign, or is not called, Attempt calls Do.
//
// For a CallUndo or CallVerify, Attempt calls only Undo, because Undo itself looks for the effect.
//
// For a CallRecheck, Attempt calls Find. If Find returns Made and no other run claims the effect, Attempt then calls Undo. While a
// live run claims the effect or an opposite of the effect, Attempt returns an error, and the engine repeats the call later.
func (d *Definition) Attempt(ctx context.Context, c Call, env Env) (o Outcome) {
	h := &Handle{Call: c, env: env}
	output, err := h.attempt(ctx, d)
	if err != nil && h.beforehand {
		h.objects, h.removed, h.dropToken, h.user = nil, nil, false, ""
	}
	o = Outcome{
		Call: c, Output: output, Objects: h.objects, Removed: h.removed, DropToken: h.dropToken, Token: h.token, User: h.user, Late: h.late,
		Kept: h.kept,
	}
	o.Call.Input, o.Call.State = nil, nil // the run contains the input and the state
	if err != nil {
		o.Output, o.Skipped, o.Err = nil, skipped(err), d.classified(err, h.beforehand)
	}
	return o
}

// The method `attempt` makes the call, and returns a panic as an error.
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

// The method `before` calls the function `read`, which must succeed before Do or Undo is called. If `read` returns an error, the
// attempt certainly had no effect.
func (h *Handle) before(read func() error) error {
	h.beforehand = true
	err := read()
	h.beforehand = err != nil // beforehand also stays true after a panic
	return err
}

func (h *Handle) do(ctx context.Context, d *Definition, s *step) (output json.RawMessage, err error) {
	found := Absent
	err = h.before(func() error {
		if h.Begins && !d.newSubject(h.Input) {
			by, err := h.env.Unsettled(ctx)
			if err != nil {
				return err
			}
			if by != "" {
				return waitError{
					code: "subject-rechecked", detail: fmt.Sprintf("a call of run %s, which has the same subject, may still take effect", by),
				}
			}
		}
		if h.Look && s.find != nil {
			var err error
			if found, output, err = s.find(ctx, h.State); found == Foreign {
				return nil
			}
			return err
		}
		return nil
	})
	if err != nil || found == Made || found == Usable {
		return output, err
	}
	h.objects, h.user = nil, ""
	return s.do(ctx, h.State)
}

func (h *Handle) recheck(ctx context.Context, s *step) (output json.RawMessage, err error) {
	mine := false
	err = h.before(func() error {
		found, _, err := s.find(ctx, h.State)
		h.objects, h.user = nil, ""
		if found == Foreign || skipped(err) != "" {
			return nil
		}
		if err != nil || found != Made {
			return err
		}
		claim, err := s.claim(h.Input, h.User, h.Item)
		if err != nil {
			return err
		}
		by, err := h.env.Claimed(ctx, h.RunID, claim)
		if err == nil && by.Live != "" {
			return waitError{
				code: "claimed-by-a-live-run", retryAfter: claimedRetry,
				detail: fmt.Sprintf("run %s, which has the same subject, may have adopted or changed the effect", by.Live),
			}
		}
		mine = !by.Succeeded
		return err
	})
	if err != nil || !mine {
		return nil, err
	}
	h.late = true
	return s.undo(ctx, h.State)
}

// claimedRetry is the delay between two attempts of a re-check while a live run may have adopted or changed the effect.
const claimedRetry = time.Hour

// waitError is the error of a call that must be retried later although nothing has failed.
type waitError struct {
	code       Code
	detail     string
	retryAfter time.Duration
}

func (w waitError) Error() string { return w.detail }

// panicError is the error of a step that panicked.
type panicError struct{ value any }

func (p panicError) Error() string { return fmt.Sprintf("the step panicked: %v", p.value) }

// The method `classified` returns the classification of an error. The workflow's Classify handles all errors except the errors of
// this package. An error that occurs before Do or Undo does not make the effect unknown.
func (d *Definition) classified(err error, beforehand bool) (found *Classification) {
	defer func() {
		if v := recover(); v != nil { // the workflow's Classify panicked
			found = panicked(panicError{v}, beforehand)
		}
	}()
	if p, ok := errors.AsType[panicError](err); ok {
		return panicked(p, beforehand)
	}
	if errors.Is(err, ErrLeaseLost) {
		return &Classification{Class: upstream.Transient, MaybeDone: !beforehand, Log: err, Failure: Failure{
			Code: "lease-lost", Detail: ErrLeaseLost.Error(), FixBy: FixByNobody,
		}}
	}
	if errors.Is(err, ErrNoPassword) {
		return &Classification{Class: upstream.Transient, Failure: Failure{
			Code: "password-missing", Detail: ErrNoPassword.Error(), FixBy: FixByMerchant, AwaitsPassword: true,
		}}
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

// The function `panicked` returns the classification of a panic, which blocks the run.
func panicked(p panicError, beforehand bool) *Classification {
	return &Classification{Class: upstream.Blocked, MaybeDone: !beforehand, Failure: Failure{
		Code: "step-panicked", Detail: "the step panicked; the log of the service has the cause", FixBy: FixByOperator,
	}, Log: p}
}

// Handle gives Find, Do and Undo access to the attempt that calls them: see [CallOf]. A Handle records the objects that the attempt
// made or removed, and provides the user's token and password.
type Handle struct {
	Call

	env        Env
	beforehand bool // true until Do or Undo is called
	objects    []Object
	removed    []Object
	dropToken  bool
	token      string
	user       string
	late       bool
	kept       string
}

type handleKey struct{}

// CallOf returns the attempt that ctx belongs to. Outside an attempt, CallOf returns an empty Handle.
func CallOf(ctx context.Context) *Handle {
	if h, ok := ctx.Value(handleKey{}).(*Handle); ok {
		return h
	}
	return &Handle{}
}

// Made records an object that this step made or adopted. The object is stored with the outcome, even if Do or Undo fails.
func (h *Handle) Made(o Object) {
	o.Step = h.Step
	h.objects = append(h.objects, o)
}

// Gone records that this call removed the object of this kind and id.
func (h *Handle) Gone(kind, id string) {
	h.removed = append(h.removed, Object{Step: h.Step, Kind: kind, ID: id})
}

// ForUser records that the run is for the user with this id. A step that creates the user of its run calls ForUser. The id is stored with the
// outcome, even if Do fails.
func (h *Handle) ForUser(id string) { h.user = id }

// Keep records that Undo does not remove the object of the step. The parameter `why` is the reason.
func (h *Handle) Keep(why string) { h.kept = why }

// Password returns the password that the caller sent with the request for the run. Do must get the password before it calls the upstream. If
// Password returns ErrNoPassword, Do must return this error unchanged: the run then waits for the caller.
func (h *Handle) Password() (string, error) {
	if h.env == nil {
		return "", ErrNoPassword
	}
	return h.env.Password(h.RunID)
}

// Token returns the user's token that is stored for the run. Token returns ErrNoToken if the token was used, has expired, or was
// never stored. If an earlier call has passed a token to KeepToken, and this replica still executes the run, Token returns that token.
func (h *Handle) Token(ctx context.Context) (string, error) {
	if h.env == nil {
		return "", ErrNoToken
	}
	return h.env.Token(ctx, h.RunID)
}

// ForgetToken asks the engine to delete the user's token. The engine deletes the token when it stores the outcome of the call.
func (h *Handle) ForgetToken() { h.dropToken = true }

// KeepToken passes a user's token to the later calls of the run on this replica: see Token. The token is never stored. If the replica
// releases the run, the token is gone.
func (h *Handle) KeepToken(token string) { h.token = token }
