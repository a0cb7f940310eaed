package usage_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"github.com/tenantry/tenantry/orchestrator/usage"
)

var noon = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

func series(meter string, kind usage.Kind) usage.Series {
	return usage.Series{Cloud: "default", Source: "openstack", Project: "p", Resource: "vm", Meter: meter, Kind: kind}
}

func points(volumes map[time.Duration]int64) (all []usage.Point) {
	for at, v := range volumes {
		all = append(all, usage.Point{At: noon.Add(at), Volume: decimal.NewFromInt(v)})
	}
	slices.SortFunc(all, func(a, b usage.Point) int { return a.At.Compare(b.At) })
	return all
}

func described(all []usage.Measured) (texts []string) {
	for _, m := range all {
		texts = append(texts, fmt.Sprintf("%s-%s %s %s%s %s %s", m.From.Format("15:04"), m.To.Format("15:04"), m.Meter, m.Amount, m.Unit, m.Plan, m.State))
	}
	return texts
}

// The function `sum` returns the usage of the series in the hour at noon.
func sum(spans []usage.Span, recorded ...usage.Recorded) []usage.Measured {
	s := usage.NewSum(usage.Hour(noon), spans, usage.DefaultHold)
	for _, r := range recorded {
		s.Add(r)
	}
	return s.Measured()
}

// The usage of an hour is cut where the plan or the state changes. Series of one meter are added.
func TestUsageIsCutWhereTheSubscriptionChanges(t *testing.T) {
	spans := []usage.Span{
		{From: noon.Add(-time.Hour), Plan: "small", State: "active"},
		{From: noon.Add(30 * time.Minute), Plan: "large", State: "active"},
		{From: noon.Add(45 * time.Minute), Plan: "large", State: "suspended"},
	}
	other := series("cpu", usage.Cumulative)
	other.Resource = "vm2"
	recorded := []usage.Recorded{
		{Series: series("cpu", usage.Cumulative), Unit: "ns", Points: points(map[time.Duration]int64{-time.Minute: 10, 10 * time.Minute: 15, 40 * time.Minute: 18})},
		{Series: other, Unit: "ns", Points: points(map[time.Duration]int64{35 * time.Minute: 100, 50 * time.Minute: 101})},
		{Series: series("vcpus", usage.Gauge), Points: points(map[time.Duration]int64{0: 4, 10 * time.Minute: 4, 20 * time.Minute: 4, 30 * time.Minute: 2})},
	}
	got := described(sum(spans, recorded...))
	want := []string{
		"12:00-12:30 cpu 5ns small active", "12:00-12:30 vcpus 2 small active",
		"12:30-12:45 cpu 3ns large active", "12:30-12:45 vcpus 0.5 large active",
		"12:45-13:00 cpu 1ns large suspended", "12:45-13:00 vcpus 0 large suspended",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
	got = described(sum(nil, recorded[0]))
	if !slices.Equal(got, []string{"12:00-13:00 cpu 8ns  "}) {
		t.Errorf("without a subscription: %q", got)
	}
}

// The points of a series come in parts of any length. The usage is the same as that of the whole series.
func TestTheUsageOfASeriesInParts(t *testing.T) {
	spans := []usage.Span{{From: noon.Add(-time.Hour), Plan: "a"}, {From: noon.Add(20 * time.Minute), Plan: "b"}, {From: noon.Add(20*time.Minute + 1), Plan: "c"}}
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 2))
		var whole, parts []usage.Recorded
		for i := range 6 {
			one := usage.Recorded{Series: series(fmt.Sprint("m", i%2), []usage.Kind{usage.Cumulative, usage.Delta, usage.Gauge}[i/2])}
			one.Resource = fmt.Sprint(i)
			for at := noon.Add(-time.Minute * time.Duration(r.IntN(30))); at.Before(noon.Add(time.Hour)); at = at.Add(time.Duration(r.IntN(5)) * time.Minute) {
				one.Points = append(one.Points, usage.Point{At: at, Volume: decimal.New(int64(r.IntN(1000)), -3)})
			}
			whole = append(whole, one)
			for len(one.Points) > 0 {
				n := 1 + r.IntN(len(one.Points))
				part := one
				part.Points, one.Points = one.Points[:n:n], one.Points[n:]
				parts = append(parts, part)
			}
		}
		if got, want := described(sum(spans, parts...)), described(sum(spans, whole...)); !slices.Equal(got, want) {
			t.Fatalf("seed %d:\n got %q\nwant %q", seed, got, want)
		}
	}
}

