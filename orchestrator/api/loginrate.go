package api

import (
	"cmp"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// defaultLoginRate is the default of Options.LoginRate.
	defaultLoginRate = 10
	// loginsOfMerchant is the factor by which the limit for a merchant is higher than the limit for one name.
	loginsOfMerchant = 30
	// loginWindow is the time to which the limits apply.
	loginWindow = time.Minute
	// maxLoginBuckets bounds the memory of one limit. A bucket needs about 200 bytes.
	maxLoginBuckets = 50_000
)

// The type `loginRate` limits the logins and registrations of each merchant: for each name, for each visitor, and for the merchant as a
// whole. Each replica counts separately. The zero value is not usable: see newLoginRate.
type loginRate struct {
	mu     sync.Mutex
	limits []loginLimit
}

// The type `loginLimit` is one of the limits. It has a token bucket for each key. A new bucket is full: it has `quota` tokens. An
// empty bucket is full again after loginWindow.
type loginLimit struct {
	name    string // the name of the limit in the headers RateLimit-Policy and RateLimit
	quota   int
	buckets map[string]*rate.Limiter
}

func newLoginRate(perName int) *loginRate {
	perName = cmp.Or(perName, defaultLoginRate)
	return &loginRate{limits: []loginLimit{
		{name: "login-name", quota: perName, buckets: map[string]*rate.Limiter{}},
		{name: "login-visitor", quota: perName, buckets: map[string]*rate.Limiter{}},
		{name: "login-merchant", quota: perName * loginsOfMerchant, buckets: map[string]*rate.Limiter{}},
	}}
}

// The method `take` counts one attempt. The parameter `keys` contains one key for each limit, in the order of the limits. A limit with an
// empty key does not apply. If one of the limits is reached, `take` counts nothing. The results `policies` and `left` are the values of the
// headers RateLimit-Policy and RateLimit. The result `reached` names the reached limit, and `wait` is the time until the next attempt may be
// made.
func (l *loginRate) take(now time.Time, keys ...string) (policies, left, reached string, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var taken []*rate.Reservation
	// The merchant's limit is checked first: an attempt above this limit makes no bucket for the name and the visitor.
	for i := len(l.limits) - 1; i >= 0 && reached == ""; i-- {
		if keys[i] == "" {
			continue
		}
		delay := loginWindow
		if b := l.limits[i].bucket(keys[i], now); b != nil {
			r := b.ReserveN(now, 1)
			taken, delay = append(taken, r), r.DelayFrom(now)
		}
		if delay > 0 {
			reached, wait = l.limits[i].name, delay
		}
	}
	if reached != "" {
		for _, r := range taken {
			r.CancelAt(now)
		}
	}
	var policy, rest []string
	for i, limit := range l.limits {
		if keys[i] == "" {
			continue
		}
		policy = append(policy, fmt.Sprintf(`"%s";q=%d;w=%s`, limit.name, limit.quota, seconds(loginWindow)))
		one := fmt.Sprintf(`"%s";r=%d`, limit.name, limit.left(keys[i], now))
		if limit.name == reached {
			one = fmt.Sprintf(`"%s";r=0;t=%s`, limit.name, seconds(wait))
		}
		rest = append(rest, one)
	}
	return strings.Join(policy, ", "), strings.Join(rest, ", "), reached, wait
}

// The method `bucket` returns the bucket of a key. If there are too many buckets, it first drops the full ones, which are equal to new ones.
// If there are still too many, the result is nil.
func (l *loginLimit) bucket(key string, now time.Time) *rate.Limiter {
	if b := l.buckets[key]; b != nil {
		return b
	}
	if len(l.buckets) >= maxLoginBuckets {
		maps.DeleteFunc(l.buckets, func(_ string, b *rate.Limiter) bool { return b.TokensAt(now) >= float64(l.quota) })
	}
	if len(l.buckets) >= maxLoginBuckets {
		return nil
	}
	b := rate.NewLimiter(rate.Every(loginWindow/time.Duration(l.quota)), l.quota)
	l.buckets[key] = b
	return b
}

// The method `left` returns the number of further attempts that the key may make now.
func (l *loginLimit) left(key string, now time.Time) int {
	if b := l.buckets[key]; b != nil {
		return max(0, int(b.TokensAt(now)))
	}
	return l.quota
}
