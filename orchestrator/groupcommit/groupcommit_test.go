package groupcommit_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tenantry/tenantry/orchestrator/groupcommit"
)

// The type `recorder` contains a Group of numbers, and records each committed group. Each commit takes a second.
type recorder struct {
	groupcommit.Group[int, string]

	mu     sync.Mutex
	groups [][]int
	ended  bool // whether the context of a commit ended during the commit
}

func newRecorder() *recorder {
	r := &recorder{}
	r.Max = 3
	r.Commit = func(ctx context.Context, items []int) []string {
		r.mu.Lock()
		r.groups = append(r.groups, slices.Clone(items))
		r.mu.Unlock()
		time.Sleep(time.Second)
		results := make([]string, len(items))
		for i, item := range items {
			results[i] = fmt.Sprint("result of ", item)
		}
		r.ended = r.ended || ctx.Err() != nil
		return results
	}
	return r
}

// The method `do` calls Do in a new goroutine, and returns when this goroutine waits for the result.
func (r *recorder) do(ctx context.Context, t *testing.T, all *sync.WaitGroup, item int) {
	all.Go(func() {
		result, err := r.Do(ctx, item)
		switch {
		case err != nil && errors.Is(err, context.Cause(ctx)):
		case err != nil || result != fmt.Sprint("result of ", item):
			t.Errorf("item %d: got %q, %v", item, result, err)
		}
	})
	synctest.Wait()
}

func (r *recorder) want(t *testing.T, groups ...[]int) {
	t.Helper()
	if got, want := fmt.Sprint(r.groups), fmt.Sprint(groups); got != want {
		t.Errorf("committed %s, want %s", got, want)
	}
	if r.ended {
		t.Error("the context of a commit ended with the context of a caller")
	}
}

func TestItemsThatWaitAreCommittedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		var all sync.WaitGroup
		for item := range 6 {
			r.do(t.Context(), t, &all, item)
		}
		began := time.Now()
		all.Wait()
		r.want(t, []int{0}, []int{1, 2, 3}, []int{4, 5})
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("three commits took %v", took)
		}
	})
}

// The weight of an item is the item itself.
func TestHeavyItemsFormSmallGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		r.Weigh, r.MaxWeight = func(item int) int { return item }, 10
		var all sync.WaitGroup
		for _, item := range []int{1, 4, 6, 50, 50, 9, 2, 1, 1, 1} {
			r.do(t.Context(), t, &all, item)
		}
		all.Wait()
		r.want(t, []int{1}, []int{4, 6}, []int{50}, []int{50}, []int{9}, []int{2, 1, 1}, []int{1})
	})
}

func TestAnItemThatIsGivenUpIsNeverCommitted(t *testing.T) {
	for name, given := range map[string][]int{"the next leader": {1}, "a follower": {2}, "everybody": {1, 2, 3, 4}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRecorder()
				gone, giveUp := context.WithCancelCause(t.Context())
				var all sync.WaitGroup
				var want []int
				for item := range 5 {
					ctx := t.Context()
					if slices.Contains(given, item) {
						ctx = gone
					} else if item > 0 {
						want = append(want, item)
					}
					r.do(ctx, t, &all, item)
				}
				giveUp(errors.New("given up"))
				all.Wait()
				switch {
				case len(want) == 0:
					r.want(t, []int{0})
				default:
					r.want(t, []int{0}, want)
				}
				r.do(t.Context(), t, &all, 9) // another caller leads
				all.Wait()
				if last := r.groups[len(r.groups)-1]; !slices.Equal(last, []int{9}) {
					t.Errorf("the last group is %v, want [9]", last)
				}
			})
		})
	}
}

func TestACommitOutlivesTheContextsOfItsCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		gone, giveUp := context.WithCancel(t.Context())
		var all sync.WaitGroup
		r.do(t.Context(), t, &all, 0)
		r.do(gone, t, &all, 1) // this caller leads the second group
		r.do(t.Context(), t, &all, 2)
		r.do(gone, t, &all, 3)
		time.Sleep(1500 * time.Millisecond)
		giveUp()
		all.Wait()
		r.want(t, []int{0}, []int{1, 2, 3})
	})
}

func TestALeaderWhoseContextHasEndedLeadsNobody(t *testing.T) {
	r := newRecorder()
	gone, giveUp := context.WithCancelCause(t.Context())
	cause := errors.New("given up")
	giveUp(cause)
	for range 100 { // select chooses at random among the cases that are ready
		if _, err := r.Do(gone, 0); !errors.Is(err, cause) {
			t.Fatalf("got %v, want %v", err, cause)
		}
	}
	r.want(t)
}

func TestYieldDecidesWhoIsInAGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		r.Yield = func() { time.Sleep(time.Millisecond) }
		var all sync.WaitGroup
		r.do(t.Context(), t, &all, 0)
		r.do(t.Context(), t, &all, 1)
		all.Wait()
		r.want(t, []int{0, 1})
	})
}

func TestACommitThatPanicsLeavesNobodyWaiting(t *testing.T) {
	for name, breaks := range map[string]func() []string{
		"a panic":          func() []string { panic("broken") },
		"its end":          func() []string { runtime.Goexit(); return nil },
		"a result too few": func() []string { return []string{"result of 1"} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRecorder()
				commit := r.Commit
				r.Commit = func(ctx context.Context, items []int) []string {
					if results := commit(ctx, items); len(items) != 3 {
						return results
					}
					return breaks()
				}
				var all sync.WaitGroup
				r.do(t.Context(), t, &all, 0)
				errs := make([]error, 4)
				for item := 1; item < 4; item++ {
					all.Go(func() {
						defer func() { _ = recover() }()
						_, errs[item] = r.Do(t.Context(), item)
					})
					synctest.Wait()
				}
				r.do(t.Context(), t, &all, 4)
				all.Wait()
				r.want(t, []int{0}, []int{1, 2, 3}, []int{4})
				for item := 2; item < 4; item++ {
					if !errors.Is(errs[item], groupcommit.ErrNoResult) {
						t.Errorf("item %d: got %v", item, errs[item])
					}
				}
			})
		})
	}
}
