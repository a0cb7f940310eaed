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

// The type `link` is a replica's connection to the database. Every call passes through the driver.
type link struct {
	r     *replica
	store *model.Store
}

// actorKey is the context key for the name of the request that makes a call.
type actorKey struct{}

// The method `pass` makes one call to the database. The caller may read the result of the function `effect` only if `pass` returns
// nil.
func (l link) pass(ctx context.Context, key string, effect func(context.Context)) error {
	if actor, ok := ctx.Value(actorKey{}).(string); ok {
		key = actor + " " + key
	}
	return l.to(ctx, call{to: database, order: -1}, key, effect)
}

func (l link) to(ctx context.Context, c call, key string, effect func(context.Context)) error {
	return l.r.world.driver.call(ctx, l.r.host, c, key, func() { effect(context.Background()) })
}

// The function `ask` makes one call to the database and returns the result of the function `effect`.
func ask[T any](ctx context.Context, l link, key string, effect func(context.Context) (T, error)) (T, error) {
	var got T
	var err error
	if lost := l.pass(ctx, key, func(ctx context.Context) { got, err = effect(ctx) }); lost != nil {
		return *new(T), lost
	}
	return got, err
}

func tell(ctx context.Context, l link, key string, effect func(context.Context) error) error {
	_, err := ask(ctx, l, key, func(ctx context.Context) (struct{}, error) { return struct{}{}, effect(ctx) })
	return err
}

// nameOf returns a name for a filter. The latency and the fate of a call depend on this name. Therefore the name must not change
// when a field is renamed.
func nameOf(f saga.Filter) string {
	objects := ""
	if len(f.Objects) > 0 {
		objects = fmt.Sprint(f.Objects)
	}
	return fmt.Sprintf("merchant=%s user=%s subject=%s project=%s live=%t rechecked=%t state=%s before=%s",
		f.Merchant, f.User, f.Subject, objects, f.Live, f.AwaitsRecheck, strings.Trim(fmt.Sprint(f.States), "[]"), f.Before)
}

// nameOfWake returns a name for a message between replicas. The latency of a message depends on this name. Therefore the name
// must not change when a constant is renamed.
func nameOfWake(w saga.Wake) string {
	what := map[saga.WakeKind]string{saga.WakeWork: "work", saga.WakeAction: "action", saga.WakeEnded: "ended"}[w.Kind]
	return what + " " + w.RunID
}

// The function `sent` returns a copy of a run for the database, because the engine may change the original run afterwards.
func sent(run *saga.Run) *saga.Run {
	c := *run
	c.Steps = slices.Clone(run.Steps)
	return &c
}

func (l link) Create(ctx context.Context, n saga.NewRun) error {
	n.Run = sent(n.Run)
	if actor, ok := ctx.Value(actorKey{}).(string); ok {
		l.r.admitted(actor)
	}
	return tell(ctx, l, "create "+n.Run.ID, func(ctx context.Context) error {
		err := l.store.Create(ctx, n)
		l.r.world.record.created(n, err)
		return err
	})
}

func (l link) Commit(ctx context.Context, now time.Time, checkpoints []saga.Checkpoint) []saga.CommitResult {
	var ids []string
	sorted := slices.Clone(checkpoints) // sorted, because the checkpoints come in a random sequence
	slices.SortFunc(sorted, func(x, y saga.Checkpoint) int { return strings.Compare(x.Run.ID, y.Run.ID) })
	for i := range sorted {
		sorted[i].Run = sent(sorted[i].Run)
		ids = append(ids, sorted[i].Run.ID)
	}
	var results []saga.CommitResult
	c := call{to: database, order: l.r.world.orderOf(ids[0]), step: "checkpoint"}
	err := l.to(ctx, c, "commit "+strings.Join(ids, " "), func(ctx context.Context) {
		results = l.store.Commit(ctx, now, sorted)
		l.r.world.record.committed(sorted, results)
	})
	inOrder := make([]saga.CommitResult, len(checkpoints))
	for i, cp := range checkpoints {
		if inOrder[i].Err = err; err == nil {
			inOrder[i] = results[slices.Index(ids, cp.Run.ID)]
		}
	}
	return inOrder
}

func (l link) Tip(ctx context.Context, id string) (epoch, version int64, err error) {
	tip, err := ask(ctx, l, "tip "+id, func(ctx context.Context) (tip [2]int64, err error) {
		tip[0], tip[1], err = l.store.Tip(ctx, id)
		return tip, err
	})
	return tip[0], tip[1], err
}

func (l link) Run(ctx context.Context, id string) (*saga.Run, error) {
	return ask(ctx, l, "run "+id, func(ctx context.Context) (*saga.Run, error) { return l.store.Run(ctx, id) })
}

func (l link) Take(ctx context.Context, t saga.Take) (bool, error) {
	return ask(ctx, l, "take "+t.RunID, func(inner context.Context) (bool, error) {
		taken, err := l.store.Take(inner, t)
		if taken && t.Handed {
			l.r.world.took(ctx)
		}
		return taken, err
	})
}

