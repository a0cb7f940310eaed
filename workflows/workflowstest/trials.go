package workflowstest

import (
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/workflows"
)

// Definitions are those of all workflows that the tests know.
func Definitions(d workflows.Deps) ([]*saga.Definition, error) { return workflows.All(d) }
