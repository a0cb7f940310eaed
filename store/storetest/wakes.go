package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// Wakes tests the messages that one replica receives from another replica. Both replicas share an empty store. New work, an action
// and the end of a run each cause one message. The messages arrive in the sequence in which they were sent. A checkpoint that does not
// end the run causes no message.
func Wakes(t *testing.T, here, there Store) {
	s := fixture{Store: here}
	ctx, cancel := context.WithCancel(t.Context())
	heard, done := make(chan saga.Wake, 10), make(chan struct{})
	go func() {
		defer close(done)
		if err := there.Listen(ctx, func(w saga.Wake) { heard <- w }); ctx.Err() == nil {
			t.Errorf("Listen returned %v; want Listen to wait until its context ends", err)
		}
	}()
	hear(t, heard, saga.Wake{Kind: saga.WakeWork}) // Listen always begins with this message

	s.join(t, "r1", epoch.Add(time.Hour))
	n := s.create(t, nil) // no message, because the run is leased
	s.commit(t, checkpoint(n))
	s.create(t, idle)
	hear(t, heard, saga.Wake{Kind: saga.WakeWork})

	s.ask(t, saga.Action{RunID: n.Run.ID, Name: saga.Hold})
	hear(t, heard, saga.Wake{Kind: saga.WakeAction, RunID: n.Run.ID})

	ended := checkpoint(n)
	ended.Run.Version, ended.Events[0].Seq = 2, 3
	ended.Run.State, ended.Run.EndedAt = saga.Succeeded, &epoch
	ended.Run.UpdatedAt = epoch.Add(time.Microsecond) // the checkpoint is committed after the end of the run
	s.commit(t, ended)
	hear(t, heard, saga.Wake{Kind: saga.WakeEnded, RunID: n.Run.ID})

	rechecked := ended
	run := *ended.Run
	rechecked.Run, rechecked.Events = &run, nil
	rechecked.Run.Version = 3
	s.commit(t, rechecked) // no message, because an earlier checkpoint has ended the run
	followed := s.ending(t, later("x"))
	s.commit(t, followed)
	hear(t, heard, saga.Wake{Kind: saga.WakeEnded, RunID: followed.Run.ID})
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
			t.Fatalf("received the message %+v; want %+v", got, want)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("received no message within 10 s; want %+v", want)
	}
}
