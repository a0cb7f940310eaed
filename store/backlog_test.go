package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/store"
)

func TestTheBacklogCountsWhatIsNotFinished(t *testing.T) {
	for name, url := range map[string]func(testing.TB) string{"SQLite": template.SQLite, "PostgreSQL": template.PostgreSQL} {
		t.Run(name, func(t *testing.T) { backlog(t, migrated(t, url(t))) })
	}
}

func backlog(t *testing.T, s *store.Store) {
	now := time.UnixMicro(time.Now().UnixMicro()).UTC()
	limits := saga.BacklogLimits{Count: 10, FollowUp: 2, Replicas: 3}
	_, err := s.Join(t.Context(), "r1", now.Add(time.Hour))
	must(t, err)
	_, err = s.Join(t.Context(), "r2", now.Add(2*time.Hour))
	must(t, err)
	n := 0
	run := func(change func(*saga.Run)) *saga.Run {
		n++
		id := fmt.Sprintf("0000000%d-run", n)
		r := &saga.Run{
			ID: id, Workflow: "w", Subject: id, Key: id, Input: []byte("{}"), CreatedAt: now.Add(time.Duration(n) * time.Second), UpdatedAt: now,
			BudgetFrom: now, State: saga.Pending, DueAt: new(now.Add(-time.Second)), Epoch: 1, Version: 1,
		}
		change(r)
		must(t, s.Create(t.Context(), saga.NewRun{Run: r}))
		return r
	}
	waits := func(kind saga.ReasonKind, upstream string) func(*saga.Run) {
		return func(r *saga.Run) {
			r.State, r.Reason = saga.Waiting, &saga.Reason{Kind: kind, Failure: saga.Failure{Code: "c", Upstream: upstream, At: now}}
		}
	}
	run(func(*saga.Run) {})
	run(func(*saga.Run) {})
	run(waits(saga.WaitsForUpstream, "billingstack"))
	run(waits(saga.WaitsForUpstream, "keystone"))
	run(func(r *saga.Run) { waits(saga.WaitsForOperator, "")(r); r.DueAt, r.AttentionAt = nil, &now })
	busy := run(func(r *saga.Run) { r.State, r.Replica, r.HoldsSubject = saga.Running, "r1", true })
	ends := run(func(r *saga.Run) { r.State, r.Replica, r.HoldsSubject = saga.Running, "r1", true })
	ends.State, ends.EndedAt, ends.HoldsSubject, ends.DueAt, ends.Replica = saga.Succeeded, &now, false, nil, ""
	checkpoint := saga.Checkpoint{Run: ends, Replica: "r1"}
	for i, due := range []time.Duration{-3, -2, -1, 1, -4} {
		checkpoint.FollowUps = append(checkpoint.FollowUps, saga.FollowUp{
			Workflow: "later", ID: fmt.Sprint("f", i), Merchant: "m", Input: map[string]int{}, DueAt: now.Add(due * time.Minute),
		})
	}
	must(t, s.Commit(t.Context(), now, []saga.Checkpoint{checkpoint})[0].Err)
	hold := &saga.FollowUpHold{Who: "olga", Why: "a dispute", At: now}
	must(t, s.HoldFollowUp(t.Context(), "m", "later", "f4", hold))

	got, err := s.Backlog(t.Context(), saga.Due{Now: now, Down: []string{"billingstack"}, Expired: now.Add(-time.Hour)}, limits)
	must(t, err)
	same(t, "the replicas", got.Replicas, []saga.ReplicaLease{{ID: "r2", Until: now.Add(2 * time.Hour)}, {ID: "r1", Until: now.Add(time.Hour)}})
	after := func(seconds int) time.Time { return now.Add(time.Duration(seconds) * time.Second) }
	same(t, "the live runs", got.Runs, []saga.RunCount{
		{State: saga.Pending, Due: true, Runs: 2, Oldest: after(1)},
		{State: saga.Running, Leased: true, Runs: 1, Oldest: busy.CreatedAt},
		{State: saga.Waiting, Reason: saga.WaitsForOperator, Runs: 1, Oldest: after(5)},
		{State: saga.Waiting, Reason: saga.WaitsForUpstream, Runs: 1, Oldest: after(3)},
		{State: saga.Waiting, Reason: saga.WaitsForUpstream, Due: true, Runs: 1, Oldest: after(4)},
	})
	if got.Attention != 1 || got.Due.Count != 3 || got.Held.Count != 1 || len(got.Due.First) != 2 || got.Due.First[0].ID != "f0" || got.Due.First[1].ID != "f1" {
		t.Errorf("got %+v", got)
	}
	same(t, "the hold", got.Held.First[0].Hold, hold)

	limits.Count, limits.Replicas = 2, 1
	got, err = s.Backlog(t.Context(), saga.Due{Now: now}, limits)
	must(t, err)
	total := 0
	for _, r := range got.Runs {
		total += r.Runs
	}
	if total != 2 || got.Due.Count != 2 || len(got.Replicas) != 1 {
		t.Errorf("with a limit of two: %+v", got)
	}
}
