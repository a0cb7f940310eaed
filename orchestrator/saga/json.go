package saga

import (
	"bytes"
	"encoding/json"
	"fmt"
)

func decode[S any](state json.RawMessage) (*S, error) {
	s := new(S)
	if err := json.Unmarshal(state, s); err != nil {
		return nil, fmt.Errorf("decoding the state: %w", err)
	}
	return s, nil
}

// changes encodes the state after, and returns its top-level fields that differ from the encoded state before; nil if no field
// differs.
func changes(before json.RawMessage, after any) (json.RawMessage, error) {
	encoded, err := json.Marshal(after)
	if err != nil {
		return nil, fmt.Errorf("encoding the state: %w", err)
	}
	if bytes.Equal(before, encoded) { // most steps change nothing
		return nil, nil
	}
	var old, now map[string]json.RawMessage
	if err := json.Unmarshal(before, &old); err != nil {
		return nil, fmt.Errorf("decoding the state: %w", err)
	}
	if err := json.Unmarshal(encoded, &now); err != nil {
		return nil, fmt.Errorf("decoding the new state: %w", err)
	}
	for field, value := range now {
		if bytes.Equal(old[field], value) {
			delete(now, field)
		}
	}
	if len(now) == 0 {
		return nil, nil
	}
	return json.Marshal(now)
}

// state returns the run's input merged with the outputs of its steps.
func (r *Run) state() (json.RawMessage, error) {
	merged := map[string]json.RawMessage{}
	if err := json.Unmarshal(r.Input, &merged); err != nil {
		return nil, fmt.Errorf("decoding the input of run %s: %w", r.ID, err)
	}
	for _, s := range r.Steps {
		if len(s.Output) == 0 {
			continue
		}
		if err := json.Unmarshal(s.Output, &merged); err != nil {
			return nil, fmt.Errorf("decoding the output of step %s of run %s: %w", s.Name, r.ID, err)
		}
	}
	return json.Marshal(merged)
}
