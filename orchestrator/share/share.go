// Package share divides a limited number of units, such as bytes of memory, among callers.
package share

import (
	"errors"
	"sync"
)

// Errors of Take.
var (
	ErrFull    = errors.New("too few units are free")
	ErrTooMany = errors.New("the caller has too many units")
)

// Limit divides a limited number of units among callers. A unit is, for example, a byte of memory or a concurrent request. One limit applies to
// all callers together, and another limit applies to each caller. Limit is safe for concurrent use.
type Limit struct {
	Units int // the limit of all callers together

	mu   sync.Mutex
	used int
	by   map[string]int // the number of used units, by caller
}

// Take reserves n units for a caller. If n units are too many, Take returns ErrFull or ErrTooMany. A caller without units may take all free
// units. A caller that has units already may have no more than three times the number of units that stay free. If callers take their units in
// small parts, no caller has more than three quarters of the limit. If two callers always take as many units as possible, they have equal shares
// after they have freed their first units. The returned function `leave` frees the units. Further calls of `leave` do nothing.
func (l *Limit) Take(caller string, n int) (leave func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	free := l.Units - l.used - n
	switch uses := l.by[caller]; {
	case free < 0:
		return func() {}, ErrFull
	case uses > 0 && uses+n > 3*free:
		return func() {}, ErrTooMany
	}
	if l.by == nil {
		l.by = map[string]int{}
	}
	l.used += n
	l.by[caller] += n
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.used -= n
		if l.by[caller] -= n; l.by[caller] == 0 {
			delete(l.by, caller)
		}
	}), nil
}
