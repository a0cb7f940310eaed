package console

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

// The measures of the picture of a run's steps, in pixels.
const (
	nodeHeight = 34
	gapX, gapY = 46, 12
	beforeText = 26 // the place of the dot
	afterText  = 12
	character  = 7.45 // the maximum width of a character: fonts differ
	maxLabel   = 40   // the maximum length of a name, in characters
)

// The type `graph` is the picture of a run's steps. A step stands to the right of the steps after which it begins.
type graph struct {
	Width, Height int
	Nodes         []node
	Edges         []edge
}

type node struct {
	client.Step

	X, Y, Width, Height int
}

// Middle returns the vertical middle of the text in the node.
func (n node) Middle() int { return n.Y + n.Height/2 + 4 }

// TextX returns the beginning of the text in the node.
func (n node) TextX() int { return n.X + beforeText }

// DotX returns the middle of the dot in the node.
func (n node) DotX() int { return n.X + 14 }

// DotY returns the middle of the dot in the node.
func (n node) DotY() int { return n.Y + n.Height/2 }

// Label returns the name of the step. The middle of a long name is left out, because names differ at the end.
func (n node) Label() string {
	if r := []rune(n.Name); len(r) > maxLabel {
		return string(r[:maxLabel/2]) + "…" + string(r[len(r)-maxLabel/2+1:])
	}
	return n.Name
}

// The function `widthOf` returns the width of a node with this name.
func widthOf(n node) int {
	return beforeText + afterText + int(math.Ceil(character*float64(utf8.RuneCountInString(n.Label()))))
}

type edge struct{ Path string }

// graphOf places the steps. The number of a step's column is the length of the longest path to the step. A column is as wide as its longest name.
// The row of a step is as near as possible to the rows of the steps before it.
func graphOf(run client.Run) graph {
	column, at := map[string]int{}, map[string]int{}
	for i, s := range run.Steps {
		at[s.Name] = i
	}
	var depth func(name string, seen int) int
	depth = func(name string, seen int) int {
		if d, known := column[name]; known || seen > len(run.Steps) {
			return d
		}
		d := 0
		if i, found := at[name]; found && run.Steps[i].After != nil {
			for _, before := range *run.Steps[i].After {
				if _, found := at[before]; found {
					d = max(d, depth(before, seen+1)+1)
				}
			}
		}
		column[name] = d
		return d
	}
	var g graph
	var widths []int // of the columns
	for _, s := range run.Steps {
		x := depth(s.Name, 0)
		for len(widths) <= x {
			widths = append(widths, 0)
		}
		widths[x] = max(widths[x], widthOf(node{Step: s}))
	}
	left := make([]int, len(widths))
	for x := 1; x < len(left); x++ {
		left[x] = left[x-1] + widths[x-1] + gapX
	}
	taken, placed := map[[2]int]bool{}, map[string]node{}
	order := slices.Clone(run.Steps)
	slices.SortStableFunc(order, func(a, b client.Step) int { return cmp.Compare(depth(a.Name, 0), depth(b.Name, 0)) })
	for _, s := range order {
		x, y := depth(s.Name, 0), 0
		if s.After != nil {
			for _, before := range *s.After {
				if n, found := placed[before]; found {
					y = max(y, n.Y/(nodeHeight+gapY))
				}
			}
		}
		for taken[[2]int{x, y}] {
			y++
		}
		taken[[2]int{x, y}] = true
		n := node{Step: s, X: left[x], Y: y * (nodeHeight + gapY), Width: widths[x], Height: nodeHeight}
		placed[s.Name] = n
		g.Nodes = append(g.Nodes, n)
		g.Width, g.Height = max(g.Width, n.X+n.Width), max(g.Height, n.Y+nodeHeight)
		if s.After == nil {
			continue
		}
		for _, before := range *s.After {
			from, found := placed[before]
			if !found {
				continue
			}
			x1, y1, x2, y2 := from.X+from.Width, from.DotY(), n.X, n.DotY()
			half := (x2 - x1) / 2
			g.Edges = append(g.Edges, edge{fmt.Sprintf("M%d %dC%d %d %d %d %d %d", x1, y1, x1+half, y1, x2-half, y2, x2, y2)})
		}
	}
	return g
}

// The type `bar` is a step with the place of its bar. From is the time between the acceptance of the run and the beginning of the step. The
// unit of From and Length is a thousandth of the time that the run has taken.
type bar struct {
	client.Step

	From, Length int
	Begun        bool
	Time         string // how long the step took
}

func barsOf(run client.Run, now time.Time) []bar {
	end := now
	if run.EndedAt != nil {
		end = *run.EndedAt
	}
	all := max(end.Sub(run.CreatedAt), time.Millisecond)
	share := func(t time.Time) int {
		return min(1000, max(0, int(1000*(float64(t.Sub(run.CreatedAt))/float64(all)))))
	}
	bars := make([]bar, len(run.Steps))
	for i, s := range run.Steps {
		bars[i].Step = s
		if s.StartedAt == nil {
			continue
		}
		until := end
		if s.EndedAt != nil {
			until = *s.EndedAt
		}
		bars[i].Begun, bars[i].From, bars[i].Time = true, share(*s.StartedAt), duration(until.Sub(*s.StartedAt))
		bars[i].Length = max(6, share(until)-bars[i].From)
		bars[i].From = min(bars[i].From, 1000-bars[i].Length)
	}
	return bars
}
