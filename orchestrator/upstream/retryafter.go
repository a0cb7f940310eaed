package upstream

import (
	"errors"
	"net/http"
	"strconv"
	"time"
)

// Limits of the wait that a service can demand.
const (
	minRetryAfter = time.Second
	maxRetryAfter = time.Hour
)

// RetryAfter returns the wait that the header Retry-After of an answer demands. The header contains a number of seconds or a date. The
// result is 1 s to 1 h, or 0 if the header is missing or invalid.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return limited(time.Duration(seconds) * time.Second)
	} else if errors.Is(err, strconv.ErrRange) {
		return maxRetryAfter
	}
	if at, err := http.ParseTime(value); err == nil {
		return limited(at.Sub(now))
	}
	return 0
}

func limited(d time.Duration) time.Duration { return min(max(d, minRetryAfter), maxRetryAfter) }
