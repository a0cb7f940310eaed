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

// These are the names of the contenders. Each contender runs in a separate process, so that its cost can be measured. The parent process
// starts this program again, with the contender's name as the argument.
const (
	bareCalls = "calls"  // the eleven calls of a subscribe, in sequence
	floor     = "floor"  // the eleven calls, with an INSERT before the nine writes and an UPDATE after each write
	engined   = "engine" // the engine with its store and the steps, without the API
	service   = "api"    // `tenantry serve`, called by a portal
)

var contenders = []string{bareCalls, floor, engined, service}

// The type `site` has the addresses and ids that a contender needs.
type site struct {
	Upstreams string // URL of both stubs
	Database  string // URL of the contender's database
	Merchant  string
	Plan      string

	API, Key, Secret string // address and API key of the service, for the portal
}

// The type `subscriber` makes one subscribe for the user of the token.
type subscriber func(ctx context.Context, token string) error

// The type `task` tells a contender the number of subscribes to keep in flight, and the duration.
type task struct {
	InFlight int
	For      time.Duration
}

// The type `record` is a contender's result.
type record struct {
	Took      time.Duration // from the start until the last subscribe ended
	Latencies []time.Duration
	Fault     string // the errors of failed subscribes; an error ends the benchmark
}

// The function `contend` runs one contender. The contender executes the tasks that the parent process sends to standard input,
// until the input ends.
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
		return fmt.Errorf("starting contender %s: %w", name, err)
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

// The method `do` runs InFlight workers. Each worker starts its next subscribe when its previous subscribe has ended.
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
