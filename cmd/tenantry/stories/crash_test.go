package stories_test

import (
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/workflows"
)

// The type `instant` is a point of a Do or Undo at which the test kills the replica.
type instant int

const (
	beforeIntent instant = iota
	afterIntent          // after the intent is stored, before the call
	calling              // after the call was sent; the call does not reach the upstream
	carriedOut           // after the upstream has carried out the call, before its answer
	answered             // after the replica has the answer, before the outcome is stored
	stored
	instants
)

func (i instant) String() string {
	return [...]string{"before the intent", "intent stored", "call lost", "carried out", "answered", "outcome stored"}[i]
}

// The type `ending` is the result of one case of the crash matrix.
type ending struct {
	State    string
	Recovery time.Duration // time from the kill to the end of the run
	Living   bool          // true if another replica was already running; false if the test started another replica after the kill
}

// The type `endings` contains the results of all cases of a workflow.
type endings map[place]map[instant]ending

// TestKilledAtEveryInstant tests each workflow. There is one case for each instant of each Do and of each Undo. In
// each case, the test kills the replica that executes the run. In half of the cases, another replica is already running and takes
// over the run. The portal gets no answer to its call, and repeats the call.
func TestKilledAtEveryInstant(t *testing.T) {
	all := map[string]endings{}
	var mu sync.Mutex
	var trials sync.WaitGroup
	room := make(chan struct{}, 8) // limits the concurrent cases of all workflows together
	for _, trial := range crashTrials(t) {
		trials.Go(func() {
			t.Run(trial.title(), func(t *testing.T) {
				ended := trial.killEverywhere(t, room)
				mu.Lock()
				defer mu.Unlock()
				all[trial.title()] = ended
			})
		})
	}
	trials.Wait()
	if len(all) == 0 {
		t.Fatal("no workflow was tried")
	}
	if path := os.Getenv("TENANTRY_TEST_CRASH_MATRIX"); path != "" && !t.Failed() {
		if err := os.WriteFile(path, matrix(t, all), 0o644); err != nil {
			t.Error(err)
		}
	}
}

// TestKilledAtEveryInstantWithIdentityV2 tests the cases of TestKilledAtEveryInstant with Identity v2.0. Without -crash-v2, it tests only
// every third Do and Undo of the workflow `subscribe`, which makes all kinds of requests: the engine does not know the version.
func TestKilledAtEveryInstantWithIdentityV2(t *testing.T) {
	room := make(chan struct{}, 8)
	for _, trial := range crashTrials(t) {
		if trial.second = true; *crashV2 || trial.workflow == workflows.SubscribeName {
			t.Run(trial.title(), func(t *testing.T) { trial.killEverywhere(t, room) })
		}
	}
}

var crashV2 = flag.Bool("crash-v2", false, "TestKilledAtEveryInstantWithIdentityV2 tests all workflows")

// killEverywhere tests one workflow. The capacity of the channel `room` is the maximum number of cases that are tested at the same
// time.
func (c crashTrial) killEverywhere(t *testing.T, room chan struct{}) endings {
	all := endings{}
	var mu sync.Mutex
	var cases sync.WaitGroup
	for n, at := range c.Places {
		if c.second && !*crashV2 && n%3 != 0 {
			continue
		}
		p := place(at)
		all[p] = map[instant]ending{}
		for i := range instants {
			if !p.has(i) {
				continue
			}
			living := (n+int(i))%2 == 0
			room <- struct{}{}
			cases.Go(func() {
				defer func() { <-room }()
				t.Run(fmt.Sprint(p, ", ", i), func(t *testing.T) {
					e := c.killAt(t, p, i, living)
					mu.Lock()
					defer mu.Unlock()
					all[p][i] = e
				})
			})
		}
	}
	cases.Wait()
	return all
}

// killAt kills a replica at one instant of one Do or Undo. If `living` is true, another replica is already running. Otherwise
// killAt starts another replica after the kill.
func (c crashTrial) killAt(t *testing.T, p place, i instant, living bool) ending {
	database := siteTemplate.PostgreSQL(t)
	k := &killer{
		t: t, place: p, at: i, refused: c.refusedCall(), executes: c.undoesRefused(p), database: database, done: make(chan struct{}),
	}
	k.cloud = memoryCloudOf(t, &upstream{around: k.request}, c.second)
	s := newSite(t, proxied(t, database, k.statement), k.cloud, &upstream{around: k.request})
	s.replica = c.replica
	first, second := s.serve(), (*replica)(nil)
	portal := c.order(s, p, first.url)
	if living {
		second = s.serve()
	}
	k.arm(first)
	// At the instant `stored`, the portal may get an answer before the kill.
	if a, err := portal.call(first.url); err == nil && i != stored {
		t.Fatalf("the replica was not killed: %d %s", a.status, a.body)
	}
	select {
	case <-k.done:
	case <-time.After(30 * time.Second):
		t.Fatalf("this instant was not reached: %s", s.log.read())
	}
	if want := c.stateAt(p, i); k.state != want {
		t.Errorf("when the replica was killed, the step was %q, want %q", k.state, want)
	}
	if !living {
		second = s.serve()
	}
	r := s.until(second.url, s.insist(second.url, portal).Run, c.end(p, i))
	s.insist(second.url, portal)
	return ending{State: r.State, Recovery: max(0, k.endOf(r.ID).Sub(k.killed)), Living: living}
}
