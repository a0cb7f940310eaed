// Package coalesce makes equal reads of an upstream that are asked for at the same time once.
package coalesce

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/singleflight"
)

// Limit bounds a read for a request that waits.
const Limit = 30 * time.Second

// Reads are the reads under way. The zero value is ready to use.
type Reads struct{ group singleflight.Group }

// Read reads once for all who ask for the same key at the same time. The read goes on, up to Limit, when the first of them
// goes away; a panic in it is an error.
func Read[A, T any](
	ctx context.Context, reads *Reads, key string, read func(context.Context, A) (T, error), argument A,
) (T, error) {
	answer := reads.group.DoChan(key, func() (value any, err error) {
		defer func() {
			if cause := recover(); cause != nil { // it would end the process: this is nobody's request
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
