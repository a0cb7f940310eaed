package stories_test

import (
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/store/storetest"
)

// instant is the point of a Do or Undo at which the replica is killed.
type instant int

const (
	beforeIntent instant = iota
	afterIntent          // before the call
	calling              // the call was sent, and is lost
	carriedOut           // the call was carried out, before its answer
	answered             // before the outcome is stored
	stored
	instants
)

func (i instant) String() string {
	return [...]string{"before the intent", "intent stored", "call lost", "carried out", "answered", "outcome stored"}[i]
}

// ending is the result of one case.
type ending struct {
	State    string
	Recovery time.Duration // time from the kill to the end of the run
	Living   bool          // another replica was running; otherwise one was started after the kill
}

// endings are the results of all cases of a workflow.
type endings map[place]map[instant]ending

// TestKilledAtEveryInstant kills the replica that executes a run at every instant of every Do and Undo, for each workflow. Half
// of the runs are taken over by a replica that is already running. The portal, which got no answer, repeats its call.
func TestKilledAtEveryInstant(t *testing.T) {
	all := map[string]endings{}
	for _, trial := range crashTrials(t) {
		t.Run(trial.workflow, func(t *testing.T) { all[trial.workflow] = trial.killEverywhere(t) })
	}
	if len(all) == 0 {
		t.Fatal("no workflow was tried")
	}
	if path := os.Getenv("TENANTRY_TEST_CRASH_MATRIX"); path != "" && !t.Failed() {
		if err := os.WriteFile(path, matrix(t, all), 0o644); err != nil {
			t.Error(err)
		}
	}
}

func (c crashTrial) killEverywhere(t *testing.T) endings {
	all := endings{}
	var mu sync.Mutex
	var cases sync.WaitGroup
	room := make(chan struct{}, 8)
	for n, at := range c.Places {
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

// killAt kills a replica at one instant of one place. Another replica is running if living is true; otherwise one is started
// after the kill.
func (c crashTrial) killAt(t *testing.T, p place, i instant, living bool) ending {
	database := storetest.PostgreSQL(t)
	k := &killer{t: t, place: p, at: i, refused: c.refusedCall(), database: database, done: make(chan struct{})}
	k.cloud = memoryCloud(t, &upstream{around: k.request})
	s := newSite(t, proxied(t, database, k.statement), k.cloud, &upstream{around: k.request})
	s.replica = c.replica
	portal := c.order(s, p)
	first, second := s.serve(), (*replica)(nil)
	if living {
		second = s.serve()
	}
	k.arm(first)
	if a, err := portal.call(first.url); err == nil && i != stored { // the run may have ended and been answered before the kill
		t.Fatalf("the replica was not killed: %d %s", a.status, a.body)
	}
	select {
	case <-k.done:
	case <-time.After(30 * time.Second):
		t.Fatalf("this instant was not reached: %s", s.log.read())
	}
	if want := p.state(i); k.state != want {
		t.Errorf("when it was killed the step was %q, want %q", k.state, want)
	}
	if !living {
		second = s.serve()
	}
	r := s.until(second.url, s.insist(second.url, portal).Run, p.end())
	s.insist(second.url, portal)
	return ending{State: r.State, Recovery: max(0, k.endOf(r.ID).Sub(k.killed)), Living: living}
}
