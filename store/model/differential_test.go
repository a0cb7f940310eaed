package model_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/store"
	"github.com/tenantry/tenantry/store/model"
	"github.com/tenantry/tenantry/store/storetest"
)

// The model and PostgreSQL receive the same random calls. Both must return the same results, and store the same contents. Some
// calls commit stale checkpoints. Random calls find differences that a list of cases would miss.
func TestTheModelAnswersAsPostgreSQLDoes(t *testing.T) {
	answered := map[string]int{}
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { compare(t, seed, answered) })
	}
	for _, want := range []string{
		"create done", "create " + saga.ErrKeyUsed.Error(), "create " + saga.ErrRetried.Error(),
		"create already succeeded", "create busy", "create another error",
		"commit done", "commit " + saga.ErrFenced.Error(), "commit " + saga.ErrBadRow.Error(),
		"join done", "join another error", "renew done", "renew " + saga.ErrLeaseLost.Error(), "leave done",
		"claim done", "claim another error", "hand back done", "action done", "action " + saga.ErrNotFound.Error(), "expire done",
		"take done", "take some", "disable done", "hold follow-up done", "hold follow-up " + saga.ErrNotFound.Error(),
		"hold follow-up " + saga.ErrChanged.Error(),
	} {
		if answered[want] < 3 {
			t.Errorf("%d calls had the result %q; want at least 3: draw more varied calls", answered[want], want)
		}
	}
}

func compare(t *testing.T, seed uint64, answered map[string]int) {
	real, err := store.Open(t.Context(), storetest.PostgreSQL(t), make([]byte, store.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = real.Close() })
	if _, err := real.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	d := drawer{
		tb: t, Rand: rand.New(rand.NewPCG(seed, 0)), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), model: model.New(time.Now),
	}
	for n := 1; n <= 500; n++ {
		name, call := d.call(t.Context())
		more, gotErr := call(d.model)
		wanted, wantErr := call(real)
		got, want := fmt.Sprint(more, told(gotErr)), fmt.Sprint(wanted, told(wantErr))
		if got != want {
			t.Fatalf("call %d, %s:\n got %s\nwant %s", n, name, got, want)
		}
		answered[name+" "+told(gotErr)]++
		if name == "take" && more != "[]" {
			answered["take some"]++
		}
		if n%10 > 0 {
			continue
		}
		if got, want := written(t, d.model, d.now), written(t, real, d.now); got != want {
			t.Fatalf("after call %d, %s, which was answered %s:\n got %s\nwant %s", n, name, told(wantErr), got, want)
		}
	}
}

// The function `written` returns the contents of a store as one text. The text contains the follow-ups, the ids of the runs that
// need attention, and the runs with their events, actions and tokens.
func written(t *testing.T, s storetest.Store, now time.Time) string {
	t.Helper()
	runs, err := s.Runs(t.Context(), saga.Filter{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	lines := []any{}
	attention, err := s.Runs(t.Context(), saga.Filter{Attention: now, Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for _, run := range attention {
		lines = append(lines, run.ID)
	}
	for _, workflow := range followUpWorkflows {
		for _, merchant := range []string{"m0", "m1", "m2"} {
			found, err := s.FollowUps(t.Context(), merchant, workflow, followUpIDs)
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, found)
		}
	}
	for _, run := range runs {
		events, err := s.Events(t.Context(), run.ID, 0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		actions, err := s.Actions(t.Context(), run.ID)
		if err != nil {
			t.Fatal(err)
		}
		ofKey, err := s.RunOfKey(t.Context(), run.Merchant, run.Key)
		if errors.Is(err, saga.ErrNotFound) {
			ofKey = nil
		} else if err != nil {
			t.Fatal(err)
		}
		token, err := s.Token(t.Context(), run.ID)
		if err != nil && !errors.Is(err, saga.ErrNoToken) {
			t.Fatal(err)
		}
		lines = append(lines, run, events, actions, ofKey, token)
	}
	var text strings.Builder
	for _, line := range lines {
		encoded, err := json.Marshal(line)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(append(encoded, '\n'))
	}
	return text.String()
}

// The function `told` returns a text for an error. All errors that a caller cannot distinguish have the same text.
func told(err error) string {
	for _, known := range []error{
		saga.ErrNotFound, saga.ErrFenced, saga.ErrBadRow, saga.ErrKeyUsed, saga.ErrRetried, saga.ErrLeaseLost, saga.ErrChanged,
	} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	if _, busy := errors.AsType[*saga.SubjectBusyError](err); busy {
		return "busy"
	}
	if _, succeeded := errors.AsType[*saga.AlreadySucceededError](err); succeeded {
		return "already succeeded"
	}
	if err != nil {
		return "another error"
	}
	return "done"
}
