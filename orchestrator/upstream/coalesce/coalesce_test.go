package coalesce_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tenantry/tenantry/orchestrator/upstream/coalesce"
)

// The type `counted` counts the reads. Each read takes a second, and answers with the number of reads so far.
type counted int

func (c *counted) read(ctx context.Context, fail error) (int, error) {
	*c++
	n := int(*c)
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(time.Second):
		return n, fail
	}
}

// Callers that ask at the same time share one read, even if the first caller goes away. A later caller causes another read.
func TestEqualReadsAreCombined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reads coalesce.Reads
		var c counted
		first, leave := context.WithCancel(t.Context())
		gone := make(chan error)
		go func() {
			_, err := coalesce.Read(first, &reads, "k", c.read, nil)
			gone <- err
		}()
		synctest.Wait()
		leave()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("the caller that went away: got %v", err)
		}
		for _, want := range []int{1, 2} {
			if got, err := coalesce.Read(t.Context(), &reads, "k", c.read, nil); err != nil || got != want {
				t.Errorf("got the answer of read %d, %v, want %d", got, err, want)
			}
		}
	})
}

// An answer is kept for two seconds, and an error is not kept.
func TestAnswersAreKeptForTwoSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var recent coalesce.Recent
		var c counted
		failed := errors.New("failed")
		if _, err := coalesce.Recently(t.Context(), &recent, "k", c.read, failed); !errors.Is(err, failed) {
			t.Errorf("got %v, want the error of the read", err)
		}
		for _, step := range []struct {
			after time.Duration
			want  int
		}{{0, 2}, {1900 * time.Millisecond, 2}, {200 * time.Millisecond, 3}} {
			time.Sleep(step.after)
			if got, err := coalesce.Recently(t.Context(), &recent, "k", c.read, nil); err != nil || got != step.want {
				t.Errorf("got the answer of read %d, %v, want %d", got, err, step.want)
			}
		}
	})
}
