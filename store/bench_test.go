package store_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/store/storetest"
)

const benchSteps = 9

// BenchmarkCheckpoint runs nine steps of 0 ms one after another, 1, 16 and 64 runs in flight: by the engine with its
// checkpoints, and by the hand-written floor, one INSERT and one UPDATE a step in plain pgx, by turns on the same
// PostgreSQL. x/floor is the engine's runs a second as a multiple of the floor's: above 1 is faster than the floor.
func BenchmarkCheckpoint(b *testing.B) {
	url := storetest.PostgreSQL(b)
	floor, err := pgxpool.New(b.Context(), url+"&pool_max_conns=64")
	if err != nil {
		b.Fatal(err)
	}
	defer floor.Close()
	const table = `CREATE TABLE floor (id TEXT PRIMARY KEY, state TEXT, step INTEGER, output TEXT, updated_at BIGINT)`
	if _, err := floor.Exec(b.Context(), table); err != nil {
		b.Fatal(err)
	}
	engine := benchEngine(b, url)
	for _, inFlight := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("inflight=%d", inFlight), func(b *testing.B) {
			var ours, theirs time.Duration
			for b.Loop() {
				runs := inFlight * 4
				theirs += together(inFlight, runs, func() { floorRun(b, floor) })
				ours += together(inFlight, runs, func() { engineRun(b, engine) })
			}
			n := float64(b.N * inFlight * 4)
			b.ReportMetric(n/ours.Seconds(), "engine-runs/s")
			b.ReportMetric(n/theirs.Seconds(), "floor-runs/s")
			b.ReportMetric(theirs.Seconds()/ours.Seconds(), "x/floor")
		})
	}
}

// together does n things, some at once, and tells how long they took.
func together(atOnce, n int, do func()) time.Duration {
	began := time.Now()
	var all sync.WaitGroup
	tokens := make(chan struct{}, atOnce)
	for range n {
		tokens <- struct{}{}
		all.Go(func() { do(); <-tokens })
	}
	all.Wait()
	return time.Since(began)
}

func floorRun(b *testing.B, db *pgxpool.Pool) {
	ctx, id := context.Background(), uuid.NewString()
	const insert = `INSERT INTO floor (id, state, step, output, updated_at) VALUES ($1, 'running', 0, '', $2)`
	if _, err := db.Exec(ctx, insert, id, time.Now().UnixMicro()); err != nil {
		b.Error(err)
	}
	for step := range benchSteps {
		const update = `UPDATE floor SET step = $2, output = $3, updated_at = $4, state = $5 WHERE id = $1`
		state := "running"
		if step == benchSteps-1 {
			state = "succeeded"
		}
		if _, err := db.Exec(ctx, update, id, step+1, `{"s":"done"}`, time.Now().UnixMicro(), state); err != nil {
			b.Error(err)
		}
	}
}

type benchState struct {
	Done [benchSteps]bool `json:"done"`
}

func benchEngine(b *testing.B, url string) *benchedEngine {
	b.Helper()
	w := saga.Workflow[benchState]{
		Name: "bench", Version: 1,
		Judge:  func(err error) saga.Verdict { return saga.Verdict{Failure: saga.Failure{Detail: err.Error()}} },
		Renew:  func(s benchState, id string) (benchState, string) { return s, id },
		Result: func(s benchState) any { return s },
	}
	for i := range benchSteps {
		step := saga.Step[benchState]{
			Name: fmt.Sprintf("step-%d", i), NoUndo: "it does nothing",
			Do: func(_ context.Context, s *benchState) error { s.Done[i] = true; return nil },
		}
		if i > 0 {
			step.After = []string{fmt.Sprintf("step-%d", i-1)}
		}
		w.Steps = append(w.Steps, step)
	}
	d, err := saga.Define(w)
	if err != nil {
		b.Fatal(err)
	}
	s := open(b, url, secret)
	if _, err := s.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	var e benchedEngine
	e.Engine = saga.New(saga.Options{
		Store: s, Queue: s, Workflows: []*saga.Definition{d}, NewID: newID, Workers: 128,
		OnFault: func(err error) { b.Error(err) },
		OnEvent: func(r *saga.Run, event saga.Event) {
			if event.Kind == saga.EventRunSucceeded {
				close(e.ended(r.ID))
			}
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { e.Serve(ctx, time.Second); close(done) }()
	b.Cleanup(func() { cancel(); <-done })
	return &e
}

func engineRun(b *testing.B, e *benchedEngine) {
	id := newID()
	run, err := e.Start(context.Background(), saga.Request{
		ID: id, Workflow: "bench", Merchant: "m", Subject: id, User: "u", Plan: "p", Key: id, Input: benchState{},
	})
	if err != nil {
		b.Error(err)
		return
	}
	<-e.ended(run.ID)
}

// benchedEngine tells when a run has ended without asking the database.
type benchedEngine struct {
	*saga.Engine
	ends sync.Map // run id -> chan struct{}
}

func (e *benchedEngine) ended(id string) chan struct{} {
	c, _ := e.ends.LoadOrStore(id, make(chan struct{}))
	return c.(chan struct{})
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }
