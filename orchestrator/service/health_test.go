package service

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"reflect"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// The type `patient` contains the health of a service with one needed dependency and one upstream. A test sets the errors of both, and
// steps the clock.
type patient struct {
	*health

	database, keystone error
	at                 time.Time
	log                bytes.Buffer
}

func newPatient() *patient {
	p := &patient{at: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	p.health = &health{
		own: []check{{name: "database", needed: true, at: "postgres://db/t", ask: func(context.Context) error { return p.database }}},
		upstreams: func(context.Context) []check {
			return []check{{name: "keystone", at: "http://k:5000", ask: func(context.Context) error { return p.keystone }}}
		},
		now: func() time.Time { return p.at }, log: zerolog.New(&p.log), first: make(chan struct{}), states: map[string]*state{},
	}
	return p
}

// The method `logged` returns the messages that were logged since the last call.
func (p *patient) logged() (all []string) {
	for line := range strings.Lines(p.log.String()) {
		var entry struct{ Level, Message string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			panic(err)
		}
		all = append(all, entry.Level+" "+entry.Message)
	}
	p.log.Reset()
	return all
}

var errRefusedConnection = &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}

func pinging(e upstream.Error) error {
	e.Service, e.Op = keystone.Service, "pinging Keystone"
	return &e
}

func TestAStateIsLoggedWhenItTurns(t *testing.T) {
	p := newPatient()
	p.keystone = pinging(upstream.Error{Class: upstream.Unavailable, Err: errRefusedConnection})
	down := pinging(upstream.Error{Class: upstream.Unavailable, Status: 503, RequestID: "req-1"})
	open := pinging(upstream.Error{Class: upstream.Unavailable, Err: &upstream.NotSentError{Circuit: "keystone", Err: errors.New("it is down")}})
	for _, c := range []struct {
		what               string
		later              time.Duration
		database, keystone error
		want               []string
	}{
		{"at the start", 0, nil, p.keystone, []string{"info database: ok, postgres://db/t", "warn keystone: down, connection refused, http://k:5000"}},
		{"unchanged", 30 * time.Second, nil, p.keystone, nil},
		{"the same fault in another form", 30 * time.Second, nil, down, nil},
		{"a circuit that opened", 30 * time.Second, nil, open, nil},
		{"after four minutes", 150 * time.Second, nil, nil, []string{"info keystone: up again after 4m, http://k:5000"}},
		{
			"a role is missing", time.Second, nil,
			pinging(upstream.Error{Class: upstream.Permanent, Message: "no role x", Err: keystone.ErrNotFound}),
			[]string{"warn keystone: misconfigured, pinging Keystone: not found: no role x, http://k:5000"},
		},
		{
			"then the credential is refused", time.Second, nil, pinging(upstream.Error{Class: upstream.Unavailable, OwnCredential: true}),
			[]string{"warn keystone: down, pinging Keystone: Keystone refuses Tenantry's credential, http://k:5000"},
		},
		{
			"the database is down and Keystone is up", time.Hour, context.DeadlineExceeded, nil,
			[]string{"info keystone: up again after 1h, http://k:5000", "warn database: down, no answer in time, postgres://db/t"},
		},
	} {
		p.at, p.database, p.keystone = p.at.Add(c.later), c.database, c.keystone
		p.check(t.Context())
		got := p.logged()
		if len(got) == 2 && len(c.want) == 2 && got[0] == c.want[1] { // the checks are concurrent
			got[0], got[1] = got[1], got[0]
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: logged %q, want %q", c.what, got, c.want)
		}
	}
}

