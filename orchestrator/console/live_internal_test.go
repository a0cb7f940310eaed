package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/time/rate"

	"github.com/tenantry/tenantry/orchestrator/api/client"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

// The type `follower` is a saga.Follower that knows each run whose id begins with "run". All of them were changed at the same time.
type follower struct {
	changed time.Time
	most    int // the maximum number of ids and merchants in one query
	queries int
}

func (f *follower) Updated(_ context.Context, ids, merchants []string) (map[string]time.Time, map[string]string, error) {
	f.queries++
	if len(ids) > f.most || len(merchants) >= 500 {
		return nil, nil, errors.New("too many SQL variables")
	}
	updated := map[string]time.Time{}
	for _, id := range ids {
		if strings.HasPrefix(id, "run") {
			updated[id] = f.changed
		}
	}
	return updated, nil, nil
}

func (f *follower) RunsOf(_ context.Context, ids []string) (all []*saga.Run, err error) {
	for _, id := range ids {
		all = append(all, &saga.Run{ID: id, UpdatedAt: f.changed})
	}
	return all, nil
}

func (f *follower) LastEvents(context.Context, []string, int) (map[string][]saga.Event, error) {
	return nil, nil
}

// following returns live updates over a follower, without a limit of its queries.
func following(t *testing.T) (*live, *follower, *strings.Builder) {
	t.Helper()
	made, err := newPages()
	if err != nil {
		t.Fatal(err)
	}
	f, log := &follower{changed: time.Now(), most: 32_000}, &strings.Builder{}
	c := &console{pages: made, Options: Options{Now: time.Now, Follower: f, Log: zerolog.New(log)}}
	c.View = func(r *saga.Run, _ bool) ([]byte, error) {
		if strings.HasPrefix(r.ID, "run-bad") {
			return nil, errors.New("this run cannot be shown")
		}
		return json.Marshal(client.Run{ID: r.ID, UpdatedAt: r.UpdatedAt})
	}
	l := newLive(c)
	l.quota = rate.NewLimiter(rate.Inf, queriesAtOnce)
	return l, f, log
}

// The method `open` adds a list that shows n runs.
func (l *live) open(t *testing.T, who, runs string, n int) *watching {
	t.Helper()
	w := &watching{who: who, runs: map[string]time.Time{}, updates: make(chan []byte, 1), end: func() {}}
	for i := range n {
		w.runs[fmt.Sprint(runs, i)] = time.UnixMicro(0)
	}
	if err := l.add(w); err != nil {
		t.Fatal(err)
	}
	return w
}

// Pages that name runs which do not exist, or runs that cannot be shown, keep nobody else from being updated.
func TestMadeUpRunsDisturbNobody(t *testing.T) {
	l, f, log := following(t)
	var bogus []*watching
	for page := range 500 { // 35,000 made-up runs, on the lists of 500 merchants
		w := l.open(t, fmt.Sprint("bad ", page/livePagesOfOne), fmt.Sprintf("bogus-%d-", page), liveRuns)
		w.newest, w.portal = "0", fmt.Sprint("merchant ", page)
		bogus = append(bogus, w)
	}
	broken, honest := l.open(t, "broken", "run-bad-", 1), l.open(t, "honest", "run-", 1)
	if err := l.look(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(honest.updates) != 1 || len(broken.updates) != 0 {
		t.Errorf("%d and %d pages were updated, want 1 and 0", len(honest.updates), len(broken.updates))
	}
	if n := strings.Count(log.String(), "this run cannot be shown"); n != 1 {
		t.Errorf("the log has the run that cannot be shown %d times: %s", n, log)
	}
	for _, w := range bogus {
		if len(w.runs) != 0 {
			t.Fatalf("a page still has %d made-up runs", len(w.runs))
		}
	}
	f.queries = 0
	if err := l.look(t.Context()); err != nil || f.queries != 500/merchantsInQuery {
		t.Errorf("the next search: %d queries, %v; want those for the merchants", f.queries, err)
	}
	for range livePagesOfOne - 1 {
		l.open(t, "honest", "run-", 1)
	}
	if l.add(&watching{who: "honest"}) == nil {
		t.Error("a person has more pages than allowed")
	}
}

// The type `noSessions` knows no session.
type noSessions struct{ SignIns }

func (noSessions) Among(context.Context, []string) (map[string]bool, error) { return nil, nil }

// The sessions are checked although the search for changes fails.
func TestSessionsAreCheckedWithoutASearch(t *testing.T) {
	l, f, _ := following(t)
	l.c.SignIns, f.most = noSessions{}, 0
	w := l.open(t, "somebody", "run-", 1)
	ended := make(chan struct{})
	w.end = sync.OnceFunc(func() { close(ended) })
	ctx, stop := context.WithCancel(t.Context())
	var serving sync.WaitGroup
	serving.Go(func() { l.serve(ctx) })
	defer serving.Wait()
	defer stop()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("the page of an ended session is still updated")
	}
}

// A person with many pages whose runs have changed does not delay other people's pages.
func TestNobodyWaitsForSomebodyElsesPages(t *testing.T) {
	l, _, _ := following(t)
	for page := range livePagesOfOne {
		l.open(t, "m", fmt.Sprintf("run-%d-", page), liveRuns)
	}
	var others []*watching
	for i := range changedAtOnce { // on both sides of "m" in the order of names
		others = append(others, l.open(t, fmt.Sprint("a", i), fmt.Sprintf("run-a%d-", i), 1), l.open(t, fmt.Sprint("z", i), fmt.Sprintf("run-z%d-", i), 1))
	}
	for range len(others)/changedAtOnce + 1 {
		if err := l.look(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	waiting := 0
	for _, w := range others {
		if len(w.updates) == 0 {
			waiting++
		}
	}
	if waiting > 0 {
		t.Errorf("%d of %d pages were not updated", waiting, len(others))
	}
	honest := l.open(t, "honest", "run-honest-", 1)
	for range 2 {
		if err := l.look(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(honest.updates) == 0 {
		t.Error("a new page was not updated within two searches")
	}
}
