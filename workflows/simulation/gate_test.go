package simulation

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/store/model"
)

// gate is the database as a replica reaches it: every call passes through the driver.
type gate struct {
	r     *replica
	store *model.Store
}

// actorKey is for the name of the request in whose context the database is asked.
type actorKey struct{}

// pass makes one call. What it gives is read only where an answer comes.
func (g gate) pass(ctx context.Context, key string, effect func(context.Context)) error {
	if actor, ok := ctx.Value(actorKey{}).(string); ok {
		key = actor + " " + key
	}
	return g.to(ctx, call{to: database, order: -1}, key, effect)
}

func (g gate) to(ctx context.Context, c call, key string, effect func(context.Context)) error {
	return g.r.world.driver.call(ctx, g.r.host, c, key, func() { effect(context.Background()) })
}

// ask makes a call that gives one thing.
func ask[T any](ctx context.Context, g gate, key string, effect func(context.Context) (T, error)) (T, error) {
	var got T
	var err error
	if lost := g.pass(ctx, key, func(ctx context.Context) { got, err = effect(ctx) }); lost != nil {
		return *new(T), lost
	}
	return got, err
}

func tell(ctx context.Context, g gate, key string, effect func(context.Context) error) error {
	_, err := ask(ctx, g, key, func(ctx context.Context) (struct{}, error) { return struct{}{}, effect(ctx) })
	return err
}

// nameOf names a filter by what it asks for, in words of its own: a call's latency and fate follow from its name, so that
// a field that is renamed must not change it.
func nameOf(f saga.Filter) string {
	return fmt.Sprintf("merchant=%s user=%s subject=%s project=%s live=%t rechecked=%t state=%s before=%s",
		f.Merchant, f.User, f.Subject, f.Project, f.Live, f.AwaitsRecheck, f.State, f.Before)
}

// nameOfWake names what one replica tells another: see nameOf.
func nameOfWake(w saga.Wake) string {
	what := map[saga.WakeKind]string{saga.WakeWork: "work", saga.WakeAction: "action", saga.WakeEnded: "ended"}[w.Kind]
	return what + " " + w.RunID
}

// sent is a run as it is when it is sent: the engine goes on changing its own.
func sent(run *saga.Run) *saga.Run {
	c := *run
	c.Steps = slices.Clone(run.Steps)
	return &c
}

func (g gate) Create(ctx context.Context, n saga.NewRun) error {
	n.Run = sent(n.Run)
	if actor, ok := ctx.Value(actorKey{}).(string); ok {
		g.r.admitted(actor)
	}
	return tell(ctx, g, "create "+n.Run.ID, func(ctx context.Context) error {
		err := g.store.Create(ctx, n)
		g.r.world.record.created(n, err)
		return err
	})
}

func (g gate) Commit(ctx context.Context, now time.Time, checkpoints []saga.Checkpoint) []saga.CommitResult {
	var ids []string
	sorted := slices.Clone(checkpoints) // who came first is left to chance
	slices.SortFunc(sorted, func(x, y saga.Checkpoint) int { return strings.Compare(x.Run.ID, y.Run.ID) })
	for i := range sorted {
		sorted[i].Run = sent(sorted[i].Run)
		ids = append(ids, sorted[i].Run.ID)
	}
	var results []saga.CommitResult
	c := call{to: database, order: g.r.world.orderOf(ids[0]), step: "checkpoint"}
	err := g.to(ctx, c, "commit "+strings.Join(ids, " "), func(ctx context.Context) {
		results = g.store.Commit(ctx, now, sorted)
		g.r.world.record.committed(sorted, results)
	})
	inOrder := make([]saga.CommitResult, len(checkpoints))
	for i, cp := range checkpoints {
		if inOrder[i].Err = err; err == nil {
			inOrder[i] = results[slices.Index(ids, cp.Run.ID)]
		}
	}
	return inOrder
}

