package api

import (
	"context"
	"errors"
	"net/http"

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
