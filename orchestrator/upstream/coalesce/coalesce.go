// Package coalesce combines equal reads of an upstream into one request if the reads run at the same time.
package coalesce

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/singleflight"
)

// Limit is the longest time that a read may take.
const Limit = 30 * time.Second

// Reads holds the reads in flight. The zero value is ready to use.
type Reads struct{ group singleflight.Group }

// Read calls the function `read` once for all callers that pass the same key at the same time. The read continues for up to Limit,
// even if the first caller's context ends. If the function `read` panics, Read returns an error.
func Read[A, T any](
	ctx context.Context, reads *Reads, key string, read func(context.Context, A) (T, error), argument A,
) (T, error) {
	answer := reads.group.DoChan(key, func() (value any, err error) {
		defer func() {
			if cause := recover(); cause != nil { // without recover, a panic in this goroutine would end the process
				err = fmt.Errorf("panic while reading: %v", cause)
			}
		}()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), Limit)
		defer cancel()
		return read(ctx, argument)
	})
	var none T
	select {
	case <-ctx.Done():
		return none, ctx.Err()
	case got := <-answer:
		if got.Err != nil {
			return none, got.Err
		}
		return got.Val.(T), nil
	}
}
