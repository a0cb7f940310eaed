package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

// Disable disables a merchant of a store if the last argument is true, and enables the merchant otherwise. The merchant need not
// exist.
type Disable func(tb testing.TB, s Store, merchant string, disabled bool)

// DisableMerchant disables the merchant if `disabled` is true, and enables the merchant otherwise. If the merchant does not exist,
// DisableMerchant creates the merchant.
func DisableMerchant(tb testing.TB, all merchants.Store, merchant string, disabled bool) {
	tb.Helper()
	key := merchants.APIKey{Key: "key of " + merchant, MerchantID: merchant, CreatedAt: epoch}
	err := all.Create(tb.Context(), merchants.Merchant{ID: merchant, CreatedAt: epoch}, key)
	if err != nil && !errors.Is(err, merchants.ErrExists) {
		tb.Fatal(err)
	}
	_, err = all.Update(tb.Context(), merchant, func(m *merchants.Merchant) error {
		if m.Enable(); disabled {
			m.Disable(epoch)
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
}

// The function `later` returns a follow-up of merchant m that starts the workflow "later" and is due at the time epoch.
func later(id string) saga.FollowUp {
	return saga.FollowUp{Workflow: "later", ID: id, Merchant: "m", Subject: "m:" + id, Input: json.RawMessage(`{"a":1}`), DueAt: epoch}
}

// The method `put` commits follow-ups at the end of a new run.
func (f fixture) put(t *testing.T, all ...saga.FollowUp) {
	t.Helper()
	f.commit(t, f.ending(t, all...))
}

// The method `ending` returns the last checkpoint of a new run. The checkpoint contains the given follow-ups.
func (f fixture) ending(t *testing.T, all ...saga.FollowUp) saga.Checkpoint {
	t.Helper()
	return f.endOf(f.create(t, nil), all...)
}

// endOf returns the last checkpoint of a run. The checkpoint contains the given follow-ups.
func (fixture) endOf(n saga.NewRun, all ...saga.FollowUp) saga.Checkpoint {
	cp := checkpoint(n)
	cp.Run.State, cp.Run.EndedAt, cp.Run.HoldsSubject, cp.Run.Replica, cp.Run.DueAt = saga.Compensated, &epoch, false, "", nil
	cp.FollowUps = all
	return cp
}

// The method `take` takes the due follow-ups of the workflow "later", and returns their ids in the order in which they were taken.
func (f fixture) take(t *testing.T, now time.Time, limit int) (ids []string) {
	t.Helper()
	for _, one := range f.takeAs(t, now, limit, newID) {
		ids = append(ids, one.ID)
	}
	return ids
}

func (f fixture) takeAs(t *testing.T, now time.Time, limit int, newID func() string) []saga.FollowUp {
	t.Helper()
	taken, err := f.TakeFollowUps(t.Context(), saga.DueFollowUps{Now: now, Workflows: []string{"later", "toy"}, Limit: limit}, newID)
	if err != nil {
		t.Fatal(err)
	}
	return taken
}

// The method `stored` returns the follow-ups of merchant m and the workflow "later" as JSON.
func (f fixture) stored(t *testing.T, ids ...string) string {
	t.Helper()
	found, err := f.FollowUps(t.Context(), "m", "later", ids)
	if err != nil {
		t.Fatal(err)
	}
	return encoded(t, found)
}

func encoded(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func followUpEveryField(t *testing.T, s fixture) {
	put := saga.FollowUp{
		Workflow: "later", ID: "a", Merchant: "m", Cloud: "c", Subject: "s", User: "u", Doubles: "d", Input: json.RawMessage(`{"a": "ü"}`),
		DueAt: epoch.Add(1500 * time.Nanosecond).In(time.FixedZone("", 3600)), Reason: &saga.Failure{Code: "x", Detail: "ü", At: epoch},
		RunID: "given", TakenAt: &epoch, Hold: &saga.FollowUpHold{Who: "op", Why: "because", At: epoch},
	}
	filled(t, put)
	s.put(t, put)
	want := put
	want.Input, want.DueAt = json.RawMessage(`{"a":"ü"}`), epoch.Add(time.Microsecond)
	want.RunID, want.TakenAt, want.Hold = "", nil, nil // the values in a checkpoint are ignored
	if got, want := s.stored(t, "a"), encoded(t, map[string]saga.FollowUp{"a": want}); got != want {
		t.Errorf("the stored follow-up:\n got %s\nwant %s", got, want)
	}
	found, err := s.FollowUps(t.Context(), "m", "later", []string{"a"})
	if input, ok := found["a"].Input.(json.RawMessage); err != nil || !ok || found["a"].DueAt != want.DueAt {
		t.Errorf("got the input %s, due at %v, %v", input, found["a"].DueAt, err)
	}
	input, _ := put.Input.(json.RawMessage)
	before := s.stored(t, "a")
	input[0], put.Reason.Code, found["a"].Input.(json.RawMessage)[0], found["a"].Reason.Code = 'X', "changed", 'X', "changed"
	if after := s.stored(t, "a"); after != before {
		t.Errorf("the stored follow-up must not change when the caller changes its copy:\nbefore %s\nafter %s", before, after)
	}
}

func followUpsOfOthers(t *testing.T, s fixture) {
	other, foreign := later("x"), later("x")
	other.Workflow, foreign.ID, foreign.Merchant = "other", "y", "m2"
	s.put(t, later("x"), other, foreign, later("z"))
	for want, ids := range map[string][]string{
		"[]": {}, "[x]": {"x", "y", "none"}, "[x z]": {"x", "y", "z"},
	} {
		found, err := s.FollowUps(t.Context(), "m", "later", ids)
		var got []string
		for id, f := range found {
			if got = append(got, id); f.ID != id || f.Workflow != "later" || f.Merchant != "m" {
				t.Errorf("%s: got %+v", id, f)
			}
		}
		if slices.Sort(got); err != nil || fmt.Sprint(got) != want {
			t.Errorf("the follow-ups with the ids %v: got %v, %v; want %s", ids, got, err, want)
		}
	}
}

// followUpReplaced puts a follow-up again. The new follow-up must replace the stored follow-up, but keep its hold and the id of its
// last run.
func followUpReplaced(t *testing.T, s fixture) {
	hold := &saga.FollowUpHold{Who: "op", Why: "because", At: epoch.Add(time.Hour)}
	s.put(t, later("x"), later("y"))
	s.takeAs(t, epoch, 2, func() string { return "run" })
	if err := s.HoldFollowUp(t.Context(), "m", "later", "x", hold); err != nil {
		t.Fatal(err)
	}
	again := saga.FollowUp{
		Workflow: "later", ID: "x", Merchant: "m2", Cloud: "c2", Subject: "s2", User: "u2", Doubles: "d2", Input: json.RawMessage(`{}`),
		DueAt: epoch.Add(time.Minute), Reason: &saga.Failure{Code: "x"},
	}
	filled(t, again, "RunID", "TakenAt", "Hold")
	s.put(t, again)
	again.RunID, again.Hold = "run", hold
	found, err := s.FollowUps(t.Context(), "m2", "later", []string{"x", "y"})
	if got, want := encoded(t, found), encoded(t, map[string]saga.FollowUp{"x": again}); err != nil || got != want {
		t.Errorf("the follow-up that was put again: %v\n got %s\nwant %s", err, got, want)
	}
	again.Reason = nil
	s.put(t, again)
	if found, err = s.FollowUps(t.Context(), "m2", "later", []string{"x"}); err != nil || found["x"].Reason != nil {
		t.Errorf("the follow-up that was put again without a reason: %+v, %v; want no reason", found, err)
	}
	if other, err := s.FollowUps(t.Context(), "m", "later", []string{"y"}); err != nil || other["y"].TakenAt == nil {
		t.Errorf("the other follow-up: %+v, %v; want it taken", other, err)
	}
}

func followUpDropped(t *testing.T, s fixture) {
	s.put(t, later("x"), later("y"))
	drop := saga.FollowUp{Workflow: "later", ID: "x"}
	otherWorkflow := saga.FollowUp{Workflow: "other", ID: "y"}
	s.put(t, drop, otherWorkflow)
	s.put(t, drop) // the same follow-up may be dropped again
	if x, y := s.stored(t, "x"), s.stored(t, "y"); x != "{}" || y == "{}" {
		t.Errorf("after x was dropped, x is %s and y is %s", x, y)
	}
	if got := s.take(t, epoch, 9); fmt.Sprint(got) != "[y]" {
		t.Errorf("after x was dropped, took %v", got)
	}
	s.put(t, later("x"), drop)
	if got := s.stored(t, "x"); got != "{}" {
		t.Errorf("a checkpoint has put and then dropped a follow-up, but the follow-up is stored: %s", got)
	}
	s.put(t, drop, later("x"))
	if got := s.stored(t, "x"); got == "{}" {
		t.Error("a checkpoint has dropped and then put a follow-up, but the follow-up is not stored")
	}
}

// followUpFenced shows that a refused checkpoint changes no follow-up, and that the other checkpoints of the group still change
// follow-ups.
func followUpFenced(t *testing.T, s fixture) {
	s.put(t, later("x"), later("y"))
	before := s.stored(t, "x", "y", "new")
	for what, spoil := range map[string]func(*saga.Checkpoint){
		"another version": func(cp *saga.Checkpoint) { cp.Run.Version = 7 },
		"another epoch":   func(cp *saga.Checkpoint) { cp.Run.Epoch = 7 },
		"another replica": func(cp *saga.Checkpoint) { cp.Replica = "r2" },
		"no such run":     func(cp *saga.Checkpoint) { cp.Run.ID = newID() },
	} {
		changed := later("y")
		changed.User = "changed"
		bad := s.ending(t, saga.FollowUp{Workflow: "later", ID: "x"}, changed, later("new"))
		spoil(&bad)
		good := s.ending(t, later("good "+what))
		results := s.Commit(t.Context(), epoch, []saga.Checkpoint{bad, good})
		if !errors.Is(results[0].Err, saga.ErrFenced) || results[1].Err != nil {
			t.Errorf("%s: the bad and the good checkpoint returned %v and %v; want ErrFenced and nil", what, results[0].Err, results[1].Err)
		}
		if after := s.stored(t, "x", "y", "new"); after != before {
			t.Errorf("%s: the fenced checkpoint has changed follow-ups:\nbefore %s\nafter %s", what, before, after)
		}
		if s.stored(t, "good "+what) == "{}" {
			t.Errorf("%s: the follow-up of the good checkpoint is missing", what)
		}
	}
}

// followUpBadRow shows that a checkpoint writes nothing if one of its follow-ups cannot be stored.
func followUpBadRow(t *testing.T, s fixture) {
	for what, spoil := range map[string]func(*saga.FollowUp){
		"workflow": func(f *saga.FollowUp) { f.Workflow = "\x00" }, "id": func(f *saga.FollowUp) { f.ID = "\x00" },
		"merchant": func(f *saga.FollowUp) { f.Merchant = "\x00" }, "cloud": func(f *saga.FollowUp) { f.Cloud = "\x00" },
		"subject": func(f *saga.FollowUp) { f.Subject = "\x00" }, "user": func(f *saga.FollowUp) { f.User = "\x00" },
		"doubles": func(f *saga.FollowUp) { f.Doubles = "\x00" }, "input": func(f *saga.FollowUp) { f.Input = func() {} },
	} {
		spoilt := later("bad " + what)
		spoil(&spoilt)
		bad, good := s.ending(t, later("before "+what), spoilt), s.ending(t, later("good "+what))
		results := s.Commit(t.Context(), epoch, []saga.Checkpoint{bad, good})
		if !errors.Is(results[0].Err, saga.ErrBadRow) || results[1].Err != nil {
			t.Errorf("%s: the bad and the good checkpoint returned %v and %v; want ErrBadRow and nil", what, results[0].Err, results[1].Err)
		}
		if got := s.read(t, bad.Run.ID); got.Version != 1 || got.EndedAt != nil || s.stored(t, "before "+what) != "{}" {
			t.Errorf("%s: the refused checkpoint was written: %+v", what, got)
		}
		if s.stored(t, "good "+what) == "{}" {
			t.Errorf("%s: the follow-up of the good checkpoint is missing", what)
		}
	}
}

// followUpUnwritten shows that a checkpoint writes no follow-up if another row of the checkpoint is refused.
func followUpUnwritten(t *testing.T, s fixture) {
	bad, good := s.ending(t, later("x")), s.ending(t, later("y"))
	bad.Events[0].Seq = 1 // already used
	results := s.Commit(t.Context(), epoch, []saga.Checkpoint{bad, good})
	if !errors.Is(results[0].Err, saga.ErrBadRow) || results[1].Err != nil {
		t.Errorf("the bad and the good checkpoint returned %v and %v; want ErrBadRow and nil", results[0].Err, results[1].Err)
	}
	if x, y := s.stored(t, "x"), s.stored(t, "y"); x != "{}" || y == "{}" {
		t.Errorf("the refused checkpoint has written %s, and the good checkpoint %s", x, y)
	}
}

// followUpResults shows that follow-ups in a checkpoint do not change the result of the checkpoint.
func followUpResults(t *testing.T, s fixture) {
	n := s.create(t, func(r *saga.Run) { r.Subject = "m:c" })
	s.create(t, func(r *saga.Run) { r.Subject, r.HoldsSubject, r.WaitsFor, r.Replica = "m:c", false, n.Run.ID, "" })
	s.ask(t, saga.Action{RunID: n.Run.ID, Name: saga.Hold, At: epoch})
	cp := s.endOf(n, later("x"))
	cp.DropToken = true
	if got := s.commit(t, cp); !got.Actions || !got.Successor {
		t.Errorf("got %+v; want Actions and Successor to be true", got)
	}
	if got := s.read(t, n.Run.ID); got.State != saga.Compensated || got.Version != 2 || len(got.Objects) != 1 {
		t.Errorf("the run is %+v", got)
	}
}

// followUpsAtOnce commits concurrent checkpoints that change the same follow-ups in different sequences.
func followUpsAtOnce(t *testing.T, s fixture) {
	for range 10 {
		there, back := s.ending(t, later("x"), later("y"), later("z")), s.ending(t, later("z"), later("y"), later("x"))
		errs := make(chan error)
		for _, cp := range []saga.Checkpoint{there, back} {
			go func() { errs <- s.Commit(t.Context(), epoch, []saga.Checkpoint{cp})[0].Err }()
		}
		if err := errors.Join(<-errs, <-errs); err != nil {
			t.Fatal(err)
		}
	}
}

func takeDue(t *testing.T, s fixture) {
	at := func(id, workflow, merchant string, after time.Duration) saga.FollowUp {
		f := later(id)
		f.Workflow, f.Merchant, f.DueAt = workflow, merchant, epoch.Add(after)
		return f
	}
	s.put(t,
		at("third", "later", "m", -time.Second), at("first", "toy", "m", -time.Hour), at("now", "later", "m", 0),
		at("second", "later", "m", -time.Minute), at("in a microsecond", "later", "m", time.Microsecond),
		at("unknown workflow", "other", "m", -time.Hour), at("held", "later", "m", -time.Hour),
		at("disabled", "later", "m2", -time.Hour),
	)
	s.disable(t, s.Store, "m2", true)
	s.disable(t, s.Store, "m", true)
	s.disable(t, s.Store, "m", false)
	hold := &saga.FollowUpHold{Who: "op", At: epoch}
	if err := s.HoldFollowUp(t.Context(), "m", "later", "held", hold); err != nil {
		t.Fatal(err)
	}
	if got, err := s.TakeFollowUps(t.Context(), saga.DueFollowUps{Now: epoch, Limit: 9}, newID); err != nil || len(got) > 0 {
		t.Errorf("with no workflow, got %v, %v", got, err)
	}
	taken := s.takeAs(t, epoch, 2, func() string { return "run" })
	if len(taken) != 2 || taken[0].ID != "first" || taken[1].ID != "second" {
		t.Fatalf("took %+v; want the two follow-ups that were due first", taken)
	}
	want := at("second", "later", "m", -time.Minute)
	want.RunID, want.TakenAt = "run", &epoch
	if got, want := encoded(t, taken[1]), encoded(t, want); got != want {
		t.Errorf("took\n     %s\nwant %s", got, want)
	}
	if got, want := s.stored(t, "second"), encoded(t, map[string]saga.FollowUp{"second": want}); got != want {
		t.Errorf("stored\n     %s\nwant %s", got, want)
	}
	if got := s.take(t, epoch, 9); fmt.Sprint(got) != "[third now]" {
		t.Errorf("with a higher limit, took %v; want the remaining due follow-ups", got)
	}
	if got := s.take(t, epoch, 9); len(got) > 0 {
		t.Errorf("after all due follow-ups were taken, took %v", got)
	}
	s.disable(t, s.Store, "m2", false)
	if err := s.HoldFollowUp(t.Context(), "m", "later", "held", nil); err != nil {
		t.Fatal(err)
	}
	if got := s.take(t, epoch, 9); fmt.Sprint(got) != "[disabled held]" {
		t.Errorf("after the merchant was enabled and the hold was lifted, took %v", got)
	}
}

// takeAgain checks the times at which a taken follow-up can be taken again.
func takeAgain(t *testing.T, s fixture) {
	s.put(t, later("x"))
	n := leased(nil)
	s.takeAs(t, epoch, 1, func() string { return n.Run.ID })
	soon, late := epoch.Add(saga.FollowUpTimeout), epoch.Add(saga.FollowUpTimeout+time.Microsecond)
	if got := s.take(t, soon, 1); len(got) > 0 {
		t.Errorf("after a minute, took %v", got)
	}
	s.insert(t, n)
	if got := s.take(t, late.Add(time.Hour), 1); len(got) > 0 {
		t.Errorf("while the run is live, took %v", got)
	}
	s.commit(t, s.endOf(n))
	if got := s.take(t, soon, 1); len(got) > 0 {
		t.Errorf("a minute after the first take, when the run has ended but has not put the follow-up: took %v, want none", got)
	}
	taken := s.takeAs(t, late, 1, func() string { return "another" })
	if len(taken) != 1 || taken[0].RunID != "another" || *taken[0].TakenAt != late {
		t.Errorf("more than a minute after the first take, when the run has ended but has not put the follow-up: took %+v", taken)
	}
	if got := s.take(t, late.Add(saga.FollowUpTimeout), 1); len(got) > 0 {
		t.Errorf("a minute after the second take: took %v, want none", got)
	}
	if got := s.take(t, late.Add(saga.FollowUpTimeout+time.Microsecond), 1); len(got) != 1 {
		t.Errorf("more than a minute after the second take: took %v, want the follow-up, because its run was never started", got)
	}
	again := later("x")
	again.DueAt = late.Add(time.Hour)
	s.put(t, again)
	if got := s.take(t, late.Add(time.Hour-time.Microsecond), 1); len(got) > 0 {
		t.Errorf("before it is due again, took %v", got)
	}
	if got := s.take(t, late.Add(time.Hour), 1); len(got) != 1 {
		t.Errorf("when it is due again, took %v", got)
	}
}

// takeAtOnce lets four replicas take follow-ups at the same time. No follow-up may be taken twice.
func takeAtOnce(t *testing.T, s fixture) {
	const n, replicas = 40, 4
	var all []saga.FollowUp
	for i := range n {
		all = append(all, later(fmt.Sprint("x", i)))
	}
	s.put(t, all...)
	type answer struct {
		taken []saga.FollowUp
		err   error
	}
	answers := make(chan answer)
	for range replicas {
		go func() {
			var a answer
			for range n { // each replica makes many calls, so that calls of different replicas overlap
				taken, err := s.TakeFollowUps(t.Context(), saga.DueFollowUps{Now: epoch, Workflows: []string{"later"}, Limit: 3}, newID)
				if a.taken = append(a.taken, taken...); err != nil {
					a.err = err
				}
			}
			answers <- a
		}()
	}
	byID := map[string]string{}
	for range replicas {
		a := <-answers
		if a.err != nil {
			t.Error(a.err)
		}
		for _, f := range a.taken {
			if byID[f.ID] != "" {
				t.Errorf("follow-up %s was taken twice", f.ID)
			}
			byID[f.ID] = f.RunID
		}
	}
	found, err := s.FollowUps(t.Context(), "m", "later", slices.Collect(func(yield func(string) bool) {
		for _, f := range all {
			if !yield(f.ID) {
				return
			}
		}
	}))
	if err != nil || len(found) != n || len(byID) != n {
		t.Fatalf("%d of %d follow-ups were taken, and %d are stored, %v", len(byID), n, len(found), err)
	}
	for id, f := range found {
		if f.RunID != byID[id] {
			t.Errorf("follow-up %s was taken for run %s, but has run %s", id, byID[id], f.RunID)
		}
	}
}

func holdFollowUp(t *testing.T, s fixture) {
	s.put(t, later("x"))
	hold := func(merchant, workflow, id string, hold *saga.FollowUpHold) error {
		return s.HoldFollowUp(t.Context(), merchant, workflow, id, hold)
	}
	first := &saga.FollowUpHold{Who: "op", Why: "because \x00 ü", At: epoch}
	for what, err := range map[string]error{
		"another id": hold("m", "later", "y", first), "another workflow": hold("m", "other", "x", first),
		"another merchant": hold("m2", "later", "x", first), "lifted by another merchant": hold("m2", "later", "x", nil),
	} {
		if !errors.Is(err, saga.ErrNotFound) {
			t.Errorf("%s: got %v; want ErrNotFound", what, err)
		}
	}
	want := later("x")
	for _, h := range []*saga.FollowUpHold{first, first, {Who: "another", At: epoch.Add(time.Second)}, nil, nil} {
		if err := hold("m", "later", "x", h); err != nil {
			t.Fatalf("hold %+v: %v", h, err)
		}
		want.Hold = h
		if got, want := s.stored(t, "x"), encoded(t, map[string]saga.FollowUp{"x": want}); got != want {
			t.Errorf("stored\n     %s\nwant %s", got, want)
		}
	}
}

// holdExecuted shows that the hold of a follow-up cannot be set or lifted while a run executes the follow-up.
func holdExecuted(t *testing.T, s fixture) {
	s.put(t, later("x"))
	n := leased(nil)
	s.takeAs(t, epoch, 1, func() string { return n.Run.ID })
	hold := func(after time.Duration) error {
		return s.HoldFollowUp(t.Context(), "m", "later", "x", &saga.FollowUpHold{Who: "op", At: epoch.Add(after)})
	}
	lift := func() error { return s.HoldFollowUp(t.Context(), "m", "later", "x", nil) }
	if err := hold(saga.FollowUpTimeout - time.Microsecond); !errors.Is(err, saga.ErrChanged) {
		t.Errorf("a replica may be about to start the run: got %v; want ErrChanged", err)
	}
	if err := errors.Join(lift(), hold(saga.FollowUpTimeout), lift()); err != nil {
		t.Errorf("the run was not started in time: %v", err)
	}
	s.insert(t, n)
	for what, err := range map[string]error{"hold": hold(time.Hour), "lift": lift()} {
		if !errors.Is(err, saga.ErrChanged) {
			t.Errorf("%s while the run is live: got %v; want ErrChanged", what, err)
		}
	}
	s.commit(t, s.endOf(n))
	if err := errors.Join(hold(0), lift()); err != nil {
		t.Errorf("the run has ended: %v", err)
	}
	live := s.create(t, nil)
	s.takeAs(t, epoch.Add(time.Hour), 1, func() string { return live.Run.ID })
	s.put(t, later("x"))
	if err := errors.Join(hold(0), lift()); err != nil {
		t.Errorf("another run has changed the follow-up, so it is no longer taken: %v", err)
	}
}

// runsOfFollowUps checks the ended runs that need attention because of their follow-ups.
func runsOfFollowUps(t *testing.T, s fixture) {
	listed := func(change func(*saga.Filter)) string {
		t.Helper()
		f := saga.Filter{Attention: epoch, Limit: 10}
		if change != nil {
			change(&f)
		}
		runs, err := s.Runs(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, r := range runs {
			if ids = append(ids, r.ID); r.State.Ended() && r.AttentionAt != nil {
				t.Errorf("the ended run %s has the attention time %v, want none", r.ID, r.AttentionAt)
			}
		}
		return fmt.Sprint(ids)
	}
	first, second, good, held := leased(nil), leased(nil), leased(nil), checkpoint(s.create(t, nil))
	next := map[string]string{"x": first.Run.ID, "good": good.Run.ID}
	failed := func(id string, after time.Duration) saga.FollowUp {
		f := later(id)
		f.Reason, f.DueAt = &saga.Failure{Code: "x"}, epoch.Add(after)
		return f
	}
	s.put(t, later("x"))
	s.takeAs(t, epoch, 1, func() string { return next["x"] })
	s.put(t, later("good"), failed("never started", time.Hour))
	s.takeAs(t, epoch, 1, func() string { return next["good"] })
	s.insert(t, first)
	s.insert(t, good)
	if got := listed(nil); got != "[]" {
		t.Errorf("before a run has ended: %s", got)
	}
	s.commit(t, s.endOf(good, later("good")))
	s.commit(t, s.endOf(first, failed("x", time.Hour)))
	want := fmt.Sprint([]string{first.Run.ID})
	for what, change := range map[string]func(*saga.Filter){
		"alone": nil, "merchant": func(f *saga.Filter) { f.Merchant = "m" }, "user": func(f *saga.Filter) { f.User = "u" },
		"state":  func(f *saga.Filter) { f.States = []saga.RunState{saga.Stuck, saga.Compensated} },
		"before": func(f *saga.Filter) { f.Before = good.Run.ID }, "since": func(f *saga.Filter) { f.Since = epoch },
		"object": func(f *saga.Filter) { f.Objects = customer("c-" + first.Run.ID) },
		"time":   func(f *saga.Filter) { f.Attention = epoch.Add(-time.Hour) },
	} {
		if got := listed(change); got != want {
			t.Errorf("after a compensation, with the filter %s: got %s, want %s", what, got, want)
		}
	}
	for what, change := range map[string]func(*saga.Filter){
		"merchant": func(f *saga.Filter) { f.Merchant = "m2" }, "live": func(f *saga.Filter) { f.Live = true },
		"before": func(f *saga.Filter) { f.Before = first.Run.ID }, "since": func(f *saga.Filter) { f.Since = epoch.Add(time.Hour) },
	} {
		if got := listed(change); got != "[]" {
			t.Errorf("after a compensation, with the filter %s that no run matches: got %s, want none", what, got)
		}
	}
	held.Run.AttentionAt = &epoch
	s.commit(t, held)
	if got, want := listed(nil), fmt.Sprint([]string{held.Run.ID, first.Run.ID}); got != want {
		t.Errorf("beside a held run: got %s, want %s", got, want)
	}
	s.takeAs(t, epoch.Add(time.Hour), 9, func() string { return second.Run.ID })
	if got, want := listed(nil), fmt.Sprint([]string{held.Run.ID}); got != want {
		t.Errorf("after the follow-up was taken again: got %s, want %s", got, want)
	}
	s.insert(t, second)
	s.put(t, failed("x", time.Hour)) // the follow-up is put again, by a run that it has not started
	if got, want := listed(nil), fmt.Sprint([]string{held.Run.ID}); got != want {
		t.Errorf("while the run of the follow-up is live: got %s, want %s", got, want)
	}
	s.commit(t, s.endOf(second, saga.FollowUp{Workflow: "later", ID: "x"}))
	if got, want := listed(nil), fmt.Sprint([]string{held.Run.ID}); got != want {
		t.Errorf("after the follow-up was dropped: got %s, want %s", got, want)
	}
}
