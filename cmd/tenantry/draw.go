package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

// The function `drawing` returns a function that shows a run after each change of the run. On a terminal, the returned function
// redraws the whole run. On other outputs, it writes a line for each change.
func drawing(w io.Writer) func(client.Run) {
	if file, ok := underneath(w).(*os.File); ok && terminal(w) {
		return (&picture{w: file}).draw
	}
	return (&journal{w: w, seen: map[string]string{}, width: 1 << 16}).draw
}

// The type `picture` shows all steps of one run, and overwrites the previous picture.
type picture struct {
	w     *os.File
	lines int // number of lines of the previous picture
}

func (p *picture) draw(r client.Run) {
	width, _, err := term.GetSize(int(p.w.Fd()))
	if err != nil || width < 20 {
		width = 80
	}
	var b strings.Builder
	if p.lines > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", p.lines)
	}
	lines := []string{fmt.Sprintf("run %s  %s", r.ID, r.State)}
	for _, s := range r.Steps {
		lines = append(lines, fmt.Sprintf("  %s %s", glyph(s.State), stepLine(s)))
	}
	if r.Reason != nil {
		lines = append(lines, "  waits: "+reasonText(*r.Reason))
	}
	for _, line := range lines {
		b.WriteString("\x1b[2K" + cut(line, width-1) + "\n")
	}
	b.WriteString("\x1b[J") // erases the remaining lines if the previous picture had more lines than this picture
	p.lines = len(lines)
	_, _ = fmt.Fprint(p.w, b.String())
}

// The type `journal` writes a line for each step whose state has changed.
type journal struct {
	w     io.Writer
	seen  map[string]string
	width int // maximum width of a line, in characters
}

func (j *journal) draw(r client.Run) {
	for _, s := range r.Steps {
		if s.State == client.StepStatePending {
			continue
		}
		at := r.UpdatedAt
		if s.State == client.StepStateSucceeded && s.EndedAt != nil {
			at = *s.EndedAt
		}
		j.note(s.Name, at, glyph(s.State)+" "+stepLine(s))
	}
	text := "run " + string(r.State)
	if r.Reason != nil {
		text += ": " + reasonText(*r.Reason)
	} else if r.Cause != nil {
		text += ": " + failureText(*r.Cause)
	}
	j.note("", r.UpdatedAt, text)
}

func (j *journal) note(what string, at time.Time, text string) {
	if j.seen[what] != text {
		j.seen[what] = text
		_, _ = fmt.Fprintln(j.w, cut(at.UTC().Format("15:04:05.000")+"  "+text, j.width))
	}
}

func glyph(s client.StepState) string {
	return cmp.Or(map[client.StepState]string{
		client.StepStateRunning: ">", client.StepStateUnknown: "?", client.StepStateSucceeded: "✓", client.StepStateSkipped: "-",
		client.StepStateFailed: "✗", client.StepStateUndoing: "<", client.StepStateUndone: "↶", client.StepStateUndoFailed: "✗",
	}[s], " ")
}

func stepLine(s client.Step) string {
	text := fmt.Sprintf("%-32s %s", s.Name, s.State)
	if s.Attempts > 1 {
		text += fmt.Sprintf(", attempt %d", s.Attempts)
	}
	if s.State == client.StepStateSucceeded && s.StartedAt != nil && s.EndedAt != nil {
		text += fmt.Sprintf("  %d ms", s.EndedAt.Sub(*s.StartedAt).Milliseconds())
	}
	if s.Error != nil && s.State != client.StepStateSucceeded && s.State != client.StepStateUndone {
		text += ": " + s.Error.Detail
	}
	return text
}

// The function `cut` escapes the control characters in a line, and shortens the line to the width.
func cut(line string, width int) string {
	line = visible(line)
	if utf8.RuneCountInString(line) <= width {
		return line
	}
	return string([]rune(line)[:width-1]) + "…"
}

// The function `wrap` breaks a text at blanks into indented lines that are at most `width` characters long.
func wrap(text, indent string, width int) string {
	var lines []string
	line := indent
	for word := range strings.FieldsSeq(text) {
		if line != indent && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			lines, line = append(lines, line), indent
		}
		if line != indent {
			line += " "
		}
		line += word
	}
	return strings.Join(append(lines, line), "\n")
}
