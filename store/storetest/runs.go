package storetest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// The function `customer` returns a filter for the runs that created or adopted a customer.
func customer(id string) []saga.ObjectRef { return []saga.ObjectRef{{Kind: "customer", ID: id}} }

func runsFiltered(t *testing.T, s fixture) {
	a, b := s.create(t, nil), s.create(t, func(r *saga.Run) {
		r.Merchant, r.User, r.Workflow, r.CreatedAt = "m2", "u2", "w2", epoch.Add(time.Hour)
	})
	held := checkpoint(a)
	held.Run.AttentionAt = &epoch
	part := saga.Object{Step: "a", Kind: "part", ID: "c-" + a.Run.ID + "/1", Origin: saga.Own}
	held.Objects = append(held.Objects, part)
	s.commit(t, held)
	ended := checkpoint(b)
	ended.Run.State, ended.Run.EndedAt, ended.Run.HoldsSubject, ended.Run.Rechecks = saga.Compensated, &epoch, false, 2
	s.commit(t, ended)
	later := epoch.Add(time.Minute)
	for want, filters := range map[string][]saga.Filter{
		a.Run.ID: {
			{Merchant: "m"},
			{User: "u"},
			{Workflow: "w"},
			{Objects: customer("c-" + a.Run.ID)},
			{Objects: []saga.ObjectRef{{Kind: "part", ID: part.ID}}},
			{Objects: append(customer("c-"+a.Run.ID), saga.ObjectRef{Kind: "part", ID: part.ID}), Merchant: "m"},
			{Before: b.Run.ID},
			{States: []saga.RunState{saga.Running}},
			{Merchant: "m", Before: b.Run.ID},
			{States: []saga.RunState{saga.Running}, Before: b.Run.ID},
			{User: "u", States: []saga.RunState{saga.Running}},
			{Objects: customer("c-" + a.Run.ID), Before: b.Run.ID},
			{Merchant: "m", States: []saga.RunState{saga.Running}, Workflow: "w", Since: epoch},
			{States: []saga.RunState{saga.Running, saga.Stuck}},
			{States: []saga.RunState{saga.Running, saga.Running}},
			{Merchant: "m", States: []saga.RunState{saga.Running, saga.Compensated}},
			{States: []saga.RunState{saga.Running, saga.Compensated}, Before: b.Run.ID},
			{Objects: customer("c-" + a.Run.ID), States: []saga.RunState{saga.Stuck, saga.Running}},
			{Attention: epoch},
			{Attention: later, Merchant: "m", User: "u", Workflow: "w", States: []saga.RunState{saga.Running, saga.Stuck}},
			{Attention: later, Objects: customer("c-" + a.Run.ID), Since: epoch, Before: b.Run.ID},
			{Subject: a.Run.Subject},
			{Live: true},
			{Subject: a.Run.Subject, Live: true},
		},
		b.Run.ID: {
			{Merchant: "m2"},
			{User: "u2"},
			{Workflow: "w2"},
			{Since: later},
			{Merchant: "m2", Since: later},
			{States: []saga.RunState{saga.Compensated}, Since: later},
			{Workflow: "w2", Merchant: "m2", Since: later},
			{States: []saga.RunState{saga.Compensated}, Merchant: "m2"},
			{Subject: b.Run.Subject},
			{AwaitsRecheck: true},
			{Subject: b.Run.Subject, AwaitsRecheck: true},
		},
		b.Run.ID + a.Run.ID: {
			{},
			{Since: epoch},
			{States: []saga.RunState{saga.Compensated, saga.Running}},
			{States: []saga.RunState{saga.Running, saga.Compensated, saga.Succeeded}, Since: epoch},
		},
		"": {
			{States: []saga.RunState{saga.Stuck}},
			{Objects: []saga.ObjectRef{{Kind: "project", ID: "x"}}},
			{Objects: []saga.ObjectRef{{Kind: "subscription", ID: "x"}}},
			{Objects: []saga.ObjectRef{{Kind: "part", ID: "c-" + a.Run.ID + "/2"}}},
			{Objects: []saga.ObjectRef{{Kind: "part", ID: "c-" + b.Run.ID + "/1"}}},
			{Objects: []saga.ObjectRef{{Kind: "customer", ID: part.ID}}},
			{Objects: []saga.ObjectRef{{Kind: "part", ID: part.ID}}, Since: later},
			{Merchant: "m", User: "u2"},
			{States: []saga.RunState{saga.Succeeded}},
			{States: []saga.RunState{saga.Compensated}, Merchant: "m"},
			{Merchant: "m", Since: later},
			{User: "u", Since: later},
			{Merchant: "m2", Before: b.Run.ID},
			{User: "u2", Before: b.Run.ID},
			{Objects: customer("c-" + a.Run.ID), Since: later},
			{Before: a.Run.ID},
			{Objects: customer("c-" + a.Run.ID), Before: a.Run.ID},
			{Objects: customer("c-" + a.Run.ID), Merchant: "m2"},
			{Objects: customer("c-" + a.Run.ID), States: []saga.RunState{saga.Stuck}},
			{Since: epoch.Add(2 * time.Hour)},
			{Subject: a.Run.Subject, AwaitsRecheck: true},
			{Subject: b.Run.Subject, Live: true},
			{Live: true, AwaitsRecheck: true},
			{States: []saga.RunState{saga.Stuck, saga.Succeeded}},
			{States: []saga.RunState{saga.Running, saga.Stuck}, Since: later},
			{Attention: epoch.Add(-time.Microsecond)},
			{Attention: later, Merchant: "m2"},
			{Attention: later, States: []saga.RunState{saga.Stuck, saga.Compensated}},
			{Attention: later, Before: a.Run.ID},
			{Attention: later, Since: later},
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
				t.Errorf("filter %+v returned the runs %s, %v; want %s", f, ids.String(), err, want)
			}
		}
	}
}

