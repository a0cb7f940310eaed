package main

import (
	"fmt"
	"strings"
)

// Sizes of the plot's parts, in pixels.
const (
	plotWidth, plotHeight = 760, 330
	chartTop, chartFoot   = 50, 250
	barWidth              = 24
)

// labelStyle gives a label a white outline, so that it can be read on lines and bars.
const labelStyle = `font-size="9" text-anchor="middle" stroke="white" stroke-width="3" paint-order="stroke"`

var colours = map[string]string{bareCalls: "#bbbbbb", floor: "#e0a030", engined: "#3070b0", service: "#30a060"}

// The method `plot` draws two charts that compare the contenders with the floor: the rates with calls of 0 ms, and the p50 times
// with calls of 20 ms.
func (r *result) plot() string {
	var b strings.Builder
	draw := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	draw(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`,
		plotWidth, plotHeight)
	draw(`<rect width="100%%" height="100%%" fill="white"/>`)
	r.chart(draw, 20, "Rate / floor's rate, calls of 0 ms: higher is better", 0, func(w row) float64 { return w.ToFloor })
	r.chart(draw, 390, "p50 / floor's p50, calls of 20 ms: lower is better", 20, func(w row) float64 { return w.TimeFloor })
	for i, name := range contenders {
		x := 20 + 170*i
		draw(`<rect x="%d" y="300" width="12" height="12" fill="%s"/><text x="%d" y="310">%s</text>`, x, colours[name], x+17, titles[name])
	}
	draw(`</svg>`)
	return b.String()
}

// The method `chart` draws a group of bars for each number of subscribes in flight.
func (r *result) chart(draw func(string, ...any), left int, title string, callMs int64, value func(row) float64) {
	most := 1.0
	for _, w := range r.Rows {
		if w.CallMs == callMs {
			most = max(most, value(w))
		}
	}
	scale := (chartFoot - chartTop) / most
	draw(`<text x="%d" y="25">%s</text>`, left, title)
	var labels []string // labels are drawn last, so that the floor's line does not cross them
	x, inFlight := left, 0
	for _, w := range r.Rows {
		if w.CallMs != callMs {
			continue
		}
		if w.InFlight != inFlight {
			if inFlight != 0 {
				x += barWidth
			}
			inFlight = w.InFlight
			draw(`<text x="%d" y="%d">%d in flight</text>`, x, chartFoot+18, inFlight)
		}
		height := value(w) * scale
		draw(`<rect x="%d" y="%.1f" width="%d" height="%.1f" fill="%s"/>`, x, chartFoot-height, barWidth-2, height, colours[w.Contender])
		labels = append(labels, fmt.Sprintf(`<text x="%d" y="%.1f" %s>%.2f</text>`, x+barWidth/2-1, chartFoot-height-4, labelStyle, value(w)))
		x += barWidth
	}
	draw(`<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#e0a030" stroke-dasharray="3"/>`,
		left, chartFoot-scale, x, chartFoot-scale)
	draw("%s", strings.Join(labels, "\n"))
}
