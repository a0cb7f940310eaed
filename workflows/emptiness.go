package workflows

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// proveEmpty asks all services of the cloud whether the tenant is empty. If the tenant is not proven empty, the run ends.
// Otherwise, the run would hold the customer's subject while somebody deletes the resources.
func (d Deps) proveEmpty(ctx context.Context, o *Removal) error {
	found, err := d.Resources.Empty(ctx, o.Cloud, o.TenantID, o.DisabledAt)
	switch {
	case err != nil:
		return err
	case o.Force:
		o.Behind = shortened(found.Reasons)
		return nil
	}
	return found.fault(o.text())
}

// maxBehind is the maximum number of lines that a run stores about the resources of a tenant.
const maxBehind = 100

// The function `shortened` returns the first lines, and a line with the number of the omitted lines.
func shortened(lines []string) []string {
	if len(lines) <= maxBehind {
		return lines
	}
	return append(slices.Clone(lines[:maxBehind]), fmt.Sprintf("and %d more", len(lines)-maxBehind))
}

// Emptiness is the result of the proof that a project is empty.
type Emptiness struct {
	Empty    bool     // proven: all services have answered, and none has a resource of the project
	NotEmpty bool     // a service has a resource of the project
	Reasons  []string // the resources that were found, and the services that could not be asked
}

// The method `fault` returns an error that ends a run, unless the project is empty.
func (e Emptiness) fault(tenant string) error {
	switch reasons := strings.Join(e.Reasons, "; "); {
	case e.Empty:
		return nil
	case e.NotEmpty:
		return StepError{upstream.Permanent, "tenant-not-empty", tenant + " is not empty: " + reasons, saga.FixByOperator}
	default:
		return StepError{upstream.Permanent, "tenant-not-proven-empty", tenant + " is not proven empty: " + reasons, saga.FixByOperator}
	}
}

// Resources asks the services of a cloud for the resources of a project.
type Resources interface {
	// Empty asks whether a project is empty. The project was disabled at the given time, at least ten minutes ago.
	Empty(ctx context.Context, cloud, projectID string, disabledAt time.Time) (Emptiness, error)
	// Look is like Empty, but the project may be enabled. The answer is therefore only about this moment.
	Look(ctx context.Context, cloud, projectID string) (Emptiness, error)
}
