package saga

import (
	"time"

	"github.com/cenkalti/backoff/v4"
)

const (
	firstDelay = 250 * time.Millisecond
	mostDelay  = time.Minute
	// mostRetryAfter bounds what an upstream may ask for.
	mostRetryAfter = time.Hour
	// shortWait is waited for by the worker; for more the run is given up and claimed again when it is due.
	shortWait = 5 * time.Second
)

// delay is how long to wait after the n-th failure in a row.
func delay(n int, first, most time.Duration) time.Duration {
	b := backoff.NewExponentialBackOff(backoff.WithInitialInterval(first), backoff.WithMultiplier(2),
		backoff.WithMaxInterval(most), backoff.WithRandomizationFactor(0.2), backoff.WithMaxElapsedTime(0))
	var d time.Duration
	for range min(n, 16) {
		d = b.NextBackOff()
	}
	return d
}

// retryIn is how long to wait before the attempt after the n-th.
func retryIn(n int, v Verdict) time.Duration {
	return max(delay(n, firstDelay, mostDelay), min(v.RetryAfter, mostRetryAfter))
}