// An hour that cannot be computed does not keep the other hours from being computed.
func TestAnHourThatFailsDoesNotBlockTheOthers(t *testing.T) {
	b := newBooks()
	for i := range 5 {
		b.add(usage.Sample{Series: series("m", usage.Delta), ID: fmt.Sprint(i), Volume: decimal.NewFromInt(1), At: noon.Add(time.Duration(i) * time.Hour)})
	}
	broken := &breaking{books: b, at: noon.Add(time.Hour)}
	c := usage.Closer{Hours: broken, Tenants: b, Hold: usage.DefaultHold, Now: func() time.Time { return noon.Add(24 * time.Hour) }}
	if taken, err := c.Close(t.Context()); taken != 5 || !errors.Is(err, errBroken) || len(b.usage) != 4 {
		t.Errorf("%d hours were taken, %v, and %d stored", taken, err, len(b.usage))
	}
}

// The samples of an old hour may be deleted. If the hour is due, for example in a database that was restored from a backup, its usage does not change.
func TestAnOldHourKeepsItsUsage(t *testing.T) {
	b := newBooks()
	now := noon.Add(40 * 24 * time.Hour)
	old, young := now.Add(-36*24*time.Hour-2*time.Hour), now.Add(-36*24*time.Hour-time.Hour)
	kept := []usage.Measured{{Meter: "m", Amount: decimal.NewFromInt(7)}}
	b.usage[old], b.due[old], b.due[young] = kept, true, true
	c := usage.Closer{Hours: b, Tenants: b, Hold: usage.DefaultHold, Now: func() time.Time { return now }}
	taken, err := c.Close(t.Context())
	want := "hour " + old.Format(time.RFC3339) + " of project p: the stored usage of the hour stays unchanged, because the hour ended more than 36 days ago, and its samples may be deleted"
	if taken != 2 || err == nil || err.Error() != want {
		t.Errorf("%d hours were taken, %v", taken, err)
	}
	if _, computed := b.usage[young]; !computed || !slices.Equal(b.dropped, []time.Time{old}) || len(b.usage[old]) != 1 || !b.usage[old][0].Amount.Equal(kept[0].Amount) {
		t.Errorf("dropped were %v, and the usage is %+v", b.dropped, b.usage)
	}
}

var errBroken = errors.New("broken")

// The type `breaking` cannot read one hour.
type breaking struct {
	*books

	at time.Time
}

// Recorded implements [usage.Hours].
func (b *breaking) Recorded(ctx context.Context, d usage.Due) iter.Seq2[usage.Recorded, error] {
	return func(yield func(usage.Recorded, error) bool) {
		for r, err := range b.books.Recorded(ctx, d) {
			if !yield(r, err) {
				return
			}
		}
		if d.Hour.Equal(b.at) {
			yield(usage.Recorded{}, errBroken)
		}
	}
}

// The type `books` is a store of hours in memory, with the samples of one project.
type books struct {
	points map[usage.Series][]usage.Point
	due    map[time.Time]bool // the value is Due.Spreads
	usage  map[time.Time][]usage.Measured

	tenant   usage.Tenant
	finished usage.Finished // the last one
	dropped  []time.Time
}

// The method `add` adds a sample, as usage.Store specifies.
func (b *books) add(s usage.Sample) {
	b.points[s.Series] = append(b.points[s.Series], usage.Point{At: s.At, Volume: s.Volume})
	slices.SortStableFunc(b.points[s.Series], func(x, y usage.Point) int { return x.At.Compare(y.At) })
	for _, hour := range s.Hours() {
		b.due[hour] = true
	}
}

// TakeDue implements [usage.Hours].
func (b *books) TakeDue(_ context.Context, _, ended time.Time, limit int) (all []usage.Due, err error) {
	for hour, spreads := range b.due {
		if !hour.Add(time.Hour).After(ended) && len(all) < limit {
			all = append(all, usage.Due{Cloud: "default", Project: "p", Hour: hour, Spreads: spreads})
		}
	}
	for _, d := range all {
		delete(b.due, d.Hour)
	}
	slices.SortFunc(all, func(x, y usage.Due) int { return x.Hour.Compare(y.Hour) })
	return all, nil
}

