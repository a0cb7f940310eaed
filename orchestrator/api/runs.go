package api

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// defaultRuns is the default number of runs on a page.
const defaultRuns = 50

// ListRuns lists the runs that the caller may see. To find out whether there is a next page, ListRuns reads one run more than fits
// on the page.
func (s *server) ListRuns(c echo.Context, p ListRunsParams) error {
	limit := defaultRuns
	if p.Limit != nil {
		limit = *p.Limit
	}
	filter := saga.Filter{
		Merchant: valueOf(p.Merchant), Workflow: valueOf(p.Workflow), User: valueOf(p.User), Objects: objectRefs(valueOf(p.Object)),
		Since: valueOf(p.Since), Before: valueOf(p.Marker), Limit: limit + 1,
	}
	for _, state := range valueOf(p.State) {
		filter.States = append(filter.States, saga.RunState(state))
	}
	if valueOf(p.Attention) {
		filter.Attention = s.now()
	}
	page := RunList{Runs: []Run{}, Links: pageLinks(c, "")}
	if own := callerOf(c).merchant; own != nil {
		if filter.Merchant != "" && filter.Merchant != own.ID {
			return answerJSON(c, http.StatusOK, page)
		}
		filter.Merchant = own.ID
	}
	runs, err := s.runs(c, filter, p.IdempotencyKey)
	if err != nil {
		return err
	}
	for _, run := range runs[:min(limit, len(runs))] {
		page.Runs = append(page.Runs, s.view(callerOf(c), run))
	}
	if len(runs) > limit {
		page.Links = pageLinks(c, runs[limit-1].ID)
	}
	return answerJSON(c, http.StatusOK, page)
}

// pageLinks returns the links of a page. If there is a next page, `marker` is the id of the last object on this page. Otherwise,
// `marker` is empty.
func pageLinks(c echo.Context, marker string) Links {
	links := Links{{Rel: "self", Href: c.Request().URL.RequestURI()}}
	if marker != "" {
		query := maps.Clone(c.QueryParams())
		query.Set("marker", marker)
		links = append(links, Link{Rel: "next", Href: c.Request().URL.Path + "?" + query.Encode()})
	}
	return links
}

// The method `runs` returns the runs that match the filter, or the run with the given idempotency key.
func (s *server) runs(c echo.Context, filter saga.Filter, key *string) ([]*saga.Run, error) {
	if key == nil {
		return s.Runs.Runs(c.Request().Context(), filter)
	}
	for name := range c.QueryParams() {
		if name != "idempotency_key" && name != "merchant" && name != "limit" {
			return nil, invalid(InvalidParam{Parameter: &name, Detail: "the parameter cannot be combined with idempotency_key"})
		}
	}
	if filter.Merchant == "" {
		return nil, invalid(InvalidParam{Parameter: some("merchant"), Detail: "the parameter is missing: an idempotency key belongs to one merchant"})
	}
	run, err := s.Runs.RunOfKey(c.Request().Context(), filter.Merchant, *key)
	if errors.Is(err, saga.ErrNotFound) {
		return nil, nil
	}
	return []*saga.Run{run}, err
}

// objectRefs parses references. The function checkParameters has already checked that each reference has the form KIND:ID.
func objectRefs(texts []string) (refs []saga.ObjectRef) {
	for _, text := range texts {
		kind, id, _ := strings.Cut(text, ":")
		refs = append(refs, saga.ObjectRef{Kind: kind, ID: id})
	}
	return refs
}

// The method `watch` calls see(run) now and after each change of the run, until see(run) returns false, ctx is done, or the run
// cannot be read.
func (s *server) watch(ctx context.Context, runID string, see func(*saga.Run) bool) error {
	w := s.Runs.Watch(runID)
	defer w.Close()
	return w.See(ctx, nil, see)
}

// GetRun shows a run. With the parameter `wait`, GetRun first waits for a change.
func (s *server) GetRun(c echo.Context, runID string, p GetRunParams) error {
	run, err := s.seen(c, runID)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	known := c.Request().Header.Values("If-None-Match")
	wait := time.Duration(valueOf(p.Wait)) * time.Second
	if wait > 0 {
		leave, refused := s.waiting.take(callerOf(c).name(), 1)
		defer leave()
		if refused != nil {
			return s.later(refused)
		}
		reserved(c).leave()
		waiting, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		err := s.watch(waiting, runID, func(now *saga.Run) bool {
			if len(known) > 0 {
				return matches(known, tag(now))
			}
			return !now.AtRest()
		})
		if err != nil && waiting.Err() == nil {
			return err
		}
		if run, err = s.Runs.Run(ctx, runID); err != nil {
			return err
		}
	}
	h := c.Response().Header()
	h.Set("ETag", tag(run))
	if !run.State.Ended() {
		h.Set(echo.HeaderRetryAfter, seconds(s.comeAgain(run, s.now())))
	}
	if matches(known, tag(run)) {
		return c.NoContent(http.StatusNotModified)
	}
	view := s.view(callerOf(c), run)
	explanation := s.explainRun(readerOf(c), run, view)
	view.Explanation = &explanation
	return answerJSON(c, http.StatusOK, view)
}

// The method `seen` returns the run with this id. If the caller is not allowed to see the run, the error is saga.ErrNotFound.
func (s *server) seen(c echo.Context, runID string) (*saga.Run, error) {
	run, err := s.Runs.Run(c.Request().Context(), runID)
	if err != nil {
		return nil, err
	}
	if !callerOf(c).sees(run.Merchant) {
		return nil, saga.ErrNotFound
	}
	return run, nil
}

// The function `matches` reports whether the header If-Match or If-None-Match lists the tag. A header with the value *, or with the
// weak form of the tag, matches too.
func matches(header []string, tag string) bool {
	for _, line := range header {
		for one := range strings.SplitSeq(line, ",") {
			one = strings.TrimSpace(one)
			if one == "*" || strings.TrimPrefix(one, "W/") == tag {
				return true
			}
		}
	}
	return false
}
