package usage

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// clock returns a time on 1 March 2026, in UTC.
func clock(text string) time.Time {
	t, err := time.Parse("2006-01-02 15:04:05", "2026-03-01 "+text)
	if err != nil {
		panic(err)
	}
	return t
}

// between returns the range between two times on 1 March 2026, in UTC.
func between(from, to string) Range { return Range{From: clock(from), To: clock(to)} }

func TestHourContainsTheTime(t *testing.T) {
	for name, c := range map[string]struct {
		t    time.Time
		want Range
	}{
		"the beginning is in the window":              {clock("10:00:00"), between("10:00:00", "11:00:00")},
		"the last nanosecond is in the window":        {clock("11:00:00").Add(-1), between("10:00:00", "11:00:00")},
		"the offset of the time zone does not matter": {clock("10:20:00").In(time.FixedZone("", 19800)), between("10:00:00", "11:00:00")},
		"the last hour of a day ends on the next day": {clock("23:59:59"), Range{
			From: clock("23:00:00"), To: time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC),
		}},
		"a time before 1970 is rounded down, too": {time.Date(1969, 12, 31, 23, 30, 0, 0, time.UTC), Range{
			From: time.Date(1969, 12, 31, 23, 0, 0, 0, time.UTC), To: time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Hour(c.t); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestSegmentsAreCutAtTheInstants(t *testing.T) {
	hour := between("10:00:00", "11:00:00")
	for name, c := range map[string]struct {
		r    Range
		cuts []time.Time
		want []Range
	}{
		"without a cut, the range is one segment": {hour, nil, []Range{hour}},
		"a cut inside makes two segments": {
			hour,
			[]time.Time{clock("10:20:00")},
			[]Range{between("10:00:00", "10:20:00"), between("10:20:00", "11:00:00")},
		},
		"cuts in disorder make segments in order": {
			hour,
			[]time.Time{clock("10:40:00"), clock("10:20:00")},
			[]Range{between("10:00:00", "10:20:00"), between("10:20:00", "10:40:00"), between("10:40:00", "11:00:00")},
		},
		"a repeated cut makes no empty segment": {
			hour,
			[]time.Time{clock("10:20:00"), clock("10:20:00")},
			[]Range{between("10:00:00", "10:20:00"), between("10:20:00", "11:00:00")},
		},
		"cuts at the ends make no empty segment": {hour, []time.Time{hour.From, hour.To}, []Range{hour}},
		"cuts outside the range have no effect":  {hour, []time.Time{clock("09:00:00"), clock("12:00:00")}, []Range{hour}},
		"times in another zone become UTC": {
			Range{From: hour.From.In(time.FixedZone("", 3600)), To: hour.To.In(time.FixedZone("", 3600))},
			[]time.Time{clock("10:20:00").In(time.FixedZone("", 7200))},
			[]Range{between("10:00:00", "10:20:00"), between("10:20:00", "11:00:00")},
		},
		"an empty range has no segments":              {Range{From: hour.From, To: hour.From}, []time.Time{hour.From}, nil},
		"a range that ends before it begins is empty": {Range{From: hour.To, To: hour.From}, []time.Time{clock("10:20:00")}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			cuts := append(make([]time.Time, 0, len(c.cuts)+1), c.cuts...) // has room for one more, as a slice of the caller may
			if got := c.r.Segments(cuts); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
			if !slices.Equal(cuts, c.cuts) {
				t.Errorf("the cuts changed from %v to %v", c.cuts, cuts)
			}
		})
	}
}

func TestSegmentsCoverTheRange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, cuts := drawRange(t), rapid.SliceOfN(drawTime(), 0, 6).Draw(t, "cuts")
		from, ends := r.From, map[time.Time]bool{}
		for _, s := range r.Segments(cuts) {
			if s.From != from {
				t.Fatalf("a segment begins at %v, want %v", s.From, from)
			}
			if !s.To.After(s.From) {
				t.Fatalf("the segment %v is empty", s)
			}
			if s.To != r.To && !slices.Contains(cuts, s.To) {
				t.Fatalf("the segment %v does not end at a cut or at the end of the range", s)
			}
			from, ends[s.To] = s.To, true
		}
		if from != r.To {
			t.Fatalf("the segments end at %v, want %v", from, r.To)
		}
		for _, cut := range cuts {
			if cut.After(r.From) && cut.Before(r.To) && !ends[cut] {
				t.Fatalf("no segment ends at the cut %v", cut)
			}
		}
	})
}