func TestTheReasonOutlivesTheCircuit(t *testing.T) {
	p := newPatient()
	circuit := &upstream.NotSentError{Circuit: "keystone", Err: errors.New("keystone is down and is tried again in 7s: it answered 502 Bad Gateway")}
	state := func(err error) api.Dependency {
		t.Helper()
		p.keystone = err
		p.check(t.Context())
		all := p.report(t.Context())
		return all[len(all)-1]
	}
	began := p.at
	if got := state(pinging(upstream.Error{Class: upstream.Unavailable, Err: circuit})); !strings.HasSuffix(got.Reason, "it answered 502 Bad Gateway") {
		t.Errorf("a circuit that was open before the first check: got %+v", got)
	}
	p.at = p.at.Add(time.Minute)
	_ = state(pinging(upstream.Error{Class: upstream.Unavailable, Err: errRefusedConnection}))
	for what, err := range map[string]error{
		"the circuit is open":   pinging(upstream.Error{Class: upstream.Unavailable, Err: circuit}),
		"the check got no turn": pinging(upstream.Error{Class: upstream.Transient, Err: &upstream.NotSentError{Err: context.DeadlineExceeded}}),
	} {
		p.at = p.at.Add(time.Minute)
		if got := state(err); got.Status != api.CheckDown || got.Reason != "connection refused" || !got.Since.Equal(began) {
			t.Errorf("%s: got %+v, want it down since %s, with the first reason", what, got, began)
		}
	}
	_ = state(nil)
	if got := state(pinging(upstream.Error{Class: upstream.Transient, Err: &upstream.NotSentError{Err: context.DeadlineExceeded}})); got.Status != api.CheckOK {
		t.Errorf("a check that got no turn: got %+v, want ok as before", got)
	}
}

// The circuit is open because the login was refused. The reason is the text of the refused login, without the time of the next trial.
func TestTheReasonOfARefusedLogin(t *testing.T) {
	p := newPatient()
	refused := &upstream.RefusedLoginError{Text: "Keystone refuses the login of user tenantry"}
	p.keystone = pinging(upstream.Error{Class: upstream.Unavailable, OwnCredential: true, Err: &upstream.NotSentError{
		Circuit: "keystone/default", Err: fmt.Errorf("keystone/default is tried again in 7s: %w", refused),
	}})
	p.check(t.Context())
	all := p.report(t.Context())
	if got := all[len(all)-1]; got.Status != api.CheckDown || got.Reason != refused.Text {
		t.Errorf("got %+v", got)
	}
}

// The checks are repeated every 30 s. When calls begin or cease to fail, the next check comes within 4 s, but not sooner than 3 s after the
// last check.
func TestTheChecksAreRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatient()
		p.now = time.Now
		var failing atomic.Bool
		p.failing = func() []string {
			if failing.Load() {
				return []string{"keystone"}
			}
			return nil
		}
		var needed, upstreams atomic.Int32
		p.own[0].ask = func(context.Context) error { needed.Add(1); return nil }
		p.upstreams = func(context.Context) []check {
			return []check{{name: "keystone", ask: func(context.Context) error { upstreams.Add(1); return nil }}}
		}
		ctx, stop := context.WithCancel(t.Context())
		go p.watch(ctx)
		checked := func(after time.Duration, want int32) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			if needed.Load() != want || upstreams.Load() != want {
				t.Errorf("after %v more: the database was checked %d times, and Keystone %d times, want %d", after, needed.Load(), upstreams.Load(), want)
			}
		}
		checked(0, 1)
		checked(29500*time.Millisecond, 1)
		checked(time.Second, 2)
		checked(5*time.Minute, 12)
		failing.Store(true)
		checked(4*time.Second, 13)
		failing.Store(false)
		checked(time.Second, 13)
		checked(3*time.Second, 14)
		for range 40 { // an upstream that often fails, for 11.6 s
			failing.Store(!failing.Load())
			time.Sleep(290 * time.Millisecond) // so that no change coincides with a tick
		}
		checked(0, 17)
		stop()
		checked(time.Hour, 17)
	})
}

// If the caller goes away, the check of a needed dependency does not fail. If a check panics, only its own dependency is reported as
// down.
func TestNeededDependenciesAreCheckedForTheRequest(t *testing.T) {
	p := newPatient()
	p.check(t.Context())
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	p.at, p.database = p.at.Add(2*time.Second), fmt.Errorf("writing: %w", syscall.ENOSPC)
	if got := p.report(gone)[0]; got.Status != api.CheckDown || got.Reason != "no space left on device" || !got.Since.Equal(p.at) || !got.Needed {
		t.Errorf("got %+v", got)
	}
	p.own[0].ask = func(context.Context) error { panic("canary") }
	p.at = p.at.Add(2 * time.Second)
	if got := p.report(gone)[0]; got.Status != api.CheckDown || got.Reason != "panic: canary" {
		t.Errorf("got %+v", got)
	}
}
