package saga

// Expected is an object that should exist upstream when the run has succeeded. If Gone is true, the object should not exist. A
// field of an Expected is empty if the run's state does not contain the field's value. Code that does not know the workflow can
// compare an Expected with the upstream.
type Expected struct {
	// Object.Step is the step that makes or adopts the object. Object.ID is empty until the upstream has chosen the id.
	// Object.Origin is empty until the run knows whether the run itself made the object.
	Object
	On     string            // the id of the parent; removing the parent removes this object; empty: no parent, or the id is not known yet
	Marks  []string          // the object's tags
	Fields map[string]string // the object's other fields, with the upstream's names and values
	Gone   bool              // the step removes the object; a later run may make it again
}

// Expect lists the objects that should exist upstream when the run has succeeded. Expect computes these objects from the run's
// input and the outputs of its steps. Expect accepts a run in any state.
func (d *Definition) Expect(r *Run) ([]Expected, error) {
	state, err := r.Data()
	if err != nil {
		return nil, err
	}
	return d.expect(state)
}
