package saga

// Expected is one object that a run is to have upstream when it succeeds, as far as its state tells. Who compares it with
// what is there need not know the workflow.
type Expected struct {
	// Object says which step makes or adopts it. ID is empty while only the upstream could tell it. Origin is empty until the
	// run knows whether it has made the object.
	Object
	On     string            // the id of the object that it stands on and goes with; empty: none, or not known yet
	Marks  []string          // the tags that it bears
	Fields map[string]string // what else the upstream says of it, in the upstream's own words
}

// Expect lists the objects that a run is to have when it succeeds, from its input and the outputs of its steps. It may be
// asked of a run in any state.
func (d *Definition) Expect(r *Run) ([]Expected, error) {
	state, err := r.state()
	if err != nil {
		return nil, err
	}
	return d.expect(state)
}
