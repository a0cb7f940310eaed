package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// scaleResult has the measurements at all sizes.
type scaleResult struct {
	Commit  string      `json:"commit"`
	At      string      `json:"at"`
	Machine machine     `json:"machine"`
	Sizes   []scaleSize `json:"sizes"`
	Rows    []scaleRow  `json:"rows"`
}

type scaleSize struct {
	Runs    int     `json:"finished_runs"`
	MiB     float64 `json:"mib"`
	Seconds float64 `json:"seconds_to_fill"`
}

// scaleRow has the measurements of one operation. P50 and Ratio have a number for each size.
type scaleRow struct {
	Operation string    `json:"operation"`
	P50       []float64 `json:"p50_ms"`      // median of all passes
	Ratio     []float64 `json:"to_smallest"` // median of all passes: the p50, divided by the p50 at the smallest size in the same pass

	passes [][]float64 // p50 of each pass and size
}

func newScaleResult() *scaleResult {
	of := newResult()
	return &scaleResult{Commit: of.Commit, At: of.At, Machine: of.Machine}
}

// The method `add` adds the durations that were measured in one pass.
func (r *scaleResult) add(op operation, took [][]time.Duration) {
	p50 := make([]float64, len(took))
	for i, all := range took {
		slices.Sort(all)
		p50[i] = all[len(all)/2].Seconds() * 1000
	}
	i := slices.IndexFunc(r.Rows, func(w scaleRow) bool { return w.Operation == op.name })
	if i < 0 {
		i = len(r.Rows)
		r.Rows = append(r.Rows, scaleRow{Operation: op.name})
	}
	r.Rows[i].passes = append(r.Rows[i].passes, p50)
}

// The method `finish` computes the medians of all passes.
func (r *scaleResult) finish() {
	for i := range r.Rows {
		w := &r.Rows[i]
		for size := range r.Sizes {
			var p50, ratios []float64
			for _, pass := range w.passes {
				p50, ratios = append(p50, pass[size]), append(ratios, pass[size]/pass[0])
			}
			w.P50, w.Ratio = append(w.P50, median(p50)), append(w.Ratio, median(ratios))
		}
	}
}

// The method `table` returns the result in Markdown.
func (r *scaleResult) table() string {
	var b strings.Builder
	var sizes, columns []string
	for i, s := range r.Sizes {
		sizes = append(sizes, fmt.Sprintf("%s finished runs need %.0f MiB", thousands(s.Runs), s.MiB))
		columns = append(columns, "p50 ms at "+thousands(s.Runs))
		if i > 0 {
			columns = append(columns, "ratio to "+thousands(r.Sizes[0].Runs))
		}
	}
	fmt.Fprintf(&b, "Measured at commit %s on %s. Machine: %s, %d cores, %s. %s.\n\n", r.Commit, r.At,
		r.Machine.CPU, r.Machine.Cores, r.Machine.Go,
		strings.Join(sizes, ", "))
	fmt.Fprintf(&b, "| | %s |\n| --- |%s\n", strings.Join(columns, " | "), strings.Repeat(" ---: |", len(columns)))
	for _, w := range r.Rows {
		fmt.Fprintf(&b, "| %s |", w.Operation)
		for i, p50 := range w.P50 {
			fmt.Fprintf(&b, " %.2f |", p50)
			if i > 0 {
				fmt.Fprintf(&b, " %.2f |", w.Ratio[i])
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

// The function `thousands` formats a number with commas between groups of three digits.
func thousands(n int) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

func (r *scaleResult) write(dir string) error {
	encoded, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "scale.json"), append(encoded, '\n'), 0o644) //nolint:gosec // anybody may read it
}
