package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// runsOnly is a store that implements only the method Runs. Like each saga.Store, it returns the run with the greatest id first.
type runsOnly struct {
	saga.Store
	runs []*saga.Run
}

// Runs implements [saga.Store].
func (s runsOnly) Runs(_ context.Context, f saga.Filter) (page []*saga.Run, err error) {
	for _, r := range s.runs {
		if r.Subject == f.Subject && (len(f.States) == 0 || slices.Contains(f.States, r.State)) && !f.AwaitsRecheck && !f.Live &&
			(f.Before == "" || r.ID < f.Before) {
			page = append(page, r)
		}
	}
	slices.SortFunc(page, func(a, b *saga.Run) int { return strings.Compare(b.ID, a.ID) })
	return page[:min(len(page), f.Limit)], nil
}

// The type `colour` is the state of a workflow with one step. The step sets a colour.
type colour struct{ Colour string }

// environmentOf returns the environment of a run with subject "s". Each text in `ended` contains the id and the colour of a
// succeeded run. The runs ended in this order, at intervals of one minute. The last run ended one minute before the time `now`.
func environmentOf(t *testing.T, now time.Time, ended ...string) (environment, []*saga.Run) {
	t.Helper()
	d, err := saga.Define(saga.Workflow[colour]{
		Name: "paint", Version: 1, Classify: func(error) saga.Classification { return saga.Classification{} },
		Retry:  func(context.Context, colour, string) (saga.Request, error) { return saga.Request{}, nil },
		Expect: func(colour) []saga.Expected { return nil }, Result: func(c colour) any { return c },
		Steps: []saga.Step[colour]{{
			Name: "paint", Effect: saga.Changes,
			Find:  func(context.Context, *colour) (saga.Found, error) { return saga.Absent, errors.New("no call is made") },
			Claim: func(c *colour, _ string) string { return saga.Setting("colour", c.Colour) },
			Do:    func(context.Context, *colour) error { return errors.New("no call is made") },
			Undo:  func(context.Context, *colour) error { return errors.New("no call is made") },
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var all []*saga.Run
	for i, text := range ended {
		id, painted, _ := strings.Cut(text, " ")
		all = append(all, &saga.Run{
			ID: id, Workflow: "paint", Subject: "s", State: saga.Succeeded, Input: fmt.Appendf(nil, `{"Colour": %q}`, painted),
			Steps: []saga.StepRow{{Name: "paint", State: saga.StepSucceeded}}, EndedAt: new(now.Add(time.Duration(i-len(ended)) * time.Minute)),
		})
	}
	e := New(Options{
		Store: runsOnly{runs: all}, Workflows: []*saga.Definition{d}, Clock: NewClock(func() time.Time { return now }), LateWindow: time.Minute,
	})
	return environment{engine: e, subject: "s"}, all
}

// A run gets its id before it is accepted, so the run with the greatest id may have ended before other runs.
func TestTheRunThatHasEndedLastHasTheLastWord(t *testing.T) {
	now := time.Date(2026, 11, 27, 1, 0, 0, 0, time.UTC)
	many := make([]string, 250)
	for i := range many {
		many[i] = fmt.Sprintf("9%03d green", i)
	}
	for name, c := range map[string]struct {
		ended []string
		red   bool
	}{
		"no run":                       {nil, false},
		"red is the last":              {[]string{"1 blue", "2 red"}, true},
		"red has the greater id":       {[]string{"2 red", "1 blue"}, false},
		"blue has the greater id":      {[]string{"2 blue", "1 red"}, true},
		"red is on the last page":      {append(many, "1 red"), true},
		"red is there, and then green": {append([]string{"1 red"}, many...), false},
	} {
		env, _ := environmentOf(t, now, c.ended...)
		by, err := env.Claimed(t.Context(), "me", saga.Setting("colour", "red"))
		if want := (saga.Claimed{Succeeded: c.red}); err != nil || by != want {
			t.Errorf("%s: got %+v, %v; want %+v", name, by, err, want)
		}
	}
}

func TestARunThatBeginsWaitsForAllEndsOfItsSubject(t *testing.T) {
	now := time.Date(2026, 11, 27, 1, 0, 0, 0, time.UTC)
	unsettled := func(change func(last *saga.Run)) string {
		env, all := environmentOf(t, now, "3 red", "2 red", "1 red")
		change(all[2])
		by, err := env.Unsettled(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return by
	}
	if by := unsettled(func(*saga.Run) {}); by != "" {
		t.Errorf("all runs are settled: got %q", by)
	}
	// The runs 2 and 3 have greater ids, and their late windows are over. The search must not stop at these runs.
	if by := unsettled(func(r *saga.Run) { r.Steps[0].UnknownAt = new(now.Add(-time.Second)) }); by != "1" {
		t.Errorf("the last run has an unanswered call: got %q", by)
	}
	if by := unsettled(func(r *saga.Run) { r.EndedAt = new(now.Add(time.Microsecond)) }); by != "1" {
		t.Errorf("the last run ended after now, by the clock of another replica: got %q", by)
	}
}
