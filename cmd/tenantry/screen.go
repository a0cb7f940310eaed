package main

import (
	"errors"
	"io"
	"syscall"

	"github.com/tenantry/tenantry/orchestrator/escape"
)

// The type `screen` is a writer through which a command prints everything, except the pictures on a terminal. The texts of servers,
// upstreams, merchants and users may contain characters that control a terminal. A screen writes such a character as a JSON escape,
// so that output in JSON stays valid. A screen keeps newlines and tabs, because they structure the output: see the function
// `visible`.
type screen struct {
	to io.Writer
	// The function `broken` is called when the reader of the output is gone. For example, `head` reads a few lines and ends.
	broken func()
}

// Write writes p with escapes. Write may be called concurrently if the writer `to` permits concurrent calls.
func (s *screen) Write(p []byte) (int, error) {
	_, err := io.WriteString(s.to, escape.Text(string(p), "\n\t"))
	if errors.Is(err, syscall.EPIPE) && s.broken != nil {
		s.broken()
	}
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// The function `underneath` returns the writer that a screen writes to. If w is not a screen, `underneath` returns w.
func underneath(w io.Writer) io.Writer {
	if s, ok := w.(*screen); ok {
		return s.to
	}
	return w
}

// The function `visible` returns a text as one line without characters that control a terminal. `visible` must be called for each
// text that becomes a part of a line: otherwise, a newline in the text of a server could add a line to the output.
func visible(text string) string { return escape.Line(text) }
