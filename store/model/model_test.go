package model_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/store"
	"github.com/tenantry/tenantry/store/model"
	"github.com/tenantry/tenantry/store/storetest"
)

func TestTheModelConforms(t *testing.T) {
	storetest.Conformance(t, func(testing.TB) storetest.Store { return model.New(time.Now) }, disable)
}

// The function `disable` disables a merchant in the model or in PostgreSQL. If `disabled` is false, the function enables the
// merchant.
func disable(tb testing.TB, s storetest.Store, merchant string, disabled bool) {
	tb.Helper()
	switch s := s.(type) {
	case *model.Store:
		s.Disable(merchant, disabled)
	case *store.Store:
		storetest.DisableMerchant(tb, s.Merchants(), merchant, disabled)
	}
}

func TestReplicasHearOneAnotherThroughTheModel(t *testing.T) {
	shared := model.New(time.Now)
	storetest.Wakes(t, shared, shared)
}

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// The function `leased` returns a store with one run and the run's token. The run is leased to replica r1.
func leased(t *testing.T) (*model.Store, *saga.Run) {
	t.Helper()
	s := model.New(func() time.Time { return epoch })
	if now, err := s.Join(t.Context(), "r1", epoch.Add(time.Hour)); err != nil || now != epoch {
		t.Fatalf("joined at %v, %v; want the database's time", now, err)
	}
	run := &saga.Run{
		ID: "a", Merchant: "m", Key: "k", Subject: "s", Input: []byte(`{}`), State: saga.Running, Replica: "r1",
		Epoch: 1, Version: 1, Seq: 1, Steps: []saga.StepRow{{Name: "a", Output: []byte(`"made"`)}},
	}
	n := saga.NewRun{
		Run: run, Events: []saga.Event{{RunID: "a", Seq: 1, Kind: saga.EventAccepted, Who: "canary"}},
		Token: "gAAAA", TokenExpiresAt: epoch,
	}
	if err := s.Create(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	return s, run
}

func TestEverythingIsSeenButTokens(t *testing.T) {
	s, run := leased(t)
	if err := s.AddAction(t.Context(), epoch, saga.Action{RunID: run.ID, Name: saga.Hold, Why: "because"}); err != nil {
		t.Fatal(err)
	}
	put := saga.FollowUp{Workflow: "later", ID: "x", Input: "later input", DueAt: epoch}
	if r := s.Commit(t.Context(), epoch, []saga.Checkpoint{{Run: run, Replica: "r1", FollowUps: []saga.FollowUp{put}}}); r[0].Err != nil {
		t.Fatal(r[0].Err)
	}
	c := s.Everything()
	if len(c.FollowUps) != 1 || c.FollowUps[0].ID != "x" {
		t.Errorf("the follow-ups are %+v", c.FollowUps)
	}
	if len(c.Runs) != 1 || c.Runs[0].ID != "a" || len(c.Events["a"]) != 1 || len(c.Actions) != 1 || !slices.Equal(c.Tokens, []string{"a"}) {
		t.Errorf("everything: %+v", c)
	}
	text, err := c.Text()
	if err != nil {
		t.Fatal(err)
	}
	for part, there := range map[string]bool{"canary": true, "because": true, "made": true, "later input": true, "gAAAA": false} {
		if strings.Contains(text, part) != there {
			t.Errorf("%s is in the text: %t, want %t: %s", part, !there, there, text)
		}
	}
}

func TestUnfencedAStaleWriterWrites(t *testing.T) {
	s, run := leased(t)
	stale := *run
	stale.Epoch, stale.Version, stale.State = 0, 0, saga.Waiting
	cp := []saga.Checkpoint{{Run: &stale, Replica: "r9"}}
	if r := s.Commit(t.Context(), epoch, cp); !errors.Is(r[0].Err, saga.ErrFenced) {
		t.Fatalf("fenced: %v, want ErrFenced", r[0].Err)
	}
	s.Unfenced = true
	if r := s.Commit(t.Context(), epoch, cp); r[0].Err != nil {
		t.Fatal(r[0].Err)
	}
	if got, err := s.Run(t.Context(), run.ID); err != nil || got.State != saga.Waiting || got.Version != 2 {
		t.Errorf("the run after the stale write: %+v, %v", got, err)
	}
}

func TestADeadCallerChangesNothing(t *testing.T) {
	s, run := leased(t)
	put := saga.Checkpoint{Run: run, Replica: "r1", FollowUps: []saga.FollowUp{{Workflow: "later", ID: "x", DueAt: epoch}}}
	if r := s.Commit(t.Context(), epoch, []saga.Checkpoint{put}); r[0].Err != nil {
		t.Fatal(r[0].Err)
	}
	run.Version++
	before, err := s.Everything().Text()
	if err != nil {
		t.Fatal(err)
	}
	dead, cancel := context.WithCancel(t.Context())
	cancel()
	_, joined := s.Join(dead, "r2", epoch)
	_, renewed := s.Renew(dead, "r1", epoch, epoch)
	_, claimed := s.Claim(dead, saga.Claim{Due: saga.Due{Now: epoch}, Replica: "r1", Limit: 1})
	_, taken := s.TakeFollowUps(dead, saga.DueFollowUps{Now: epoch, Workflows: []string{"later"}, Limit: 1}, func() string { return "b" })
	_, read := s.FollowUps(dead, "", "later", []string{"x"})
	for what, err := range map[string]error{
		"take": taken, "follow-ups": read, "hold": s.HoldFollowUp(dead, "", "later", "x", &saga.FollowUpHold{}),
		"create": s.Create(dead, saga.NewRun{Run: &saga.Run{ID: "b"}}),
		"commit": s.Commit(dead, epoch, []saga.Checkpoint{{Run: run, Replica: "r1"}})[0].Err,
		"action": s.AddAction(dead, epoch, saga.Action{RunID: "a"}),
		"leave":  s.Leave(dead, "r1", epoch), "hand back": s.HandBack(dead, "r1", epoch, epoch.Add(1), nil),
		"expire": s.DeleteExpiredTokens(dead, epoch.Add(time.Hour)),
		"join":   joined, "renew": renewed, "claim": claimed,
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want the error of the canceled context", what, err)
		}
	}
	if after, err := s.Everything().Text(); err != nil || after != before {
		t.Errorf("something was written: %v\n%s\n%s", err, before, after)
	}
}

func TestAListenerLivesInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, run := leased(t)
		ctx, cancel := context.WithCancel(t.Context())
		var heard []saga.WakeKind
		go func() { _ = s.Listen(ctx, func(w saga.Wake) { heard = append(heard, w.Kind) }) }()
		synctest.Wait()
		for range 3 {
			if err := s.AddAction(t.Context(), epoch, saga.Action{RunID: run.ID}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		cancel()
		// The listener must not receive this action, because the listener's context has ended.
		if err := s.AddAction(t.Context(), epoch, saga.Action{RunID: run.ID}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if want := []saga.WakeKind{saga.WakeWork, saga.WakeAction, saga.WakeAction, saga.WakeAction}; !slices.Equal(heard, want) {
			t.Errorf("heard %v, want %v", heard, want)
		}
	})
}

// BenchmarkTheModel measures ten runs in one store. Each run has eleven steps. The benchmark creates and leases each run, commits ten
// checkpoints, and reads the run after each checkpoint.
func BenchmarkTheModel(b *testing.B) {
	for b.Loop() {
		s := model.New(time.Now)
		if _, err := s.Join(b.Context(), "r1", epoch.Add(time.Hour)); err != nil {
			b.Fatal(err)
		}
		for i := range 10 {
			run := &saga.Run{ID: string(rune('a' + i)), Key: string(rune('a' + i)), DueAt: &epoch, HoldsSubject: true}
			run.Subject = run.ID
			for n := range 11 {
				run.Steps = append(run.Steps, saga.StepRow{
					Name: string(rune('a' + n)), Position: n, After: []string{"a"}, StartedAt: &epoch, Output: []byte(`{"a": "b"}`),
				})
			}
			if err := s.Create(b.Context(), saga.NewRun{Run: run}); err != nil {
				b.Fatal(err)
			}
			if _, err := s.Claim(b.Context(), saga.Claim{Due: saga.Due{Now: epoch}, Replica: "r1", Limit: 1}); err != nil {
				b.Fatal(err)
			}
			run.Replica, run.Epoch, run.Version = "r1", 1, 1
			for range 10 {
				run.Seq++
				cp := saga.Checkpoint{Run: run, Replica: "r1", Steps: run.Steps[:1], Events: []saga.Event{{RunID: run.ID, Seq: run.Seq}}}
				if r := s.Commit(b.Context(), epoch, []saga.Checkpoint{cp}); r[0].Err != nil {
					b.Fatal(r[0].Err)
				}
				run.Version++
				if _, err := s.Run(b.Context(), run.ID); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
}
