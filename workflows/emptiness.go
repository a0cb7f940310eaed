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

// proveEmpty asks all services of the cloud whether the tenant is empty. If the tenant is not proven empty, proveEmpty returns an
// error that ends the run. The run does not wait for the deletion of the resources, because a waiting run would hold the customer's
// subject. If the order's Force is true, proveEmpty instead stores the resources, and the run continues.
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

// The function `shortened` returns at most maxBehind of the lines. If lines are omitted, an additional line contains their number.
func shortened(lines []string) []string {
	if len(lines) <= maxBehind {
		return lines
	}
	return append(slices.Clone(lines[:maxBehind]), fmt.Sprintf("and %d more", len(lines)-maxBehind))
}

// Emptiness is the result of the proof that a project is empty.
type Emptiness struct {
	Empty    bool     // proven empty: all services have answered, and no service has a resource of the project
	NotEmpty bool     // a service has a resource of the project
	Reasons  []string // the resources that were found, and the services that could not be asked
}

// The method `fault` returns nil if the project is proven empty. Otherwise, the result is an error that ends the run.
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
	// Look is like Empty, but the project may be enabled. Therefore the answer is valid only at the time of the call.
	Look(ctx context.Context, cloud, projectID string) (Emptiness, error)
}
