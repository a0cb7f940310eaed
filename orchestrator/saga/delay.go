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
	// maxRecheckDelay is that of a re-check, which is tried without end and which nobody waits for.
	maxRecheckDelay = time.Hour
	// maxRetryAfter bounds what an upstream may ask for.
	maxRetryAfter = time.Hour
	// shortWait is the longest wait for which a run is kept; for longer ones it is given up and claimed again when it is due.
	shortWait = 5 * time.Second
)

// Delay is how long to wait after the n-th failure in a row of what key names. It is spread by up to a fifth, so that
// those that failed together do not come back together; the same key and n give the same delay, so that a simulation
// replays.
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

// retryIn is how long to wait before the attempt after the n-th of a step of a run, at most most unless the upstream asks for more.
func retryIn(runID, step string, n int, most time.Duration, v Classification) time.Duration {
	return max(Delay(runID+" "+step, n, firstDelay, most), min(v.RetryAfter, maxRetryAfter))
}
