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

// proveEmpty asks all services of the cloud whether the tenant is empty. A tenant that is not proven empty ends the run: the run would
// otherwise hold the customer's subject while somebody deletes what is left.
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

// maxBehind limits the number of lines that a run stores about what a tenant had.
const maxBehind = 100

// The function `shortened` returns the first lines, and the number of the others.
func shortened(lines []string) []string {
	if len(lines) <= maxBehind {
		return lines
	}
	return append(slices.Clone(lines[:maxBehind]), fmt.Sprintf("and %d more", len(lines)-maxBehind))
}

// Emptiness says whether a project is empty.
type Emptiness struct {
	Empty    bool     // proven: all services have answered, and none has a resource of the project
	NotEmpty bool     // a service has a resource of the project
	Reasons  []string // what was found, and what could not be asked
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
	// Empty asks whether a project is empty that was disabled at the given time, at least ten minutes ago.
	Empty(ctx context.Context, cloud, projectID string, disabledAt time.Time) (Emptiness, error)
	// Look is like Empty, for a project that may be enabled: the answer is about this moment only.
	Look(ctx context.Context, cloud, projectID string) (Emptiness, error)
}
