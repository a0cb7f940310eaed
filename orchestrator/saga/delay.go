package saga

import (
	"fmt"
	"hash/fnv"
	"time"

	"github.com/cenkalti/backoff/v4"
)

const (
	firstDelay = 250 * time.Millisecond
	maxDelay   = time.Minute
	// maxRecheckDelay is the same for a re-check, which is retried without limit and for which no caller waits.
	maxRecheckDelay = time.Hour
	// maxRetryAfter limits the Retry-After of an upstream.
	maxRetryAfter = time.Hour
	// shortWait is the longest wait during which a replica keeps a run. For longer waits the run is released, and claimed again
	// when it is due.
	shortWait = 5 * time.Second
)

// Delay returns how long to wait after the n-th failure in a row of what key names. The delay doubles from first up to most, and
// varies by up to a fifth, so that calls that failed together are not repeated together. The same key and n return the same delay,
// so that a simulation can be replayed.
func Delay(key string, n int, first, most time.Duration) time.Duration {
	b := backoff.NewExponentialBackOff(backoff.WithInitialInterval(first), backoff.WithMultiplier(2),
		backoff.WithMaxInterval(most), backoff.WithRandomizationFactor(0), backoff.WithMaxElapsedTime(0))
	var d time.Duration
	for range min(n, 16) {
		d = b.NextBackOff()
	}
	h := fnv.New32a()
	_, _ = fmt.Fprint(h, key, " ", n)
	const parts = 1 << 10
	return d*4/5 + d*2/5*time.Duration(h.Sum32()%parts)/parts
}

// retryIn returns how long to wait after the n-th attempt of a step: no longer than most, unless the upstream asks for more.
func retryIn(runID, step string, n int, most time.Duration, v Classification) time.Duration {
	return max(Delay(runID+" "+step, n, firstDelay, most), min(v.RetryAfter, maxRetryAfter))
}
