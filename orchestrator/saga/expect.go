package saga

// Expected is one object that a succeeded run should have upstream, as far as its state shows. Comparing it with the upstream needs
// no knowledge of the workflow.
type Expected struct {
	// Object names the step that makes or adopts it. ID is empty until the upstream has chosen it. Origin is empty until the run
	// knows whether it made the object.
	Object
	On     string            // the id of the object that it belongs to and is removed with; empty: none, or not known yet
	Marks  []string          // its tags
	Fields map[string]string // its other fields, with the upstream's names and values
}

// Expect lists the objects that a run should have once it has succeeded, computed from its input and the outputs of its steps. The
// run may be in any state.
func (d *Definition) Expect(r *Run) ([]Expected, error) {
	state, err := r.state()
	if err != nil {
		return nil, err
	}
	return d.expect(state)
}
