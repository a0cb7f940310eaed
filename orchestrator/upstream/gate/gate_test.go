package gate_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tenantry/tenantry/orchestrator/upstream"
	"github.com/tenantry/tenantry/orchestrator/upstream/gate"
)

// The function `enter` calls g.Enter for a merchant, and ends the test if g.Enter fails.
func enter(t *testing.T, g *gate.Gate, merchant string) func(int, error) {
	t.Helper()
	leave, err := g.Enter(upstream.WithCaller(t.Context(), upstream.Caller{Merchant: merchant}))
	if err != nil {
		t.Fatal(err)
	}
	return leave
}

// The function `queue` makes one call for each element of merchants, from the first to the last. The returned function `order` lists the
// calls that the gate has let through so far.
func queue(t *testing.T, g *gate.Gate, merchants ...string) (order func() []string) {
	var mu sync.Mutex
	var called []string
	for i, merchant := range merchants {
		go func() {
			leave := enter(t, g, merchant)
			mu.Lock()
			called = append(called, fmt.Sprint(merchant, i))
			mu.Unlock()
			time.Sleep(time.Second) // one second of the simulated clock
			leave(http.StatusOK, nil)
		}()
		synctest.Wait()
	}
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(called)
	}
}

func TestMerchantsAreServedRoundRobinEachInItsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(gate.Gates).Of("it", 1)
		leave := enter(t, g, "bulk")
		order := queue(t, g, "bulk", "bulk", "bulk", "one", "other", "bulk", "one")
		leave(http.StatusOK, nil)
		time.Sleep(time.Minute)
		want := []string{"bulk0", "one3", "other4", "bulk1", "one6", "bulk2", "bulk5"}
		if got := order(); !slices.Equal(got, want) {
			t.Errorf("turns: %v, want %v", got, want)
		}
	})
}

func TestNoMoreThanItsConnectionsAreUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(gate.Gates).Of("it", 3)
		order := queue(t, g, slices.Repeat([]string{"m"}, 10)...)
		for n, seconds := 3, 0; n <= 9; n, seconds = n+3, seconds+1 {
			if got := len(order()); got != n {
				t.Errorf("%d were served after %d s, want %d", got, seconds, n)
			}
			time.Sleep(time.Second)
			synctest.Wait()
		}
		time.Sleep(time.Minute)
	})
}

func TestACallThatLeavesTheQueueLosesNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(gate.Gates).Of("it", 1)
		leave := enter(t, g, "m")
		cause := errors.New("enough")
		ctx, giveUp := context.WithCancelCause(upstream.WithCaller(t.Context(), upstream.Caller{Merchant: "m"}))
		gone := make(chan error)
		go func() {
			_, err := g.Enter(ctx)
			gone <- err
		}()
		synctest.Wait()
		order := queue(t, g, "m")
		giveUp(cause)
		err := <-gone
		if !errors.Is(err, cause) || !upstream.NotSent(err) {
			t.Errorf("got %v; want %v, and that nothing was sent", err, cause)
		}
		leave(http.StatusOK, nil)
		leave(http.StatusOK, nil) // a second call of leave must not free a second place
		synctest.Wait()
		if got := order(); len(got) != 1 {
			t.Errorf("served: %v, want the call that still waited", got)
		}
		if next := queue(t, g, "m"); len(next()) != 0 {
			t.Error("two calls hold the place at once")
		}
		time.Sleep(time.Minute)
	})
}

func TestPlacesAreNeverLost(t *testing.T) {
	g := new(gate.Gates).Of("it", 2)
	var all sync.WaitGroup
	for i := range 2000 { // some calls get a place just when their contexts end
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%7)*100*time.Microsecond)
			defer cancel()
			if leave, err := g.Enter(ctx); err == nil {
				leave(http.StatusOK, nil)
			}
		})
	}
	all.Wait()
	first, second := enter(t, g, "m"), enter(t, g, "m")
	first(http.StatusOK, nil)
	second(http.StatusOK, nil)
}

// errKept is the error of a request that was not sent.
var errKept error = &upstream.NotSentError{Err: errors.New("the lease has ended")}

// The function `fail` sends the given number of calls through a gate. Each call ends without an answer.
func fail(t *testing.T, g *gate.Gate, times int) {
	t.Helper()
	for range times {
		enter(t, g, "m")(0, errors.New("connection refused"))
	}
}

func refusal(ctx context.Context, g *gate.Gate) *upstream.NotSentError {
	_, err := g.Enter(ctx)
	open, _ := errors.AsType[*upstream.NotSentError](err)
	return open
}

// The type `trials` sends calls through a gate. To end a call, `trials` calls the function in the field `ends`.
type trials struct {
	t    *testing.T
	gate *gate.Gate
	made atomic.Int32
	ends func(leave func(status int, err error))
}

