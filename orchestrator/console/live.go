package console

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"golang.org/x/time/rate"

	"github.com/tenantry/tenantry/orchestrator/api/client"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

const (
	// lookEvery is the interval between two searches for changes. All open pages together cost at most one query a second on average, and at most
	// queriesAtOnce at once.
	lookEvery     = time.Second
	queriesAtOnce = 6
	// livePages and livePagesOfOne are the maximum numbers of pages with live updates, of all people and of one person.
	livePages, livePagesOfOne = 1000, 20
	// runsInQuery and merchantsInQuery are the maximum numbers of runs and merchants in one query. SQLite accepts 32,766 variables, and 500 parts of
	// a UNION.
	runsInQuery, merchantsInQuery = 5000, 100
	// liveRuns is the maximum number of runs of a page.
	liveRuns = runsOnPage + attentionOnPage
	// changedAtOnce is the maximum number of runs that are read after one search.
	changedAtOnce = 50
	// liveEvents is the number of the newest events that are sent after a change.
	liveEvents = eventsOnPage
	// checkSessions is the interval at which the sessions of the open pages are checked. A page whose session has ended gets no more updates.
	checkSessions = 15 * time.Second
	writeTime     = 30 * time.Second // the maximum time of one write to a slow browser
	heartbeat     = 20 * time.Second
	// streamTime is the maximum time of a stream of updates, apart from one heartbeat. After this time, the browser asks for the updates again, and
	// the API checks the person's credential again. The real time is up to a fifth shorter, so that the browsers do not all come back at once.
	streamTime = 5 * time.Minute
)

// The type `live` sends the changes of runs to the pages that show them. All pages share its queries: they do not depend on the number of pages.
type live struct {
	c     *console
	begun chan struct{} // receives when a page is opened
	quota *rate.Limiter // one token is one query

	mu     sync.Mutex
	pages  map[*watching]struct{}
	served string // the person whose run was read last: see changed
}

// The type `watching` is an open page.
type watching struct {
	session string
	who     string               // the person, for limits; all people with API keys of one merchant count as one
	portal  string               // the id of the merchant; empty for an operator
	runs    map[string]time.Time // the runs of the page, each with the time of the last change that the page shows
	detail  bool                 // the page is about one run
	newest  string               // for a list: the newest run that was known; otherwise empty
	updates chan []byte          // the newest updates that were not sent yet
	end     context.CancelFunc
}

func newLive(c *console) *live {
	return &live{
		c: c, begun: make(chan struct{}, 1), quota: rate.NewLimiter(rate.Every(time.Second), queriesAtOnce), pages: map[*watching]struct{}{},
	}
}

// liveAddress returns the address of the updates for a list.
func liveAddress(attention, runs []row, first bool) string {
	query := url.Values{}
	newest := "0"
	for _, r := range slices.Concat(attention, runs) {
		query.Add("row", shownAs(r.Run))
		newest = max(newest, r.ID)
	}
	if first {
		query.Set("newest", newest)
	}
	return Path + "/live?" + query.Encode()
}

// shownAs returns the id of a run, and the time of the last change that the page shows, in microseconds.
func shownAs(r client.Run) string { return fmt.Sprintf("%s.%d", r.ID, r.UpdatedAt.UnixMicro()) }

// The method `end` ends the updates of a session's pages.
func (l *live) end(session string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for w := range l.pages {
		if w.session == session {
			w.end()
		}
	}
}

func (l *live) add(w *watching) *problem {
	l.mu.Lock()
	defer l.mu.Unlock()
	own := 0
	for other := range l.pages {
		if other.who == w.who {
			own++
		}
	}
	if len(l.pages) >= livePages || own >= livePagesOfOne {
		return &problem{status: http.StatusTooManyRequests, title: "Too many pages are open", detail: "This page is not updated by itself. Reload it."}
	}
	l.pages[w] = struct{}{}
	select {
	case l.begun <- struct{}{}:
	default:
	}
	return nil
}

func (l *live) remove(w *watching) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.pages, w)
}

