package model_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/store/model"
	"github.com/tenantry/tenantry/store/storetest"
)

// The type `drawer` draws random calls. The arguments come from small sets, so that several calls concern the same run.
type drawer struct {
	*rand.Rand

	tb    testing.TB
	now   time.Time
	runs  []string
	model *model.Store
}

// The method `call` draws a random call, and returns its name and a function that makes the call. The function returns the results
// as text.
func (d *drawer) call(ctx context.Context) (name string, call func(storetest.Store) (string, error)) {
	if d.IntN(3) == 0 {
		d.now = d.now.Add(time.Second)
	}
	now, until, replica, run := d.now, d.now.Add(20*time.Second), d.replica(), d.run()
	switch n := d.IntN(112); {
	case n >= 108:
		merchant, disabled := d.merchant(), d.IntN(2) == 0
		return "disable", func(s storetest.Store) (string, error) { disable(d.tb, s, merchant, disabled); return "", nil }
	case n >= 104:
		f, hold := d.followUp(), d.hold()
		return "hold follow-up", func(s storetest.Store) (string, error) {
			return "", s.HoldFollowUp(ctx, f.Merchant, f.Workflow, f.ID, hold)
		}
	case n >= 100:
		due, ids := d.dueFollowUps(), []string{d.run(), d.run(), d.run()}
		return "take", func(s storetest.Store) (string, error) {
			next := 0
			taken, err := s.TakeFollowUps(ctx, due, func() string { next++; return ids[next-1] })
			text, jsonErr := json.Marshal(taken)
			return string(text), cmp.Or(err, jsonErr)
		}
	case n < 20:
		n := d.newRun()
		return "create", func(s storetest.Store) (string, error) {
			err := s.Create(ctx, n)
			busy, _ := errors.AsType[*saga.SubjectBusyError](err)
			succeeded, _ := errors.AsType[*saga.AlreadySucceededError](err)
			return fmt.Sprint(busy, succeeded), err
		}
	case n < 60:
		group := []saga.Checkpoint{d.checkpoint(ctx)}
		return "commit", func(s storetest.Store) (string, error) {
			r := s.Commit(ctx, now, group)[0]
			return fmt.Sprint(r.Actions, r.Successor), r.Err
		}
	case n < 67:
		return "join", func(s storetest.Store) (string, error) { _, err := s.Join(ctx, replica, until); return "", err }
	case n < 75:
		return "renew", func(s storetest.Store) (string, error) {
			r, err := s.Renew(ctx, replica, now, until)
			return fmt.Sprint(r.Freed), err
		}
	case n < 76:
		return "leave", func(s storetest.Store) (string, error) { return "", s.Leave(ctx, replica, now) }
	case n < 88:
		c := saga.Claim{Due: saga.Due{Now: now, Down: d.down(), Expired: now.Add(-time.Duration(d.IntN(100)) * time.Second)}, Replica: replica, Limit: d.IntN(5)}
		return "claim", func(s storetest.Store) (string, error) {
			ids, err := s.Claim(ctx, c)
			return fmt.Sprint(slices.Sorted(slices.Values(ids))), err
		}
	case n < 91:
		return "hand back", func(s storetest.Store) (string, error) {
			return "", s.HandBack(ctx, replica, now, now.Add(-2*time.Second), []string{run})
		}
	case n < 98:
		v := saga.Action{RunID: run, Name: saga.Hold, Who: "op", Why: "\xff", At: now}
		return "action", func(s storetest.Store) (string, error) { return "", s.AddAction(ctx, now, v) }
	}
	return "expire", func(s storetest.Store) (string, error) { return "", s.DeleteExpiredTokens(ctx, now) }
}

// The method `down` draws the upstreams that are down: none, one or two.
func (d *drawer) down() []string { return [][]string{nil, {"k0"}, {"k0", "k1"}}[d.IntN(3)] }

func (d *drawer) replica() string { return fmt.Sprint("r", d.IntN(3)) }

