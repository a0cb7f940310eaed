package main

import (
	"fmt"
	"math/big"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/usage"
)

// The type `load` computes the samples of a cloud. A cloud has projects of different sizes. A project has a number of places for servers, and
// a server is replaced by another server after some days. Ceilometer measures all servers every ten minutes, with one meter of each kind.
//
// The samples are numbered in the order in which they are posted. The sample 0 is the first sample that the benchmark posts. The samples with
// negative numbers are older, and are stored before the first post.
type load struct {
	base     time.Time // of the sample 0; a full hour
	projects []string
	places   []int // for each place, the index of its project
	series   map[seriesOfLoad]*storedSeries
}

const (
	projectsOfLoad = 200
	interval       = 10 * time.Minute
	hold           = 15 * time.Minute // a level holds for this time: usage.DefaultHold
	lifetime       = 5 * 24 * 6       // of a server, in intervals: five days
	serversOfHost  = 17
)

// The sizes of ten projects: the numbers of servers. The other projects have the same sizes.
var sizesOfProjects = []int{1, 1, 1, 1, 2, 2, 3, 4, 7, 13}

var metersOfLoad = []struct {
	name, unit string
	kind       usage.Kind
}{
	{"cpu", "ns", usage.Cumulative}, {"network.incoming.bytes.delta", "B", usage.Delta}, {"memory.usage", "MB", usage.Gauge},
}

// newLoad returns a load whose first samples are so old that the hours of all samples are due when they are posted.
func newLoad(projects []string, posted int) *load {
	l := &load{projects: projects, series: map[seriesOfLoad]*storedSeries{}}
	for p := range projects {
		for range sizesOfProjects[p%len(sizesOfProjects)] {
			l.places = append(l.places, p)
		}
	}
	// A post contains servers of many projects, because a host has servers of many projects.
	shuffled := make([]int, len(l.places))
	for i := range shuffled {
		shuffled[i] = l.places[i*prime%len(l.places)]
	}
	l.places = shuffled
	l.base = time.Now().UTC().Add(-time.Duration(posted/l.perInterval()+1) * interval).Truncate(time.Hour).Add(-3 * time.Hour)
	return l
}

// The constant `prime` does not divide the number of places.
const prime = 337

// perInterval returns the number of samples in an interval.
func (l *load) perInterval() int { return len(l.places) * len(metersOfLoad) }

// The type `seriesOfLoad` identifies a series.
type seriesOfLoad struct{ place, server, meter int }

// The type `measurement` is one sample of the load.
type measurement struct {
	seriesOfLoad

	at     time.Time
	volume int64
}

// The method `sample` returns the sample with a number.
func (l *load) sample(n int) measurement {
	moment, rest := n/l.perInterval(), n%l.perInterval()
	if rest < 0 {
		moment, rest = moment-1, rest+l.perInterval()
	}
	m := measurement{seriesOfLoad: seriesOfLoad{place: rest / len(metersOfLoad), meter: rest % len(metersOfLoad)}}
	// The servers that exist before the first post exist until the end.
	age := min(moment, -1) + m.place*31 + 1_000_000*lifetime
	m.server = age / lifetime
	m.at = l.base.Add(time.Duration(moment)*interval + l.offset(m.place))
	switch metersOfLoad[m.meter].kind {
	case usage.Cumulative:
		m.volume = int64(age%lifetime+max(moment+1, 0)+1) * step(m.place)
	case usage.Delta, usage.Gauge:
		m.volume = step(m.place)
	}
	return m
}

// The function `step` returns a number for a place. The number is the volume of each delta sample and of each gauge sample of the place. It is also
// the increase of each counter of the place between two samples.
func step(place int) int64 { return int64(1000 + place*7919%100_000) }

// The method `offset` returns the time between the beginning of the interval and a sample. The servers of a host are measured together.
func (l *load) offset(place int) time.Duration {
	return time.Duration(place/serversOfHost) * time.Second
}

func (l *load) usageSeries(s seriesOfLoad) usage.Series {
	m := metersOfLoad[s.meter]
	return usage.Series{
		Cloud: merchants.DefaultCloud, Source: "openstack", Project: l.projects[l.places[s.place]], Resource: resource(s), Meter: m.name, Kind: m.kind,
	}
}

// The function `resource` returns the id of a server.
func resource(s seriesOfLoad) string {
	return fmt.Sprintf("5f0c2f5e-%08d-a8f5-%012d", s.server, s.place)
}

// The type storedSeries has the values that Tenantry stores for a series.
type storedSeries struct {
	id      string
	lastDay int64 // of all samples that sampleRow has made, in days since 1970
}