func (tr *trials) call(ctx context.Context) error {
	leave, err := tr.gate.Enter(ctx)
	if err != nil {
		tr.t.Errorf("a trial was refused: %v", err)
		return err
	}
	tr.made.Add(1)
	tr.ends(leave)
	return nil
}

func TestADownUpstreamGetsOnlyTrialsUntilItWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var gates gate.Gates
		g := gates.Of("it", 4)
		gates.Of("another", 1)
		var down atomic.Bool
		down.Store(true)
		tr := &trials{t: t, gate: g, ends: func(leave func(int, error)) {
			if down.Load() {
				leave(http.StatusServiceUnavailable, nil)
				return
			}
			leave(http.StatusOK, nil)
		}}
		g.TryBy(tr.call)
		fail(t, g, 5)
		time.Sleep(3 * time.Second)
		open := refusal(t.Context(), g)
		if open == nil || open.RetryAfter != 7*time.Second || !upstream.NotSent(open) || open.Circuit != "it" {
			t.Fatalf("got %+v; want a refusal for 7 s more", open)
		}
		opened := time.Now().Add(-3 * time.Second)
		want := []gate.Circuit{
			{Upstream: "another"}, {Upstream: "it", Open: true, Since: opened, Trial: opened.Add(10 * time.Second), Cause: "the connection failed"},
		}
		if got := gates.Circuits(); !slices.Equal(got, want) {
			t.Errorf("the circuits: got %+v, want %+v", got, want)
		}
		time.Sleep(time.Hour)
		if got := gates.Circuits(); !got[1].Since.Equal(opened) || time.Until(got[1].Trial) > 11*time.Second || got[1].Cause != "it answered 503 Service Unavailable" {
			t.Errorf("an hour later: %+v", got)
		}
		if tr.made.Load() < 350 || tr.made.Load() > 360 {
			t.Errorf("%d trials in an hour, want a trial every ten seconds", tr.made.Load())
		}
		if got := gates.Open(); !slices.Equal(got, []string{"it"}) || refusal(t.Context(), g) == nil {
			t.Errorf("open circuits: %v, want [it]", got)
		}
		down.Store(false)
		time.Sleep(11 * time.Second)
		if got := gates.Circuits(); !slices.Equal(got, []gate.Circuit{{Upstream: "another"}, {Upstream: "it"}}) {
			t.Errorf("a closed circuit: %+v", got)
		}
		if got := gates.Open(); got != nil {
			t.Errorf("the circuit is open although the upstream works again: %v", got)
		}
		order := queue(t, g, "m", "m", "m", "m")
		if got := order(); len(got) != 4 {
			t.Errorf("%v were served, want all", got)
		}
		time.Sleep(time.Hour)
		if tr.made.Load() > 361 {
			t.Error("a trial was made although the upstream works")
		}
	})
}

func TestGatesSayAfterHowManyFailuresACircuitOpens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gates := &gate.Gates{TripsAfter: 7}
		g := gates.Of("it", 1)
		fail(t, g, 6)
		if g.Open() {
			t.Error("the circuit is open after 6 failures in a row, want 7")
		}
		g.TryBy(func(ctx context.Context) error {
			leave, err := g.Enter(ctx)
			if err == nil {
				leave(http.StatusOK, nil)
			}
			return err
		})
		fail(t, g, 1)
		if !g.Open() {
			t.Error("the circuit is not open after 7 failures in a row")
		}
		time.Sleep(time.Minute) // until all trials are over
	})
}

func TestAGateIsFailingFromTheFirstFailureToTheNextSuccess(t *testing.T) {
	gates := new(gate.Gates)
	g := gates.Of("it", 1)
	_ = gates.Of("other", 1)
	failing := func(want ...string) {
		t.Helper()
		if got := gates.Failing(); !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	failing()
	fail(t, g, 1)
	failing("it")
	leave, err := g.Enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	failing("it")
	leave(http.StatusOK, nil)
	failing()
}

func TestOnlyTheTrialIsMadeWhileOneIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(gate.Gates).Of("it", 4)
		tr := &trials{t: t, gate: g, ends: func(leave func(int, error)) {
			time.Sleep(30 * time.Second)
			leave(http.StatusOK, nil)
		}}
		g.TryBy(tr.call)
		fail(t, g, 5)
		time.Sleep(15 * time.Second)
		if open := refusal(t.Context(), g); tr.made.Load() != 1 || open == nil || open.RetryAfter != 10*time.Second {
			t.Errorf("got %+v during %d trials; want a refusal for 10 s during one trial", open, tr.made.Load())
		}
		time.Sleep(30 * time.Second)
		enter(t, g, "m")(http.StatusOK, nil)
	})
}

func TestATrialThatShowsNothingIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(gate.Gates).Of("it", 1)
		tr := &trials{t: t, gate: g, ends: func(leave func(int, error)) { leave(0, errKept) }}
		g.TryBy(tr.call)
		fail(t, g, 5)
		time.Sleep(time.Minute)
		if tr.made.Load() < 5 || !g.Open() {
			t.Errorf("%d trials in a minute, open: %t", tr.made.Load(), g.Open())
		}
	})
}

func TestQueuedCallsAreRefusedWhenTheCircuitOpens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(gate.Gates).Of("it", 1)
		fail(t, g, 4)
		leave := enter(t, g, "m")
		away := make(chan *upstream.NotSentError)
		for range 3 {
			go func() { away <- refusal(t.Context(), g) }()
		}
		synctest.Wait()
		leave(0, errors.New("connection refused"))
		for range 3 {
			if open := <-away; open == nil || open.RetryAfter != 10*time.Second {
				t.Errorf("got %+v; want a refusal for 10 s", open)
			}
		}
	})
}

func TestWhichCallsOpenTheCircuit(t *testing.T) {
	given := func(cancel context.CancelFunc) { cancel() }
	late := func(context.CancelFunc) { time.Sleep(2 * callTime) }
	soon := func(context.CancelFunc) { time.Sleep(2 * time.Second) }
	for name, c := range map[string]struct {
		status int
		err    error
		after  func(context.CancelFunc) // called during the call; may end the caller's context
		limit  time.Duration            // the time limit of the call; default callTime
		opens  bool
	}{
		"502":                    {status: 502, opens: true},
		"503":                    {status: 503, opens: true},
		"504":                    {status: 504, opens: true},
		"no answer":              {err: errors.New("EOF"), opens: true},
		"no answer in time":      {err: context.DeadlineExceeded, after: late, opens: true},
		"no time was left":       {err: context.DeadlineExceeded, after: soon, limit: time.Second},
		"200":                    {status: 200},
		"400":                    {status: 400},
		"401":                    {status: 401},
		"404":                    {status: 404},
		"409":                    {status: 409},
		"429":                    {status: 429},
		"500 for a bad request":  {status: 500},
		"the caller gave it up":  {err: context.Canceled, after: given},
		"the lease ended before": {err: errKept},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := new(gate.Gates).Of("it", 1)
				for range 5 {
					ctx, cancel := context.WithTimeout(t.Context(), cmp.Or(c.limit, callTime))
					leave, err := g.Enter(ctx)
					if err != nil {
						t.Fatal(err)
					}
					if c.after != nil {
						c.after(cancel)
					}
					leave(c.status, c.err)
					cancel()
				}
				if g.Open() != c.opens {
					t.Errorf("open: %t, want %t", g.Open(), c.opens)
				}
			})
		})
	}
}

// If a call waits too long for its turn, the upstream is not at fault. Here, each call waits for 25 s. The upstream then has only
// the remaining 5 s of the call's time limit, which is too little to judge the upstream.
func TestTheWaitForATurnOpensNoCircuit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(gate.Gates).Of("it", 1)
		for range 6 {
			before := enter(t, g, "a")
			over := make(chan struct{})
			go func() {
				defer close(over)
				ctx, cancel := context.WithTimeout(t.Context(), callTime)
				defer cancel()
				leave, err := g.Enter(ctx)
				if err != nil {
					t.Error(err)
					return
				}
				<-ctx.Done()
				leave(0, ctx.Err())
			}()
			time.Sleep(25 * time.Second)
			before(0, errKept) // this call shows nothing, so it does not reset the number of consecutive failures
			<-over
		}
		if g.Open() {
			t.Error("the circuit is open, but no call had the time to show that the upstream is down")
		}
	})
}

// callTime is the time limit of a call.
const callTime = 30 * time.Second

func TestASuccessInBetweenKeepsItOpenToAll(t *testing.T) {
	g := new(gate.Gates).Of("it", 1)
	for range 5 {
		fail(t, g, 4)
		enter(t, g, "m")(http.StatusOK, nil)
	}
	if g.Open() {
		t.Error("the circuit is open although the upstream answers now and then")
	}
}

// The error of an open circuit reaches all merchants. The error names the fault, but not the object of the failed call.
func TestAnOpenCircuitSaysWhy(t *testing.T) {
	for want, call := range map[string]struct {
		status int
		err    error
	}{
		"connection refused":          {err: fmt.Errorf("creating customer canary: %w", os.NewSyscallError("connect", syscall.ECONNREFUSED))},
		"the connection failed":       {err: errors.New("creating customer canary: EOF")},
		"it answered 502 Bad Gateway": {status: http.StatusBadGateway},
	} {
		g := (&gate.Gates{TripsAfter: 1}).Of("it", 1)
		enter(t, g, "a")(call.status, call.err)
		_, err := g.Enter(t.Context())
		if err == nil || !strings.HasSuffix(err.Error(), ": "+want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("got %v, want an error that ends in %q", err, want)
		}
	}
}
