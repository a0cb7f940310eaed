package storetest

import (
	"maps"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// Followed is a store that also implements saga.Follower.
type Followed interface {
	Store
	saga.Follower
}

// FollowerConformance tests whether a store does what saga.Follower specifies.
func FollowerConformance(t *testing.T, open func(testing.TB) Followed) {
	s := open(t)
	f, ctx := fixture{Store: s}, t.Context()
	f.join(t, "r1", epoch.Add(time.Hour))
	of := func(merchant string, after time.Duration) saga.NewRun {
		return f.create(t, func(r *saga.Run) { r.Merchant, r.UpdatedAt = merchant, epoch.Add(after) })
	}
	a, b, c := of("m1", 0), of("m2", time.Microsecond), of("m1", time.Hour)
	f.commit(t, checkpoint(a))
	asked := []string{a.Run.ID, b.Run.ID, "nope"}

	updated, newest, err := s.Updated(ctx, asked, []string{"", "m1", "m2", "m3"})
	want := map[string]time.Time{a.Run.ID: f.read(t, a.Run.ID).UpdatedAt, b.Run.ID: epoch.Add(time.Microsecond)}
	if err != nil || !maps.EqualFunc(updated, want, time.Time.Equal) {
		t.Errorf("updated %v, %v, want %v", updated, err, want)
	}
	if want := map[string]string{"": c.Run.ID, "m1": c.Run.ID, "m2": b.Run.ID}; !maps.Equal(newest, want) {
		t.Errorf("the newest runs are %v, want %v", newest, want)
	}
	if updated, newest, err := s.Updated(ctx, nil, []string{"m2"}); err != nil || len(updated) != 0 || newest["m2"] != b.Run.ID {
		t.Errorf("without runs: %v, %v, %v", updated, newest, err)
	}

	runs, err := s.RunsOf(ctx, asked)
	if err != nil || len(runs) != 2 {
		t.Fatalf("%d runs, %v", len(runs), err)
	}
	for _, run := range runs {
		if want := f.read(t, run.ID); want.Version != run.Version || len(want.Steps) != len(run.Steps) || len(want.Objects) != len(run.Objects) {
			t.Errorf("run %+v, want %+v", run, want)
		}
	}

	for limit, want := range map[int]map[string]string{
		1: {a.Run.ID: string(saga.EventSucceeded), b.Run.ID: string(saga.EventAccepted)},
		5: {a.Run.ID: string(saga.EventAccepted + " " + saga.EventSucceeded), b.Run.ID: string(saga.EventAccepted)},
	} {
		events, err := s.LastEvents(ctx, asked, limit)
		got := map[string]string{}
		for id, all := range events {
			for i, e := range all {
				if i > 0 {
					got[id] += " "
				}
				got[id] += string(e.Kind)
			}
		}
		if err != nil || !maps.Equal(got, want) {
			t.Errorf("the last %d events are %v, %v, want %v", limit, got, err, want)
		}
	}
}
