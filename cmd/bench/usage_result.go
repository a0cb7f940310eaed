package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// usageResult has the measurements of Ceilometer's samples.
type usageResult struct {
	Commit  string           `json:"commit"`
	At      string           `json:"at"`
	Machine machine          `json:"machine"`
	Load    string           `json:"load_before"` // see auditResult
	Samples int              `json:"samples_of_pass"`
	Worlds  []*measuredUsage `json:"databases"`
}

// measuredUsage has the results of all passes with one database. All values except the memory are medians over the passes. A median of ratios
// is the median of the ratios of the single passes. Processor times are in ms for 1,000 samples.
type measuredUsage struct {
	Stored   int     `json:"stored_samples"`
	MiB      float64 `json:"database_mib"`
	Floor    float64 `json:"floor_samples_per_second"`
	Rate     float64 `json:"samples_per_second"`
	Ratio    float64 `json:"rate_to_floor"`
	FloorOwn float64 `json:"floor_cpu_ms"`
	FloorSQL float64 `json:"floor_postgresql_cpu_ms"`
	Own      float64 `json:"tenantry_cpu_ms"`
	SQL      float64 `json:"postgresql_cpu_ms"`
	Bench    float64 `json:"bench_cpu_ms"` // of making and sending the posts
	Cost     float64 `json:"cpu_to_first_database"`
	WAL      float64 `json:"wal_bytes_per_sample"`
	P50      float64 `json:"post_p50_ms"`
	P99      float64 `json:"post_p99_ms"`
	Max      float64 `json:"post_max_ms"` // the maximum of all passes
	Spooled  int64   `json:"spooled_posts"`
	IdleMiB  float64 `json:"idle_mib"`
	// The median and the maximum of the resident memory of `tenantry serve` in each pass.
	UsualMiB []float64 `json:"usual_mib"`
	PeakMiB  []float64 `json:"peak_mib"`

	passes []passOfUsage
}

type passOfUsage struct {
	floor, tenantry   costOfSamples
	posts             posts
	usualMiB, peakMiB float64
}

func newUsageResult() *usageResult {
	of := newAuditResult()
	return &usageResult{Commit: of.Commit, At: of.At, Machine: of.Machine, Load: of.Load, Samples: samplesOfPass}
}

// The method `finish` computes the medians.
func (r *usageResult) finish() {
	for _, m := range r.Worlds {
		of := func(value func(pass int, p *passOfUsage) float64) float64 {
			var all []float64
			for i := range m.passes {
				all = append(all, value(i, &m.passes[i]))
			}
			return median(all)
		}
		m.Floor = of(func(_ int, p *passOfUsage) float64 { return p.floor.rate })
		m.Rate = of(func(_ int, p *passOfUsage) float64 { return p.tenantry.rate })
		m.Ratio = of(func(_ int, p *passOfUsage) float64 { return p.tenantry.rate / p.floor.rate })
		m.FloorOwn = of(func(_ int, p *passOfUsage) float64 { return p.floor.own })
		m.FloorSQL = of(func(_ int, p *passOfUsage) float64 { return p.floor.sql })
		m.Own = of(func(_ int, p *passOfUsage) float64 { return p.tenantry.own })
		m.SQL = of(func(_ int, p *passOfUsage) float64 { return p.tenantry.sql })
		m.Bench = of(func(_ int, p *passOfUsage) float64 { return p.tenantry.self })
		m.WAL = of(func(_ int, p *passOfUsage) float64 { return p.tenantry.wal })
		m.P50 = of(func(_ int, p *passOfUsage) float64 { return p.posts.p50 })
		m.P99 = of(func(_ int, p *passOfUsage) float64 { return p.posts.p99 })
		m.Cost = of(func(pass int, p *passOfUsage) float64 {
			first := &r.Worlds[0].passes[pass].tenantry
			return (p.tenantry.own + p.tenantry.sql) / (first.own + first.sql)
		})
		for _, p := range m.passes {
			m.Max, m.Spooled = max(m.Max, p.posts.max), m.Spooled+p.posts.spooled
			m.UsualMiB, m.PeakMiB = append(m.UsualMiB, p.usualMiB), append(m.PeakMiB, p.peakMiB)
		}
	}
}

// The method `growth` returns the usual memory in the last pass, divided by the usual memory in the first pass.
func (m *measuredUsage) growth() float64 { return m.UsualMiB[len(m.UsualMiB)-1] / m.UsualMiB[0] }

