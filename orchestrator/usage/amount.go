package usage

import (
	"fmt"
	"time"

	"github.com/shopspring/decimal"
)

// Point is the part of a sample that an amount depends on.
type Point struct {
	At     time.Time
	Volume decimal.Decimal
}

// unitHourDigits is the number of digits after the decimal point to which unit-hours are rounded.
const unitHourDigits = 12

// The type `tally` adds up the usage of one series in a range, point by point. It needs the same memory for any number of points. The amount
// depends on the kind of the series:
//
//   - Cumulative: the increase of the counter. Each point in the range adds the difference to the previous point, even if the previous
//     point is before the range. If the volume is less than the previous volume, the counter was reset, and the point adds its whole
//     volume. The first point of the series is a baseline and adds nothing.
//   - Delta: the sum of the volumes of the points in the range.
//   - Gauge: unit-hours, which are the level multiplied by the time in hours. The volume of a point is the level until the next point, but
//     not for longer than `hold`. After that time, the level is unknown and adds nothing. A level that holds beyond an end of the range
//     adds only its time inside the range. If `hold` is zero, the amount is zero. The other kinds ignore `hold`.
//
// The points must be added in the order of their times, and points with the same time in the order of the IDs of their samples. For a gauge,
// the last of the points with the same time sets the level. A tally does not check the order: if the points are not sorted, the amount is
// meaningless.
//
// The points must include all points of the series in the range. They must also include the last point before the range, if there is one.
// This point may be missing in two cases: the kind is Delta, or the kind is Gauge and the point is at least `hold` older than the range. The
// points may also include other points of the series, which do not change the amount. A caller can therefore add the same points to the
// tallies of all segments of a window.
//
// An amount is exact, but unit-hours are rounded once, half to even, to 12 digits after the decimal point. For Cumulative and Delta, the
// amounts of adjacent ranges add up to the amount of the joined range. For Gauge, the amounts add up in this way before they are rounded.
// The sum of the rounded amounts of n ranges differs from the amount of the joined range by at most (n+1)/2 units of the 12th digit.
//
// A volume must have at most 40 digits, and an exponent between -30 and 30. A tally does not check these limits. A sum has as many digits
// as its largest and its smallest exponent require, so one volume such as 1e400000 makes a tally slow. A tally panics if the kind is
// unknown.
type tally struct {
	kind  Kind
	r     Range
	hold  time.Duration
	total decimal.Decimal // of a gauge, in unit-nanoseconds
	last  Point           // the point that was added last
	begun bool            // whether a point was added
}

func (t *tally) add(p Point) {
	inside := !p.At.Before(t.r.From) && p.At.Before(t.r.To)
	switch t.kind {
	case Cumulative:
		if inside && t.begun {
			t.total = t.total.Add(increase(t.last.Volume, p.Volume))
		}
	case Delta:
		if inside {
			t.total = t.total.Add(p.Volume)
		}
	case Gauge:
		if t.begun {
			t.holds(p.At)
		}
	default:
		panic(fmt.Sprintf("usage: unknown kind of series %q", t.kind))
	}
	t.last, t.begun = p, true
}

// increase returns the increase of a counter between two points.
func increase(previous, volume decimal.Decimal) decimal.Decimal {
	if volume.LessThan(previous) { // the counter was reset to zero
		return volume
	}
	return volume.Sub(previous)
}

// The method `holds` adds the level of the last point, which holds at most until the given time.
func (t *tally) holds(until time.Time) {
	from, to := t.last.At, t.last.At.Add(t.hold)
	if from.Before(t.r.From) {
		from = t.r.From
	}
	if to.After(t.r.To) {
		to = t.r.To
	}
	if to.After(until) {
		to = until
	}
	if d := to.Sub(from); d > 0 {
		t.total = t.total.Add(t.last.Volume.Mul(decimal.New(int64(d), 0)))
	}
}

// The method `amount` returns the usage. After this call, no more points can be added.
func (t *tally) amount() decimal.Decimal {
	if t.kind != Gauge {
		return t.total
	}
	if t.begun {
		t.holds(t.r.To)
	}
	return divide(t.total, decimal.New(int64(time.Hour), 0), unitHourDigits)
}

// divide returns a/b, rounded half to even to this number of digits after the decimal point. The divisor b must be positive.
//
// Calling Div and then RoundBank would round twice: Div can round a quotient to exactly half a unit, and RoundBank would then round this
// half to even.
func divide(a, b decimal.Decimal, digits int32) decimal.Decimal {
	quotient, rest := a.QuoRem(b, digits) // rounds the quotient toward zero
	unit := decimal.New(1, -digits)
	half := rest.Abs().Mul(decimal.New(2, 0)).Cmp(b.Mul(unit)) // compares the part that was cut off with half a unit
	odd := quotient.Coefficient().Bit(0) == 1
	if half > 0 || half == 0 && odd {
		return quotient.Add(unit.Mul(decimal.New(int64(rest.Sign()), 0)))
	}
	return quotient
}
