package main

import (
	"fmt"
	"os"
	"strings"
)

// The variable `titles` contains the contenders' names in tables and plots.
var titles = map[string]string{
	bareCalls: "(a) bare calls", floor: "(b) floor", engined: "(c) engine and steps", service: "(d) Tenantry",
}

// The method `tables` returns the result in Markdown.
func (r *result) tables() string {
	r.finish()
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("Measured at commit %s on %s. Machine: %s, %d cores, %s. One client commits %.0f small INSERTs a second.",
		r.Commit, r.At, r.Machine.CPU, r.Machine.Cores, r.Machine.Go, r.Commits)
	var last row
	for _, w := range r.Rows {
		if w.CallMs != last.CallMs || last.Contender == "" {
			line("\nEvery call takes %d ms:\n", w.CallMs)
			line("| in flight | | p50 ms | p95 ms | subscribes/s | p50 / (b) | rate / (b) | transactions | WAL KiB | CPU ms: own + PostgreSQL | calls |")
			line("| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
		}
		last = w
		transactions := ""
		if w.Transactions != nil {
			transactions = fmt.Sprintf("%.1f", *w.Transactions)
		}
		line("| %d | %s | %.1f | %.1f | %.0f | %.2f | %.2f | %s | %.1f | %.2f + %.2f | %.0f |", w.InFlight, titles[w.Contender],
			w.P50, w.P95, w.Rate, w.TimeFloor, w.ToFloor, transactions, w.WAL/1024, w.OwnCPU, w.SQLCPU, w.Calls)
	}
	line("\nPeak resident memory in MiB: %s.", strings.Join(r.peaks(), ", "))
	if r.Idle.Ready > 0 {
		line("An idle `tenantry serve` is ready after %.2f s, uses %.0f MiB of memory and commits %.2f transactions a second.",
			r.Idle.Ready, r.Idle.MiB, r.Idle.Queries)
	}
	return b.String()
}

func (r *result) peaks() (all []string) {
	for _, name := range contenders {
		if mib, ok := r.PeakMiB[name]; ok {
			all = append(all, fmt.Sprintf("%s %.0f", titles[name], mib))
		}
	}
	return all
}

// The function `show` writes the tables into the page. The tables replace the lines between the comment that names the make target
// and the next comment "end of the tables".
func show(page, target, tables string) error {
	tablesBegin, tablesEnd := "<!-- make "+target+" writes these tables -->\n", "<!-- end of the tables -->\n"
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	before, rest, begins := strings.Cut(string(text), tablesBegin)
	_, after, ends := strings.Cut(rest, tablesEnd)
	if !begins || !ends {
		return fmt.Errorf("%s has no lines %q and %q", page, strings.TrimSpace(tablesBegin), strings.TrimSpace(tablesEnd))
	}
	return os.WriteFile(page, []byte(before+tablesBegin+tables+tablesEnd+after), 0o644) //nolint:gosec // anybody may read it
}
