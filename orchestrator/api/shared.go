package api

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/singleflight"
)

// readTime bounds what is read of an upstream for a request that waits.
const readTime = 30 * time.Second

// shared reads once for all who ask for the same at the same time. What it reads under way goes on when the first of them
// goes away.
func shared[A, T any](
	ctx context.Context, group *singleflight.Group, key string, read func(context.Context, A) (T, error), argument A,
) (T, error) {
	answer := group.DoChan(key, func() (value any, err error) {
		defer func() {
			if cause := recover(); cause != nil { // it would end the process: this is nobody's request
				err = fmt.Errorf("panic while reading: %v", cause)
			}
		}()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTime)
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