// The method `run` draws the id of a run, usually of one of the newest runs. In rare cases, no run has this id.
func (d *drawer) run() string {
	young := d.runs[max(0, len(d.runs)-8):]
	switch {
	case len(young) == 0 || d.IntN(50) == 0:
		return "none"
	case d.IntN(5) == 0:
		return d.runs[d.IntN(len(d.runs))]
	}
	return young[d.IntN(len(young))]
}

// The method `leased` draws the id of a run. If leased runs exist, nine of ten draws return the id of a leased run.
func (d *drawer) leased() string {
	var ids []string
	for _, run := range d.model.Everything().Runs {
		if run.Replica != "" {
			ids = append(ids, run.ID)
		}
	}
	if len(ids) == 0 || d.IntN(10) == 0 {
		return d.run()
	}
	return ids[d.IntN(len(ids))]
}

func (d *drawer) newRun() saga.NewRun {
	id := fmt.Sprintf("%04d", d.IntN(10000))
	if !slices.Contains(d.runs, id) {
		d.runs = append(d.runs, id)
	}
	run := &saga.Run{
		ID: id, Workflow: "w", Merchant: d.merchant(), Subject: fmt.Sprint("s", d.IntN(20)), User: fmt.Sprint("u", d.IntN(8)), Doubles: "p",
		Key: []string{"", id, id, fmt.Sprint("k", d.IntN(20))}[d.IntN(4)], Input: []byte(`{"a":"ü"}`),
		CreatedAt: d.now, State: saga.Running, UpdatedAt: d.now, BudgetFrom: d.now, DueAt: d.time(), HoldsSubject: true,
		Epoch: 1, Version: 1, Seq: 1,
		Steps: []saga.StepRow{
			{Name: "b", Position: 1, After: []string{"a"}, State: saga.StepPending},
			{Name: "a", State: saga.StepRunning, Optional: true, Attempts: 1, StartedAt: d.time()},
		},
	}
	if d.IntN(2) == 0 {
		run.Replica = d.replica()
	}
	if d.IntN(2) == 0 {
		run.HoldsSubject, run.WaitsFor, run.Replica = false, d.run(), ""
	}
	if d.IntN(4) == 0 {
		run.Hold = &saga.Reason{Kind: saga.WaitsForOperator}
	}
	if d.IntN(4) == 0 {
		run.RetryOf = d.run()
	}
	n := saga.NewRun{Run: run, Events: []saga.Event{{RunID: id, Seq: 1, At: d.now, Kind: saga.EventAccepted}}}
	if d.IntN(2) == 0 {
		n.Token, n.TokenExpiresAt = "token of "+id, d.now.Add(10*time.Second)
	}
	return n
}

