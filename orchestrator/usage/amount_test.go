package usage

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"
	"pgregory.net/rapid"
)

// Amount returns the usage of a series in a range, as a tally computes it.
func Amount(kind Kind, r Range, hold time.Duration, points []Point) decimal.Decimal {
	t := tally{kind: kind, r: r, hold: hold}
	for _, p := range points {
		t.add(p)
	}
	return t.amount()
}

func TestAmountOfAnHour(t *testing.T) {
	for name, c := range map[string]struct {
		kind   Kind
		points string // such as "10:00:00 5, 10:10:00 7"
		want   string
	}{
		"a series without points has no usage":               {Cumulative, "", "0"},
		"the first point of a counter counts nothing":        {Cumulative, "10:10:00 500", "0"},
		"a counter counts its increase":                      {Cumulative, "10:10:00 500, 10:20:00 507.5", "7.5"},
		"a counter counts the increase since an old point":   {Cumulative, "01:00:00 500, 10:20:00 507", "7"},
		"a counter counts since the last point before":       {Cumulative, "09:40:00 400, 09:50:00 500, 10:20:00 507", "7"},
		"the increase counts at the later point":             {Cumulative, "10:59:00 500, 11:01:00 507", "0"},
		"a counter at the beginning is in the hour":          {Cumulative, "09:50:00 500, 10:00:00 507", "7"},
		"a counter at the end is not in the hour":            {Cumulative, "10:50:00 500, 11:00:00 507", "0"},
		"a decrease is a reset and counts the new value":     {Cumulative, "10:10:00 500, 10:20:00 3, 10:30:00 5", "5"},
		"a reset before the hour has no effect":              {Cumulative, "09:40:00 500, 09:50:00 3, 10:30:00 5", "2"},
		"an equal value of a counter counts nothing":         {Cumulative, "10:10:00 500, 10:20:00 500", "0"},
		"two counters at the same time count in their order": {Cumulative, "10:10:00 5, 10:20:00 9, 10:20:00 7, 10:30:00 8", "12"},
		"a negative counter increases":                       {Cumulative, "10:10:00 -5, 10:20:00 -3", "2"},
		"a reset of a counter to a negative value":           {Cumulative, "10:10:00 5, 10:20:00 -3", "-3"},

		"the sum of deltas":                          {Delta, "10:10:00 0.1, 10:20:00 0.2, 10:30:00 -0.05", "0.25"},
		"the first delta counts":                     {Delta, "10:10:00 4", "4"},
		"a delta before the hour is not in the hour": {Delta, "09:59:59 4, 10:10:00 1", "1"},
		"a delta at the beginning is in the hour":    {Delta, "10:00:00 4", "4"},
		"a delta at the end is not in the hour":      {Delta, "11:00:00 4", "0"},
		"two deltas at the same time both count":     {Delta, "10:10:00 4, 10:10:00 5", "9"},
		"deltas of very different sizes are exact":   {Delta, "10:10:00 1e20, 10:20:00 1e-20", "100000000000000000000.00000000000000000001"},

		"a level holds until the next point":              {Gauge, "10:00:00 6, 10:10:00 0", "1"},
		"a level holds for at most 15 minutes":            {Gauge, "10:10:00 4", "1"},
		"only 15 minutes of a longer gap count":           {Gauge, "10:00:00 4, 10:40:00 8", "3"},
		"a level of the last hour holds into this hour":   {Gauge, "09:50:00 12", "1"},
		"only the last level of the last hour holds":      {Gauge, "09:46:00 600, 09:50:00 12", "1"},
		"a level that ends at the beginning adds nothing": {Gauge, "09:45:00 12", "0"},
		"a level of the last hour ends at the next point": {Gauge, "09:50:00 12, 10:01:00 0", "0.2"},
		"a level holds at most until the end":             {Gauge, "10:55:00 12", "1"},
		"a level at the beginning ends an earlier level":  {Gauge, "09:50:00 12, 10:00:00 0", "0"},
		"a level at the end is not in the hour":           {Gauge, "11:00:00 12", "0"},
		"a point after the hour has no effect":            {Gauge, "10:50:00 12, 11:01:00 500", "2"},
		"the last of two levels at the same time holds":   {Gauge, "10:00:00 600, 10:00:00 6, 10:10:00 0", "1"},
		"the last of two earlier levels holds":            {Gauge, "09:50:00 600, 09:50:00 12", "1"},
		"a negative level counts negative hours":          {Gauge, "10:00:00 -6, 10:10:00 0", "-1"},

		"unit-hours are rounded down below half":          {Gauge, "10:00:00 1, 10:00:01 0", "0.000277777778"},
		"unit-hours are rounded up above half":            {Gauge, "10:00:00 1, 10:00:03 0", "0.000833333333"},
		"half a unit after an even digit is rounded down": {Gauge, "10:00:00 2e-12, 10:15:00 0", "0"},
		"half a unit after an odd digit is rounded up":    {Gauge, "10:00:00 6e-12, 10:15:00 0", "2e-12"},
		"negative halves are rounded to even, too":        {Gauge, "10:00:00 -6e-12, 10:15:00 0", "-2e-12"},
		"a negative half after an even digit":             {Gauge, "10:00:00 -2e-12, 10:15:00 0", "0"},
		"slightly more than half a unit is rounded up":    {Gauge, "10:00:00 2.000000000000000004e-12, 10:15:00 0", "1e-12"},
		"slightly less than half a unit is rounded down":  {Gauge, "10:00:00 5.999999999999999996e-12, 10:15:00 0", "1e-12"},
		"a negative amount is rounded away from zero":     {Gauge, "10:00:00 -2.000000000000000004e-12, 10:15:00 0", "-1e-12"},
		"parts below half a unit add up before rounding":  {Gauge, "10:00:00 1e-12, 10:15:00 1e-12, 10:30:00 1e-12", "1e-12"},
	} {
		t.Run(name, func(t *testing.T) {
			got := Amount(c.kind, between("10:00:00", "11:00:00"), 15*time.Minute, points(c.points))
			if want := decimal.RequireFromString(c.want); !got.Equal(want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

// points reads points such as "10:00:00 5, 10:10:00 7".
func points(text string) []Point {
	var all []Point
	for part := range strings.SplitSeq(text, ", ") {
		if at, volume, ok := strings.Cut(part, " "); ok {
			all = append(all, Point{At: clock(at), Volume: decimal.RequireFromString(volume)})
		}
	}
	return all
}

func TestAmountOfAnEmptyRangeIsZero(t *testing.T) {
	all := points("09:50:00 1, 10:00:00 2, 10:30:00 4, 10:31:00 8")
	for _, kind := range kinds {
		for _, r := range []Range{between("10:30:00", "10:30:00"), between("10:31:00", "10:00:00"), between("10:20:00", "10:10:00")} {
			if got := Amount(kind, r, time.Hour, all); !got.IsZero() {
				t.Errorf("%s in %v: got %v, want 0", kind, r, got)
			}
		}
	}
}

func TestHoldLimitsALevel(t *testing.T) {
	all := points("10:00:00 60, 10:30:00 0")
	for hold, want := range map[time.Duration]string{
		-time.Minute: "0", 0: "0", time.Minute: "1", time.Microsecond: "0.000000016667", 30 * time.Minute: "30", 1<<63 - 1: "30",
	} {
		if got := Amount(Gauge, between("10:00:00", "11:00:00"), hold, all); !got.Equal(decimal.RequireFromString(want)) {
			t.Errorf("if a level holds for %v: got %v, want %v", hold, got, want)
		}
	}
}

func TestAnUnknownKindPanics(t *testing.T) {
	defer func() {
		if want := `usage: unknown kind of series "level"`; recover() != want {
			t.Errorf("no panic, want %s", want)
		}
	}()
	Amount("level", between("10:00:00", "11:00:00"), time.Hour, make([]Point, 1))
}

func TestAmountEqualsANaiveCalculation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kind, r, hold, samples := rapid.SampledFrom(kinds).Draw(t, "kind"), drawRange(t), drawHold(t), drawSamples(t)
		got, exact := Amount(kind, r, hold, sorted(samples)), naiveAmount(kind, r, hold, samples)
		switch {
		case kind != Gauge && got.Rat().Cmp(exact) != 0:
			t.Fatalf("got %v, want %s", got, exact.RatString())
		case kind == Gauge && !isRounded(got, exact):
			t.Fatalf("got %v, want %s, rounded half to even to 12 digits", got, exact.FloatString(40))
		}
	})
}

func TestAmountDependsOnlyOnTheNecessaryPoints(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kind, r, hold, all := rapid.SampledFrom(kinds).Draw(t, "kind"), drawRange(t), drawHold(t), sorted(drawSamples(t))
		var necessary []Point
		for i, p := range all {
			inside := !p.At.Before(r.From) && p.At.Before(r.To)
			last := p.At.Before(r.From) && (i+1 == len(all) || !all[i+1].At.Before(r.From))
			if inside || last && (kind == Cumulative || kind == Gauge && p.At.Add(hold).After(r.From)) {
				necessary = append(necessary, p)
			}
		}
		if got, want := Amount(kind, r, hold, necessary), Amount(kind, r, hold, all); !got.Equal(want) {
			t.Fatalf("%v with the necessary points, %v with all points", got, want)
		}
	})
}

func TestAmountsOfSegmentsAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kind, r, hold, all := rapid.SampledFrom(kinds).Draw(t, "kind"), drawRange(t), drawHold(t), sorted(drawSamples(t))
		segments := r.Segments(rapid.SliceOfN(drawTime(), 0, 6).Draw(t, "cuts"))
		total, whole, limit := decimal.Zero, Amount(kind, r, hold, all), decimal.Zero
		for _, s := range segments {
			total = total.Add(Amount(kind, s, hold, all))
		}
		if kind == Gauge {
			limit = decimal.New(5*int64(len(segments)+1), -13)
		}
		if total.Sub(whole).Abs().GreaterThan(limit) {
			t.Fatalf("%v in %d segments, %v in the whole range", total, len(segments), whole)
		}
	})
}

func TestHoursOfACounterAddUpToItsIncrease(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := sorted(drawSamples(t))
		if len(all) == 0 {
			return
		}
		for i := range all[1:] { // makes the counter increase
			all[i+1].Volume = all[i].Volume.Add(all[i+1].Volume.Abs())
		}
		first, last := all[0], all[len(all)-1]
		total := decimal.Zero
		for hour := Hour(first.At); !last.At.Before(hour.From); hour = Hour(hour.To) {
			for _, s := range hour.Segments(rapid.SliceOfN(drawTime(), 0, 3).Draw(t, "cuts")) {
				total = total.Add(Amount(Cumulative, s, 0, all))
			}
		}
		if want := last.Volume.Sub(first.Volume); !total.Equal(want) {
			t.Fatalf("got %v, want %v", total, want)
		}
	})
}