// The method `serve` sends updates until ctx ends. While no page is open, it makes no query.
func (l *live) serve(ctx context.Context) {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	var checked time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		l.mu.Lock()
		open := len(l.pages)
		l.mu.Unlock()
		if open == 0 {
			select {
			case <-ctx.Done():
				return
			case <-l.begun:
			}
		}
		err := l.look(ctx)
		if now := time.Now(); now.Sub(checked) >= checkSessions { // also if the search has failed
			checked = now
			err = errors.Join(err, l.check(ctx))
		}
		if err != nil && ctx.Err() == nil {
			l.c.Log.Error().Err(err).Msg("live updates of the console")
		}
	}
}

// The method `query` waits until a further query may be made.
func (l *live) query(ctx context.Context, n int) error { return l.quota.WaitN(ctx, n) }

// The method `check` ends the updates of the pages whose session has ended.
func (l *live) check(ctx context.Context) error {
	sessions := map[string]bool{}
	l.mu.Lock()
	for w := range l.pages {
		sessions[w.session] = true
	}
	l.mu.Unlock()
	if len(sessions) == 0 {
		return nil
	}
	ids := make([]string, 0, len(sessions))
	for id := range sessions {
		ids = append(ids, id)
	}
	if err := l.query(ctx, 1); err != nil {
		return err
	}
	found, err := l.c.SignIns.Among(ctx, ids)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if !found[id] {
			l.end(id)
		}
	}
	return nil
}

// The method `look` searches for changes, and sends them.
func (l *live) look(ctx context.Context) error {
	shown, merchants := map[string]bool{}, map[string]bool{}
	l.mu.Lock()
	for w := range l.pages {
		for id := range w.runs {
			shown[id] = true
		}
		if w.newest != "" {
			merchants[w.portal] = true
		}
	}
	l.mu.Unlock()
	updated, newest, err := l.updated(ctx, slices.Collect(maps.Keys(shown)), slices.Collect(maps.Keys(merchants)))
	if err != nil {
		return err
	}
	l.forget(shown, updated)
	l.tellNewest(newest)
	changed, withEvents := l.changed(updated)
	if len(changed) == 0 {
		return nil
	}
	if err := l.query(ctx, 3); err != nil {
		return err
	}
	runs, err := l.c.Follower.RunsOf(ctx, changed)
	if err != nil {
		return err
	}
	events := map[string][]saga.Event{}
	if len(withEvents) > 0 {
		if err := l.query(ctx, 1); err != nil {
			return err
		}
		if events, err = l.c.Follower.LastEvents(ctx, withEvents, liveEvents); err != nil {
			return err
		}
	}
	for _, run := range runs {
		l.tell(run, events[run.ID])
	}
	return nil
}

// The method `updated` is like Follower.Updated, but makes as many queries as are necessary.
func (l *live) updated(ctx context.Context, ids, merchants []string) (map[string]time.Time, map[string]string, error) {
	updated, newest := map[string]time.Time{}, map[string]string{}
	for len(ids)+len(merchants) > 0 {
		if err := l.query(ctx, 1); err != nil {
			return nil, nil, err
		}
		n, m := min(len(ids), runsInQuery), min(len(merchants), merchantsInQuery)
		times, runs, err := l.c.Follower.Updated(ctx, ids[:n], merchants[:m])
		if err != nil {
			return nil, nil, err
		}
		maps.Copy(updated, times)
		maps.Copy(newest, runs)
		ids, merchants = ids[n:], merchants[m:]
	}
	return updated, newest, nil
}

// The method `forget` drops the runs that do not exist. The updates therefore make only one query for an id without a run.
func (l *live) forget(searched map[string]bool, found map[string]time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for w := range l.pages {
		maps.DeleteFunc(w.runs, func(id string, _ time.Time) bool {
			_, exists := found[id]
			return searched[id] && !exists
		})
	}
}

