// Package usage turns the samples of Ceilometer into amounts of usage that can be billed.
package usage

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/shopspring/decimal"
)

// Sample is one measurement of a resource. Two samples of a cloud with the same ID and time are the same sample.
type Sample struct {
	Series

	ID     string // the id that Ceilometer has given to the sample
	Unit   string
	Volume decimal.Decimal
	At     time.Time // the time of the measurement, in UTC and in whole microseconds
}

// Series names a sequence of samples about the same resource and meter.
type Series struct {
	Cloud    string // the cloud that the samples come from
	Source   string // Ceilometer's name of the producer of the samples, such as "openstack"
	Project  string // the id of the project that the resource belongs to
	Resource string // the id of the resource, such as a server
	Meter    string // what is measured, such as "cpu"
	Kind     Kind
}

// Kind says what the volume of a sample means.
type Kind string

// The kinds of series, with Ceilometer's names.
const (
	Cumulative Kind = "cumulative" // the volume is a counter that only increases, until it is reset
	Delta      Kind = "delta"      // the volume is the usage since the previous sample
	Gauge      Kind = "gauge"      // the volume is a level that holds until the next sample
)

// ID returns a short name of the series: a hash of all its fields.
func (s Series) ID() string {
	hash := sha256.New()
	for _, text := range []string{s.Cloud, s.Source, s.Project, s.Resource, s.Meter, string(s.Kind)} {
		_, _ = fmt.Fprintf(hash, "%d %s", len(text), text)
	}
	return base64.RawURLEncoding.EncodeToString(hash.Sum(nil)[:16])
}

// MaxHold is the maximum time for which the volume of a gauge can hold.
const MaxHold = time.Hour

// Hours returns the beginnings of the hours to whose usage the sample may contribute. The volume of a gauge may hold until the next hour. A
// late sample of a counter also changes the usage of another hour: the hour of the next sample in its series. Hours does not know this
// hour.
func (s Sample) Hours() []time.Time {
	hours := []time.Time{s.At.Truncate(time.Hour)}
	if s.Kind == Gauge {
		hours = append(hours, s.At.Add(MaxHold).Truncate(time.Hour))
	}
	return hours
}