func (g gate) Tip(ctx context.Context, id string) (epoch, version int64, err error) {
	tip, err := ask(ctx, g, "tip "+id, func(ctx context.Context) (tip [2]int64, err error) {
		tip[0], tip[1], err = g.store.Tip(ctx, id)
		return tip, err
	})
	return tip[0], tip[1], err
}

func (g gate) Run(ctx context.Context, id string) (*saga.Run, error) {
	return ask(ctx, g, "run "+id, func(ctx context.Context) (*saga.Run, error) { return g.store.Run(ctx, id) })
}

func (g gate) LiveRuns(ctx context.Context, merchant string) (int, error) {
	return ask(ctx, g, "live runs of "+merchant, func(ctx context.Context) (int, error) { return g.store.LiveRuns(ctx, merchant) })
}

func (g gate) RunOfKey(ctx context.Context, merchant, key string) (*saga.Run, error) {
	return ask(ctx, g, "run of "+key, func(ctx context.Context) (*saga.Run, error) { return g.store.RunOfKey(ctx, merchant, key) })
}

func (g gate) Runs(ctx context.Context, f saga.Filter) ([]*saga.Run, error) {
	return ask(ctx, g, "runs "+nameOf(f), func(ctx context.Context) ([]*saga.Run, error) { return g.store.Runs(ctx, f) })
}

func (g gate) Events(ctx context.Context, id string, after int64, limit int) ([]saga.Event, error) {
	return ask(ctx, g, "events "+id, func(ctx context.Context) ([]saga.Event, error) { return g.store.Events(ctx, id, after, limit) })
}

func (g gate) AddAction(ctx context.Context, now time.Time, v saga.Action) error {
	return tell(ctx, g, "add action "+v.RunID, func(ctx context.Context) error { return g.store.AddAction(ctx, now, v) })
}

func (g gate) Actions(ctx context.Context, id string) ([]saga.Action, error) {
	return ask(ctx, g, "actions "+id, func(ctx context.Context) ([]saga.Action, error) { return g.store.Actions(ctx, id) })
}

func (g gate) Token(ctx context.Context, id string) (string, error) {
	return ask(ctx, g, "token "+id, func(ctx context.Context) (string, error) { return g.store.Token(ctx, id) })
}

func (g gate) Join(ctx context.Context, replica string, until time.Time) (time.Time, error) {
	g.r.id = replica
	return ask(ctx, g, "join", func(ctx context.Context) (time.Time, error) { return g.store.Join(ctx, replica, until) })
}

func (g gate) Renew(ctx context.Context, replica string, now, until time.Time) (saga.Renewal, error) {
	return ask(ctx, g, "renew", func(ctx context.Context) (saga.Renewal, error) { return g.store.Renew(ctx, replica, now, until) })
}

func (g gate) Leave(ctx context.Context, replica string, now time.Time) error {
	return tell(ctx, g, "leave", func(ctx context.Context) error { return g.store.Leave(ctx, replica, now) })
}

func (g gate) Claim(ctx context.Context, c saga.Claim) ([]string, error) {
	return ask(ctx, g, "claim", func(ctx context.Context) ([]string, error) { return g.store.Claim(ctx, c) })
}

func (g gate) Due(ctx context.Context, now time.Time, down []string) (int, error) {
	return ask(ctx, g, "due", func(ctx context.Context) (int, error) { return g.store.Due(ctx, now, down) })
}

func (g gate) HandBack(ctx context.Context, replica string, now, before time.Time, working []string) error {
	return tell(ctx, g, "hand back", func(ctx context.Context) error { return g.store.HandBack(ctx, replica, now, before, working) })
}

// Listen passes words on with a delay; a crashed process hears none.
func (g gate) Listen(ctx context.Context, wake func(saga.Wake)) error {
	d, heard := g.r.world.driver, 0
	return g.store.Listen(ctx, func(word saga.Wake) {
		heard++
		key := fmt.Sprint(g.r.name, " hears ", nameOfWake(word), " #", heard)
		if d.chance(key, "lost")%20 == 0 {
			return
		}
		d.after(g.r.host, d.latency(key), key, func() {
			if !g.r.dead {
				wake(word)
			}
		})
	})
}
