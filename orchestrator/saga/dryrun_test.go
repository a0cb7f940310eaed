package saga

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// The type `place` is the state of the workflow that the tests of dry runs use.
type place struct {
	ID     string   `json:"id"`
	Guests []string `json:"guests,omitempty"`
	Old    bool     `json:"old,omitempty"` // if true, the step `look` has nothing to do

	Looked bool   `json:"looked,omitempty"`
	Room   string `json:"room,omitempty"`
}

// The type `tried` contains the results of Find in a dry run, and the errors of Do in steps that only read. The keys are the names
// of the steps without their items. If the map has no entry for a step, Find returns Absent.
type tried map[string]struct {
	found Found
	err   error
}

var (
	errTaken   = errors.New("taken")   // permanent
	errClosed  = errors.New("closed")  // blocked
	errDown    = errors.New("down")    // unavailable
	errUnclear = errors.New("unclear") // a fault of Tenantry
)

func classifyPlace(err error) Classification {
	c := Classification{Class: upstream.Permanent, Failure: Failure{Code: "taken", Detail: err.Error(), FixBy: FixByMerchant}}
	switch {
	case errors.Is(err, errClosed):
		c.Class, c.Failure.Code = upstream.Blocked, "closed"
	case errors.Is(err, errDown):
		c.Class, c.Failure.Code = upstream.Unavailable, "down"
	case errors.Is(err, errUnclear):
		c.Class, c.Log = upstream.Transient, err
	}
	return c
}

