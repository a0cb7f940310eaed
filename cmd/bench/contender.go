package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
)

// The contenders. Each is a process of its own, so that what it costs is its own: this program, started again with the
// contender's name.
const (
	bareCalls = "calls"  // the eleven calls, one after another
	floor     = "floor"  // and by hand a row before the nine and an UPDATE after each of them
	engined   = "engine" // the engine, its store, and the steps
	service   = "api"    // tenantry serve, and a portal that calls it
)

var contenders = []string{bareCalls, floor, engined, service}

// site is what a contender works with.
type site struct {
	Upstreams string // URL of both stubs
	Database  string // of its own
	Merchant  string
	Plan      string

	API, Key, Secret string // of the service
}

// subscriber makes one subscribe for the user whose token is given.
type subscriber func(ctx context.Context, token string) error

// task is what the parent writes to a contender: to keep so many subscribes in flight, each following the one before.
type task struct {
	InFlight int
	For      time.Duration
}

// record is what the contender answers.
type record struct {
	Took      time.Duration // until the last subscribe has ended
	Latencies []time.Duration
	Fault     string // of the first subscribe that failed: the benchmark ends with it
}

// contend makes one contender and does what the parent tells it until there is no more.
func contend(name string) (err error) {
	var s site
	if err := json.Unmarshal([]byte(os.Getenv(siteVariable)), &s); err != nil {
		return fmt.Errorf("reading %s: %w", siteVariable, err)
	}
	debug.SetGCPercent(400) // as tenantry serve does
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	makers := map[string]func(context.Context, site) (subscriber, func(), error){
		bareCalls: newCalls, floor: newFloor, engined: newEngine, service: newPortal,
	}
	subscribe, stop, err := makers[name](ctx, s)
	if err != nil {
		return fmt.Errorf("making contender %s: %w", name, err)
	}
	defer stop()
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var t task
		if err := in.Decode(&t); err != nil {
			if errors.Is(err, io.EOF) { // the parent is done
				return nil
			}
			return err
		}
		if err := out.Encode(t.do(ctx, subscribe)); err != nil {
			return err
		}
	}
}

// do is the closed loop.
func (t task) do(ctx context.Context, subscribe subscriber) record {
	var (
		all    sync.WaitGroup
		mu     sync.Mutex
		r      record
		faults []error
	)
	began := time.Now()
	for range t.InFlight {
		all.Go(func() {
			var latencies []time.Duration
			var fault error
			for time.Since(began) < t.For && fault == nil {
				sent := time.Now()
				fault = subscribe(ctx, "user-"+strings.ReplaceAll(uuid.NewString(), "-", ""))
				latencies = append(latencies, time.Since(sent))
			}
			mu.Lock()
			defer mu.Unlock()
			r.Latencies, faults = append(r.Latencies, latencies...), append(faults, fault)
		})
	}
	all.Wait()
	r.Took = time.Since(began)
	if err := errors.Join(faults...); err != nil {
		r.Fault = err.Error()
	}
	return r
}
