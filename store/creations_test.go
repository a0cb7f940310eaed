package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
)

func TestRunsThatComeTogetherAreInsertedTogether(t *testing.T) {
	var groups []int
	entered, gate := make(chan struct{}), make(chan struct{})
	odd := errors.New("odd")
	c := creations{insert: func(_ context.Context, group []newRunRows) []error {
		groups = append(groups, len(group))
		if len(groups) == 1 {
			close(entered)
			<-gate
		}
		results := make([]error, len(group))
		for i, rows := range group {
			if rows.run.Version%2 == 1 {
				results[i] = odd
			}
		}
		return results
	}}
	var all sync.WaitGroup
	create := func(version int64) {
		all.Go(func() {
			err := c.create(t.Context(), newRunRows{run: runRow{Version: version}})
			if (err != nil) != (version%2 == 1) {
				t.Errorf("run %d got what came of another: %v", version, err)
			}
		})
	}
	create(0)
	<-entered
	const others = maxCreations + 10
	for i := range others {
		create(int64(i))
	}
	for deadline := time.Now().Add(10 * time.Second); ; { // until all wait
		c.mu.Lock()
		n := len(c.waiting)
		c.mu.Unlock()
		if n == others {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d wait, want %d", n, others)
		}
		time.Sleep(time.Millisecond)
	}
	close(gate)
	all.Wait()
	if got, want := fmt.Sprint(groups), fmt.Sprint([]int{1, maxCreations, 10}); got != want {
		t.Errorf("groups: got %s, want %s", got, want)
	}
}
