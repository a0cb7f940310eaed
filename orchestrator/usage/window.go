package usage

import (
	"slices"
	"time"
)

// Range is the time from From, included, to To, excluded. A range whose To is not after its From is empty.
type Range struct {
	From time.Time
	To   time.Time
}

// Hour returns the window that contains t. A window is one hour long and begins at a full hour of UTC. Its times are in UTC.
func Hour(t time.Time) Range {
	from := t.UTC().Truncate(time.Hour)
	return Range{From: from, To: from.Add(time.Hour)}
}

// Segments cuts the range at the given instants and returns the segments in order. Each segment begins where the previous segment ends.
// Together, the segments cover the range exactly. No segment is empty, and an empty range has no segments. The times of the segments are
// in UTC.
//
// The instants may be in any order, may repeat and may be outside the range. Segments does not modify the slice `cuts`.
func (r Range) Segments(cuts []time.Time) []Range {
	ends := append(slices.Clone(cuts), r.To)
	slices.SortFunc(ends, time.Time.Compare)
	var segments []Range
	from := r.From.UTC()
	for _, to := range ends {
		if to.After(from) && !to.After(r.To) {
			segments = append(segments, Range{From: from, To: to.UTC()})
			from = to.UTC()
		}
	}
	return segments
}
