package storetest

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/orchestrator/audit"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

// The method `made` creates a run that has recorded objects. Each object is given as KIND ID. The prefix "-" means that the run has
// also removed the object. The run's subject is "m:" followed by the parameter `subject`.
func (f auditFixture) made(t *testing.T, subject string, change func(*saga.Run), objects ...string) *saga.Run {
	t.Helper()
	n := f.create(t, func(r *saga.Run) {
		r.Subject = "m:" + subject
		if change != nil {
			change(r)
		}
	})
	cp, end := checkpoint(n), minutes(1)
	cp.Steps[0].EndedAt, cp.Objects = &end, nil
	for _, one := range objects {
		kind, id, _ := strings.Cut(strings.TrimPrefix(one, "-"), " ")
		o := saga.Object{Step: "a", Kind: kind, Cloud: "default", ID: id, Name: "N", Origin: saga.Own, RequestID: "req-1"}
		if kind == "role-assignment" {
			o.Step = "b/x" // the ledger has no end time for this step, because the step has not begun
		}
		if strings.HasPrefix(one, "-") {
			o.RemovedAt = &epoch
		}
		cp.Objects = append(cp.Objects, o)
	}
	cp.Run.State, cp.Run.EndedAt, cp.Run.HoldsSubject, cp.Run.Replica, cp.Run.DueAt = saga.Succeeded, &epoch, false, "", nil
	f.commit(t, cp)
	return f.read(t, n.Run.ID)
}

func eachRunFiltered(t *testing.T, s auditFixture) {
	runs := map[string]*saga.Run{
		"1": s.made(t, "c1", nil, "customer c1", "project p1", "role-assignment p1/u/r"),
		"2": s.made(t, "c2", nil, "customer c2", "project p1"),
		"3": s.made(t, "c1", func(r *saga.Run) { r.Merchant = "m2" }, "project p3"),
		"4": s.create(t, func(r *saga.Run) { r.Subject = "m:c1" }).Run, // live
	}
	ref := func(kind, id string) *saga.ObjectRef { return &saga.ObjectRef{Kind: kind, ID: id} }
	for want, filters := range map[string][]audit.RunFilter{
		"1234": {{}, {Except: []string{"another"}}},
		"124":  {{MerchantID: "m"}},
		"3":    {{MerchantID: "m2"}, {MerchantID: "m2", Subject: "m:c1"}, {MerchantID: "m2", Object: ref("project", "p3")}},
		"134":  {{Subject: "m:c1"}},
		"14":   {{Subject: "m:c1", MerchantID: "m"}},
		"12":   {{Object: ref("project", "p1")}, {Object: ref("project", "p1"), MerchantID: "m"}},
		"1": {
			{Object: ref("project", "p1"), Subject: "m:c1"},
			{Object: ref("role-assignment", "p1/u/r")},
			{Object: ref("customer", "c1")},
			{Object: ref("customer", "c1"), MerchantID: "m", Subject: "m:c1"},
			{ID: runs["1"].ID},
			{ID: runs["1"].ID, MerchantID: "m", Subject: "m:c1"},
		},
		"": {
			{MerchantID: "m3"},
			{Except: []string{"another", runs["1"].Workflow}},
			{Except: []string{runs["1"].Workflow}, Object: ref("project", "p1")},
			{ID: "nobody"},
			{ID: runs["1"].ID, MerchantID: "m2"},
			{ID: "\x00"},
			{Subject: "m:c3"},
			{Subject: "m\x00\xff"},
			{MerchantID: "\xff\x00"},
			{Object: ref("customer", "p1")},
			{Object: ref("project", "p1"), MerchantID: "m2"},
			{Object: ref("role-assignment", "p1/u/s")},
			{Object: ref("project", "\x00")},
		},
	} {
		for _, f := range filters {
			var got []*saga.Run
			err := s.audits.EachRun(t.Context(), f, func(r *saga.Run) error { got = append(got, r); return nil })
			var all []*saga.Run
			for _, name := range want {
				all = append(all, asLeft(s.read(t, runs[string(name)].ID)))
			}
			if err != nil || encoded(t, got) != encoded(t, all) {
				t.Errorf("filter %+v, %v:\n got %s\nwant the runs %s: %s", f, err, encoded(t, got), want, encoded(t, all))
			}
		}
	}
}

// asLeft returns the run as EachRun returns it.
func asLeft(r *saga.Run) *saga.Run {
	if r.State != saga.Succeeded {
		return r
	}
	left := &saga.Run{
		ID: r.ID, Workflow: r.Workflow, WorkflowVersion: r.WorkflowVersion, Merchant: r.Merchant, Cloud: r.Cloud, Subject: r.Subject,
		State: r.State, Version: r.Version, Input: r.Input, EndedAt: r.EndedAt,
	}
	for _, s := range r.Steps {
		left.Steps = append(left.Steps, saga.StepRow{
			Name: s.Name, Position: s.Position, After: s.After, Optional: s.Optional, Pivot: s.Pivot, State: saga.StepPending, Output: s.Output,
		})
	}
	return left
}