// naiveAmount calculates an exact amount from samples in any order, and does not use the code under test. It compares each sample with
// all other samples.
func naiveAmount(kind Kind, r Range, hold time.Duration, samples []Sample) *big.Rat {
	contains := func(t time.Time) bool { return !t.Before(r.From) && t.Before(r.To) }
	// latest returns the last of the samples that match.
	latest := func(match func(Sample) bool) *Sample {
		var found *Sample
		for _, s := range samples {
			if match(s) && (found == nil || order(*found, s) < 0) {
				found = &s
			}
		}
		return found
	}
	total := new(big.Rat)
	switch kind {
	case Cumulative:
		for _, s := range samples {
			previous := latest(func(other Sample) bool { return order(other, s) < 0 })
			if !contains(s.At) || previous == nil {
				continue
			}
			total.Add(total, s.Volume.Rat())
			if s.Volume.Cmp(previous.Volume) >= 0 {
				total.Sub(total, previous.Volume.Rat())
			}
		}
	case Delta:
		for _, s := range samples {
			if contains(s.At) {
				total.Add(total, s.Volume.Rat())
			}
		}
	case Gauge:
		// The level is constant between two neighboring instants.
		instants := []time.Time{r.From, r.To}
		for _, s := range samples {
			instants = append(instants, s.At, s.At.Add(hold))
		}
		slices.SortFunc(instants, time.Time.Compare)
		for i, from := range instants[:len(instants)-1] {
			level := latest(func(s Sample) bool { return !s.At.After(from) })
			if contains(from) && level != nil && from.Sub(level.At) < hold {
				hours := big.NewRat(int64(instants[i+1].Sub(from)), int64(time.Hour))
				total.Add(total, hours.Mul(hours, level.Volume.Rat()))
			}
		}
	}
	return total
}

