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

// The contenders. Each runs in a process of its own, so that its cost can be measured: this program, started again with the
// contender's name.
const (
	bareCalls = "calls"  // the eleven calls, one after another
	floor     = "floor"  // also an INSERT before the nine calls and an UPDATE after each of them
	engined   = "engine" // the engine, its store, and the steps
	service   = "api"    // tenantry serve, and a portal that calls it
)

var contenders = []string{bareCalls, floor, engined, service}

// site is what a contender uses.
type site struct {
	Upstreams string // URL of both stubs
	Database  string // of this contender
	Merchant  string
	Plan      string

	API, Key, Secret string // of the service; for its portal
}

// subscriber makes one subscribe for the user of the token.
type subscriber func(ctx context.Context, token string) error

// task tells a contender to keep this number of subscribes in flight, each started when another ends.
type task struct {
	InFlight int
	For      time.Duration
}

// record is a contender's result.
type record struct {
	Took      time.Duration // time until the last subscribe ended
	Latencies []time.Duration
	Fault     string // of the first subscribe that failed, which ends the benchmark
}

// contend runs one contender. It does the tasks of the parent until there are no more.
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
			if errors.Is(err, io.EOF) { // there are no more tasks
				return nil
			}
			return err
		}
		if err := out.Encode(t.do(ctx, subscribe)); err != nil {
			return err
		}
	}
}

// do runs a closed loop: each worker starts a subscribe when its previous one has ended.
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
