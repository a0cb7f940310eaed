package saga

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
)

func decode[S any](state json.RawMessage) (*S, error) {
	s := new(S)
	if err := json.Unmarshal(state, s); err != nil {
		return nil, fmt.Errorf("decoding the state: %w", err)
	}
	return s, nil
}

// The function `changes` encodes the state `after`, and returns the top-level fields that differ from the encoded state `before`.
// If no field differs, the result is nil. If both values of a field are objects, the result contains only the members of the object
// that were added or changed. If a member was removed, `changes` returns an error, because a merge of the outputs would bring the
// member back.
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
			continue
		}
		was, is := object(old[field]), object(value)
		if was == nil || is == nil {
			continue
		}
		for member := range was {
			if _, kept := is[member]; !kept {
				return nil, fmt.Errorf("the step removed member %q of field %q of the state, but a step can only add or change members", member, field)
			}
		}
		maps.DeleteFunc(is, func(member string, value json.RawMessage) bool { return bytes.Equal(was[member], value) })
		if now[field], err = json.Marshal(is); err != nil {
			return nil, fmt.Errorf("encoding the new state: %w", err)
		}
	}
	if len(now) == 0 {
		return nil, nil
	}
	return json.Marshal(now)
}

// The function `object` returns the members of a JSON object, or nil for any other value.
func object(value json.RawMessage) (members map[string]json.RawMessage) {
	if json.Unmarshal(value, &members) != nil {
		return nil
	}
	return members
}

// The function `merge` adds the fields of a step's output to the state. If both values of a field are objects, `merge` adds the
// output's members to the state's object. Parallel steps can therefore add members to one object.
func merge(state map[string]json.RawMessage, output json.RawMessage) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(output, &fields); err != nil {
		return err
	}
	for field, value := range fields {
		if old, added := object(state[field]), object(value); old != nil && added != nil {
			maps.Copy(old, added)
			both, err := json.Marshal(old)
			if err != nil {
				return err
			}
			value = both
		}
		state[field] = value
	}
	return nil
}

// Data returns the run's input merged with the outputs of its steps, as JSON.
func (r *Run) Data() (json.RawMessage, error) {
	merged := map[string]json.RawMessage{}
	if err := json.Unmarshal(r.Input, &merged); err != nil {
		return nil, fmt.Errorf("decoding the input of run %s: %w", r.ID, err)
	}
	for _, s := range r.Steps {
		if len(s.Output) == 0 {
			continue
		}
		if err := merge(merged, s.Output); err != nil {
			return nil, fmt.Errorf("decoding the output of step %s of run %s: %w", s.Name, r.ID, err)
		}
	}
	return json.Marshal(merged)
}
