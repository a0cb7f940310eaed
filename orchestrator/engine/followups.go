package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// maxFollowUps limits the number of follow-ups that a replica starts at one poll.
const maxFollowUps = 100

// startFollowUps takes due follow-ups, and starts a run for each of them. If Start fails, or if the replica ends before the run is
// stored, a replica takes the follow-up again after saga.FollowUpTimeout. The second run has a new id. If both runs are stored in
// the end, they execute one after the other, because they have the same subject. If this release does not know the workflow of a
// follow-up, another replica must start the run.
func (e *Engine) startFollowUps(ctx context.Context, replica string) {
	bounded, cancel := e.patiently(ctx)
	due := saga.DueFollowUps{Now: e.Clock.Now(), Workflows: slices.Sorted(maps.Keys(e.workflows)), Limit: maxFollowUps}
	taken, err := e.Store.TakeFollowUps(bounded, due, e.NewID)
	cancel()
	if err != nil {
		if ctx.Err() == nil {
			e.OnFault(err)
		}
		return
	}
	for _, f := range taken {
		// Start may take half of FollowUpTimeout. After FollowUpTimeout, an operator may hold the follow-up. From then on, no run may be
		// stored for the follow-up.
		if ctx.Err() != nil || e.Clock.Now().Sub(*f.TakenAt) > saga.FollowUpTimeout/2 {
			return
		}
		if err := e.startFollowUp(ctx, replica, f); err != nil {
			e.OnFault(fmt.Errorf("starting the follow-up %s of %s: %w", f.Workflow, f.ID, err))
		}
	}
}

func (e *Engine) startFollowUp(ctx context.Context, replica string, f saga.FollowUp) error {
	ctx, cancel := e.patiently(ctx)
	defer cancel()
	_, err := e.Start(ctx, saga.Request{
		ID: f.RunID, Workflow: f.Workflow, Merchant: f.Merchant, Cloud: f.Cloud, Subject: f.Subject, User: f.User, Doubles: f.Doubles,
		OnFailure: saga.FailureCompensates, Input: f.Input, Who: saga.ByReplica(replica),
		Why: "the follow-up was due at " + f.DueAt.UTC().Format(time.RFC3339),
	})
	return err
}
