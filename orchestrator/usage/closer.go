package usage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	// DefaultHold is the time for which the volume of a gauge holds, unless the next sample comes earlier.
	DefaultHold = 15 * time.Minute
	// closesAfter is the time between the end of an hour and the computation of its usage. Samples may be late.
	closesAfter = 15 * time.Minute
	// closeEvery is the interval between two searches for due hours.
	closeEvery = 5 * time.Second
	// closedAtOnce is the maximum number of hours that a replica takes at once. It must compute them within TakeTimeout.
	closedAtOnce = 20
)

// Span is a time in which a subscription has the same plan and the same state. It ends when the next span of the subscription begins.
type Span struct {
	From  time.Time
	Plan  string // the id of the plan
	State string // the state of the subscription, such as "active"
}

// Tenants finds the subscriptions of projects.
type Tenants interface {
	// Spans returns the spans of the subscription whose tenant the project is, oldest first. If the project is not the tenant of a
	// subscription, the list is empty.
	Spans(ctx context.Context, cloud, project string) ([]Span, error)
}

// Closer computes the usage of hours that are over. Several replicas may do so at the same time.
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
// cannot be computed, Close goes on with the next one, and the hour is taken again after TakeTimeout.
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

// The method `hour` computes and stores the usage of an hour.
func (c *Closer) hour(ctx context.Context, d Due) error {
	recorded, err := c.Hours.Recorded(ctx, d)
	if err != nil {
		return err
	}
	spans, err := c.Tenants.Spans(ctx, d.Cloud, d.Project)
	if err != nil {
		return err
	}
	return c.Hours.FinishHour(ctx, d, Measure(Hour(d.Hour), spans, c.Hold, recorded), next(d, recorded))
}

// The function `next` returns the hours whose usage changes because of new samples in the hour: the increase of a counter is counted at the
// later sample.
func next(d Due, recorded []Recorded) (hours []time.Time) {
	if !d.Spreads {
		return nil
	}
	for _, r := range recorded {
		if hour := r.Next.Truncate(time.Hour); r.Kind == Cumulative && !r.Next.IsZero() && !slices.Contains(hours, hour) {
			hours = append(hours, hour)
		}
	}
	return hours
}

// Measure returns the usage in a window, sorted by time and meter. The window is cut where a span begins. The usages of the series with the
// same meter, kind and unit are added. Usage of zero is part of the result.
func Measure(window Range, spans []Span, hold time.Duration, recorded []Recorded) (all []Measured) {
	cuts := make([]time.Time, len(spans))
	for i, s := range spans {
		cuts[i] = s.From
	}
	type meter struct {
		name string
		kind Kind
		unit string
	}
	for _, segment := range window.Segments(cuts) {
		span := spanAt(spans, segment.From)
		sums := map[meter]int{} // indexes into `all`
		first := len(all)
		for _, r := range recorded {
			m := meter{r.Meter, r.Kind, r.Unit}
			amount := Amount(r.Kind, segment, hold, r.Points)
			i, known := sums[m]
			if !known {
				sums[m] = len(all)
				all = append(all, Measured{Range: segment, Meter: m.name, Kind: m.kind, Unit: m.unit, Amount: amount, Plan: span.Plan, State: span.State})
				continue
			}
			all[i].Amount = all[i].Amount.Add(amount)
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