// The method `changed` returns the runs that have changed since a page showed them. It also returns which of these runs have their events on a page.
// If more than changedAtOnce runs have changed, `changed` takes one run for each person in turn. The next search begins with the next person.
func (l *live) changed(updated map[string]time.Time) (all, withEvents []string) {
	stale, detailed := map[string]map[string]bool{}, map[string]bool{} // the runs, by person; and whether their events are shown
	l.mu.Lock()
	defer l.mu.Unlock()
	for w := range l.pages {
		for id, at := range w.runs {
			if now, known := updated[id]; known && !now.Equal(at) {
				if stale[w.who] == nil {
					stale[w.who] = map[string]bool{}
				}
				stale[w.who][id], detailed[id] = true, detailed[id] || w.detail
			}
		}
	}
	people := slices.Sorted(maps.Keys(stale))
	first, found := slices.BinarySearch(people, l.served)
	if found {
		first++
	}
	people = slices.Concat(people[first:], people[:first])
	taken := map[string]bool{}
	for len(people) > 0 && len(taken) < changedAtOnce {
		who := people[0]
		people = people[1:]
		for id := range stale[who] {
			delete(stale[who], id)
			if !taken[id] {
				taken[id], l.served, people = true, who, append(people, who)
				break
			}
		}
	}
	for id := range taken {
		all = append(all, id)
		if detailed[id] {
			withEvents = append(withEvents, id)
		}
	}
	return all, withEvents
}

// tellNewest tells the lists that there are newer runs. A list is told once.
func (l *live) tellNewest(newest map[string]string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for w := range l.pages {
		if w.newest != "" && newest[w.portal] > w.newest {
			w.newest = newest[w.portal]
			w.send(update("newer", `<a class="newer" href="">There are newer runs: reload</a>`))
		}
	}
}

// The method `tell` sends a run to the pages that show an older state of the run. The part of a page is made once for all pages with the same part.
// If it cannot be made, the pages wait for the next change of the run.
func (l *live) tell(run *saga.Run, events []saga.Event) {
	type part struct{ portal, detail bool }
	made := map[part][]byte{}
	l.mu.Lock()
	defer l.mu.Unlock()
	for w := range l.pages {
		at, shows := w.runs[run.ID]
		if !shows || at.Equal(run.UpdatedAt) {
			continue
		}
		if w.portal != "" && w.portal != run.Merchant { // somebody else's run is like a run that does not exist
			delete(w.runs, run.ID)
			continue
		}
		as := part{w.portal != "", w.detail}
		updates, tried := made[as]
		if !tried {
			var err error
			if updates, err = l.make(run, events, as.portal, as.detail); err != nil {
				l.c.Log.Error().Err(err).Msg("live updates of the console")
			}
			made[as] = updates
		}
		w.runs[run.ID] = run.UpdatedAt
		if updates != nil {
			w.send(updates)
		}
	}
}

// The method `make` returns the updates of a run as JSON.
func (l *live) make(run *saga.Run, events []saga.Event, portal, detail bool) ([]byte, error) {
	var shown client.Run
	raw, err := l.c.View(run, portal)
	if err == nil {
		err = json.Unmarshal(raw, &shown)
	}
	if err != nil {
		return nil, fmt.Errorf("showing run %s: %w", run.ID, err)
	}
	now := l.c.Now()
	if !detail {
		return l.render("runs", "row", "row-"+run.ID, row{shown, now})
	}
	page := runPage{Run: shown, Now: now, Portal: portal, Earlier: len(events) == liveEvents && events[0].Seq > 1}
	for _, e := range events {
		var one client.Event
		raw, err := l.c.ViewEvent(e)
		if err == nil {
			err = json.Unmarshal(raw, &one)
		}
		if err != nil {
			return nil, fmt.Errorf("showing event %d of run %s: %w", e.Seq, run.ID, err)
		}
		page.Events = append(page.Events, one)
	}
	var all []byte
	for _, part := range []string{"summary", "steps", "history", "objects", "buttons"} {
		one, err := l.render("run", part, part, page)
		if err != nil {
			return nil, err
		}
		all = append(all, one...)
	}
	return all, nil
}

func (l *live) render(page, block, name string, content any) ([]byte, error) {
	var made bytes.Buffer
	if err := l.c.pages.templates[page].ExecuteTemplate(&made, block, content); err != nil {
		return nil, fmt.Errorf("making the update %s: %w", name, err)
	}
	return update(name, made.String()), nil
}

// The function `update` returns a server-sent event. Each line of its data needs a prefix.
func update(name, html string) []byte {
	return []byte("event: " + name + "\ndata: " + strings.ReplaceAll(strings.TrimSpace(html), "\n", "\ndata: ") + "\n\n")
}

