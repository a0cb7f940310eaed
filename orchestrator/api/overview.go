package api

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// overviewLimits limits the cost of an overview. The OpenAPI document states these numbers.
var overviewLimits = saga.BacklogLimits{Count: 10_000, FollowUp: 20, Replicas: 100}

// GetOverview shows what the service does, and what it waits for.
func (s *server) GetOverview(c echo.Context) error {
	ctx := c.Request().Context()
	checks := s.Ready(ctx)
	b, err := s.Backlog(ctx, overviewLimits)
	if err != nil {
		return err
	}
	answer := Overview{
		At: s.now(), Version: s.Version, ReplicaID: s.Replica(), Status: statusOf(checks), Checks: viewChecks(checks), Attention: b.Attention,
		Circuits: append([]Circuit{}, s.Circuits()...), Replicas: []Replica{}, LiveRuns: []RunCount{},
		DueFollowUps: viewFollowUps(b.Due), HeldFollowUps: viewFollowUps(b.Held),
	}
	for _, r := range b.Replicas {
		answer.Replicas = append(answer.Replicas, Replica{ID: r.ID, LeaseUntil: r.Until})
	}
	for _, r := range b.Runs {
		answer.LiveRuns = append(answer.LiveRuns, RunCount{
			State: RunState(r.State), Reason: some(ReasonKind(r.Reason)), Executing: r.Leased, Due: r.Due, Runs: r.Runs, OldestAt: r.Oldest,
		})
	}
	return answerJSON(c, http.StatusOK, answer)
}

// GetSettings shows the settings of this replica.
func (s *server) GetSettings(c echo.Context) error {
	return answerJSON(c, http.StatusOK, SettingList{Version: s.Version, Settings: append([]Setting{}, s.Settings...)})
}

func viewFollowUps(n saga.FollowUpCount) FollowUpCount {
	v := FollowUpCount{Count: n.Count, First: []FollowUp{}}
	for _, f := range n.First {
		one := FollowUp{Workflow: f.Workflow, ID: f.ID, MerchantID: f.Merchant, DueAt: f.DueAt, RunID: some(f.RunID), Reason: viewFailure(f.Reason)}
		if f.Hold != nil {
			one.Hold = &EndingHold{Who: f.Hold.Who, Why: f.Hold.Why, At: f.Hold.At}
		}
		v.First = append(v.First, one)
	}
	return v
}
