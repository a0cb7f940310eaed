package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/orchestrator/usage"
)

// Meters checks meter keys.
type Meters interface {
	// Cloud returns the cloud of a key, or usage.ErrNoKey.
	Cloud(ctx context.Context, key, secret string) (string, error)
}

// Samples stores the samples that Ceilometer posts.
type Samples interface {
	// Take stores a post of a cloud's Ceilometer. Take returns usage.ErrNotJSON if the body contains no sample, and usage.ErrFull if the samples
	// could not be stored.
	Take(ctx context.Context, cloud string, body []byte) (usage.Receipt, error)
}

// PostSamples stores samples.
func (s *server) PostSamples(c echo.Context) error {
	got, err := s.Samples.Take(c.Request().Context(), callerOf(c).meters, bodyOf(c))
	switch {
	case errors.Is(err, usage.ErrNotJSON):
		return refuse(bodyMalformed, "%v", usage.ErrNotJSON)
	case errors.Is(err, usage.ErrFull):
		return &problemError{
			kind: upstreamUnavailable, detail: databaseFault(err) + ", and the spool is full or missing", fixBy: FixByAdministrator,
			retryAfter: defaultRetry, cause: err,
		}
	case err != nil:
		return err
	}
	return answerJSON(c, http.StatusAccepted, SamplesReceipt{Samples: got.Samples, Apart: got.Apart, Events: got.Events, Spooled: got.Spooled})
}

// Usages reads the usage of projects.
type Usages interface {
	// Measured reads the usage of a project in the hours that begin in the range, sorted by time and meter.
	Measured(ctx context.Context, cloud, project string, r usage.Range) ([]usage.Measured, error)
}

// maxUsage is the longest range of hours in one answer.
const maxUsage = 7 * 24 * time.Hour

// GetUsage shows the usage of a subscription.
func (s *server) GetUsage(c echo.Context, merchantID, subscriptionID string, p GetUsageParams) error {
	merchant, err := s.merchantOf(c, merchantID)
	if err != nil {
		return err
	}
	to := s.now()
	if p.To != nil {
		to = *p.To
	}
	from := to.Add(-24 * time.Hour)
	if p.From != nil {
		from = *p.From
	}
	if length := to.Sub(from); length < 0 || length > maxUsage {
		return invalid(InvalidParam{Parameter: some("from"), Detail: "the time must be before `to`, by at most 7 days"})
	}
	ctx := c.Request().Context()
	standing, err := s.Admit.Standing(ctx, merchant.ID, subscriptionID)
	if err != nil {
		return err
	}
	found, err := s.Usages.Measured(ctx, standing.Cloud, standing.TenantID, usage.Range{From: from, To: to})
	if err != nil {
		return err
	}
	answer := UsageList{Usage: []Usage{}}
	for _, m := range found {
		answer.Usage = append(answer.Usage, Usage{
			From: m.From, To: m.To, Meter: m.Meter, Kind: UsageKind(m.Kind), Unit: m.Unit, Amount: m.Amount.String(), PlanID: m.Plan, State: m.State,
		})
	}
	return answerJSON(c, http.StatusOK, answer)
}
