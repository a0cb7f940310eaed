package saga_test

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/store/storetest"
)

// transport counts what gets out.
type transport struct{ sent atomic.Int64 }

func (c *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	c.sent.Add(1)
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
}

// A process that slept past its lease goes on where it was: just before a request is written.
func TestNothingIsSentOnceTheLeaseIsLost(t *testing.T) {
	w := newWorld()
	out := &transport{}
	fenced := saga.Fence(out)
	send := func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodPost, "http://upstream", nil)
		if err != nil {
			return err
		}
		resp, err := fenced.RoundTrip(req)
		if err == nil {
			err = resp.Body.Close()
		}
		return err
	}
	result := make(chan error, 1)
	w.hooks["do a"] = func(ctx context.Context, _ int) error { return send(ctx) }
	w.hooks["do b"] = func(ctx context.Context, _ int) error {
		<-ctx.Done() // the lease is lost
		result <- send(ctx)
		return nil
	}
	cut := &mortal{}
	b := serve(t, open(t, storetest.SQLite(t)), w, func(o *saga.Options) { cut.Queue = o.Queue; o.Queue = cut })
	b.start(t, nil)
	waitFor(t, func() bool { return out.sent.Load() == 1 }) // under the lease it passes
	cut.dead.Store(true)
	if err := <-result; !errors.Is(err, saga.ErrLeaseLost) || out.sent.Load() != 1 {
		t.Errorf("got %v, and %d requests were sent in all; want ErrLeaseLost and one", err, out.sent.Load())
	}
}
