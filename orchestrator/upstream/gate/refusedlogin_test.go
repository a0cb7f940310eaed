package gate_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tenantry/tenantry/orchestrator/upstream"
	"github.com/tenantry/tenantry/orchestrator/upstream/gate"
)

// An upstream may count refused logins and lock the user. Therefore one refused login opens the circuit, and the interval between
// trials grows.
func TestAfterARefusedLoginOnlyTheTrialLogsIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var gates gate.Gates
		g := gates.Of("it", 4)
		refused := &upstream.RefusedLoginError{Text: "it refuses the login"}
		var works atomic.Bool
		var began time.Time
		var at []time.Duration
		tr := &trials{t: t, gate: g, ends: func(leave func(int, error)) {
			at = append(at, time.Since(began).Round(time.Second))
			if works.Load() {
				leave(http.StatusCreated, nil)
				return
			}
			leave(http.StatusUnauthorized, refused)
		}}
		g.TryBy(tr.call)
		for range 2 { // the second round shows that a successful login resets the interval
			works.Store(false)
			began, at = time.Now(), nil
			enter(t, g, "m")(http.StatusUnauthorized, refused)
			for _, left := range []time.Duration{10, 9, 8} {
				open := refusal(t.Context(), g)
				if open == nil || open.Circuit != "it" || open.RetryAfter != left*time.Second || !errors.Is(open, refused) ||
					!strings.HasPrefix(open.Error(), "it is tried again in ") {
					t.Fatalf("got %+v, want the refused login again, without a request", open)
				}
				time.Sleep(time.Second)
			}
			time.Sleep(197 * time.Second)
			synctest.Wait()
			if want := []time.Duration{10 * time.Second, 30 * time.Second, 70 * time.Second, 130 * time.Second, 190 * time.Second}; !slices.Equal(at, want) {
				t.Errorf("trials after %v, want %v", at, want)
			}
			if open := refusal(t.Context(), g); open == nil || open.RetryAfter > 10*time.Second {
				t.Errorf("got %+v, want a wait of at most 10 s: the server may start again with the right password", open)
			}
			works.Store(true)
			time.Sleep(time.Minute)
			synctest.Wait()
			if got := gates.Open(); got != nil {
				t.Errorf("the circuit is open although the login works again: %v", got)
			}
		}
	})
}

// If two trials are scheduled for one outage, only the later trial is made.
func TestATrialThatOpensTheCircuitAgainSchedulesOneTrial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(gate.Gates).Of("it", 1)
		refused := &upstream.RefusedLoginError{Text: "it refuses the login"}
		tr := &trials{t: t, gate: g, ends: func(leave func(int, error)) {
			leave(http.StatusOK, nil) // this answer closes the circuit
			enter(t, g, "m")(http.StatusUnauthorized, refused)
		}}
		g.TryBy(tr.call)
		enter(t, g, "m")(http.StatusUnauthorized, refused)
		time.Sleep(10 * time.Minute)
		if made := tr.made.Load(); made > 60 {
			t.Errorf("%d trials in ten minutes", made)
		}
	})
}
