package stories_test

import (
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/store/storetest"
)

// instant is when in the course of one Do or Undo the replica is killed.
type instant int

const (
	beforeIntent instant = iota
	afterIntent          // and before the call
	calling              // the call has left and is lost with its caller
	carriedOut           // before the answer
	answered             // before the outcome is stored
	stored
	instants
)

func (i instant) String() string {
	return [...]string{"before the intent", "intent stored", "call lost", "carried out", "answered", "outcome stored"}[i]
}

// place is one Do or Undo of a run.
type place struct {
	step    string
	undo    bool
	call    string // that it makes, as callOf names it; empty: none, so that there is nothing to lose or to answer
	adopted bool   // the run is about a customer who exists
}

func (p place) String() string {
	name := p.step
	if p.undo {
		name = "undo of " + name
	}
	if p.adopted {
		name += ", customer adopted"
	}
	return name
}

// places are all that a run of subscribe does and takes back. A check is satisfied but for a customer who exists; an
// adopted customer and tenant are not created, so that nothing is undone of them but the roles.
var places = []place{
	{step: "check", call: "GET role_assignments", adopted: true},
	{step: "create-customer", call: "POST customers"},
	{step: "create-customer-tenant", call: "POST projects bs-customer"},
	{step: "assign-customer-role/member", call: "PUT roles/member on bs-customer"},
	{step: "assign-customer-role/bs-admin", call: "PUT roles/bs-admin on bs-customer"},
	{step: "assign-customer-role/bs-admin", call: "PUT roles/bs-admin on bs-customer", adopted: true},
	{step: "scope-token", call: "POST tokens"},
	{step: "create-subscription", call: "POST subscriptions"},
	{step: "create-subscription-tenant", call: "POST projects bs-subscription"},
	{step: "assign-subscription-role/member", call: "PUT roles/member on bs-subscription"},
	{step: "attach-tenant", call: "PATCH subscriptions"},

	{undo: true, step: "assign-subscription-role/member"},
	{undo: true, step: "create-subscription-tenant", call: "DELETE projects bs-subscription"},
	{undo: true, step: "create-subscription", call: "DELETE subscriptions"},
	{undo: true, step: "assign-customer-role/member"},
	{undo: true, step: "assign-customer-role/member", call: "DELETE roles/member on bs-customer", adopted: true},
	{undo: true, step: "assign-customer-role/bs-admin"},
	{undo: true, step: "assign-customer-role/bs-admin", call: "DELETE roles/bs-admin on bs-customer", adopted: true},
	{undo: true, step: "create-customer-tenant", call: "DELETE projects bs-customer"},
	{undo: true, step: "create-customer", call: "DELETE customers"},
}

// has tells whether there is such an instant.
func (p place) has(i instant) bool { return p.call != "" || i != calling && i != carriedOut }

// states are the step's before its intent is stored, from then on, and with its outcome.
func (p place) states() (before, under, after string) {
	if p.undo {
		return "succeeded", "undoing", "undone"
	}
	return "", "running", "succeeded" // what has not begun has no row
}

// state is what the database says of the step at an instant.
func (p place) state(i instant) string {
	before, under, after := p.states()
	switch i {
	case beforeIntent:
		return before
	case stored:
		return after
	default:
		return under
	}
}

// end is how the run must end.
func (p place) end() string {
	if p.undo {
		return "compensated"
	}
	return "succeeded"
}

// ending is what came of one case.
type ending struct {
	State    string
	Recovery time.Duration // from the kill to the end of the run
	Living   bool          // another replica was running; else one was started after the kill
}

// The replica that works on a run is killed at every instant of all that the run does and takes back. Half of the runs are
// taken over by a replica that was running already. The portal, which got no answer, repeats its call.
func TestKilledAtEveryInstant(t *testing.T) {
	endings := map[place]map[instant]ending{}
	var mu sync.Mutex
	var all sync.WaitGroup
	room := make(chan struct{}, 8)
	for n, p := range places {
		endings[p] = map[instant]ending{}
		for i := range instants {
			if !p.has(i) {
				continue
			}
			living := (n+int(i))%2 == 0
			room <- struct{}{}
			all.Go(func() {
				defer func() { <-room }()
				t.Run(fmt.Sprint(p, ", ", i), func(t *testing.T) {
					e := killAt(t, p, i, living)
					mu.Lock()
					defer mu.Unlock()
					endings[p][i] = e
				})
			})
		}
	}
	all.Wait()
	if path := os.Getenv("TENANTRY_TEST_CRASH_MATRIX"); path != "" && !t.Failed() {
		if err := os.WriteFile(path, matrix(t, endings), 0o644); err != nil {
			t.Error(err)
		}
	}
}

func killAt(t *testing.T, p place, i instant, living bool) ending {
	database := storetest.PostgreSQL(t)
	k := &killer{t: t, place: p, at: i, database: database, done: make(chan struct{})}
	k.cloud = memoryCloud(t, &upstream{around: k.request})
	s := newSite(t, proxied(t, database, k.statement), k.cloud, &upstream{around: k.request})
	if p.adopted {
		s.adopt()
	}
	token := s.newToken()
	first, second := s.serve(), (*replica)(nil)
	if living {
		second = s.serve()
	}
	k.arm(first)
	if a, err := s.subscribe(first.url, "key", token); err == nil && i != stored { // its end may be told before the kill
		t.Fatalf("it was not killed: %d %s", a.status, a.body)
	}
	select {
	case <-k.done:
	case <-time.After(30 * time.Second):
		t.Fatalf("this instant never came: %s", s.log.read())
	}
	if want := p.state(i); k.state != want {
		t.Errorf("when it was killed the step was %q, want %q", k.state, want)
	}
	if !living {
		second = s.serve()
	}
	r := s.until(second.url, s.insist(second.url, "key", token).Run, p.end())
	s.insist(second.url, "key", token)
	return ending{State: r.State, Recovery: max(0, k.endOf(r.ID).Sub(k.killed)), Living: living}
}
