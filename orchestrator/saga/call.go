package saga

import (
	"context"
	"errors"
	"sync"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// ErrLeaseLost is why a call's context ended, or its request was not sent: the replica's lease is not certain any more.
var ErrLeaseLost = errors.New("the lease of this replica ended")

// Call is one attempt of a Do or Undo, as they find it in their context.
type Call struct {
	RunID     string
	Merchant  string // whose run it is
	Step      string // with the item, if it has one: "assign-customer-role/member"
	Item      string
	Attempt   int
	LookFirst bool // an earlier attempt may have taken effect: look before repeating
	Undo      bool
	// Re-check: the run has ended, and others about its subject may have come after it. An Undo leaves what might be theirs.
	Recheck bool

	token string

	mu        sync.Mutex
	requestID string
	objects   []Object
	removed   []Object
	dropToken bool
}

type callKey struct{}

// CallOf gives the attempt that ctx belongs to. Outside of one it is a Call without a run.
func CallOf(ctx context.Context) *Call {
	if c, ok := ctx.Value(callKey{}).(*Call); ok {
		return c
	}
	return &Call{}
}

// Made records an object that this step made or adopted; it is stored with the outcome, whatever that is.
func (c *Call) Made(o Object) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o.Step = c.Step
	c.objects = append(c.objects, o)
}

// Removed records that the object of this kind and id was there and is gone now by this call.
func (c *Call) Removed(kind, id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.removed = append(c.removed, Object{Step: c.Step, Kind: kind, ID: id})
}

// Token is the user's token, where the run has been on this replica since it was accepted; else it is empty, and the
// store has it.
func (c *Call) Token() string { return c.token }

// DropToken says that the user's token of this run is not needed any more: it is deleted with the outcome.
func (c *Call) DropToken() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropToken = true
}

// withCall is the context of one attempt: the step finds its Call there, and the upstreams' transports their caller.
func withCall(ctx context.Context, c *Call, mayWrite func() error) context.Context {
	ctx = upstream.WithCaller(ctx, upstream.Caller{
		Merchant: c.Merchant, RequestID: "req-" + c.RunID, MayWrite: mayWrite, Answered: c.answered,
	})
	return context.WithValue(ctx, callKey{}, c)
}

// answered notes the id that an upstream gave to the last request of the attempt, for its event.
func (c *Call) answered(requestID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requestID = requestID
}
