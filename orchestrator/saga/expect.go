package saga

// Expected is an object that should exist upstream once the run has succeeded. Fields of an Expected are empty if the run's state
// does not show their values. An Expected can be compared with the upstream without knowledge of the workflow.
type Expected struct {
	// Object.Step is the step that makes or adopts the object. Object.ID is empty until the upstream has chosen the id. Object.Origin
	// is empty until the run knows whether it made the object.
	Object
	On     string            // the id of the parent object, with which this object is removed; empty: none, or not known yet
	Marks  []string          // the object's tags
	Fields map[string]string // the object's other fields, with the upstream's names and values
}

// Expect lists the objects that should exist upstream once the run has succeeded. Expect computes these objects from the run's
// input and the outputs of its steps. Expect accepts a run in any state.
func (d *Definition) Expect(r *Run) ([]Expected, error) {
	state, err := r.state()
	if err != nil {
		return nil, err
	}
	return d.expect(state)
}
