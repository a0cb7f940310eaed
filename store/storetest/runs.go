package storetest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

func filters(t *testing.T, s fixture) {
	a, b := s.create(t, nil), s.create(t, func(r *saga.Run) {
		r.Merchant, r.User, r.Workflow, r.CreatedAt = "m2", "u2", "w2", epoch.Add(time.Hour)
	})
	s.commit(t, checkpoint(a))
	ended := checkpoint(b)
	ended.Run.State, ended.Run.EndedAt, ended.Run.HoldsSubject, ended.Run.Probes = saga.Compensated, &epoch, false, 2
	s.commit(t, ended)
	for want, filters := range map[string][]saga.Filter{
		a.Run.ID: {
			{Merchant: "m"},
			{User: "u"},
			{Workflow: "w"},
			{Customer: "c-" + a.Run.ID},
			{Before: b.Run.ID},
			{State: saga.Running},
			{Subject: a.Run.Subject},
			{Live: true},
			{Subject: a.Run.Subject, Live: true},
		},
		b.Run.ID: {
			{Merchant: "m2"},
			{User: "u2"},
			{Workflow: "w2"},
			{Since: epoch.Add(time.Minute)},
			{Subject: b.Run.Subject},
			{Probed: true},
			{Subject: b.Run.Subject, Probed: true},
		},
		b.Run.ID + a.Run.ID: {{}},
		"": {
			{State: saga.Stuck},
			{Project: "x"},
			{Subscription: "x"},
			{Merchant: "m", User: "u2"},
			{Subject: a.Run.Subject, Probed: true},
			{Subject: b.Run.Subject, Live: true},
			{Live: true, Probed: true},
		},
	} {
		for _, f := range filters {
			f.Limit = 10
			runs, err := s.Runs(t.Context(), f)
			var ids strings.Builder
			for _, r := range runs {
				ids.WriteString(r.ID)
			}
			if err != nil || ids.String() != want {
				t.Errorf("%+v: %s, %v; want %s", f, ids.String(), err, want)
			}
		}
	}
}

func pages(t *testing.T, s fixture) {
	var ids []string
	for range 3 {
		ids = append(ids, s.create(t, nil).Run.ID)
	}
	runs, err := s.Runs(t.Context(), saga.Filter{Limit: 2})
	if err != nil || len(runs) != 2 || runs[0].ID != ids[2] || runs[1].ID != ids[1] {
		t.Errorf("the first page: %v, %v; want the two youngest", runs, err)
	}
	cp := checkpoint(s.create(t, nil))
	cp.Events = append(cp.Events, cp.Events[0], cp.Events[0])
	cp.Events[1].Seq, cp.Events[2].Seq = 4, 3
	s.commit(t, cp)
	events, err := s.Events(t.Context(), cp.Run.ID, 1, 2)
	if err != nil || len(events) != 2 || events[0].Seq != 2 || events[1].Seq != 3 {
		t.Errorf("two events after the first: %+v, %v; want 2 and 3", events, err)
	}
}

func unknown(t *testing.T, s fixture) {
	_, ofRun := s.Run(t.Context(), newID())
	_, _, ofTip := s.Tip(t.Context(), newID())
	_, ofKey := s.RunOfKey(t.Context(), "m", "")
	for what, err := range map[string]error{"run": ofRun, "tip": ofTip, "key": ofKey} {
		if !errors.Is(err, saga.ErrNotFound) {
			t.Errorf("%s of no run: %v, want ErrNotFound", what, err)
		}
	}
	events, err := s.Events(t.Context(), newID(), 0, 10)
	verbs, verr := s.Verbs(t.Context(), newID())
	if len(events) > 0 || len(verbs) > 0 || err != nil || verr != nil {
		t.Errorf("events %v, %v and verbs %v, %v of no run; want none", events, err, verbs, verr)
	}
}