func eachRunInPages(t *testing.T, s auditFixture) {
	var want []string
	for range 7 {
		want = append(want, s.made(t, "c", nil, "project p").ID)
	}
	for _, f := range []audit.RunFilter{{}, {MerchantID: "m"}, {Subject: "m:c"}, {Object: &saga.ObjectRef{Kind: "project", ID: "p"}}} {
		var got []string
		err := s.audits.EachRun(t.Context(), f, func(r *saga.Run) error {
			got = append(got, r.ID)
			_, err := s.Run(t.Context(), r.ID) // the callback may call the store
			return err
		})
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("filter %+v: got the runs %v, %v; want %v", f, got, err, want)
		}
	}
	enough, n := errors.New("enough"), 0
	err := s.audits.EachRun(t.Context(), audit.RunFilter{}, func(*saga.Run) error {
		if n++; n == 3 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || n != 3 {
		t.Errorf("got %d runs and the error %v; want three and the error of the third", n, err)
	}
}

// The method `entries` reads the entries of a filter in pages of the given length, and returns them as text. The text of an entry has the
// form "KIND ID of N". The number N is the position of the entry's run in the parameter `runs`, counted from 1.
func (f auditFixture) entries(t *testing.T, filter audit.EntryFilter, page int, runs ...*saga.Run) string {
	t.Helper()
	filter.Limit = page
	var all []string
	for {
		found, err := f.audits.Entries(t.Context(), filter)
		if err != nil || len(found) > page {
			t.Fatalf("filter %+v: got %d entries, %v; want at most %d", filter, len(found), err, page)
		}
		for _, e := range found {
			all = append(all, e.Kind+" "+e.ID+" of "+numberOf(e.RunID, runs))
		}
		if len(found) < page {
			return strings.Join(all, ", ")
		}
		filter.After = found[len(found)-1].Cursor()
	}
}

func numberOf(id string, runs []*saga.Run) string {
	for n, r := range runs {
		if r.ID == id {
			return fmt.Sprint(n + 1)
		}
	}
	return "no run"
}

func entriesFiltered(t *testing.T, s auditFixture) {
	first := s.made(t, "c1", func(r *saga.Run) { r.User = "u1" },
		"customer c1", "project p1", "role-assignment p1/u1/r", "subscription s1", "project p2", "role-assignment p2/u1/r")
	second := s.made(t, "c1", func(r *saga.Run) { r.User, r.Workflow = "u2", "w2" },
		"subscription s1", "project p2", "-role-assignment p2/u2/r")
	third := s.made(t, "c3", func(r *saga.Run) { r.User = "u3" }, "customer c3", "project p3")
	for want, f := range map[string]audit.EntryFilter{
		"role-assignment p1/u1/r of 1, project p1 of 1":                                                {ProjectID: "p1"},
		"role-assignment p2/u2/r of 2, project p2 of 2, role-assignment p2/u1/r of 1, project p2 of 1": {ProjectID: "p2"},
		"subscription s1 of 2, role-assignment p2/u2/r of 2, project p2 of 2":                          {UserID: "u2"},
		"project p3 of 3, customer c3 of 3":                                                            {CustomerID: "c3"},
		"subscription s1 of 2, role-assignment p2/u2/r of 2, project p2 of 2, subscription s1 of 1, role-assignment p2/u1/r of 1, " +
			"role-assignment p1/u1/r of 1, project p2 of 1, project p1 of 1, customer c1 of 1": {SubscriptionID: "s1"},
	} {
		for _, page := range []int{100, 1} {
			if got := s.entries(t, f, page, first, second, third); got != want {
				t.Errorf("filter %+v, %d a page:\n got %s\nwant %s", f, page, got, want)
			}
		}
	}
	for _, f := range []audit.EntryFilter{
		{ProjectID: "p"},
		{ProjectID: "c1"},
		{UserID: "u"},
		{CustomerID: "p1"},
		{SubscriptionID: "c1"},
		{UserID: "\x00\xff"},
		{ProjectID: "\xff"},
	} {
		if got := s.entries(t, f, 10); got != "" {
			t.Errorf("filter %+v: got %s, want nothing", f, got)
		}
	}
	for _, f := range []audit.EntryFilter{{Limit: 9}, {ProjectID: "p1", UserID: "u1", Limit: 9}} {
		if got, err := s.audits.Entries(t.Context(), f); err == nil {
			t.Errorf("filter %+v: got %d entries, want an error", f, len(got))
		}
	}

	found, err := s.audits.Entries(t.Context(), audit.EntryFilter{ProjectID: "p2", Limit: 2})
	want := []audit.Entry{
		{
			Kind: "role-assignment", ID: "p2/u2/r", Name: "N", Cloud: "default", Origin: saga.Own, RemovedAt: &epoch, RunID: second.ID,
			Workflow: "w2", RunState: saga.Succeeded, MerchantID: "m", Step: "b/x", At: epoch, By: "me", Why: "because", RequestID: "req-1",
		},
		{
			Kind: "project", ID: "p2", Name: "N", Cloud: "default", Origin: saga.Own, RunID: second.ID,
			Workflow: "w2", RunState: saga.Succeeded, MerchantID: "m", Step: "a", At: minutes(1), By: "me", Why: "because", RequestID: "req-1",
		},
	}
	filled(t, want[0])
	if err != nil || encoded(t, found) != encoded(t, want) {
		t.Errorf("the entries, %v:\n got %s\nwant %s", err, encoded(t, found), encoded(t, want))
	}
}

// entriesInPages reads the entries of a customer in pages. Meanwhile, a new run records an object. The next pages must contain only the
// remaining entries of the earlier runs.
func entriesInPages(t *testing.T, s auditFixture) {
	first := s.made(t, "c", nil, "customer c", "project p")
	second := s.made(t, "c", nil, "project q", "project r")
	filter := audit.EntryFilter{CustomerID: "c", Limit: 1}
	page, err := s.audits.Entries(t.Context(), filter)
	if err != nil || len(page) != 1 || page[0].ID != "r" {
		t.Fatalf("the first entry: %+v, %v; want project r", page, err)
	}
	filter.After = page[0].Cursor()
	third := s.made(t, "c", nil, "project s")
	if got, want := s.entries(t, filter, 2, first, second, third), "project q of 2, project p of 1, customer c of 1"; got != want {
		t.Errorf("the next entries: got %s, want %s", got, want)
	}
	for _, after := range []string{"x", "\x00", first.ID, "0/project/p"} {
		filter.After = after
		if _, err := s.audits.Entries(t.Context(), filter); err != nil {
			t.Errorf("the entries after %q: %v", after, err)
		}
	}
}

func entriesOfUser(t *testing.T, s auditFixture) {
	mine := s.made(t, "c", func(r *saga.Run) { r.User = "u1" }, "project p", "role-assignment p/u1/r")
	operator := s.made(t, "c", func(r *saga.Run) { r.User = "" }, "project p", "-role-assignment p/u1/r", "role-assignment p/u2/r")
	elsewhere := s.made(t, "d", func(r *saga.Run) { r.User = "" }, "project q", "role-assignment q/u1/r")
	want := "role-assignment p/u1/r of 2, role-assignment p/u1/r of 1, project p of 1"
	for _, page := range []int{9, 1} {
		if got := s.entries(t, audit.EntryFilter{UserID: "u1"}, page, mine, operator, elsewhere); got != want {
			t.Errorf("%d a page: got %s, want %s", page, got, want)
		}
	}
	theirs := s.made(t, "c", func(r *saga.Run) { r.User, r.Merchant = "u1", "m2" }, "project r")
	for merchant, want := range map[string]string{"m": want, "m2": "project r of 4", "m3": ""} {
		for _, page := range []int{9, 1} {
			if got := s.entries(t, audit.EntryFilter{UserID: "u1", Merchant: merchant}, page, mine, operator, elsewhere, theirs); got != want {
				t.Errorf("merchant %s, %d a page: got %s, want %s", merchant, page, got, want)
			}
		}
	}
}

func entriesOfCustomer(t *testing.T, s auditFixture) {
	first := s.made(t, "c", nil, "customer c", "project p")
	suspend := s.made(t, "c", nil, "project q")
	live := s.create(t, func(r *saga.Run) { r.Subject = "m:c" })
	s.commit(t, checkpointOf(live, saga.Object{Step: "a", Kind: "project", ID: "r", Origin: saga.Adopted}))
	other := s.made(t, "c", func(r *saga.Run) { r.Merchant, r.Subject = "m2", "m2:c" }, "project s") // a customer with the same id
	want := "project r of 3, project q of 2, project p of 1, customer c of 1"
	for _, page := range []int{9, 1} {
		if got := s.entries(t, audit.EntryFilter{CustomerID: "c"}, page, first, suspend, live.Run, other); got != want {
			t.Errorf("%d a page: got %s, want %s", page, got, want)
		}
	}
}

// checkpointOf returns a checkpoint of a live run. The checkpoint contains the given object.
func checkpointOf(n saga.NewRun, object saga.Object) saga.Checkpoint {
	cp := checkpoint(n)
	cp.Objects = []saga.Object{object}
	return cp
}

func entriesAlike(t *testing.T, s auditFixture) {
	run := s.made(t, "c", func(r *saga.Run) { r.User = "other" },
		"project p", "project pp", "project p%", "project ü", "role-assignment p/u_1/r", "role-assignment p/u21/r", "role-assignment pp/u/r",
		"role-assignment p%/u/r", "role-assignment ü/u/r")
	mine := s.made(t, "c", func(r *saga.Run) { r.User = "u_1" }, "project p")
	for want, f := range map[string]audit.EntryFilter{
		"project p of 2, role-assignment p/u_1/r of 1": {UserID: "u_1"},
		"role-assignment p%/u/r of 1, project p% of 1": {ProjectID: "p%"},
		"role-assignment ü/u/r of 1, project ü of 1":   {ProjectID: "ü"},
	} {
		if got := s.entries(t, f, 9, run, mine); got != want {
			t.Errorf("filter %+v: got %s, want %s", f, got, want)
		}
	}
}
