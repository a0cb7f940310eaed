package saga

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
)

// ErrLeaseLost is why a call's context ended, or its request was not sent: the replica's lease is not sure any more.
var ErrLeaseLost error = leaseLostError{}

type leaseLostError struct{}

func (leaseLostError) Error() string { return "the lease of this replica ended" }

// NotSent tells the clients of the upstreams that Fence let nothing out.
func (leaseLostError) NotSent() bool { return true }

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

	lease func() error
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
	return &Call{lease: func() error { return nil }}
}

// OnBehalfOf gives a context for calls outside of a run that are made for a merchant: CallOf tells whose they are.
func OnBehalfOf(ctx context.Context, merchant string) context.Context {
	return context.WithValue(ctx, callKey{}, &Call{Merchant: merchant, lease: func() error { return nil }})
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

// Fence goes around the transport of an upstream's client. Before a request of a step is handed on, and again just before
// it is written, when its connection stands, it checks that the replica still holds its lease, so that a process that
// slept past it writes nothing; and it notes the upstream's request id for the attempt's event. Requests outside of a step pass.
func Fence(next http.RoundTripper) http.RoundTripper { return fence{next} }

type fence struct{ next http.RoundTripper }

// RoundTrip sends the request if the lease still holds.
func (f fence) RoundTrip(req *http.Request) (*http.Response, error) {
	c := CallOf(req.Context())
	if err := c.lease(); err != nil {
		return nil, err
	}
	var kept atomic.Bool
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		if c.lease() != nil {
			kept.Store(true)
			_ = info.Conn.Close() // net/http asks nobody any more before it writes, but on a closed connection it cannot
		}
	}}
	resp, err := f.next.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	if err != nil && kept.Load() {
		return nil, ErrLeaseLost
	}
	if err == nil {
		c.mu.Lock()
		c.requestID = Clean(resp.Header.Get("X-Openstack-Request-Id"))
		c.mu.Unlock()
	}
	return resp, err
}
