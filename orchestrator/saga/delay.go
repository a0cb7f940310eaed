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
	// maxRecheckDelay replaces maxDelay in a re-check, because no caller waits for a re-check. A re-check is retried without limit.
	maxRecheckDelay = time.Hour
	// shortWait is the longest wait during which a replica keeps a run. If the wait is longer than shortWait, the replica releases the
	// run. When the run is due, a replica leases the run again.
	shortWait = 5 * time.Second
)

// Delay returns the time to wait after n failures in a row. The parameter `first` is the delay after one failure. The delay doubles with
// each further failure, but is not longer than the parameter `most`. Delay then adds or subtracts up to a fifth, depending on the key and
// n. Calls that failed at the same time are therefore repeated at different times. For the same arguments, Delay always returns the same
// result, so that a simulation can be replayed.
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

// retryIn returns the time to wait after the n-th attempt of a step. The parameter `most` limits the wait. If the upstream asks for
// a longer wait, retryIn returns that longer wait.
func retryIn(runID, step string, n int, most time.Duration, v Classification) time.Duration {
	return max(Delay(runID+" "+step, n, firstDelay, most), v.RetryAfter)
}
