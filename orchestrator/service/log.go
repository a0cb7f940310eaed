package service

import (
	"log"

	"github.com/rs/zerolog"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// logEvent returns a function that logs one line for each event of a run. Events contain no secrets.
func logEvent(l zerolog.Logger) func(*saga.Run, saga.Event) {
	return func(r *saga.Run, e saga.Event) {
		line := l.WithLevel(levelOf(e.Kind)).Str("run_id", e.RunID).Str("workflow", r.Workflow).Str("merchant_id", r.Merchant).
			Int64("seq", e.Seq).Int64("epoch", e.Epoch)
		for _, field := range []struct{ name, value string }{
			{"step", e.Step}, {"action", e.Action}, {"who", e.Who}, {"why", e.Why}, {"upstream_request_id", e.RequestID},
		} {
			if field.value != "" {
				line = line.Str(field.name, field.value)
			}
		}
		if e.Attempt > 0 {
			line = line.Int("attempt", e.Attempt)
		}
		if f := e.Failure; f != nil {
			line = line.Str("code", string(f.Code)).Str("detail", f.Detail).Str("fix_by", string(f.FixBy))
		}
		line.Msg(string(e.Kind))
	}
}

func levelOf(kind saga.EventKind) zerolog.Level {
	switch kind { //nolint:exhaustive // the level of all other kinds is info
	case saga.EventUndoFailed, saga.EventStuck:
		return zerolog.ErrorLevel
	case saga.EventAttempt, saga.EventUnknown, saga.EventStepFailed, saga.EventUndoAttempt, saga.EventLateEffect,
		saga.EventCompensating, saga.EventTakenOver, saga.EventWaiting:
		return zerolog.WarnLevel
	default:
		return zerolog.InfoLevel
	}
}

// httpFaults logs the errors that net/http reports outside of handlers, such as failed TLS handshakes.
func httpFaults(l zerolog.Logger) *log.Logger {
	return log.New(l.With().Str("level", "warn").Logger(), "", 0)
}