// The method `checkpoint` draws a checkpoint of a run. The checkpoint is based on the run's state in the model, so that most
// checkpoints pass the fence.
func (d *drawer) checkpoint(ctx context.Context) saga.Checkpoint {
	id := d.leased()
	run, err := d.model.Run(ctx, id)
	if err != nil {
		run = &saga.Run{ID: id, Epoch: 1, Version: 1, Seq: 1}
	}
	cp := saga.Checkpoint{Run: run, Replica: run.Replica, DropToken: d.IntN(4) == 0}
	run.State = []saga.RunState{saga.Running, saga.Waiting, saga.Succeeded}[d.IntN(3)]
	run.UpdatedAt, run.DueAt, run.EndedAt = d.now.Add(time.Nanosecond), d.time(), nil
	run.AttentionAt = run.DueAt
	run.HoldsSubject, run.Worked = d.IntN(4) > 0, time.Duration(d.IntN(9999))
	if run.State == saga.Succeeded {
		run.HoldsSubject, run.EndedAt = d.IntN(10) == 0, &run.UpdatedAt
	}
	failure := saga.Failure{Code: "x", Detail: "nul \x00", At: d.now}
	run.Reason = &saga.Reason{Kind: saga.WaitsForRetry, Failure: failure, Until: d.time()}
	run.Reason.Upstream = []string{"", "k0", "k1"}[d.IntN(3)]
	run.Cause, run.LeftBehind = &failure, []saga.LeftBehind{{Step: "a"}}
	if d.IntN(3) == 0 {
		run.Replica, run.Cause, run.LeftBehind = "", nil, []saga.LeftBehind{}
		if d.IntN(2) == 0 {
			run.Reason = nil
		}
	}
	cp.Steps = []saga.StepRow{
		{Name: "a", Position: 7, State: saga.StepUnknown, Output: []byte(`{"b": 1}`), Error: &failure, RetryAt: d.time(), UndoneAt: d.time()},
		{Name: "b", State: saga.StepPending},
	}
	run.Seq++
	cp.Events = []saga.Event{{RunID: id, Seq: run.Seq, At: d.now, StartedAt: d.now, Kind: saga.EventUnknown, Failure: &failure}}
	for range d.IntN(3) {
		cp.Objects = append(cp.Objects, saga.Object{
			Step: fmt.Sprint(d.IntN(9)), Kind: "project", ID: fmt.Sprint(d.IntN(3)), Origin: saga.Own, RemovedAt: d.time(),
		})
	}
	actions, _ := d.model.Actions(ctx, id)
	for _, v := range actions {
		if d.IntN(2) == 0 {
			cp.Consumed = append(cp.Consumed, v.ID)
		}
	}
	if run.State == saga.Succeeded {
		for range d.IntN(3) {
			cp.FollowUps = append(cp.FollowUps, d.followUp())
		}
	}
	switch d.IntN(12) { // in some cases, make the checkpoint stale or bad
	case 0:
		run.Epoch--
	case 1:
		run.Version--
	case 2:
		cp.Replica = d.replica()
	case 3:
		cp.Events[0].Seq--
	case 4:
		cp.Events[0].Who = "nul \x00"
	case 5:
		run.Replica = d.replica()
	case 6:
		if len(cp.FollowUps) > 0 {
			cp.FollowUps[0].Doubles = "nul \x00"
		}
	}
	return cp
}

func (d *drawer) merchant() string { return fmt.Sprint("m", d.IntN(3)) }

// The drawn follow-ups have few different keys, so that later follow-ups replace earlier ones.
var (
	followUpWorkflows = []string{"later", "toy"}
	followUpIDs       = []string{"f0", "f1", "f2"}
)

// followUp draws a change of a follow-up. In one of three draws, the change deletes the follow-up. Otherwise, the change stores the
// follow-up.
func (d *drawer) followUp() saga.FollowUp {
	f := saga.FollowUp{
		Workflow: followUpWorkflows[d.IntN(2)], ID: followUpIDs[d.IntN(3)], Merchant: d.merchant(), Cloud: "c",
		Subject: fmt.Sprint("s", d.IntN(20)), User: "u", Doubles: "p", Input: map[string]string{"a": "ü <"},
		RunID: "ignored", TakenAt: &d.now, Hold: &saga.FollowUpHold{Who: "ignored"},
	}
	if due := d.time(); due != nil {
		f.DueAt = due.Add(time.Nanosecond)
	}
	if d.IntN(2) == 0 {
		f.Reason = &saga.Failure{Code: "x", Detail: "nul \x00", At: d.now}
	}
	return f
}

// The method `hold` draws a hold, or nil.
func (d *drawer) hold() *saga.FollowUpHold {
	if d.IntN(2) == 0 {
		return nil
	}
	return &saga.FollowUpHold{Who: "op", Why: "nul \x00", At: d.now.Add(time.Duration(d.IntN(3)) * 40 * time.Second)}
}

func (d *drawer) dueFollowUps() saga.DueFollowUps {
	return saga.DueFollowUps{
		Now: d.now.Add(time.Duration(d.IntN(3)) * 40 * time.Second), Workflows: followUpWorkflows[d.IntN(3)/2:], Limit: d.IntN(4),
	}
}

// The method `time` draws a time near d.now, or nil.
func (d *drawer) time() *time.Time {
	if d.IntN(3) == 0 {
		return nil
	}
	t := d.now.Add(time.Duration(d.IntN(10)-5) * time.Second)
	return &t
}
