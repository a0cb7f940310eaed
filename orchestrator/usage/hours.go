package usage

import (
	"context"
	"iter"
	"time"

	"github.com/shopspring/decimal"
)

// Due names an hour of a project that has samples which are not part of the usage yet.
type Due struct {
	Cloud, Project string
	Hour           time.Time // the beginning of the hour
	// Spreads reports whether new samples have come in. If so, the next hour with samples must also be computed again, because a counter's
	// increase is counted at the later sample.
	Spreads bool
	Take    string // identifies the call of TakeDue that took the hour; FinishHour needs it
}

// Recorded contains the points of a series in an hour, or a part of them.
type Recorded struct {
	Series

	Unit   string
	Points []Point   // sorted; if the series has a point before the hour, the last such point stands first
	Next   time.Time // the time of the first point after the hour; zero if there is none
}

// Measured is the usage of a project in an hour, or in a part of an hour.
type Measured struct {
	Range

	Meter  string
	Kind   Kind
	Unit   string
	Amount decimal.Decimal
	Plan   string // the id of the subscription's plan in this time; empty if the project belongs to no subscription
	State  string // the state of the subscription in this time; empty if the project belongs to no subscription
}

// Finished is the computed usage of an hour.
type Finished struct {
	Usage        []Measured
	Merchant     string      // empty: nobody is billed
	Subscription string      // empty: the project is not the tenant of a subscription
	Again        []time.Time // further hours of the project that must be computed
	// If AgainAt is set, the hour itself is computed again at this time, and its usage is not billed before this time.
	AgainAt time.Time
}

// Hours stores the usage of hours.
type Hours interface {
	// TakeDue chooses at most `limit` due hours that ended before the time `ended`, oldest first. A taken hour is no longer due. If FinishHour is not
	// called within TakeTimeout, the hour can be taken again. When TakeDue returns, each sample that is added
	// later makes its hour due again. If several replicas call TakeDue at the same time, only one of them takes a given hour.
	TakeDue(ctx context.Context, now, ended time.Time, limit int) ([]Due, error)
	// Recorded reads the series of the project that have a point in the hour. It also reads gauges whose last point is less than MaxHold before the
	// hour. To limit the memory for an hour, Recorded returns a series with many points in several parts, one after the other. The
	// points are valid until the next step of the loop. An error ends the loop. All points are read from the same state of the database. The body of
	// the loop must not use the database, which may have only one connection.
	Recorded(ctx context.Context, d Due) iter.Seq2[Recorded, error]
	// FinishHour does the following in one transaction: it replaces the stored usage of a taken hour, marks the usage as waiting to be billed, and
	// makes the hours f.Again of the project due. FinishHour may be repeated. If the hour was finished or taken
	// again since the call of TakeDue that returned d, FinishHour does nothing, because the usage may lack samples that a later computation has
	// read.
	FinishHour(ctx context.Context, now time.Time, d Due, f Finished) error
	// DropHour ends the computation of a taken hour, and leaves the usage of the hour as it is. If the hour was finished or taken again since the call
	// of TakeDue that returned d, DropHour does nothing.
	DropHour(ctx context.Context, d Due) error
}

// TakeTimeout is the time in which a taken hour must be finished. After this time, the hour can be taken again.
const TakeTimeout = 5 * time.Minute
