// Package loginrate limits the attempts to log in with a password, so that nobody can try many passwords.
package loginrate

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// defaultRate is the default of the parameter of New.
	defaultRate = 10
	// The limit for a merchant is loginsOfMerchant times as high as the limit for one name.
	loginsOfMerchant = 30
	// Window is the time to which the limits apply.
	Window = time.Minute
	// maxBuckets bounds the memory of one limit. A bucket needs about 150 bytes.
	maxBuckets = 50_000
)

// Limits limits the logins and registrations of each merchant: for each name, for each visitor, and for the merchant as a whole. Each replica
// counts separately. Limits is safe for concurrent use.
type Limits struct {
	mu     sync.Mutex
	limits []limit
	swept  time.Time // when the full buckets were dropped
}

// The type `limit` is one of the limits. It has a token bucket for each key. A new bucket is full: it has `quota` tokens. An
// empty bucket is full again after Window.
type limit struct {
	name    string // the name of the limit in the headers RateLimit-Policy and RateLimit
	quota   int
	buckets map[hash]*rate.Limiter
}

// The type `hash` is the hash of a key, so that a long key needs no more memory than a short one.
type hash [sha256.Size]byte

// New returns the limits for a number of attempts per minute with one name, and of one visitor. The limit of a merchant is 30 times as high. Zero
// means 10.
func New(perName int) *Limits {
	perName = cmp.Or(perName, defaultRate)
	return &Limits{limits: []limit{
		{name: "login-name", quota: perName, buckets: map[hash]*rate.Limiter{}},
		{name: "login-visitor", quota: perName, buckets: map[hash]*rate.Limiter{}},
		{name: "login-merchant", quota: perName * loginsOfMerchant, buckets: map[hash]*rate.Limiter{}},
	}}
}

// Take counts one attempt. The parameter `keys` contains one key for each limit, in the order of the limits. A limit with an
// empty key does not apply. If one of the limits is reached, Take counts nothing. The results `policies` and `left` are the values of the
// headers RateLimit-Policy and RateLimit. The result `reached` names the reached limit, and `wait` is the time until the next attempt may be
// made.
func (l *Limits) Take(now time.Time, keys ...string) (policies, left, reached string, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.swept) >= Window {
		for i := range l.limits {
			l.limits[i].sweep(now)
		}
		l.swept = now
	}
	var taken []*rate.Reservation
	// The merchant's limit is checked first: an attempt above this limit makes no bucket for the name and the visitor.
	for i := len(l.limits) - 1; i >= 0 && reached == ""; i-- {
		if keys[i] == "" {
			continue
		}
		delay := Window
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
	for i := range l.limits {
		if keys[i] == "" {
			continue
		}
		limit := &l.limits[i]
		policy = append(policy, fmt.Sprintf(`"%s";q=%d;w=%s`, limit.name, limit.quota, seconds(Window)))
		one := fmt.Sprintf(`"%s";r=%d`, limit.name, limit.left(keys[i], now))
		if limit.name == reached {
			one = fmt.Sprintf(`"%s";r=0;t=%s`, limit.name, seconds(wait))
		}
		rest = append(rest, one)
	}
	return strings.Join(policy, ", "), strings.Join(rest, ", "), reached, wait
}

// The method `sweep` drops the full buckets, which are equal to new ones.
func (l *limit) sweep(now time.Time) {
	maps.DeleteFunc(l.buckets, func(_ hash, b *rate.Limiter) bool { return b.TokensAt(now) >= float64(l.quota) })
}

// The method `bucket` returns the bucket of a key. If there are too many buckets, it first drops the full ones. If there are still too many, the
// result is nil.
func (l *limit) bucket(key string, now time.Time) *rate.Limiter {
	id := hash(sha256.Sum256([]byte(key)))
	if b := l.buckets[id]; b != nil {
		return b
	}
	if len(l.buckets) >= maxBuckets {
		l.sweep(now)
	}
	if len(l.buckets) >= maxBuckets {
		return nil
	}
	b := rate.NewLimiter(rate.Every(Window/time.Duration(l.quota)), l.quota)
	l.buckets[id] = b
	return b
}

// The method `left` returns the number of further attempts that the key may make now.
func (l *limit) left(key string, now time.Time) int {
	if b := l.buckets[sha256.Sum256([]byte(key))]; b != nil {
		return max(0, int(b.TokensAt(now)))
	}
	return l.quota
}

func seconds(d time.Duration) string { return strconv.Itoa(int((d + time.Second - 1) / time.Second)) }

// Network returns the part of a client's address that the client cannot choose freely. For IPv6, this part is the /64 network, because a host
// usually has all addresses of such a network.
func Network(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	ip = ip.Unmap()
	if ip.Is4() {
		return ip.String()
	}
	return netip.PrefixFrom(ip.WithZone(""), 64).Masked().String()
}
