package saga

import (
	"encoding/json"
	"testing"
)

func TestParallelStepsAddMembersToOneObject(t *testing.T) {
	type state struct {
		A string            `json:"a,omitempty"`
		M map[string]string `json:"m,omitempty"`
	}
	before := json.RawMessage(`{"a":"x","m":{"old":"1"}}`)
	var outputs []json.RawMessage
	for _, after := range []state{
		{A: "x", M: map[string]string{"old": "1", "gold": "2"}}, {A: "y", M: map[string]string{"old": "1", "silver": "3"}}, {A: "x", M: map[string]string{"old": "1"}},
	} {
		output, err := changes(before, after)
		if err != nil {
			t.Fatal(err)
		}
		outputs = append(outputs, output)
	}
	if string(outputs[0]) != `{"m":{"gold":"2"}}` || string(outputs[1]) != `{"a":"y","m":{"silver":"3"}}` || outputs[2] != nil {
		t.Errorf("outputs: %s", outputs)
	}
	if _, err := changes(before, state{A: "x", M: map[string]string{"new": "1"}}); err == nil {
		t.Error("a step that removes a member gets no error")
	}
	run := &Run{Input: before, Steps: []StepRow{{Output: outputs[0]}, {Output: outputs[1]}, {}}}
	got, err := run.Data()
	if want := `{"a":"y","m":{"gold":"2","old":"1","silver":"3"}}`; err != nil || string(got) != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
}
