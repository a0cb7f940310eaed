package engine_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/tenantry/tenantry/orchestrator/engine"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream/gate"
	"github.com/tenantry/tenantry/store/storetest"
)

// The type `transport` counts the requests that are sent.
type transport struct{ sent atomic.Int64 }

func (c *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	c.sent.Add(1)
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
}

// A process may sleep until its lease has ended, and wake up just before it writes a request.
func TestNothingIsSentOnceTheLeaseIsLost(t *testing.T) {
	w := newWorld()
	out := &transport{}
	fenced := gate.Fence(out)
	send := func(ctx context.Context) error { return post(ctx, fenced, "http://upstream") }
	result := make(chan error, 1)
	w.hooks["do a"] = func(ctx context.Context, _ int) error { return send(ctx) }
	w.hooks["do b"] = func(ctx context.Context, _ int) error {
		<-ctx.Done() // the lease is lost
		result <- send(ctx)
		return nil
	}
	cut := &mortal{}
	b := serve(t, open(t, storetest.SQLite(t)), w, func(o *engine.Options) { cut.Queue = o.Queue; o.Lease, o.Queue = shortLease, cut })
	b.start(t, nil)
	waitFor(t, func() bool { return out.sent.Load() == 1 }) // a request is sent while the lease is held
	cut.dead.Store(true)
	if err := <-result; !errors.Is(err, saga.ErrLeaseLost) || out.sent.Load() != 1 {
		t.Errorf("got %v, and %d requests were sent in all; want ErrLeaseLost and one", err, out.sent.Load())
	}
}

// The lease may also end while the process connects to the upstream. Connecting takes most of the time before a request is written.
func TestNothingIsSentOnceTheLeaseIsLostWhileConnecting(t *testing.T) {
	var sent atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { sent.Add(1) }))
	defer server.Close()
	connecting, lost, result := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	fenced := gate.Fence(&http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			close(connecting)
			<-lost
			return (&net.Dialer{}).DialContext(ctx, network, address)
		},
	})
	w := newWorld()
	w.hooks["do a"] = func(ctx context.Context, _ int) error {
		go func() { <-ctx.Done(); close(lost) }()
		result <- post(ctx, fenced, server.URL)
		return nil
	}
	cut := &mortal{}
	b := serve(t, open(t, storetest.SQLite(t)), w, func(o *engine.Options) { cut.Queue = o.Queue; o.Lease, o.Queue = shortLease, cut })
	b.start(t, nil)
	<-connecting
	cut.dead.Store(true)
	if err := <-result; !errors.Is(err, saga.ErrLeaseLost) || sent.Load() != 0 {
		t.Errorf("got %v, and %d requests were sent; want ErrLeaseLost and none", err, sent.Load())
	}
}

// The function `post` sends a request that is not cancelled when ctx ends.
func post(ctx context.Context, through http.RoundTripper, url string) error {
	req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodPost, url, nil)
	if err != nil {
		return err
	}
	resp, err := through.RoundTrip(req)
	if err == nil {
		err = resp.Body.Close()
	}
	return err
}
