package store

import (
	"encoding/json"
	"fmt"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// pinnedStep contains the fields of a step that are pinned when the run is accepted. The position of a step is its index in the
// list of pinned steps.
type pinnedStep struct {
	Name     string   `json:"name"`
	After    []string `json:"after"`
	Optional bool     `json:"optional"`
	Pivot    bool     `json:"pivot,omitempty"`
}

// The function `pin` encodes the immutable fields of a run's steps as JSON.
func pin(r *saga.Run) (string, error) {
	steps := make([]pinnedStep, len(r.Steps))
	for _, s := range r.Steps {
		if s.Position < 0 || s.Position >= len(steps) || steps[s.Position].Name != "" {
			return "", fmt.Errorf("step %s of run %s: position %d is out of range or used twice", s.Name, r.ID, s.Position)
		}
		steps[s.Position] = pinnedStep{s.Name, s.After, s.Optional, s.Pivot}
	}
	encoded, err := json.Marshal(steps)
	return string(encoded), err
}

// The function `pinned` decodes the steps of a run. The state of each returned step is pending.
func pinned(encoded string) ([]saga.StepRow, error) {
	var steps []pinnedStep
	if err := json.Unmarshal([]byte(encoded), &steps); err != nil {
		return nil, err
	}
	rows := make([]saga.StepRow, len(steps))
	for i, s := range steps {
		rows[i] = saga.StepRow{Name: s.Name, Position: i, After: s.After, Optional: s.Optional, Pivot: s.Pivot, State: saga.StepPending}
	}
	return rows, nil
}
