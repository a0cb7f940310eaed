package doctor

import "time"

// The type `skew` is an interval that contains the difference between another clock and the clock of this host. The zero value means that
// the difference is not known.
type skew struct {
	known       bool
	least, most time.Duration
}

// The method `see` narrows the interval. At a moment between `before` and `after` on the clock of this host, the other clock has shown a time
// between `shown` and shown + resolution.
func (s *skew) see(before, after, shown time.Time, resolution time.Duration) {
	least, most := shown.Sub(after), shown.Add(resolution).Sub(before)
	if !s.known {
		*s = skew{true, least, most}
		return
	}
	s.least, s.most = max(s.least, least), min(s.most, most)
}

// Without NTP, a difference of up to `tolerated` is usual. A difference of more than `harmful` makes tokens expire in use, because Tenantry replaces a
// token only two minutes before the token expires.
const (
	tolerated = 5 * time.Second
	harmful   = 60 * time.Second
)

func (s *skew) line(whose string) []Line {
	if !s.known {
		return []Line{skipped("not assessed: %s does not show its time", whose)}
	}
	by, direction := max(s.least, 0), "ahead of"
	if s.most < 0 {
		by, direction = -s.most, "behind"
	}
	fix := instruction("synchronize the clocks of both hosts with NTP: timedatectl shows whether the clock of a host is synchronized")
	switch {
	case by > harmful:
		return []Line{fail(fix, "the clock of %s is at least %v %s the clock of this host", whose, by.Round(time.Second), direction)}
	case by > tolerated:
		return []Line{warn(fix, "the clock of %s is at least %v %s the clock of this host", whose, by.Round(time.Second), direction)}
	}
	return []Line{ok("no difference of more than %v", tolerated)}
}