// The method `define` returns a workflow that begins with the step `look`. Two branches follow: the steps `open`, `invite` and
// `ring`; and the steps `book`, `count`, `clean` and `rest`.
func (w tried) define(t *testing.T) *Definition {
	t.Helper()
	never := func(context.Context, *place) error {
		t.Error("a dry run has called a Do or an Undo that writes")
		return nil
	}
	find := func(ctx context.Context, s *place) (Found, error) {
		name, _, _ := strings.Cut(CallOf(ctx).Step, "/")
		if !s.Looked && !s.Old {
			t.Errorf("step %s does not see the output of step `look`", name)
		}
		if name == "invite" && (s.Room == "") != (w["open"].found != Usable) {
			t.Errorf("step %s sees the room %q after %v", name, s.Room, w["open"].found)
		}
		if w[name].found != Absent {
			CallOf(ctx).Made(Object{Kind: name, ID: "found", Origin: Adopted})
		}
		if name == "open" {
			s.Room = "r"
		}
		return w[name].found, w[name].err
	}
	claim := func(*place, string) string { return "c" }
	d, err := Define(Workflow[place]{
		Name: "w", Version: 1, Classify: classifyPlace,
		Retry: func(context.Context, place, string) (Request, error) { return Request{}, nil },
		Expect: func(s place) []Expected {
			return []Expected{
				{Object: Object{Step: "open", Kind: "room", ID: s.Room, Name: "room of " + s.ID}},
				{Object: Object{Step: "clean", Kind: "dust"}, Gone: true},
			}
		},
		Result: func(s place) any { return s },
		Steps: []Step[place]{
			{
				Name: "look", Effect: Reads, NoUndo: "it only reads", Satisfied: func(s *place, _ time.Time) bool { return s.Old },
				Do: func(_ context.Context, s *place) error { s.Looked = true; return w["look"].err },
			},
			{Name: "open", After: []string{"look"}, Find: find, Claim: claim, Do: never, Undo: never},
			{
				Name: "invite", After: []string{"open"}, Optional: true, Find: find, Claim: claim, Do: never, Undo: never,
				Each: func(s *place) []string { return s.Guests },
			},
			{Name: "ring", After: []string{"invite"}, Do: never, NoUndo: "it fades"},
			{Name: "book", After: []string{"look"}, Effect: Changes, Find: find, Claim: claim, Do: never, Undo: never},
			{
				Name: "count", After: []string{"book"}, Effect: Reads, NoUndo: "it only reads",
				Do: func(context.Context, *place) error { return w["count"].err },
			},
			{Name: "clean", After: []string{"count"}, Effect: Removes, Find: find, Do: never, Pivot: "dust is gone"},
			{Name: "rest", After: []string{"clean"}, Do: never, NoUndo: "a test", Satisfied: func(*place, time.Time) bool { return true }},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (w tried) dryRun(t *testing.T, order place, onFailure OnFailure) (DryRun, error) {
	t.Helper()
	m := Machine{Def: w.define(t), Limits: Limits{GiveUpAfter: time.Hour}}
	order.ID = "i"
	return m.DryRun(t.Context(), Request{ID: "r", Workflow: "w", Merchant: "m", Input: order, OnFailure: onFailure}, time.Unix(1, 0))
}

func texts(d DryRun) string {
	all := []string{string(d.State)}
	for _, s := range d.Steps {
		one := s.Name + " " + string(s.Outcome)
		if s.Failure != nil {
			one += fmt.Sprintf(" (%s: %s, %s)", s.Failure.Code, s.Failure.Detail, s.Failure.FixBy)
		}
		all = append(all, one)
	}
	return strings.Join(all, "; ")
}

func TestWhatADryRunForesees(t *testing.T) {
	const rest = "; count undecided; clean undecided; rest undecided"
	for name, c := range map[string]struct {
		finds tried
		order place
		hold  bool
		want  string
	}{
		"nothing is there": {want: "succeeded; look only-reads; open would-create; ring would-create; book would-change" + rest},
		"the first step is satisfied": {
			order: place{Old: true},
			want:  "succeeded; look nothing-to-do; open would-create; ring would-create; book would-change" + rest,
		},
		"items": {
			order: place{Guests: []string{"a", "b"}},
			want: "succeeded; look only-reads; open would-create; invite/a would-create; invite/b would-create; ring would-create; " +
				"book would-change" + rest,
		},
		"all is there": {
			finds: tried{"open": {Usable, nil}, "invite": {Usable, nil}, "book": {Usable, nil}, "clean": {Made, nil}}, order: place{Guests: []string{"a"}},
			want: "succeeded; look only-reads; open would-adopt; invite/a would-adopt; ring would-create; book nothing-to-do; count only-reads; " +
				"clean nothing-to-do; rest nothing-to-do",
		},
		"the run has made the objects itself": {
			finds: tried{"open": {Made, nil}, "book": {Made, nil}},
			want: "succeeded; look only-reads; open already-there; ring would-create; book nothing-to-do; count only-reads; clean would-remove; " +
				"rest nothing-to-do",
		},
		"an item is skipped": {
			finds: tried{"open": {Usable, nil}, "invite": {Absent, SkipError{"gone"}}}, order: place{Guests: []string{"a"}},
			want: "succeeded; look only-reads; open would-adopt; invite/a would-skip; ring would-create; book would-change" + rest,
		},
		"a conflict that an operator can fix": {
			finds: tried{"open": {Foreign, errClosed}}, order: place{Guests: []string{"a"}},
			want: "waiting; look only-reads; open conflict (closed: closed, merchant); invite/a not-reached; ring not-reached; book would-change" + rest,
		},
		"a conflict for good": {
			finds: tried{"book": {Foreign, errTaken}},
			want: "compensated; look only-reads; open would-create; ring would-create; book conflict (taken: taken, merchant); count not-reached; " +
				"clean not-reached; rest not-reached",
		},
		"two conflicts": {
			finds: tried{"open": {Foreign, errClosed}, "book": {Foreign, errTaken}},
			want: "compensated; look only-reads; open conflict (closed: closed, merchant); ring not-reached; book conflict (taken: taken, merchant); " +
				"count not-reached; clean not-reached; rest not-reached",
		},
		"a conflict for good, and the merchant wants to hold": {
			finds: tried{"look": {err: errTaken}}, hold: true,
			want: "waiting; look conflict (taken: taken, merchant); open not-reached; ring not-reached; book not-reached; count not-reached; " +
				"clean not-reached; rest not-reached",
		},
		"a conflict at the pivot": { // the pivot has begun, so the run cannot be compensated
			finds: tried{"book": {Usable, nil}, "clean": {Foreign, errTaken}},
			want: "waiting; look only-reads; open would-create; ring would-create; book nothing-to-do; count only-reads; " +
				"clean conflict (taken: taken, merchant); rest not-reached",
		},
		"a conflict without a reason": {
			finds: tried{"book": {Foreign, nil}},
			want: "compensated; look only-reads; open would-create; ring would-create; " +
				"book conflict (taken: the effect exists, and the run must not use it, merchant); count not-reached; clean not-reached; rest not-reached",
		},
	} {
		onFailure := FailureCompensates
		if c.hold {
			onFailure = FailureHolds
		}
		d, err := c.finds.dryRun(t, c.order, onFailure)
		if got := texts(d); err != nil || got != c.want {
			t.Errorf("%s: %v\n got %s\nwant %s", name, err, got, c.want)
		}
	}
}

// If an effect cannot be looked up, DryRun returns the error, and no steps.
func TestADryRunThatCannotLook(t *testing.T) {
	for name, finds := range map[string]tried{
		"a read": {"look": {err: errDown}}, "a find": {"open": {err: errDown}}, "an internal error": {"book": {err: errUnclear}},
	} {
		d, err := finds.dryRun(t, place{}, "")
		if !errors.Is(err, errDown) && !errors.Is(err, errUnclear) || d.Steps != nil {
			t.Errorf("%s: got %v and %v", name, d, err)
		}
	}
}

func TestTheObjectsAndUndosOfADryRun(t *testing.T) {
	finds := tried{"book": {Usable, nil}}
	d, err := finds.dryRun(t, place{Guests: []string{"a"}}, "")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, s := range d.Steps {
		objects, err := json.Marshal(s.Objects)
		if err != nil {
			t.Fatal(err)
		}
		got[s.Name] = fmt.Sprintf("%s %v %t %s", s.Undo, s.After, s.Optional, objects)
	}
	for name, want := range map[string]string{
		"look":     `none: it only reads [] false null`,
		"open":     `remove [look] false [{"step":"open","kind":"room","id":"","name":"room of i","origin":"own"}]`,
		"invite/a": `remove [open] true null`,
		"ring":     `none: it fades [invite/a] false null`,
		"book":     `none: the run changes nothing here [look] false [{"step":"book","kind":"book","id":"found","origin":"adopted"}]`,
		"count":    `none: it only reads [book] false null`,
		"clean":    `pivot: dust is gone [count] false [{"step":"clean","kind":"dust","id":"","origin":""}]`,
		"rest":     `none: the run changes nothing here [clean] false null`,
	} {
		if got[name] != want {
			t.Errorf("step %s:\n got %s\nwant %s", name, got[name], want)
		}
	}
	if d.Workflow != "w" || d.Merchant != "m" || len(d.Steps) != 8 {
		t.Errorf("got %+v", d)
	}
}

// The context of a dry run allows only reads, and keeps the request id of the caller.
func TestADryRunMayOnlyRead(t *testing.T) {
	var seen []upstream.Caller
	def, err := Define(Workflow[thing]{
		Name: "w", Version: 1, Classify: classifyPlace, Expect: func(thing) []Expected { return nil }, Result: func(s thing) any { return s },
		Retry: func(context.Context, thing, string) (Request, error) { return Request{}, nil },
		Steps: []Step[thing]{{
			Name: "look", Effect: Reads, NoUndo: "it only reads",
			Do: func(ctx context.Context, _ *thing) error {
				seen = append(seen, upstream.CallerOf(ctx))
				panic("a fault")
			},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx := upstream.WithCaller(t.Context(), upstream.Caller{RequestID: "req-1"})
	d, err := Machine{Def: def}.DryRun(ctx, Request{ID: "r", Workflow: "w", Input: thing{}}, time.Unix(1, 0))
	if len(seen) != 1 || !seen[0].ReadOnly || seen[0].RequestID != "req-1" {
		t.Errorf("the step has the caller %+v", seen)
	}
	if err == nil || !strings.Contains(err.Error(), "panicked: a fault") {
		t.Errorf("a panic: got %+v, %v", d, err)
	}
	if _, err := (Machine{}).DryRun(ctx, Request{ID: "r", Workflow: "unknown"}, time.Unix(1, 0)); err == nil {
		t.Error("an unknown workflow was accepted")
	}
}

func TestAStepThatOnlyReads(t *testing.T) {
	do := func(context.Context, *thing) error { return nil }
	find := func(context.Context, *thing) (Found, error) { return Absent, nil }
	for name, s := range map[string]Step[thing]{
		"it has an undo": {Name: "a", Effect: Reads, Do: do, Find: find, Claim: func(*thing, string) string { return "c" }, Undo: do},
		"it has a find":  {Name: "a", Effect: Reads, Do: do, Find: find, NoUndo: "it reads"},
		"it is a pivot":  {Name: "a", Effect: Reads, Do: do, Find: find, Pivot: "it reads"},
	} {
		_, err := Define(Workflow[thing]{
			Name: "w", Version: 1, Classify: classifyPlace, Expect: func(thing) []Expected { return nil }, Result: func(s thing) any { return s },
			Retry: func(context.Context, thing, string) (Request, error) { return Request{}, nil }, Steps: []Step[thing]{s},
		})
		if err == nil || !strings.Contains(err.Error(), "only reads") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// Outside a dry run, the error that Find returns with Foreign is ignored. If Find returns a SkipError, the step is skipped.
func TestAFindThatReturnsTheErrorOfDo(t *testing.T) {
	again, recheck := Call{Kind: CallDo, Look: true}, Call{Kind: CallRecheck}
	for name, c := range map[string]struct {
		call Call
		err  error
		want string
	}{
		"again, foreign":      {again, errTaken, "[find do] done"},
		"a re-check, foreign": {recheck, errTaken, "[find]"},
	} {
		world := called{found: Foreign, findErr: c.err}
		c.call.Step, c.call.Input, c.call.State = "make", []byte(`{"id":"i"}`), []byte(`{"id":"i"}`)
		o := world.definition(t).Attempt(t.Context(), c.call, &world)
		got := strings.TrimSpace(fmt.Sprint(world.log, " ", strings.Join(ids(o.Objects), " ")))
		if o.Err != nil || got != c.want {
			t.Errorf("%s: got %s, %+v; want %s", name, got, o.Err, c.want)
		}
	}
	for _, call := range []Call{again, recheck} {
		world := called{findErr: SkipError{"gone"}}
		call.Step, call.Input, call.State = "make", []byte(`{"id":"i"}`), []byte(`{"id":"i"}`)
		o := world.definition(t).Attempt(t.Context(), call, &world)
		if skips := call.Kind == CallDo; (o.Skipped == "gone") != skips || (o.Err == nil) == skips || !slices.Equal(world.log, []string{"find"}) {
			t.Errorf("%s: got %+v after %v", call.Kind, o, world.log)
		}
	}
}
