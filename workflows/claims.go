package workflows

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// Runs reads what other runs do.
type Runs interface {
	// Runs reads the runs that match, youngest first: see saga.Store.
	Runs(ctx context.Context, f saga.Filter) ([]*saga.Run, error)
}

// A re-check does not hold the subject of its run, which has ended: another about the same customer may be at work beside
// it, or have succeeded since, and what the re-check finds may be that one's. An assignment bears no mark, and a tenant
// bears that of the run that made it, not of those that adopted it.
//
// So the re-check leaves what another run claims, and a run that begins waits for the re-checks about its customer. Each asks
// once that is stored by which the other sees it: the re-check its intent, the run that it lives. Whoever asks first, they
// do not miss one another.

// awaitRechecks lets a run go on once no ended one about its customer is being re-checked.
func (u Deps) awaitRechecks(ctx context.Context, o *Order) error {
	now := u.Now()
	return u.eachRun(ctx, saga.Filter{Subject: subjectOf(o), AwaitsRecheck: true}, func(r *saga.Run) error {
		if r.Rechecking(now, u.LateWindow) {
			return StepError{
				upstream.Transient, "subject-rechecked", "late effects of run " + r.ID + " about the same customer are being looked for",
				saga.FixByNobody,
			}
		}
		return nil
	})
}

// claimAgain is when a re-check comes back to what a run that still lives may claim.
const claimAgain = time.Hour

// claimedError says that a run lives that may have for its own what a re-check has found.
type claimedError struct{ by string }

func (c claimedError) Error() string {
	return "run " + c.by + " about the same customer may have it for its own"
}

// claim tells whether a run has something for its own by now.
type claim func(r *saga.Run, of *Order) bool

// claimed tells whether another run that succeeded, of those that the filter finds, claims what a re-check has found. It is
// a claimedError as long as one lives that claims it: whose it is will be seen when that has ended.
func (u Deps) claimed(ctx context.Context, o *Order, succeeded saga.Filter, claims claim) (bool, error) {
	theirs := false
	look := func(r *saga.Run) error {
		of := &Order{}
		if err := json.Unmarshal(r.Input, of); err != nil {
			return fmt.Errorf("reading the order of run %s: %w", r.ID, err)
		}
		if r.ID == o.RunID || of.Cloud != o.Cloud || of.DomainID != o.DomainID || !claims(r, of) {
			return nil
		}
		if !r.State.Ended() {
			return claimedError{r.ID}
		}
		theirs = true
		return nil
	}
	// The live ones first: one that succeeds meanwhile is seen as one or the other.
	if err := u.eachRun(ctx, saga.Filter{Subject: subjectOf(o), Live: true}, look); err != nil {
		return false, err
	}
	succeeded.State = saga.Succeeded
	err := u.eachRun(ctx, succeeded, look)
	return theirs, err
}

// assignmentClaimed tells whether another run was to give the user the role, as claimed does.
func (u Deps) assignmentClaimed(ctx context.Context, o *Order, a keystone.Assignment) (bool, error) {
	return u.claimed(ctx, o, saga.Filter{Subject: subjectOf(o), User: o.UserID}, func(_ *saga.Run, of *Order) bool {
		return of.UserID == a.UserID && slices.ContainsFunc(of.CustomerRoles, func(r keystone.Role) bool { return r.ID == a.RoleID })
	})
}

// tenantClaimed tells whether another run has adopted the tenant, as claimed does. Only a customer's can be.
func (u Deps) tenantClaimed(ctx context.Context, o *Order, id, name string) (bool, error) {
	return u.claimed(ctx, o, saga.Filter{Project: id}, func(_ *saga.Run, of *Order) bool { return customerTenant(of) == name })
}

// customerClaimed tells whether another run is about the customer, as claimed does.
func (u Deps) customerClaimed(ctx context.Context, o *Order) (bool, error) {
	return u.claimed(ctx, o, saga.Filter{Subject: subjectOf(o)}, func(*saga.Run, *Order) bool { return true })
}

// eachRun looks at all runs that match, until one is an error.
func (u Deps) eachRun(ctx context.Context, f saga.Filter, look func(*saga.Run) error) error {
	const page = 100
	for f.Limit = page; ; {
		runs, err := u.Runs.Runs(ctx, f)
		if err != nil {
			return fmt.Errorf("reading the runs about the same customer: %w", err)
		}
		for _, r := range runs {
			if err := look(r); err != nil {
				return err
			}
		}
		if len(runs) < page {
			return nil
		}
		f.Before = runs[page-1].ID
	}
}
