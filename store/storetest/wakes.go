package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// Wakes tests which messages a replica receives of the other, on an empty store that both share: work, actions and ends, each once
// and in order, and none for a plain checkpoint.
func Wakes(t *testing.T, here, there Store) {
	s := fixture{here}
	ctx, cancel := context.WithCancel(t.Context())
	heard, done := make(chan saga.Wake, 10), make(chan struct{})
	go func() {
		defer close(done)
		if err := there.Listen(ctx, func(w saga.Wake) { heard <- w }); ctx.Err() == nil {
			t.Errorf("listening ended: %v", err)
		}
	}()
	hear(t, heard, saga.Wake{Kind: saga.WakeWork}) // a message may have been sent before

	s.join(t, "r1", epoch.Add(time.Hour))
	n := s.create(t, nil) // leased: no message
	s.commit(t, checkpoint(n))
	s.create(t, idle)
	hear(t, heard, saga.Wake{Kind: saga.WakeWork})

	s.ask(t, saga.Action{RunID: n.Run.ID, Name: saga.Hold})
	hear(t, heard, saga.Wake{Kind: saga.WakeAction, RunID: n.Run.ID})

	ended := checkpoint(n)
	ended.Run.Version, ended.Events[0].Seq = 2, 3
	ended.Run.State, ended.Run.EndedAt = saga.Succeeded, &epoch
	ended.Run.UpdatedAt = epoch.Add(time.Microsecond) // time passes between deciding and writing
	s.commit(t, ended)
	hear(t, heard, saga.Wake{Kind: saga.WakeEnded, RunID: n.Run.ID})

	rechecked := ended
	run := *ended.Run
	rechecked.Run, rechecked.Events = &run, nil
	rechecked.Run.Version = 3
	s.commit(t, rechecked) // a run ends once
	if err := here.Leave(t.Context(), "r1", epoch); err != nil {
		t.Fatal(err)
	}
	hear(t, heard, saga.Wake{Kind: saga.WakeWork})
	cancel()
	<-done
}

func hear(t *testing.T, heard <-chan saga.Wake, want saga.Wake) {
	t.Helper()
	select {
	case got := <-heard:
		if got != want {
			t.Fatalf("heard %+v, want %+v", got, want)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("heard nothing, want %+v", want)
	}
}
