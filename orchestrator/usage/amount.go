package usage

import (
	"fmt"
	"slices"
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

// Amount returns the usage of one series in a range. The amount depends on the kind of the series:
//
//   - Cumulative: the increase of the counter. Each point in the range adds the difference to the previous point, even if the previous
//     point is before the range. If the volume is less than the previous volume, the counter was reset, and the point adds its whole
//     volume. The first point of the series is a baseline and adds nothing.
//   - Delta: the sum of the volumes of the points in the range.
//   - Gauge: unit-hours, which are the level multiplied by the time in hours. The volume of a point is the level until the next point, but
//     not for longer than `hold`. After that time, the level is unknown and adds nothing. A level that holds beyond an end of the range
//     adds only its time inside the range. If `hold` is zero, the amount is zero. The other kinds ignore `hold`.
//
// The points must be sorted by time, and points with the same time by the IDs of their samples. For a gauge, the last of the points with
// the same time sets the level. Amount does not check the order: if the points are not sorted, the amount is meaningless.
//
// The points must include all points of the series in the range. They must also include the last point before the range, if there is one.
// This point may be missing if the kind is Delta, or if the kind is Gauge and the point is at least `hold` older than the range. The
// points may also include other points of the series, which do not change the amount. A caller can therefore pass the same points for each
// segment of a window.
//
// An amount is exact, but unit-hours are rounded once, half to even, to 12 digits after the decimal point. For Cumulative and Delta, the
// amounts of adjacent ranges add up to the amount of the joined range. For Gauge, the amounts add up in this way before they are rounded.
// The sum of the rounded amounts of n ranges differs from the amount of the joined range by at most (n+1)/2 units of the 12th digit.
//
// A volume must have at most 40 digits, and an exponent between -30 and 30. Amount does not check these limits. A sum has as many digits
// as its largest and its smallest exponent require, so one volume such as 1e400000 makes Amount slow. Amount panics if the kind is
// unknown.
func Amount(kind Kind, r Range, hold time.Duration, points []Point) decimal.Decimal {
	first := firstFrom(points, r.From)
	points = points[:firstFrom(points, r.To)]
	switch kind {
	case Cumulative:
		return increase(points, first)
	case Delta:
		return sum(points, first)
	case Gauge:
		return unitHours(points, first, r, hold)
	}
	panic(fmt.Sprintf("usage: unknown kind of series %q", kind))
}

// firstFrom returns the index of the first point that is not before t. If there is no such point, it returns the number of points.
func firstFrom(points []Point, t time.Time) int {
	i, _ := slices.BinarySearchFunc(points, t, func(p Point, t time.Time) int { return p.At.Compare(t) })
	return i
}

// increase returns the increase of a counter from the point before points[first] to the last point.
func increase(points []Point, first int) decimal.Decimal {
	total := decimal.Zero
	for i := max(first, 1); i < len(points); i++ {
		previous, volume := points[i-1].Volume, points[i].Volume
		if volume.LessThan(previous) { // the counter was reset to zero
			total = total.Add(volume)
		} else {
			total = total.Add(volume.Sub(previous))
		}
	}
	return total
}

// sum returns the sum of the volumes of points[first] and all later points.
func sum(points []Point, first int) decimal.Decimal {
	total := decimal.Zero
	for i := first; i < len(points); i++ {
		total = total.Add(points[i].Volume)
	}
	return total
}

// unitHours returns the unit-hours of a level in a range. All points are before the end of the range, and points[first] is the first point
// that is not before the range. The level of the point before points[first] may hold into the range.
func unitHours(points []Point, first int, r Range, hold time.Duration) decimal.Decimal {
	total := decimal.Zero // in unit-nanoseconds
	for i := max(first-1, 0); i < len(points); i++ {
		from, to := points[i].At, points[i].At.Add(hold)
		if from.Before(r.From) {
			from = r.From
		}
		if to.After(r.To) {
			to = r.To
		}
		if i+1 < len(points) && to.After(points[i+1].At) {
			to = points[i+1].At
		}
		if d := to.Sub(from); d > 0 {
			total = total.Add(points[i].Volume.Mul(decimal.New(int64(d), 0)))
		}
	}
	return divide(total, decimal.New(int64(time.Hour), 0), unitHourDigits)
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
