package coalesce

import (
	"context"
	"sync"
	"time"
)

const (
	keep    = 2 * time.Second // time for which Recently keeps an answer
	maxKept = 256             // maximum number of answers that Recently keeps
)

// Recent holds the reads in flight and the answers of the last two seconds. The zero value is ready to use.
type Recent struct {
	reads Reads

	mu   sync.Mutex
	kept map[string]any
}

// Recently is like [Read], but callers that pass the same key within two seconds after a read also get the answer of this read. If
// an answer must not be older than a certain time, the key must contain this time. Errors are not kept. While maxKept answers are
// kept, further answers are not kept.
func Recently[A, T any](
	ctx context.Context, r *Recent, key string, read func(context.Context, A) (T, error), argument A,
) (T, error) {
	r.mu.Lock()
	kept, ok := r.kept[key]
	r.mu.Unlock()
	if ok {
		return kept.(T), nil
	}
	answer, err := Read(ctx, &r.reads, key, read, argument)
	if err != nil {
		return answer, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.kept[key]; ok || len(r.kept) >= maxKept {
		return answer, nil
	}
	if r.kept == nil {
		r.kept = map[string]any{}
	}
	r.kept[key] = answer
	time.AfterFunc(keep, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.kept, key)
	})
	return answer, nil
}
