package usage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shopspring/decimal"
)

const (
	// DefaultHold is the time for which the volume of a gauge holds, unless the next sample comes earlier.
	DefaultHold = 15 * time.Minute
	// closesAfter is the time between the end of an hour and the computation of its usage. Samples may be late.
	closesAfter = 15 * time.Minute
	// closeEvery is the interval between two searches for due hours.
	closeEvery = 5 * time.Second
	// If a run about the customer's subscriptions has not ended when an hour is computed, the hour is computed again after computedAgain. If
	// the hour ended long ago, this time is longer: see the function `again`. After waitsForRuns, the hour is billed as it is, because its
	// samples will soon be deleted.
	computedAgain = 10 * time.Minute
	waitsForRuns  = 30 * 24 * time.Hour
	// MaxHourAge is the maximum time after the end of an hour at which its usage is computed. Older samples may be deleted. If the usage were computed
	// without them, a row would take back usage that was billed.
	MaxHourAge = 36 * 24 * time.Hour
	// closedAtOnce is the maximum number of hours that a replica takes at once. It must compute them within TakeTimeout.
	closedAtOnce = 20
)

// Span is a time in which a subscription has the same plan and the same state. It ends when the next span of the subscription begins.
type Span struct {
	From  time.Time
	Plan  string // the id of the plan
	State string // the state of the subscription, such as "active"
}

// Tenant describes whose tenant a project is.
type Tenant struct {
	Merchant     string // empty if no run has recorded the project
	Subscription string // empty if the project is not the tenant of a subscription
	Spans        []Span // the spans of the subscription, oldest first
	// Changing is set if a run about the customer's subscriptions has not ended: it is the time at which the oldest such run was accepted. If this
	// run succeeds, a span may begin at this time.
	Changing time.Time
}

// Tenants finds the subscriptions of projects.
type Tenants interface {
	Tenant(ctx context.Context, cloud, project string) (Tenant, error)
}

// Closer computes the usage of hours that are over. Several replicas may have a Closer at the same time.
type Closer struct {
	Hours   Hours
	Tenants Tenants
	Hold    time.Duration // see DefaultHold; at most MaxHold
	Now     func() time.Time
	Fault   func(error) // called with errors that an operator should know
}

// Serve computes the usage of due hours until ctx ends.
func (c *Closer) Serve(ctx context.Context) {
	timer := time.NewTicker(closeEvery)
	defer timer.Stop()
	for {
		for more := true; more && ctx.Err() == nil; {
			taken, err := c.Close(ctx)
			if err != nil && ctx.Err() == nil {
				c.Fault(fmt.Errorf("computing usage: %w", err))
			}
			more = taken == closedAtOnce
		}
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
	}
}

// Close computes the usage of at most 20 due hours, and returns their number. An hour is due if it ended at least 15 minutes ago. If an hour
// cannot be computed, Close goes on with the next one, and the hour is taken again after TakeTimeout. An hour that ended more than MaxHourAge ago
// keeps its usage, and is not taken again.
func (c *Closer) Close(ctx context.Context) (taken int, err error) {
	now := c.Now()
	due, err := c.Hours.TakeDue(ctx, now, now.Add(-closesAfter), closedAtOnce)
	if err != nil {
		return 0, err
	}
	var failed []error
	for _, d := range due {
		if err := c.hour(ctx, d); err != nil {
			failed = append(failed, fmt.Errorf("hour %s of project %s: %w", d.Hour.Format(time.RFC3339), d.Project, err))
		}
	}
	return len(due), errors.Join(failed...)
}

var errTooOld = errors.New("the stored usage of the hour stays unchanged, because the hour ended more than 36 days ago, and its samples may be deleted")