// isRounded reports whether got is the exact number, rounded half to even to 12 digits after the decimal point.
func isRounded(got decimal.Decimal, exact *big.Rat) bool {
	scale := new(big.Rat).SetInt64(1_000_000_000_000)
	units := new(big.Rat).Mul(got.Rat(), scale)
	difference := new(big.Rat).Sub(units, new(big.Rat).Mul(exact, scale))
	half := difference.Abs(difference).Cmp(big.NewRat(1, 2))
	return units.IsInt() && (half < 0 || half == 0 && units.Num().Bit(0) == 0)
}

// order compares two samples by time and then by ID.
func order(a, b Sample) int {
	if c := a.At.Compare(b.At); c != 0 {
		return c
	}
	return strings.Compare(a.ID, b.ID)
}

// sorted returns the points of the samples in order.
func sorted(samples []Sample) []Point {
	var all []Point
	for _, s := range slices.SortedFunc(slices.Values(samples), order) {
		all = append(all, Point{At: s.At, Volume: s.Volume})
	}
	return all
}

// drawTime draws a time between 09:00 and 13:00. It is often a multiple of five minutes, so that times are often equal.
func drawTime() *rapid.Generator[time.Time] {
	return rapid.Custom(func(t *rapid.T) time.Time {
		if rapid.Bool().Draw(t, "full minutes") {
			return clock("09:00:00").Add(5 * time.Minute * time.Duration(rapid.IntRange(0, 48).Draw(t, "steps")))
		}
		return clock("09:00:00").Add(time.Microsecond * time.Duration(rapid.Int64Range(0, 4*3600*1e6).Draw(t, "microseconds")))
	})
}

// drawRange draws a range, which is seldom empty.
func drawRange(t *rapid.T) Range {
	if rapid.Bool().Draw(t, "full hour") {
		return Hour(drawTime().Draw(t, "time"))
	}
	from, to := drawTime().Draw(t, "from"), drawTime().Draw(t, "to")
	if to.Before(from) {
		from, to = to, from
	}
	return Range{From: from, To: to}
}

func drawHold(t *rapid.T) time.Duration {
	if rapid.Bool().Draw(t, "usual hold") {
		return 15 * time.Minute
	}
	return time.Duration(rapid.Int64Range(0, int64(2*time.Hour)).Draw(t, "hold"))
}

// drawSamples draws samples in any order. Their IDs are distinct.
func drawSamples(t *rapid.T) []Sample {
	samples := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Sample {
		return Sample{At: drawTime().Draw(t, "at"), Volume: drawVolume(t)}
	}), 0, 12).Draw(t, "samples")
	for i := range samples {
		samples[i].ID = fmt.Sprintf("%02d", i)
	}
	return rapid.Permutation(samples).Draw(t, "disorder")
}

// drawVolume draws a volume with at most 40 digits and an exponent between -30 and 30. It is often a small number, so that volumes are
// often equal, or a few units of the 12th digit, so that halves of this digit occur.
func drawVolume(t *rapid.T) decimal.Decimal {
	switch rapid.IntRange(0, 2).Draw(t, "size") {
	case 0:
		return decimal.New(rapid.Int64Range(-3, 9).Draw(t, "number"), 0)
	case 1:
		return decimal.New(rapid.Int64Range(-9, 9).Draw(t, "units"), -12)
	}
	digits, exponent := rapid.StringMatching(`-?[0-9]{1,40}`).Draw(t, "digits"), rapid.IntRange(-30, 30).Draw(t, "exponent")
	return decimal.RequireFromString(fmt.Sprintf("%se%d", digits, exponent))
}

func BenchmarkAmountOfAMillionPoints(b *testing.B) {
	start := clock("00:00:00")
	all := make([]Point, 1_000_000)
	for i := range all {
		all[i] = Point{At: start.Add(time.Duration(i) * time.Minute), Volume: decimal.New(int64(i)*1_234_567, -6)}
	}
	for _, kind := range kinds {
		b.Run(string(kind), func(b *testing.B) {
			for b.Loop() {
				Amount(kind, Range{From: start, To: all[len(all)-1].At}, 15*time.Minute, all)
			}
		})
	}
}