// The method `missed` returns an error that names the missed limits, or nil if no limit is missed.
func (r *usageResult) missed() error {
	var faults []error
	for _, m := range r.Worlds {
		if m.Rate < minRate {
			faults = append(faults, fmt.Errorf("samples a second with %s stored samples: %.0f, but at least %.0f are wanted", thousands(m.Stored), m.Rate, minRate))
		}
		if m.Cost > maxCost {
			faults = append(faults, fmt.Errorf("cost of a sample with %s stored samples: %.2f of the first database, but the limit is %g", thousands(m.Stored), m.Cost, maxCost))
		}
		if g := m.growth(); g > maxGrowth {
			faults = append(faults, fmt.Errorf("memory with %s stored samples: grows by %.2f, but the limit is %g", thousands(m.Stored), g, maxGrowth))
		}
	}
	return errors.Join(faults...)
}

// The method `table` returns the result in Markdown.
func (r *usageResult) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Measured at commit %s on %s. Machine: %s, %d cores, %s. Load averages before: %s.\n\n", r.Commit, r.At, r.Machine.CPU,
		r.Machine.Cores, r.Machine.Go, r.Load)
	row := func(name string, value func(m *measuredUsage) string) {
		fmt.Fprintf(&b, "| %s |", name)
		for _, m := range r.Worlds {
			fmt.Fprintf(&b, " %s |", value(m))
		}
		b.WriteString("\n")
	}
	number := func(name, format string, of func(m *measuredUsage) float64) {
		row(name, func(m *measuredUsage) string { return fmt.Sprintf(format, of(m)) })
	}
	row("", func(m *measuredUsage) string { return thousands(m.Stored) + " stored samples" })
	fmt.Fprintf(&b, "| --- |%s\n", strings.Repeat(" ---: |", len(r.Worlds)))
	number("size of the database, MiB", "%.0f", func(m *measuredUsage) float64 { return m.MiB })
	row("Tenantry, samples/s", func(m *measuredUsage) string {
		return fmt.Sprintf("%s (at least %s)", thousands(int(m.Rate)), thousands(minRate))
	})
	row("floor, samples/s", func(m *measuredUsage) string { return thousands(int(m.Floor)) })
	number("Tenantry / floor", "%.2f", func(m *measuredUsage) float64 { return m.Ratio })
	row("CPU ms for 1,000 samples: `tenantry serve` + PostgreSQL", func(m *measuredUsage) string { return fmt.Sprintf("%.0f + %.0f", m.Own, m.SQL) })
	row("the same for the floor: bench + PostgreSQL", func(m *measuredUsage) string { return fmt.Sprintf("%.0f + %.0f", m.FloorOwn, m.FloorSQL) })
	number("CPU ms of bench, which makes 1,000 samples and posts them", "%.0f", func(m *measuredUsage) float64 { return m.Bench })
	row("CPU of a sample / CPU with "+thousands(r.Worlds[0].Stored)+" stored samples", func(m *measuredUsage) string {
		if m == r.Worlds[0] {
			return "1.00"
		}
		return fmt.Sprintf("%.2f (limit %g)", m.Cost, maxCost)
	})
	number("WAL bytes of a sample", "%.0f", func(m *measuredUsage) float64 { return m.WAL })
	row("post, ms: p50, p99, maximum", func(m *measuredUsage) string { return fmt.Sprintf("%.0f, %.0f, %.0f", m.P50, m.P99, m.Max) })
	row("posts that waited in the spool", func(m *measuredUsage) string { return thousands(int(m.Spooled)) })
	number("memory of `tenantry serve` before, MiB", "%.0f", func(m *measuredUsage) float64 { return m.IdleMiB })
	each := func(name string, of func(m *measuredUsage) []float64) {
		row(name, func(m *measuredUsage) string { return strings.Trim(fmt.Sprintf("%.0f", of(m)), "[]") })
	}
	each("median of the memory in each pass, MiB", func(m *measuredUsage) []float64 { return m.UsualMiB })
	each("maximum of the memory in each pass, MiB", func(m *measuredUsage) []float64 { return m.PeakMiB })
	row("median in the last pass / median in the first pass", func(m *measuredUsage) string { return fmt.Sprintf("%.2f (limit %g)", m.growth(), maxGrowth) })
	return b.String()
}

func (r *usageResult) write(dir string) error {
	encoded, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "usage.json"), append(encoded, '\n'), 0o644) //nolint:gosec // anybody may read it
}
