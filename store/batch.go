package store

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// The type `batch` contains the rows that a group of checkpoints writes. The runs are sorted by id; the database locks their rows
// in this order.
type batch struct {
	runs     []checkpointRow
	steps    []stepRow
	events   []eventRow
	objects  []objectRow
	consumed []int64

	followUps []followUpChange
}

// checkpointRow contains the new values of a run's row. The field `besides` contains the other data of the run's checkpoint.
type checkpointRow struct {
	runRow
	besides
}

// The type `besides` contains the part of a checkpoint that has no columns in the table `runs`. The checkpoint is written only if
// the run is leased to the replica Holder. If DropToken is true, the user's token is deleted.
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
	run.Input, run.Fingerprint, run.PinnedSteps = "", "", "" // these columns never change, so a checkpoint does not write them
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
	objects := map[[2]string]objectRow{} // if the checkpoint contains an object twice, the object's last state is written
	for i := range cp.Objects {
		row := rowOfObject(run.ID, &cp.Objects[i])
		if err := readable(row.Step, row.Kind, row.Cloud, row.ID, row.Name, row.RequestID); err != nil {
			return err
		}
		objects[[2]string{row.Kind, row.ID}] = row
	}
	b.objects = slices.AppendSeq(b.objects, maps.Values(objects))
	b.consumed = append(b.consumed, cp.Consumed...)
	for i := range cp.FollowUps {
		change, err := changeOfFollowUp(run.ID, &cp.FollowUps[i])
		if err != nil {
			return err
		}
		b.followUps = append(b.followUps, change)
	}
	return nil
}

// The function `readable` returns an error if a text contains NUL, which PostgreSQL cannot store. PostgreSQL itself does not detect
// every NUL, because it checks only the texts that the plan of the statement reads.
func readable(texts ...string) error {
	if slices.ContainsFunc(texts, func(text string) bool { return strings.ContainsRune(text, 0) }) {
		return errors.New("a text contains NUL")
	}
	return nil
}

// The method `more` reports whether the batch contains objects, consumed actions or tokens to delete.
func (b *batch) more() bool {
	return len(b.objects)+len(b.consumed) > 0 ||
		slices.ContainsFunc(b.runs, func(r checkpointRow) bool { return r.DropToken })
}
