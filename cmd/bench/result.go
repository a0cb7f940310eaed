package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// The type `cell` identifies one measured case: a contender, a delay of the upstream calls, and a number of subscribes in flight.
type cell struct {
	Contender string
	Delay     time.Duration
	InFlight  int
}

// The type `sample` has the values that were measured in one cell, or the medians of several samples. Rate is the number of
// subscribes per second. All other values are per subscribe.
type sample struct {
	P50    float64 `json:"p50_ms"`
	P95    float64 `json:"p95_ms"`
	Rate   float64 `json:"subscribes_per_second"`
	WAL    float64 `json:"wal_bytes"`
	OwnCPU float64 `json:"own_cpu_ms"`
	SQLCPU float64 `json:"postgresql_cpu_ms"`
	Calls  float64 `json:"upstream_calls"`
}

// The type `row` has the final values of one cell: one contender, one delay of the upstream calls, one number of subscribes in flight.
type row struct {
	Contender string  `json:"contender"`
	CallMs    int64   `json:"call_ms"`
	InFlight  int     `json:"in_flight"`
	ToFloor   float64 `json:"rate_to_floor"` // median of all passes: the rate, divided by the floor's rate in the same pass
	TimeFloor float64 `json:"p50_to_floor"`
	sample
	Transactions *float64 `json:"transactions,omitempty"` // measured only if the upstream calls take 0 ms
}

// The type `result` has all measurements of all contenders.
type result struct {
	Commit  string             `json:"commit"`
	At      string             `json:"at"`
	Machine machine            `json:"machine"`
	Commits float64            `json:"bare_commits_per_second"`
	Idle    idle               `json:"idle_service"`
	PeakMiB map[string]float64 `json:"peak_mib"`
	Rows    []row              `json:"rows"`

	samples      map[cell][]sample
	transactions map[cell]float64
	commits      []float64
}

type machine struct {
	CPU   string `json:"cpu"`
	Cores int    `json:"cores"`
	Go    string `json:"go"`
	OS    string `json:"os"`
}

// The type `idle` has the measurements of a service that gets no requests.
type idle struct {
	Ready   float64 `json:"seconds_until_ready"`
	Queries float64 `json:"queries_per_second"`
	MiB     float64 `json:"resident_mib"`
}

func newResult() *result {
	return &result{
		Commit: commit(), At: time.Now().UTC().Format("2006-01-02"),
		Machine: machine{CPU: processor(), Cores: runtime.NumCPU(), Go: runtime.Version(), OS: runtime.GOOS + "/" + runtime.GOARCH},
		PeakMiB: map[string]float64{}, samples: map[cell][]sample{}, transactions: map[cell]float64{},
	}
}

// The function `commit` returns the name of the measured commit. The suffix -dirty marks uncommitted changes.
func commit() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty").Output() //nolint:noctx // it only reads
	if err != nil {
		return "unknown"
	}
	return string(bytes.TrimSpace(out))
}

func processor() string {
	data, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	_, rest, _ := strings.Cut(string(data), "model name")
	name, _, _ := strings.Cut(rest, "\n")
	return strings.Trim(name, "\t :")
}

func (r *result) add(c cell, s sample) { r.samples[c] = append(r.samples[c], s) }

// The method `finish` computes the medians of all passes.
func (r *result) finish() {
	r.Commits = median(r.commits)
	r.Rows = nil
	for c, samples := range r.samples {
		of := func(what func(sample) float64) float64 {
			var values []float64
			for _, s := range samples {
				values = append(values, what(s))
			}
			return median(values)
		}
		one := row{Contender: c.Contender, CallMs: c.Delay.Milliseconds(), InFlight: c.InFlight, sample: sample{
			P50: of(func(s sample) float64 { return s.P50 }), P95: of(func(s sample) float64 { return s.P95 }),
			Rate: of(func(s sample) float64 { return s.Rate }), WAL: of(func(s sample) float64 { return s.WAL }),
			OwnCPU: of(func(s sample) float64 { return s.OwnCPU }), SQLCPU: of(func(s sample) float64 { return s.SQLCPU }),
			Calls: of(func(s sample) float64 { return s.Calls }),
		}}
		if by := r.samples[cell{floor, c.Delay, c.InFlight}]; len(by) == len(samples) {
			var rates, times []float64
			for i, s := range samples {
				rates, times = append(rates, s.Rate/by[i].Rate), append(times, s.P50/by[i].P50)
			}
			one.ToFloor, one.TimeFloor = median(rates), median(times)
		}
		if n, ok := r.transactions[c]; ok {
			one.Transactions = &n
		}
		r.Rows = append(r.Rows, one)
	}
	slices.SortFunc(r.Rows, func(a, b row) int {
		return cmp.Or(cmp.Compare(a.CallMs, b.CallMs), cmp.Compare(a.InFlight, b.InFlight),
			cmp.Compare(slices.Index(contenders, a.Contender), slices.Index(contenders, b.Contender)))
	})
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	if len(sorted) == 0 {
		return 0
	}
	return sorted[len(sorted)/2]
}

// The method `write` writes the result to subscribe.json, and its plot to subscribe.svg.
func (r *result) write(dir string) error {
	encoded, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "subscribe.json"), append(encoded, '\n'), 0o644); err != nil { //nolint:gosec // anybody may read it
		return err
	}
	return os.WriteFile(filepath.Join(dir, "subscribe.svg"), []byte(r.plot()), 0o644) //nolint:gosec // anybody may look at it
}