func (l link) LiveRuns(ctx context.Context, merchant string) (int, error) {
	return ask(ctx, l, "live runs of "+merchant, func(ctx context.Context) (int, error) { return l.store.LiveRuns(ctx, merchant) })
}

func (l link) RunOfKey(ctx context.Context, merchant, key string) (*saga.Run, error) {
	return ask(ctx, l, "run of "+key, func(ctx context.Context) (*saga.Run, error) { return l.store.RunOfKey(ctx, merchant, key) })
}

func (l link) Latest(ctx context.Context, merchant, kind string, ids []string) (map[string]*saga.Run, error) {
	return ask(ctx, l, fmt.Sprint("latest ", merchant, kind, ids), func(ctx context.Context) (map[string]*saga.Run, error) {
		return l.store.Latest(ctx, merchant, kind, ids)
	})
}

func (l link) Runs(ctx context.Context, f saga.Filter) ([]*saga.Run, error) {
	return ask(ctx, l, "runs "+nameOf(f), func(ctx context.Context) ([]*saga.Run, error) { return l.store.Runs(ctx, f) })
}

func (l link) Events(ctx context.Context, id string, after int64, limit int) ([]saga.Event, error) {
	return ask(ctx, l, "events "+id, func(ctx context.Context) ([]saga.Event, error) { return l.store.Events(ctx, id, after, limit) })
}

func (l link) AddAction(ctx context.Context, now time.Time, v saga.Action) error {
	return tell(ctx, l, "add action "+v.RunID, func(ctx context.Context) error { return l.store.AddAction(ctx, now, v) })
}

func (l link) Actions(ctx context.Context, id string) ([]saga.Action, error) {
	return ask(ctx, l, "actions "+id, func(ctx context.Context) ([]saga.Action, error) { return l.store.Actions(ctx, id) })
}

// TakeFollowUps makes no call while the database has no follow-up, because the call would change nothing. The call is frequent, and
// would also receive faults that are meant for other calls.
func (l link) TakeFollowUps(ctx context.Context, d saga.DueFollowUps, newID func() string) ([]saga.FollowUp, error) {
	if !l.store.HasFollowUps() {
		return nil, nil
	}
	return ask(ctx, l, "take follow-ups", func(ctx context.Context) ([]saga.FollowUp, error) { return l.store.TakeFollowUps(ctx, d, newID) })
}

func (l link) FollowUps(ctx context.Context, merchant, workflow string, ids []string) (map[string]saga.FollowUp, error) {
	return ask(ctx, l, fmt.Sprint("follow-ups ", merchant, workflow, ids), func(ctx context.Context) (map[string]saga.FollowUp, error) {
		return l.store.FollowUps(ctx, merchant, workflow, ids)
	})
}

func (l link) HoldFollowUp(ctx context.Context, merchant, workflow, id string, hold *saga.FollowUpHold) error {
	return tell(ctx, l, "hold follow-up "+workflow+" "+id, func(ctx context.Context) error {
		return l.store.HoldFollowUp(ctx, merchant, workflow, id, hold)
	})
}

func (l link) Token(ctx context.Context, id string) (string, error) {
	return ask(ctx, l, "token "+id, func(ctx context.Context) (string, error) { return l.store.Token(ctx, id) })
}

func (l link) Join(ctx context.Context, replica string, until time.Time) (time.Time, error) {
	l.r.id = replica
	return ask(ctx, l, "join", func(ctx context.Context) (time.Time, error) { return l.store.Join(ctx, replica, until) })
}

func (l link) Renew(ctx context.Context, replica string, now, until time.Time) (saga.Renewal, error) {
	return ask(ctx, l, "renew", func(ctx context.Context) (saga.Renewal, error) { return l.store.Renew(ctx, replica, now, until) })
}

func (l link) Leave(ctx context.Context, replica string, now time.Time) error {
	return tell(ctx, l, "leave", func(ctx context.Context) error { return l.store.Leave(ctx, replica, now) })
}

func (l link) Claim(ctx context.Context, c saga.Claim) ([]string, error) {
	return ask(ctx, l, "claim", func(ctx context.Context) ([]string, error) { return l.store.Claim(ctx, c) })
}

func (l link) Due(ctx context.Context, d saga.Due) (int, error) {
	return ask(ctx, l, "due", func(ctx context.Context) (int, error) { return l.store.Due(ctx, d) })
}

func (l link) HandBack(ctx context.Context, replica string, now, before time.Time, working []string) error {
	return tell(ctx, l, "hand back", func(ctx context.Context) error { return l.store.HandBack(ctx, replica, now, before, working) })
}

// Listen delivers messages with a delay, and loses one message in twenty. A crashed process gets no messages.
func (l link) Listen(ctx context.Context, wake func(saga.Wake)) error {
	d, heard := l.r.world.driver, 0
	return l.store.Listen(ctx, func(word saga.Wake) {
		heard++
		key := fmt.Sprint(l.r.name, " hears ", nameOfWake(word), " #", heard)
		if d.chance(key, "lost")%20 == 0 {
			return
		}
		d.after(l.r.host, d.latency(key), key, func() {
			if !l.r.dead {
				wake(word)
			}
		})
	})
}