// Recorded implements [usage.Hours].
func (b *books) Recorded(_ context.Context, d usage.Due) iter.Seq2[usage.Recorded, error] {
	return func(yield func(usage.Recorded, error) bool) {
		for _, r := range b.recorded(d) {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func (b *books) recorded(d usage.Due) (all []usage.Recorded) {
	for s, points := range b.points {
		r := usage.Recorded{Series: s}
		var before *usage.Point
		for i, p := range points {
			switch {
			case p.At.Before(d.Hour):
				before = &points[i]
			case p.At.Before(d.Hour.Add(time.Hour)):
				r.Points = append(r.Points, p)
			case r.Next.IsZero():
				r.Next = p.At
			}
		}
		holds := s.Kind == usage.Gauge && before != nil && before.At.After(d.Hour.Add(-usage.MaxHold))
		if len(r.Points) == 0 && !holds {
			continue
		}
		if before != nil {
			r.Points = append([]usage.Point{*before}, r.Points...)
		}
		all = append(all, r)
	}
	return all
}

// FinishHour implements [usage.Hours].
func (b *books) FinishHour(_ context.Context, _ time.Time, d usage.Due, f usage.Finished) error {
	b.usage[d.Hour], b.finished = f.Usage, f
	for _, hour := range f.Again {
		if _, known := b.due[hour]; !known {
			b.due[hour] = false
		}
	}
	return nil
}

// DropHour implements [usage.Hours].
func (b *books) DropHour(_ context.Context, d usage.Due) error {
	b.dropped = append(b.dropped, d.Hour)
	return nil
}

// Tenant implements [usage.Tenants].
func (b *books) Tenant(context.Context, string, string) (usage.Tenant, error) { return b.tenant, nil }

// While a run that may change the subscription in the hour has not ended, the hour is not final.
func TestAnHourWaitsForRunsAboutTheSubscription(t *testing.T) {
	for name, c := range map[string]struct {
		changing time.Time
		now      time.Duration // after the end of the hour
		wait     time.Duration // zero: the hour is not computed again
	}{
		"no run":                               {time.Time{}, 20 * time.Minute, 0},
		"a run of the hour":                    {noon.Add(50 * time.Minute), 20 * time.Minute, 10 * time.Minute},
		"a run of an earlier hour":             {noon.Add(-50 * time.Minute), 20 * time.Minute, 10 * time.Minute},
		"a run of a later hour":                {noon.Add(time.Hour), 20 * time.Minute, 0},
		"a run that has not ended for a week":  {noon.Add(50 * time.Minute), 7 * 24 * time.Hour, 7 * 24 * time.Hour / 10},
		"a run that has waited for 29 days":    {noon.Add(50 * time.Minute), 29 * 24 * time.Hour, 24 * time.Hour},
		"a run that has not ended for a month": {noon.Add(50 * time.Minute), 31 * 24 * time.Hour, 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBooks()
			b.tenant = usage.Tenant{Merchant: "m", Subscription: "s", Changing: c.changing}
			b.add(usage.Sample{Series: series("m", usage.Delta), ID: "1", Volume: decimal.NewFromInt(1), At: noon.Add(time.Minute)})
			now := noon.Add(time.Hour + c.now)
			closer := usage.Closer{Hours: b, Tenants: b, Hold: usage.DefaultHold, Now: func() time.Time { return now }}
			if n, err := closer.Close(t.Context()); n != 1 || err != nil {
				t.Fatalf("%d hours were computed, %v", n, err)
			}
			if f := b.finished; f.Merchant != "m" || f.Subscription != "s" || len(f.Usage) != 1 {
				t.Errorf("got %+v", f)
			}
			want := time.Time{}
			if c.wait > 0 {
				want = now.Add(c.wait)
			}
			if got := b.finished.AgainAt; !got.Equal(want) {
				t.Errorf("the hour is computed again at %v, not at %v", got, want)
			}
		})
	}
}

// Samples arrive in any order, hours late, and while hours are closed. In the end, the usage of each hour is the same as if all samples had been
// there from the beginning.
func TestLateSamplesChangeTheUsageOfTheirHours(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		late, early := newBooks(), newBooks()
		var samples []usage.Sample
		for i := range 5 + r.IntN(40) {
			kind := []usage.Kind{usage.Cumulative, usage.Delta, usage.Gauge}[r.IntN(3)]
			samples = append(samples, usage.Sample{
				Series: series(fmt.Sprint("m", r.IntN(2)), kind), ID: fmt.Sprint(i), Volume: decimal.NewFromInt(int64(r.IntN(5))),
				At: noon.Add(time.Duration(r.IntN(600))*time.Minute + time.Duration(i)), // no two samples at one time
			})
		}
		end := noon.Add(24 * time.Hour)
		close := func(b *books, now time.Time) {
			c := usage.Closer{Hours: b, Tenants: b, Hold: usage.DefaultHold, Now: func() time.Time { return now }}
			for range 100 {
				if done, err := c.Close(t.Context()); done == 0 || err != nil {
					if err != nil {
						t.Fatal(err)
					}
					return
				}
			}
			t.Fatalf("seed %d: hours are due for ever", seed)
		}
		for _, s := range samples {
			early.add(s)
		}
		close(early, end)
		for _, i := range r.Perm(len(samples)) {
			late.add(samples[i])
			if r.IntN(3) == 0 {
				close(late, noon.Add(time.Duration(r.IntN(24))*time.Hour))
			}
		}
		close(late, end)
		for hour, want := range early.usage {
			if got := described(late.usage[hour]); !slices.Equal(got, described(want)) {
				t.Fatalf("seed %d, hour %v:\n got %q\nwant %q", seed, hour, got, described(want))
			}
		}
	}
}

func newBooks() *books {
	return &books{points: map[usage.Series][]usage.Point{}, due: map[time.Time]bool{}, usage: map[time.Time][]usage.Measured{}}
}
