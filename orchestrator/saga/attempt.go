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

// Call is one attempt that is to be made. It holds no more than what is stored, so that it may travel.
type Call struct {
	RunID    string
	Merchant string
	Step     string // with the item, if it has one: "assign-customer-role/member"
	Item     string
	Kind     CallKind
	Attempt  int
	// Look says that an earlier Do may have taken effect: look before repeating it.
	Look bool
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
}

// Attempt makes one call: it runs the step's Do or Undo on a copy of the state, classifies its error and recovers its
// panic.
func (d *Definition) Attempt(ctx context.Context, c Call, env Env) (o Outcome) {
	h := &Handle{Call: c, env: env}
	code := d.step(c.Step)
	do := code.do
	if c.Undoes() {
		do = code.undo
	}
	output, err := h.run(ctx, do)
	o = Outcome{Call: c, Output: output, Objects: h.objects, Removed: h.removed, DropToken: h.dropToken}
	o.Call.State = nil // it is in the run
	if err != nil {
		o.Output, o.Skipped, o.Err = nil, skipped(err), d.classified(err)
	}
	return o
}

// panicError is what is left of a panic in a step.
type panicError struct{ value any }

func (p panicError) Error() string { return fmt.Sprintf("the step panicked: %v", p.value) }

// run makes the call. A panic in it is an error.
func (h *Handle) run(ctx context.Context, do call) (output json.RawMessage, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = panicError{v}
		}
	}()
	return do(context.WithValue(ctx, handleKey{}, h), h.State)
}

// classified asks the workflow what an error means, except for those that are the engine's own.
func (d *Definition) classified(err error) *Classification {
	p, panicked := errors.AsType[panicError](err)
	switch {
	case errors.Is(err, ErrLeaseLost):
		return &Classification{Class: upstream.Transient, MaybeDone: true, Failure: Failure{Code: "lease-lost", Detail: err.Error()}}
	case panicked:
		return &Classification{Class: upstream.Blocked, MaybeDone: true, Failure: Failure{
			Code: "step-panicked", Detail: p.Error(), FixBy: FixByOperator,
		}}
	}
	found := d.classify(err)
	return &found
}

// Handle is how Do and Undo find their attempt: see [CallOf].
type Handle struct {
	Call

	env       Env
	objects   []Object
	removed   []Object
	dropToken bool
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
