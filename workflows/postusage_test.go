package workflows_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/usage"
	"github.com/tenantry/tenantry/workflows"
)

// A merchant has a succeeded posting for each hour, and all of them have the same subject. A new posting must not read them.
func TestAPostingDoesNotReadEarlierPostings(t *testing.T) {
	d, err := saga.Define(workflows.PostUsage(workflows.Deps{}))
	if err != nil {
		t.Fatal(err)
	}
	input, err := json.Marshal(workflows.Posting{ID: "i", MerchantID: "m", Rows: []usage.Row{{ID: "r"}}})
	if err != nil {
		t.Fatal(err)
	}
	d.Attempt(t.Context(), saga.Call{Kind: saga.CallDo, Step: "post/1", Begins: true, Input: input, State: input}, strictEnv{t: t})
}

// The type `strictEnv` fails the test if an attempt reads other runs.
type strictEnv struct {
	saga.Env

	t *testing.T
}

// Unsettled implements [saga.Env].
func (s strictEnv) Unsettled(context.Context) (string, error) {
	s.t.Error("the attempt looks for earlier runs with the same subject")
	return "", nil
}