// sampleRow returns the row that Tenantry stores for a sample. Each call returns a row with another id. The samples of a series must be made in
// the order of their times.
func (l *load) sampleRow(n int) []any {
	m := l.sample(n)
	s := l.series[m.seriesOfLoad]
	if s == nil {
		s = &storedSeries{id: l.usageSeries(m.seriesOfLoad).ID()}
		l.series[m.seriesOfLoad] = s
	}
	s.lastDay = m.at.Unix() / (24 * 60 * 60)
	id := uuid.Must(uuid.NewUUID()) // Ceilometer makes such ids
	return []any{merchants.DefaultCloud, s.lastDay, id.String(), s.id, m.at.UnixMicro(), fmt.Sprint(m.volume)}
}

var columnsOfSamples = []string{"cloud", "day", "id", "series_id", "at", "volume"}

// The method `post` appends the body of a post with the samples from the number `from` to body. Ceilometer writes such bodies.
func (l *load) post(body []byte, from int) []byte {
	for n := from; n < from+samplesOfPost; n++ {
		m := l.sample(n)
		of := metersOfLoad[m.meter]
		separator := ", "
		if n == from {
			separator = "["
		}
		id := uuid.Must(uuid.NewUUID()) // Ceilometer makes such ids
		body = append(body, separator+`{"name": "`+of.name+`", "type": "`+string(of.kind)+`", "unit": "`+of.unit+`", "volume": `...)
		body = strconv.AppendInt(body, m.volume, 10)
		body = append(body, `, "user_id": "0c1f5c3b9f8e4c6d8a7b6c5d4e3f2a1b", "project_id": "`+l.projects[l.places[m.place]]+`", "resource_id": "`...)
		body = append(body, resource(m.seriesOfLoad)+`", "timestamp": "`...)
		body = m.at.AppendFormat(body, "2006-01-02T15:04:05.000000")
		body = append(body, `", `+metadata+`"source": "openstack", "id": "`+id.String()+`", "monotonic_time": null}`...)
	}
	return append(body, ']')
}

// Ceilometer sends such metadata with each sample of a server.
const metadata = `"resource_metadata": {"display_name": "web-7", "name": "instance-0000002a", "instance_id": "5f0c2f5e-8e0d-4c57-a8f5-2c9d8e7f6a5b",
"instance_type": "m1.small", "host": "2f5e8e0d4c57a8f52c9d8e7f6a5b5f0c2f5e8e0d4c57a8f52c9d8e7f", "instance_host": "compute-17.example.org",
"flavor": {"id": "0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d", "name": "m1.small", "vcpus": 1, "ram": 2048, "disk": 20, "ephemeral": 0, "swap": 0},
"status": "active", "state": "running", "task_state": "", "image": {"id": "9b8a7c6d-5e4f-4a3b-8c2d-1e0f9a8b7c6d", "links": [{"rel": "bookmark",
"href": "http://glance.example.org:9292/images/9b8a7c6d-5e4f-4a3b-8c2d-1e0f9a8b7c6d"}]}, "image_ref": "9b8a7c6d-5e4f-4a3b-8c2d-1e0f9a8b7c6d",
"image_ref_url": "http://glance.example.org:9292/images/9b8a7c6d-5e4f-4a3b-8c2d-1e0f9a8b7c6d", "architecture": "x86_64", "OS-EXT-AZ:availability_zone": "nova",
"vcpus": 1, "memory_mb": 2048, "disk_gb": 20, "ephemeral_gb": 0, "root_gb": 20, "cpu_number": 1}, `

// The method `expected` returns the usage, by kind, in all hours from base on, if the first `posted` samples are stored. The parameter `stored`
// reports whether older samples are stored, too.
func (l *load) expected(posted int, stored bool) map[usage.Kind]*big.Rat {
	sums := map[usage.Kind]*big.Rat{usage.Cumulative: {}, usage.Delta: {}, usage.Gauge: {}}
	counts := map[seriesOfLoad]int64{}
	for n := range posted {
		counts[l.sample(n).seriesOfLoad]++
	}
	for s, count := range counts {
		kind := metersOfLoad[s.meter].kind
		amount := big.NewRat(count, 1)
		switch {
		case kind == usage.Cumulative && !stored:
			amount = big.NewRat(count-1, 1)
		case kind == usage.Gauge:
			held := time.Duration(count-1)*interval + hold
			if stored { // the level of the last older sample
				held += l.offset(s.place)
			}
			amount = big.NewRat(int64(held), int64(time.Hour))
		}
		sums[kind].Add(sums[kind], amount.Mul(amount, big.NewRat(step(s.place), 1)))
	}
	return sums
}
