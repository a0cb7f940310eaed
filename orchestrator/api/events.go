package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream/coalesce"
)

const (
	defaultEvents = 200
	streamEvents  = 20               // maximum number of events that a stream holds in memory
	heartbeat     = 15 * time.Second // the default of Options.Heartbeat
	writeTime     = 30 * time.Second // maximum time of one write to a slow client
)

const eventStreamType = "text/event-stream"

// ListRunEvents lists or streams the events of a run.
func (s *server) ListRunEvents(c echo.Context, runID string, p ListRunEventsParams) error {
	run, err := s.seen(c, runID)
	if err != nil {
		return err
	}
	after := valueOf(p.After)
	if acceptsType(c.Request().Header, eventStreamType) && c.Request().Method == http.MethodGet {
		return s.stream(c, run, after)
	}
	limit := defaultEvents
	if p.Limit != nil {
		limit = *p.Limit
	}
	events, err := s.Runs.Events(c.Request().Context(), runID, after, limit+1)
	if err != nil {
		return err
	}
	page := EventList{Events: []Event{}, Links: Links{{Rel: "self", Href: c.Request().URL.RequestURI()}}}
	for _, e := range events[:min(limit, len(events))] {
		page.Events = append(page.Events, viewEvent(e))
	}
	if len(events) > limit {
		next := fmt.Sprintf("%s/events?after=%d&limit=%d", runPath(runID), events[limit-1].Seq, limit)
		page.Links = append(page.Links, Link{Rel: "next", Href: next})
	}
	return answerJSON(c, http.StatusOK, page)
}

// The method `stream` sends the events of a run. Each event is sent as soon as it is stored. If the run has ended or is stuck, `stream`
// returns after the last event. `stream` also returns at a heartbeat if the caller's credential is no longer valid.
func (s *server) stream(c echo.Context, run *saga.Run, after int64) error {
	if last := c.Request().Header.Get("Last-Event-ID"); last != "" {
		seq, err := strconv.ParseInt(last, 10, 64)
		if err != nil || seq < 0 {
			return invalid(InvalidParam{Parameter: some("Last-Event-ID"), Detail: "wanted: the id of an event"})
		}
		if after = seq; over(run) && run.Seq <= after {
			return c.NoContent(http.StatusNoContent) // 204 stops a browser from reconnecting
		}
	}
	leave, refused := s.streams.take(callerOf(c).name(), 1)
	defer leave()
	if refused != nil {
		return s.later(refused)
	}
	reserved(c).leave()
	ctx, cancel := context.WithCancel(c.Request().Context())
	defer cancel()
	changes := make(chan *saga.Run)
	watching := make(chan error, 1)
	go func() {
		watching <- s.watch(ctx, run.ID, func(now *saga.Run) bool {
			select {
			case changes <- now:
				return !over(now)
			case <-ctx.Done():
				return false
			}
		})
	}()

	out := newEventStream(c)
	beat := time.NewTicker(s.Heartbeat)
	defer beat.Stop()
	err := out.write("retry: 2000\n\n")
	for err == nil {
		select {
		case now := <-changes:
			if after, err = s.sendAfter(ctx, out, now, after); err == nil && over(now) {
				return nil
			}
		case err = <-watching: // nil if ctx ended while the watcher had a change to report
		case <-ctx.Done():
			return nil
		case <-beat.C:
			if s.locksOut(c) {
				return nil
			}
			err = out.write(": still here\n\n")
		}
	}
	if ctx.Err() == nil && !errors.Is(err, errReaderGone) {
		return err // the answer has begun, so the error can only be logged
	}
	return nil
}

// locksOut reports whether the caller's credential has become invalid since the request began: the key was revoked, the merchant was
// disabled, or the token has expired. If the credential cannot be checked now, locksOut returns false.
func (s *server) locksOut(c echo.Context) bool {
	_, err := s.caller(c, s.document.operations["listRunEvents"])
	refused, ok := errors.AsType[*problemError](err)
	return ok && (refused.kind.status == http.StatusUnauthorized || refused.kind.status == http.StatusForbidden)
}

// sendAfter sends the run's events whose seq is higher than the argument `after`, and returns the last seq that it sent. All
// streams that wait for the same events of the run share one read.
func (s *server) sendAfter(ctx context.Context, out *eventStream, run *saga.Run, after int64) (int64, error) {
	for {
		key := fmt.Sprint(run.ID, " ", run.Version, " ", after)
		events, err := coalesce.Recently(ctx, &s.events, key, func(ctx context.Context, after int64) ([]saga.Event, error) {
			return s.Runs.Events(ctx, run.ID, after, streamEvents)
		}, after)
		if err != nil {
			return after, err
		}
		for _, e := range events {
			data, err := json.Marshal(viewEvent(e))
			if err != nil {
				return after, err
			}
			if err := out.write(fmt.Sprintf("id: %d\nevent: %s\ndata: %s\n\n", e.Seq, e.Kind, data)); err != nil {
				return after, err
			}
			after = e.Seq
		}
		if len(events) < streamEvents {
			return after, nil
		}
	}
}

// The function `over` reports whether the run has ended or is stuck. The event stream of the run then ends. If the run waits for an
// operator, its event stream stays open.
func over(run *saga.Run) bool { return run.State.Ended() || run.State == saga.Stuck }

// eventStream writes server-sent events.
type eventStream struct {
	c       echo.Context
	control *http.ResponseController
}

var errReaderGone = errors.New("the reader is gone")

func newEventStream(c echo.Context) *eventStream {
	h := c.Response().Header()
	h.Set(echo.HeaderContentType, eventStreamType)
	h.Set("X-Accel-Buffering", "no") // otherwise nginx buffers the events
	c.Response().WriteHeader(http.StatusOK)
	return &eventStream{c, http.NewResponseController(c.Response())}
}

// The method `write` sends a text immediately. Each call of `write` sets a new deadline, because the server's write deadline would
// end the stream.
func (e *eventStream) write(text string) error {
	err := e.control.SetWriteDeadline(time.Now().Add(writeTime))
	if errors.Is(err, http.ErrNotSupported) {
		err = nil
	}
	if err == nil {
		_, err = e.c.Response().Write([]byte(text))
	}
	if err == nil {
		err = e.control.Flush()
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errReaderGone, err)
	}
	return nil
}
