package store

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// batch is a group of checkpoints as rows, in the order in which they are locked: by run.
type batch struct {
	runs     []checkpointRow
	steps    []stepRow
	events   []eventRow
	objects  []objectRow
	consumed []int64
}

// checkpointRow is a run after its checkpoint, and what else the checkpoint says of it.
type checkpointRow struct {
	runRow
	besides
}

// besides is what a checkpoint says that is no column of its run: under whose lease it was written, and that the user's
// token goes.
type besides struct {
	Holder    string `json:"holder"`
	DropToken bool   `json:"drop_token"`
}

func newBatch(checkpoints []saga.Checkpoint) (batch, error) {
	b := batch{steps: []stepRow{}, events: []eventRow{}, objects: []objectRow{}, consumed: []int64{}}
	sorted := slices.SortedFunc(slices.Values(checkpoints), func(x, y saga.Checkpoint) int {
		if x.Run.ID < y.Run.ID {
			return -1
		}
		return 1
	})
	for _, cp := range sorted {
		if err := b.add(cp); err != nil {
			return b, err
		}
	}
	return b, nil
}

func (b *batch) add(cp saga.Checkpoint) error {
	run, err := rowOfRun(cp.Run)
	if err != nil {
		return err
	}
	run.Input, run.Fingerprint, run.PinnedSteps = "", "", "" // pinned: they need not travel
	b.runs = append(b.runs, checkpointRow{run, besides{cp.Replica, cp.DropToken}})
	for i := range cp.Steps {
		row, err := rowOfStep(run.ID, &cp.Steps[i])
		if err != nil {
			return err
		}
		b.steps = append(b.steps, row)
	}
	for i := range cp.Events {
		row, err := rowOfEvent(&cp.Events[i])
		if err == nil {
			err = readable(row.Step, row.Action, row.Who, row.Why, row.RequestID)
		}
		if err != nil {
			return err
		}
		b.events = append(b.events, row)
	}
	objects := map[[2]string]objectRow{} // the last word about each counts
	for i := range cp.Objects {
		row := rowOfObject(run.ID, &cp.Objects[i])
		if err := readable(row.Step, row.Kind, row.Cloud, row.ID, row.Name); err != nil {
			return err
		}
		objects[[2]string{row.Kind, row.ID}] = row
	}
	b.objects = slices.AppendSeq(b.objects, maps.Values(objects))
	b.consumed = append(b.consumed, cp.Consumed...)
	return nil
}

// readable refuses what PostgreSQL cannot read. It would itself only say so where it comes to read it, which depends on how
// the statement was planned.
func readable(texts ...string) error {
	if slices.ContainsFunc(texts, func(text string) bool { return strings.ContainsRune(text, 0) }) {
		return errors.New("a text holds NUL")
	}
	return nil
}

// more tells whether there is more to write than runs, steps and events.
func (b *batch) more() bool {
	return len(b.objects)+len(b.consumed) > 0 ||
		slices.ContainsFunc(b.runs, func(r checkpointRow) bool { return r.DropToken })
}

// newRunRows are the rows that accepting a run inserts.
type newRunRows struct {
	run    runRow
	steps  []stepRow
	events []eventRow
	token  *tokenRow
}

func (s *Store) newRunRows(n saga.NewRun) (newRunRows, error) {
	rows := newRunRows{steps: []stepRow{}, events: []eventRow{}}
	var err error
	if rows.run, err = rowOfRun(n.Run); err != nil {
		return rows, err
	}
	if rows.run.PinnedSteps, err = pin(n.Run); err != nil {
		return rows, err
	}
	for i := range n.Run.Steps {
		if n.Run.Steps[i].State == saga.StepPending {
			continue
		}
		row, err := rowOfStep(n.Run.ID, &n.Run.Steps[i])
		if err != nil {
			return rows, err
		}
		rows.steps = append(rows.steps, row)
	}
	for i := range n.Events {
		row, err := rowOfEvent(&n.Events[i])
		if err != nil {
			return rows, err
		}
		rows.events = append(rows.events, row)
	}
	if n.Token != "" {
		sealed, err := s.seal.close(n.Run.ID, n.Token)
		if err != nil {
			return rows, err
		}
		rows.token = &tokenRow{n.Run.ID, s.seal.keyID, sealed, n.TokenExpiresAt.UnixMicro()}
	}
	return rows, nil
}

// apart commits each checkpoint of a group that the database refused as a whole.
func apart(checkpoints []saga.Checkpoint, commit func([]saga.Checkpoint) []saga.CommitResult) []saga.CommitResult {
	results := make([]saga.CommitResult, 0, len(checkpoints))
	for _, cp := range checkpoints {
		results = append(results, commit([]saga.Checkpoint{cp})...)
	}
	return results
}

func allFailed(checkpoints []saga.Checkpoint, err error) []saga.CommitResult {
	results := make([]saga.CommitResult, len(checkpoints))
	for i := range results {
		results[i].Err = err
	}
	return results
}

// Commit writes a group of checkpoints in one commit, each fenced for itself. Where the database refuses the group for
// what one of them holds, they are committed one by one.
func (s *Store) Commit(ctx context.Context, now time.Time, checkpoints []saga.Checkpoint) []saga.CommitResult {
	commit := s.commitSQLite
	if s.postgres() {
		commit = s.commitPostgres
	}
	results, err := commit(ctx, now, checkpoints)
	switch {
	case err == nil:
		return results
	case badRow(err) && len(checkpoints) == 1:
		return allFailed(checkpoints, wrapBadRow(err))
	case badRow(err):
		return apart(checkpoints, func(one []saga.Checkpoint) []saga.CommitResult { return s.Commit(ctx, now, one) })
	}
	return allFailed(checkpoints, err)
}
