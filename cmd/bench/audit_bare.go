package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// bareReads sends the requests for the lists that an audit needs, and drops the answers. No audit that reads these lists can be faster than
// bareReads. bareReads reads Keystone and BillingStack at the same time. It reads the list of users last, because an audit reads only the
// users that have roles or should have roles.
func (w *world) bareReads(ctx context.Context) (took time.Duration, bytes int64, err error) {
	reader := &http.Client{Transport: &http.Transport{}}
	defer reader.CloseIdleConnections()
	var sum atomic.Int64
	lane := func(ctx context.Context, base string, paths ...string) error {
		for _, path := range paths {
			n, err := drop(ctx, reader, base+path, w.token)
			if err != nil {
				return err
			}
			sum.Add(n)
		}
		return nil
	}
	began := time.Now()
	lanes, working := errgroup.WithContext(ctx)
	lanes.Go(func() error {
		return lane(working, w.url, "/projects?domain_id="+anyDomain+"&name__istartswith=bs-", "/role_assignments", "/roles", "/role_inferences")
	})
	lanes.Go(func() error {
		return lane(working, "http://"+w.billing+"/v2/merchants/"+w.Merchant, "/customers", "/subscriptions", "/plans")
	})
	if err := lanes.Wait(); err != nil {
		return 0, 0, err
	}
	err = lane(ctx, w.url, "/users?domain_id="+anyDomain)
	return time.Since(began), sum.Load(), err
}

// The function `drop` sends a GET request, and returns the size of the answer.
func drop(ctx context.Context, reader *http.Client, url, token string) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody) //nolint:gosec // the address is the benchmark's own
	if err != nil {
		return 0, err
	}
	req.Header.Set("X-Auth-Token", token)
	resp, err := reader.Do(req) //nolint:gosec // the address is the benchmark's own
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != http.StatusOK {
		err = errors.Join(err, fmt.Errorf("GET %s: %s", url, resp.Status))
	}
	return n, errors.Join(err, resp.Body.Close())
}
