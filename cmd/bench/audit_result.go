package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// auditResult has the measurements of audits.
type auditResult struct {
	Commit  string          `json:"commit"`
	At      string          `json:"at"`
	Machine machine         `json:"machine"`
	Load    string          `json:"load_before"` // the load averages of the last 1, 5 and 15 minutes, before the first world was made
	Worlds  []*auditedWorld `json:"worlds"`
	Cut     *cut            `json:"list_limit,omitempty"`
}

// auditedWorld contains the results of all passes with one Keystone. Times and ratios are medians over the passes. A median of ratios is the
// median of the ratios of the single passes, and not the ratio of two medians.
type auditedWorld struct {
	Real    bool           `json:"real_keystone"`
	Read    map[string]int `json:"read"` // number of objects that an audit has read, by kind
	MiB     float64        `json:"lists_mib"`
	Bare    float64        `json:"bare_reads_seconds"` // mean of the bare reads before and after the audit
	Audit   float64        `json:"audit_seconds"`
	Ratio   float64        `json:"audit_to_bare_reads"`
	Again   float64        `json:"bare_reads_after_to_before"`
	CPU     float64        `json:"tenantry_cpu_seconds"` // processor time in an audit; includes the embedded BillingStack
	IdleMiB float64        `json:"idle_mib"`
	PeakMiB float64        `json:"peak_mib"`

	bare, audit, ratio, again, cpu []float64
}

func newAuditResult() *auditResult {
	of := newResult()
	r := &auditResult{Commit: of.Commit, At: of.At, Machine: of.Machine}
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		r.Load = strings.Join(strings.Fields(string(text))[:3], " ")
	}
	return r
}

// The method `add` adds the measurements of one pass.
func (m *auditedWorld) add(before, after time.Duration, one ended, cpu time.Duration) {
	bare := (before + after) / 2
	m.bare, m.audit = append(m.bare, bare.Seconds()), append(m.audit, one.took.Seconds())
	m.ratio, m.again = append(m.ratio, one.took.Seconds()/bare.Seconds()), append(m.again, after.Seconds()/before.Seconds())
	m.cpu = append(m.cpu, cpu.Seconds())
}

// The method `finish` computes the medians.
func (m *auditedWorld) finish() {
	m.Bare, m.Audit, m.Ratio, m.Again, m.CPU = median(m.bare), median(m.audit), median(m.ratio), median(m.again), median(m.cpu)
}

// The method `missed` returns an error that names the exceeded limits, or nil if no limit is exceeded.
func (r *auditResult) missed() error {
	var faults []error
	limit := func(what string, got, limit float64) {
		if got > limit {
			faults = append(faults, fmt.Errorf("%s: %.2f, but the limit is %g", what, got, limit))
		}
	}
	for _, m := range r.Worlds {
		if m.Real {
			limit("audit / bare reads", m.Ratio, maxRatio)
			limit("peak resident memory in MiB", m.PeakMiB, maxRealMiB)
		} else {
			limit("seconds of an audit", m.Audit, maxSeconds)
			limit("peak resident memory in MiB", m.PeakMiB, maxMemoryMiB)
		}
	}
	return errors.Join(faults...)
}

// The method `table` returns the result in Markdown.
func (r *auditResult) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Measured at commit %s on %s. Machine: %s, %d cores, %s. Load averages before: %s.\n\n", r.Commit, r.At, r.Machine.CPU,
		r.Machine.Cores, r.Machine.Go, r.Load)
	row := func(name string, value func(m *auditedWorld) string) {
		fmt.Fprintf(&b, "| %s |", name)
		for _, m := range r.Worlds {
			fmt.Fprintf(&b, " %s |", value(m))
		}
		b.WriteString("\n")
	}
	number := func(format string, of func(m *auditedWorld) float64) func(m *auditedWorld) string {
		return func(m *auditedWorld) string { return fmt.Sprintf(format, of(m)) }
	}
	row("", func(m *auditedWorld) string {
		if m.Real {
			return "real Keystone"
		}
		return "in-memory Keystone"
	})
	fmt.Fprintf(&b, "| --- |%s\n", strings.Repeat(" ---: |", len(r.Worlds)))
	for _, kind := range []string{"project", "role-assignment", "user", "customer", "subscription", "run"} {
		row("read: "+strings.ReplaceAll(kind, "-", " ")+"s", func(m *auditedWorld) string { return thousands(m.Read[kind]) })
	}
	row("MiB of all lists", number("%.1f", func(m *auditedWorld) float64 { return m.MiB }))
	row("bare reads, s", number("%.2f", func(m *auditedWorld) float64 { return m.Bare }))
	row("bare reads after / before the audit", number("%.2f", func(m *auditedWorld) float64 { return m.Again }))
	row("audit, s", func(m *auditedWorld) string {
		if m.Real {
			return fmt.Sprintf("%.2f", m.Audit)
		}
		return fmt.Sprintf("%.2f (limit %.0f)", m.Audit, maxSeconds)
	})
	row("audit / bare reads", func(m *auditedWorld) string {
		if m.Real {
			return fmt.Sprintf("%.2f (limit %.0f)", m.Ratio, maxRatio)
		}
		return fmt.Sprintf("%.2f", m.Ratio)
	})
	row("processor time of `tenantry serve` in an audit, s", number("%.2f", func(m *auditedWorld) float64 { return m.CPU }))
	row("memory of `tenantry serve` before, MiB", number("%.0f", func(m *auditedWorld) float64 { return m.IdleMiB }))
	row("peak memory of `tenantry serve`, MiB", func(m *auditedWorld) string {
		limit := maxMemoryMiB
		if m.Real {
			limit = maxRealMiB
		}
		return fmt.Sprintf("%.0f (limit %d)", m.PeakMiB, limit)
	})
	if c := r.Cut; c != nil {
		fmt.Fprintf(&b, "\nAfter %d damages, an audit reports %d findings in %.2f s. With `list_limit = %d` in the real Keystone, an audit reports the same findings "+
			"in %.2f s.\n", len(damages)*damagedEach, c.Findings, c.Whole, c.ListLimit, c.Cut)
	}
	return b.String()
}

func (r *auditResult) write(dir string) error {
	encoded, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "audit.json"), append(encoded, '\n'), 0o644) //nolint:gosec // anybody may read it
}