// The method `send` hands updates to the goroutine that writes them. If the browser is slow, the updates are joined. The caller holds live.mu.
func (w *watching) send(updates []byte) {
	select {
	case waiting := <-w.updates:
		if len(waiting) > maxWaiting { // the page is far behind: it loads itself again when it reconnects
			w.end()
			return
		}
		updates = slices.Concat(waiting, updates)
	default:
	}
	w.updates <- updates
}

// maxWaiting is the number of bytes that may wait for a slow browser.
const maxWaiting = 1 << 20

// The method `who` returns the name of the person for limits. All API keys of a merchant count as one person.
func (p person) who() string {
	if p.Portal() {
		return "merchant " + p.Merchant
	}
	return "operator " + p.Name
}

// The method `follow` streams updates to a page. The query names the runs of the page: `run` on the page of one run, or `row` for each run of a
// list. See shownAs for their format. With the parameter `newest`, the page also learns that there are newer runs. The stream ends after about
// streamTime.
func (c *console) follow(e echo.Context) error {
	p, _ := personOf(e)
	q := e.QueryParams()
	ids := q["row"]
	w := &watching{
		session: sessionID(e), who: p.who(), portal: p.Merchant, runs: map[string]time.Time{}, newest: q.Get("newest"),
		updates: make(chan []byte, 1),
	}
	if id := q.Get("run"); id != "" {
		ids, w.detail, w.newest = []string{id}, true, ""
	}
	if len(ids) > liveRuns {
		return &problem{status: http.StatusBadRequest, title: "Bad request", detail: "The address of the updates names too many runs."}
	}
	for _, shown := range ids {
		id, at, _ := strings.Cut(shown, ".")
		micros, err := strconv.ParseInt(at, 10, 64)
		if err != nil || len(id) > 64 {
			return &problem{status: http.StatusBadRequest, title: "Bad request", detail: "The address of the updates does not belong to a page. Reload the page."}
		}
		w.runs[id] = time.UnixMicro(micros)
	}
	if err := c.mayFollow(e, q.Get("run")); err != nil {
		return err
	}
	until := c.Now().Add(streamTime - rand.N(streamTime/5)) //nolint:gosec // not a secret
	ctx, cancel := context.WithCancel(e.Request().Context())
	defer cancel()
	w.end = cancel
	if p := c.live.add(w); p != nil {
		e.Response().Header().Set(echo.HeaderRetryAfter, strconv.Itoa(60))
		return p
	}
	defer c.live.remove(w)
	h := e.Response().Header()
	h.Set(echo.HeaderContentType, "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	e.Response().WriteHeader(http.StatusOK)
	control := http.NewResponseController(e.Response())
	write := func(text []byte) error {
		if err := control.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
			return err
		}
		if _, err := e.Response().Write(text); err != nil {
			return err
		}
		return control.Flush()
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	text := []byte("retry: 3000\n\n")
	for c.Now().Before(until) {
		if err := write(text); err != nil {
			return nil // the browser is gone
		}
		select {
		case <-ctx.Done():
			return nil
		case text = <-w.updates:
		case <-beat.C:
			text = []byte(": still here\n\n")
		}
	}
	return nil
}

// mayFollow asks the API whether the credential of the person is still valid, and whether the person may read the run. If the page is a list, the
// parameter `shown` is empty. Otherwise, see shownAs.
func (c *console) mayFollow(e echo.Context, shown string) error {
	api, err := c.asPerson(e)
	if err != nil {
		return err
	}
	ctx := e.Request().Context()
	if shown == "" {
		answer, err := api.ListRunsWithResponse(ctx, &client.ListRunsParams{Limit: new(1)})
		if err != nil {
			return err
		}
		_, err = answered(answer.JSON200, err, answer.HTTPResponse, answer.Body)
		return err
	}
	id, _, _ := strings.Cut(shown, ".")
	answer, err := api.GetRunWithResponse(ctx, id, &client.GetRunParams{})
	if err != nil {
		return err
	}
	_, err = answered(answer.JSON200, err, answer.HTTPResponse, answer.Body)
	return err
}