// The method `hour` computes and stores the usage of an hour. Its memory does not depend on the number of samples.
func (c *Closer) hour(ctx context.Context, d Due) error {
	if c.Now().Sub(d.Hour.Add(time.Hour)) > MaxHourAge {
		return cmp.Or(c.Hours.DropHour(ctx, d), errTooOld)
	}
	tenant, err := c.Tenants.Tenant(ctx, d.Cloud, d.Project)
	if err != nil {
		return err
	}
	now, hour := c.Now(), Hour(d.Hour)
	f := Finished{Merchant: tenant.Merchant, Subscription: tenant.Subscription}
	if !tenant.Changing.IsZero() && tenant.Changing.Before(hour.To) && now.Sub(hour.To) < waitsForRuns {
		f.AgainAt = again(now, hour.To)
	}
	sum := NewSum(hour, tenant.Spans, c.Hold)
	for r, err := range c.Hours.Recorded(ctx, d) {
		if err != nil {
			return err
		}
		sum.Add(r)
		f.Again = next(f.Again, d, r)
	}
	f.Usage = sum.Measured()
	return c.Hours.FinishHour(ctx, now, d, f)
}

// The function `again` returns the time at which an hour is computed again. The time between two computations grows with the age of the hour. A run
// can wait for weeks, and all hours of all subscriptions of its customer wait with it. Computing all of them every ten minutes would delay the
// hours of other customers.
func again(now, end time.Time) time.Time {
	at := now.Add(max(computedAgain, now.Sub(end)/10))
	if last := end.Add(waitsForRuns); at.After(last) {
		return last
	}
	return at
}

// New samples of a counter can also change the usage of a later hour, because the increase of a counter is counted at the later sample. The
// function `next` adds this later hour. If the list `hours` contains the hour already, `next` returns the list unchanged.
func next(hours []time.Time, d Due, r Recorded) []time.Time {
	hour := r.Next.Truncate(time.Hour)
	if !d.Spreads || r.Kind != Cumulative || r.Next.IsZero() || slices.Contains(hours, hour) {
		return hours
	}
	return append(hours, hour)
}

// Sum adds up the usage of the series in a window. The window is cut where a span begins. The usages of the series with the same meter, kind
// and unit are added. Usage of zero is part of the result.
type Sum struct {
	segments []Range
	spans    []Span
	hold     time.Duration
	meters   []map[meter]decimal.Decimal // of each segment
	series   Recorded                    // the series that was added last, without its points
	tallies  []tally                     // of this series in each segment; nil before the first series
}

type meter struct {
	name string
	kind Kind
	unit string
}

// NewSum returns the sum of no series.
func NewSum(window Range, spans []Span, hold time.Duration) *Sum {
	cuts := make([]time.Time, len(spans))
	for i, s := range spans {
		cuts[i] = s.From
	}
	s := &Sum{segments: window.Segments(cuts), spans: spans, hold: hold}
	for range s.segments {
		s.meters = append(s.meters, map[meter]decimal.Decimal{})
	}
	return s
}

// Add adds a series, or a further part of the series that was added last. Add does not keep the points.
func (s *Sum) Add(r Recorded) {
	points := r.Points
	r.Points = nil
	if s.tallies == nil || r.Series != s.series.Series {
		s.end()
		s.series, s.tallies = r, make([]tally, len(s.segments))
		for i, segment := range s.segments {
			s.tallies[i] = tally{kind: r.Kind, r: segment, hold: s.hold}
		}
	}
	for i := range s.tallies {
		for _, p := range points {
			s.tallies[i].add(p)
		}
	}
}

// The method `end` adds the usage of the last series to its meter.
func (s *Sum) end() {
	m := meter{s.series.Meter, s.series.Kind, s.series.Unit}
	for i := range s.tallies {
		s.meters[i][m] = s.meters[i][m].Add(s.tallies[i].amount())
	}
	s.tallies = nil
}

// Measured returns the usage, sorted by time and meter. After this call, no more series can be added.
func (s *Sum) Measured() (all []Measured) {
	s.end()
	for i, segment := range s.segments {
		span, first := spanAt(s.spans, segment.From), len(all)
		for m, amount := range s.meters[i] {
			all = append(all, Measured{Range: segment, Meter: m.name, Kind: m.kind, Unit: m.unit, Amount: amount, Plan: span.Plan, State: span.State})
		}
		slices.SortFunc(all[first:], byMeter)
	}
	return all
}

func byMeter(a, b Measured) int {
	return cmp.Or(cmp.Compare(a.Meter, b.Meter), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Unit, b.Unit))
}

// spanAt returns the span in which a time lies. Before the first span, the result is empty.
func spanAt(spans []Span, at time.Time) (found Span) {
	for _, s := range spans {
		if s.From.After(at) {
			break
		}
		found = s
	}
	return found
}