func latestOfObjects(t *testing.T, s fixture) {
	ended := epoch
	made := func(merchant, subject string, state saga.RunState, ids ...string) string {
		n := s.create(t, func(r *saga.Run) { r.Merchant, r.Subject = merchant, subject })
		cp := checkpoint(n)
		cp.Run.State = state
		if state.Ended() {
			cp.Run.EndedAt, cp.Run.HoldsSubject, cp.Run.Replica = &ended, false, ""
		}
		cp.Objects = nil
		for _, id := range ids {
			cp.Objects = append(cp.Objects, saga.Object{Step: "a", Kind: "subscription", ID: id, Origin: saga.Adopted})
		}
		cp.Objects = append(cp.Objects, saga.Object{Step: "a", Kind: "project", ID: "other kind", Origin: saga.Own})
		s.commit(t, cp)
		return n.Run.ID
	}
	made("m", "1", saga.Succeeded, "x")
	second := made("m", "2", saga.Succeeded, "x", "y")
	third := made("m", "3", saga.Succeeded, "y")
	made("m", "4", saga.Compensated, "x", "y", "z")
	made("m", "5", saga.Running, "x", "z")
	made("n", "6", saga.Succeeded, "x")
	ended = epoch.Add(2 * time.Hour)
	last := made("m", "7", saga.Succeeded, "w")
	ended = epoch.Add(time.Hour)
	made("m", "8", saga.Succeeded, "w") // this run has a greater id, but ended earlier than the run `last`
	got, err := s.Latest(t.Context(), "m", "subscription", []string{"w", "x", "y", "z", "other kind"})
	if err != nil || len(got) != 3 {
		t.Fatalf("got %d runs, %v; want 3", len(got), err)
	}
	for id, want := range map[string]string{"w": last, "x": second, "y": third} {
		if got[id] == nil || show(t, got[id]) != show(t, s.read(t, want)) {
			t.Errorf("%s: got %s, want run %s", id, show(t, got[id]), want)
		}
	}
	if got, err := s.Latest(t.Context(), "m", "subscription", nil); err != nil || len(got) != 0 {
		t.Errorf("Latest without objects returned %d runs, %v; want none", len(got), err)
	}
}

// runsOlderID shows that a filter by creation time finds a run even if the time in the run's id is before the creation time. The
// two times may come from different clocks.
func runsOlderID(t *testing.T, s fixture) {
	id := epoch.Add(-20 * time.Hour).UnixMilli()
	n := leased(func(r *saga.Run) { r.ID = fmt.Sprintf("%08x-%04x-7fff-bfff-ffffffffffff", id>>16, id&0xffff) })
	n.Events[0].RunID = n.Run.ID
	s.insert(t, n)
	for _, f := range []saga.Filter{{}, {Merchant: "m"}, {States: []saga.RunState{saga.Running}}} {
		f.Since, f.Limit = epoch, 10
		if runs, err := s.Runs(t.Context(), f); err != nil || len(runs) != 1 {
			t.Errorf("filter %+v returned %d runs, %v; want one run", f, len(runs), err)
		}
	}
}

func runsInPages(t *testing.T, s fixture) {
	var ids []string
	for range 3 {
		ids = append(ids, s.create(t, nil).Run.ID)
	}
	for _, f := range []saga.Filter{{}, {States: []saga.RunState{saga.Running, saga.Stuck}}} {
		f.Limit = 2
		runs, err := s.Runs(t.Context(), f)
		if err != nil || len(runs) != 2 || runs[0].ID != ids[2] || runs[1].ID != ids[1] {
			t.Errorf("the first page of runs with the filter %+v: %v, %v; want the two newest runs", f, runs, err)
		}
	}
	cp := checkpoint(s.create(t, nil))
	cp.Events = append(cp.Events, cp.Events[0], cp.Events[0])
	cp.Events[1].Seq, cp.Events[2].Seq = 4, 3
	s.commit(t, cp)
	events, err := s.Events(t.Context(), cp.Run.ID, 1, 2)
	if err != nil || len(events) != 2 || events[0].Seq != 2 || events[1].Seq != 3 {
		t.Errorf("the two events after event 1: %+v, %v; want events 2 and 3", events, err)
	}
}

func readsOfNoRun(t *testing.T, s fixture) {
	_, ofRun := s.Run(t.Context(), newID())
	_, _, ofTip := s.Tip(t.Context(), newID())
	_, ofKey := s.RunOfKey(t.Context(), "m", "")
	for what, err := range map[string]error{"run": ofRun, "tip": ofTip, "key": ofKey} {
		if !errors.Is(err, saga.ErrNotFound) {
			t.Errorf("reading the %s of a run that does not exist: %v; want ErrNotFound", what, err)
		}
	}
	events, err := s.Events(t.Context(), newID(), 0, 10)
	actions, verr := s.Actions(t.Context(), newID())
	if len(events) > 0 || len(actions) > 0 || err != nil || verr != nil {
		t.Errorf("a run that does not exist has events %v, %v and actions %v, %v; want none", events, err, actions, verr)
	}
}
