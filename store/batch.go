package store

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// batch is a group of checkpoints as rows. The runs are sorted by id, and their rows are locked in this order.
type batch struct {
	runs     []checkpointRow
	steps    []stepRow
	events   []eventRow
	objects  []objectRow
	consumed []int64
}

// checkpointRow is the row of a run as its checkpoint writes it.
type checkpointRow struct {
	runRow
	besides
}

// besides has what a checkpoint holds in addition to the columns of its run: the replica whose lease it is written under, and
// whether the user's token is deleted.
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
	run.Input, run.Fingerprint, run.PinnedSteps = "", "", "" // pinned: not written again
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
	objects := map[[2]string]objectRow{} // only the last state of each is written
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

// readable refuses text with NUL, which PostgreSQL cannot store. PostgreSQL itself reports it only if the statement's plan happens
// to read the text.
func readable(texts ...string) error {
	if slices.ContainsFunc(texts, func(text string) bool { return strings.ContainsRune(text, 0) }) {
		return errors.New("a text contains NUL")
	}
	return nil
}

// more reports whether there is more to write than runs, steps and events.
func (b *batch) more() bool {
	return len(b.objects)+len(b.consumed) > 0 ||
		slices.ContainsFunc(b.runs, func(r checkpointRow) bool { return r.DropToken })
}
